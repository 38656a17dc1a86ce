"""The table of all options, for pytest and for the command lines.  Imports nothing.

Every option ``--mad-some-name`` has an ini twin ``mad_some_name`` and an environment twin
``MAD_PYTEST_SOME_NAME``; ``options`` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

#: What a build phase writes when the user names no file.
DEFAULT_MANIFEST = "build_manifest.json"
#: Seconds of the longest limit, some 31 years: more than that overflows in a wait.
LONGEST_LIMIT = 10**9


@dataclass(frozen=True)
class Option:
    """One option.  ``kind``: ``text``, ``path``, ``list`` (repeatable), ``flag``, ``int``, ``count``,
    ``seconds``, ``boolean`` (takes a boolean text)."""

    name: str
    kind: str
    help: str
    metavar: str = ""
    aliases: tuple[str, ...] = ()
    default: str = ""
    choices: tuple[str, ...] = ()
    #: Value of the option without a value: ``--mad-resume``; it then needs ``=`` to have one.
    const: str = ""

    @property
    def dest(self) -> str:
        """Name of the parsed value and of the ini option."""
        return "mad_" + self.name.replace("-", "_")

    @property
    def env(self) -> str:
        """Name of the environment twin."""
        return "MAD_PYTEST_" + self.name.replace("-", "_").upper()


OPTIONS: tuple[Option, ...] = (
    Option("tags", "list", "models to run, by the MAD selector grammar; repeatable", "SEL[,SEL...]"),
    Option("root", "path", "MAD repository (default: MODEL_DIR, else where models.json is)", "DIR"),
    Option(
        "context",
        "text",
        "additional context as JSON or Python literal",
        "STR",
        ("--mad-additional-context",),
    ),
    Option(
        "context-file",
        "path",
        "additional context as a JSON file",
        "FILE",
        ("--mad-additional-context-file",),
    ),
    Option("credentials", "path", "credentials (default: credential.json of the root)", "FILE"),
    Option(
        "data-config",
        "path",
        "data sources (default: data.json of the root)",
        "FILE",
        ("--mad-data-config-file-name",),
    ),
    Option(
        "tools-config",
        "path",
        "tools (default: scripts/common/tools.json of the root)",
        "FILE",
        ("--mad-tools-json-file-name",),
    ),
    Option("output", "path", "results table", "FILE", default="perf.csv"),
    Option("results-dir", "path", "logs, artifacts, records", "DIR", default="mad-results"),
    Option("timeout", "int", "limit of every run in seconds; 0 or -1: none", "S"),
    Option("timeout-pull", "seconds", "limit of a pull; 0 or -1: none", "S", default="3600"),
    Option("timeout-build", "seconds", "limit of a build; 0 or -1: none", "S", default="-1"),
    Option("timeout-prepare", "seconds", "limit of the steps before the run", "S", default="3600"),
    Option("timeout-collect", "seconds", "limit of the steps after the run", "S", default="600"),
    Option(
        "queue-timeout",
        "seconds",
        "limit of waiting in the queue of a cluster; 0 or -1: none",
        "S",
        default="-1",
    ),
    Option(
        "engine-silence",
        "seconds",
        "a container engine that answers nothing for so long is a failure of the machine; 0 or -1: none",
        "S",
        default="60",
    ),
    Option("force-mirror-local", "path", "mirror all remote data below this directory", "DIR"),
    Option("live", "flag", "show container output while it runs", aliases=("--mad-live-output",)),
    Option("keep-alive", "flag", "leave containers running after the run"),
    Option("keep-model-dir", "flag", "keep the model directory among the artifacts"),
    Option("skip-model-run", "flag", "prepare everything but do not run the model script"),
    Option("clean-docker-cache", "flag", "build images without the cache"),
    Option("disable-skip-gpu-arch", "flag", "run models although skip_gpu_arch names this GPU"),
    Option(
        "ignore-deprecated", "flag", "run deprecated models too", aliases=("--mad-ignore-deprecated-flag",)
    ),
    Option("strict-log", "flag", "an error pattern in the log fails a run even with a performance value"),
    Option("cpu", "flag", "run models that ask for GPUs without any"),
    Option("gpus", "text", "narrow the pool of GPUs, e.g. 0-3,6", "LIST"),
    Option("simulate-gpus", "text", "pretend to have N GPUs; no device is passed", "N[:ARCH]"),
    Option("gpu-wait", "seconds", "wait this long for GPUs that are busy with foreign work", "S"),
    Option(
        "gpu-busy",
        "text",
        "what to do about foreign work on a leased GPU",
        "warn|wait|fail",
        default="warn",
        choices=("warn", "wait", "fail"),
    ),
    Option("cpus-per-model", "count", "give each running model N CPUs of its own", "N", default="0"),
    Option("build-jobs", "count", "images built at the same time, ahead of their runs", "N", default="2"),
    Option("retries", "count", "try again after failures of the machine, not of the model", "N", default="0"),
    Option(
        "resume",
        "text",
        "run only what has no SUCCESS in an earlier session (default: the last one)",
        "SESSION",
        const="last",
    ),
    Option("db", "text", "history database: results are stored there as they arrive", "URL"),
    Option("report", "path", "write a results site with this session and earlier ones", "DIR"),
    Option("openmetrics", "path", "write the results as OpenMetrics text (GitLab metrics report)", "FILE"),
    Option("benchmark-json", "path", "write the results for github-action-benchmark as JSON", "FILE"),
    Option(
        "github-summary",
        "boolean",
        "on GitHub Actions: write the step summary and annotations",
        "BOOL",
        default="true",
    ),
    Option(
        "allow-no-hardware",
        "flag",
        "succeed also when every model was skipped because this host lacks the GPUs they need",
    ),
    Option("plan", "flag", "print the resolved plan of each selected item and run nothing"),
    Option("list-tags", "flag", "print the tags of the repository with their models and stop"),
    Option("no-dynamic", "flag", "never execute get_models_json.py"),
    Option("no-pull", "flag", "do not pull base images when building"),
    Option("unprivileged", "flag", "drop SYS_ADMIN, fuse and the unconfined security options"),
    Option("known-hosts", "path", "known_hosts file for clones and data by ssh (default: yours)", "FILE"),
    Option("collect", "list", "more files to collect after each run; repeatable", "GLOB"),
    Option(
        "sys-env-details",
        "boolean",
        "run the environment collector in every container",
        "BOOL",
        ("--mad-generate-sys-env-details",),
        default="true",
    ),
    Option(
        "perf-csv-schema", "text", "header of a new perf.csv", "v1|v2", default="v2", choices=("v1", "v2")
    ),
    Option("build-only", "flag", "build the images, and push them with --mad-registry; run nothing"),
    Option("registry", "text", "registry to push built images to, or to pull them from", "R"),
    Option(
        "manifest",
        "path",
        "run the images of this build manifest instead of building",
        "FILE",
        ("--mad-manifest-file",),
    ),
    Option(
        "manifest-out",
        "path",
        "write a build manifest (with --mad-build-only: build_manifest.json)",
        "FILE",
        ("--mad-manifest-output",),
    ),
    Option("batch-manifest", "path", "models to build, as a JSON list; excludes --mad-tags", "FILE"),
    Option("target-archs", "words", "build one image for each of these GPU architectures", "LIST"),
    Option(
        "use-image", "text", "use this image, or with auto the one the model names; no build", "NAME|auto"
    ),
    Option("require-pinned", "flag", "refuse an image whose digest is not the one of the manifest"),
    Option("build-summary", "path", "write what was built and pushed as JSON", "FILE"),
    Option("run-summary", "path", "write what was run as JSON", "FILE"),
    Option("summary-output", "path", "write what was built and run as JSON", "FILE"),
    Option("cleanup-perf", "flag", "remove perf_entry* and common_info.json after the run"),
    Option("heartbeat", "seconds", "seconds between heartbeat lines off a terminal", "S", default="180"),
)
