"""The complete, printable description of one run.

A :class:`RunPlan` is made by a pure function (``plan.builder.build_plan``); executors only translate it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_madengine.catalog.model import Parameter
from pytest_madengine.secrets import Secret
from pytest_madengine.settings import PhaseTimeouts


@dataclass(frozen=True)
class Image:
    """An image that is ready to run."""

    name: str
    #: ``sha256:...`` of the image configuration; empty when unknown.
    id: str = ""
    #: Registry digest ``sha256:...``; empty unless pushed or pulled.
    digest: str = ""
    #: Dockerfile relative to the MAD root; empty for a given image.
    dockerfile: str = ""
    base_docker: str = ""
    #: Registry digest of the base image; empty when it cannot be read.
    docker_sha: str = ""
    #: Seconds; 0 when nothing was built.
    build_duration: float = 0.0
    #: UTC ISO-8601 with milliseconds; empty when nothing was built in this session.
    build_started: str = ""
    build_finished: str = ""
    build_log: str = ""
    #: ``Config.Env`` of the image, e.g. for ``ROCM_PATH``.
    env: Mapping[str, str] = field(default_factory=dict)
    #: Object of the CONTEXT line of the Dockerfile.
    context: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Lease:
    """GPUs this item may use; indices of the host."""

    gpus: tuple[int, ...] = ()
    #: ``--mad-simulate-gpus``: counted, but no device is passed.
    simulated: bool = False
    #: CPU list for ``--cpuset-cpus`` shared out to this item; empty: not limited.
    cpus: str = ""


@dataclass(frozen=True)
class DataMount:
    """One data source of a model, ready to be mounted (contract section 13)."""

    name: str
    provider: str
    #: Directory inside the container.
    home: str
    #: Host path; empty when the data is made in the container (custom provider without mirror).
    source: str = ""
    read_only: bool = True
    #: Custom provider: script relative to the MAD root, and its arguments.
    script: str = ""
    args: str = ""
    size: str = ""
    duration: float = 0.0


@dataclass(frozen=True)
class EnvValue:
    """A container variable with its origin (for the plan view)."""

    value: str | Secret
    origin: str


@dataclass(frozen=True)
class Mount:
    """A bind mount."""

    source: str
    target: str
    read_only: bool = True
    origin: str = ""
    #: Further bind options as docker writes them: ``z``, ``Z``, ``rshared``, ``nocopy``, ...  A ``source``
    #: without ``/`` names a docker volume; an empty one asks for an anonymous volume.
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Device:
    """A device node passed to the container."""

    path_on_host: str
    path_in_container: str
    permissions: str = "rwm"


@dataclass(frozen=True)
class DockerOptions:
    """Docker run options as typed fields (contract 10.4); translated by the executor, shown by the view."""

    network: str = "host"
    user: str = "root"
    ipc: str = ""
    pid: str = ""
    uts: str = ""
    cgroupns: str = ""
    userns: str = ""
    #: Bytes; ``None`` leaves the engine's default.
    shm_size: int | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    #: NVIDIA: value of ``--gpus``: device ids, or ``("all",)``.
    gpu_ids: tuple[str, ...] = ()
    gpu_capabilities: tuple[str, ...] = ()
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    #: CPUs, e.g. 1.5.
    cpus: float | None = None
    cpu_shares: int | None = None
    #: Bytes.
    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    pids_limit: int | None = None
    oom_score_adj: int | None = None
    privileged: bool = False
    init: bool = False
    read_only: bool = False
    runtime: str = ""
    hostname: str = ""
    domainname: str = ""
    mac_address: str = ""
    platform: str = ""
    #: name -> (soft, hard).
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    volumes_from: tuple[str, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    storage_opt: Mapping[str, str] = field(default_factory=dict)
    #: Further keys of ``HostConfig`` of the engine API, ready to send, e.g. ``{"CpuQuota": 50000}``.
    extra_host_config: Mapping[str, Any] = field(default_factory=dict)
    #: Further top-level keys of the engine's container configuration, e.g. ``{"Healthcheck": {...}}``.
    extra_config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step of the prepare or collect phase, executed by the in-container script.

    ``script`` steps copy the file into the model directory and run ``bash <file name> <args>`` there.
    """

    name: str
    #: Path relative to ``/myworkspace``, e.g. ``scripts/common/pre_scripts/trace.sh``.
    script: str
    args: str = ""
    #: The environment collector: a failure only warns (contract 11.3).
    may_fail: bool = False


