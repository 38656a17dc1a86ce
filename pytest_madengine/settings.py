"""The settings of one invocation, resolved once from command line, environment, ini and defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class PhaseTimeouts:
    """Limits in seconds; ``None`` is no limit (contract 10.8)."""

    pull: float | None = 3600
    build: float | None = None
    prepare: float | None = 3600
    run: float | None = 7200
    collect: float | None = 600


@dataclass(frozen=True)
class Settings:
    """Everything the engine needs to know from options, in the types it works with.

    Paths are absolute.  Field names are the option names without ``--mad-`` (design section 9).
    """

    root: Path
    results_dir: Path
    output: Path
    tags: tuple[str, ...] = ()
    context: str = ""
    context_file: Path | None = None
    credentials: Path | None = None
    data_config: Path | None = None
    tools_config: Path | None = None
    #: ``--mad-timeout``: seconds; 0 or -1 none; ``None`` not given.
    timeout: int | None = None
    timeout_pull: float | None = 3600
    timeout_build: float | None = None
    timeout_prepare: float | None = 3600
    timeout_collect: float | None = 600
    #: ``--mad-queue-timeout``: seconds; ``None``: none.
    queue_timeout: float | None = None
    #: ``--mad-engine-silence``: seconds; ``None``: none.
    engine_silence: float | None = 60
    live: bool = False
    keep_alive: bool = False
    keep_model_dir: bool = False
    skip_model_run: bool = False
    clean_docker_cache: bool = False
    disable_skip_gpu_arch: bool = False
    ignore_deprecated: bool = False
    strict_log: bool = False
    cpu: bool = False
    no_dynamic: bool = False
    no_pull: bool = False
    unprivileged: bool = False
    sys_env_details: bool = True
    known_hosts: Path | None = None
    force_mirror_local: Path | None = None
    gpus: str = ""
    simulate_gpus: str = ""
    gpu_wait: float | None = None
    #: ``--mad-gpu-busy``: ``warn``, ``wait`` or ``fail`` when somebody else uses a leased GPU.
    gpu_busy: str = "warn"
    #: ``--mad-cpus-per-model``: CPUs shared out to each running item; 0: not limited.
    cpus_per_model: int = 0
    collect: tuple[str, ...] = ()
    perf_csv_schema: str = "v2"
    build_jobs: int = 2
    retries: int = 0
    #: ``--mad-db``: may hold a password, so it is never shown.
    db: str = field(default="", repr=False)
    #: ``--mad-gate``: ``off``, ``warn``, ``fail``, or empty: as there is something to compare with.
    gate: str = ""
    #: ``--mad-gate-tolerance``: the largest loss that never fails, as a share.
    gate_tolerance: float = 0.05
    #: ``--mad-gate-history``: a URL or the path of a file; may hold a password.
    gate_history: str = field(default="", repr=False)
    references: Path | None = None
    #: ``--mad-resume``: id of a session, ``last``, or empty.
    resume: str = ""
    #: ``--mad-allow-no-hardware``
    allow_no_hardware: bool = False
    executor: str = "docker"
    build_only: bool = False
    #: ``--mad-registry``: checked, without blanks and slashes around it.
    registry: str = ""
    manifest: Path | None = None
    manifest_out: Path | None = None
    batch_manifest: Path | None = None
    #: ``--mad-target-archs``: one image for each.
    target_archs: tuple[str, ...] = ()
    #: ``--mad-use-image``: a name, ``auto``, or empty.
    use_image: str = ""
    require_pinned: bool = False
    build_summary: Path | None = None
    run_summary: Path | None = None
    #: ``--mad-summary-output``: the phases that this session has.
    summary_output: Path | None = None
    #: ``--mad-cleanup-perf``: the files of the last item go away at the end.
    cleanup_perf: bool = False
    #: ``--mad-report``: directory of the results site.
    report: Path | None = None
    openmetrics: Path | None = None
    benchmark_json: Path | None = None
    github_summary: bool = True
    #: Environment of this process, read once, so that the engine stays a function of its inputs.
    environ: dict[str, str] = field(default_factory=dict, repr=False)