@dataclass(frozen=True)
class Clone:
    """The repository a model is cloned from (contract 10.6)."""

    url: str
    directory: str
    #: https credential, given to git by environment and askpass.
    username: str | Secret = ""
    password: str | Secret = ""
    #: ssh: login name, key file and known_hosts on the host, mounted read-only.
    ssh_user: str = ""
    ssh_key_file: str = ""
    known_hosts: str = ""
    #: The credential is used only after an anonymous clone was refused.
    anonymous_first: bool = False


@dataclass(frozen=True)
class RunScript:
    """What happens inside the container (contract 10.3); rendered by ``plan.script.render``."""

    #: Absolute path of the model directory, e.g. ``/myworkspace/run_directory``.
    model_dir: str
    #: Script directory of the model relative to ``/myworkspace``; its content is copied to the model dir.
    script_dir: str
    #: The run line, interpreted by bash in the container exactly once.
    run_line: str
    smi_commands: tuple[str, ...] = ()
    clone: Clone | None = None
    pre_steps: tuple[Step, ...] = ()
    post_steps: tuple[Step, ...] = ()
    data_steps: tuple[DataMount, ...] = ()
    #: AMD: probe ``ROCM_PATH`` at container start (contract 7.4).
    probe_rocm_path: bool = False
    #: uid:gid that own the files afterwards.
    owner: tuple[int, int] = (0, 0)
    skip_run: bool = False
    keep_alive: bool = False
    #: Lines printed at the start of the run log, e.g. ``Setting timeout to 7200 seconds.``
    banner: tuple[str, ...] = ()
    #: Host column of the version table: (``os`` | ``kernel`` | ``rocm`` | ``cuda``, text); filled by the
    #: executor when empty.
    host_versions: tuple[tuple[str, str], ...] = ()
    #: Result files, relative to workspace and model directory, whose existence before the run phase is
    #: recorded; filled by the executor with the ``multiple_results`` file.
    watched: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workspace:
    """How ``/myworkspace`` is made (contract 10.1)."""

    #: MAD root on the host.
    root: str
    #: Top-level entries of the root that are not mounted.
    hidden: tuple[str, ...] = ()
    #: Globs, relative to workspace root and model directory, collected into the artifacts directory.
    collect: tuple[str, ...] = ()
    #: Name of the model directory below ``/myworkspace``.
    model_dir_name: str = "run_directory"
    keep_model_dir: bool = False
    #: Top-level entries of the root that were there when the plan was made and are not hidden.
    entries: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunPlan:
    """One container start, one outcome."""

    run_id: str
    item_id: str
    model: str
    parameters: tuple[Parameter, ...]
    image: Image
    container_name: str
    #: Base name of the log files: ``<log_name>.run.live.log`` (contract 8.2).
    log_name: str
    script: RunScript
    workspace: Workspace
    env: Mapping[str, EnvValue]
    mounts: tuple[Mount, ...]
    options: DockerOptions
    timeouts: PhaseTimeouts
    labels: Mapping[str, str]
    lease: Lease
    #: Text of the ``args`` column: entry plus parameters.
    args: str = ""
    #: CSV with several result rows; empty: ``performance:`` lines count.
    multiple_results: str = ""
    #: Text of the ``additional_docker_run_options`` column.
    docker_run_options_text: str = ""
    launcher: str = ""
    notes: tuple[str, ...] = ()
    #: Error patterns that replace the default ones; ``None``: the default ones (contract 12.2).
    log_error_patterns: tuple[str, ...] | None = None
    #: Patterns of harmless lines, in addition to the default ones.
    log_error_benign_patterns: tuple[str, ...] = ()
    #: False: the log is not searched for errors.
    log_error_pattern_scan: bool = True

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret of the plan, for the redactor."""
        found = [entry.value for entry in self.env.values() if isinstance(entry.value, Secret)]
        clone = self.script.clone
        if clone is not None:
            found += [v for v in (clone.username, clone.password) if isinstance(v, Secret)]
        return tuple(found)
