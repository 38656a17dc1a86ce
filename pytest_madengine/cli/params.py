"""The options of ``run``, ``build`` and their relatives, as a table (contract 19.2).

Every pytest option ``--mad-<name>`` is an option ``--<name>`` here, with the further spellings that users of
madengine know.  What only the command lines have stands below it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pytest_madengine.options import DEFAULT_MANIFEST, OPTIONS, Option

#: Headings of ``--help``.
SELECT, CONTEXT, RUNNING, IMAGES, OUTPUT = "Models", "Context", "Running", "Images", "Results"
GPUS, SAFETY = "GPUs and parallel runs", "Strictness and safety"


@dataclass(frozen=True)
class Param:
    """One option of a command.

    ``kind`` as in :class:`~pytest_madengine.options.Option`, and ``several`` (words, commas, repeated),
    ``pair`` (``--x/--no-x``).
    """

    name: str
    kind: str
    help: str
    spellings: tuple[str, ...]
    metavar: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    panel: str = OUTPUT
    #: Value of the option without one, e.g. ``--resume``.
    const: str = ""
    #: Pytest option that it is, when that has another name.
    option: str = ""

    @property
    def dest(self) -> str:
        """Name of the parsed value."""
        return self.name.replace("-", "_")

    @property
    def shown(self) -> tuple[str, ...]:
        """The spellings of the help: the first, and one letter."""
        return (self.spellings[0], *(name for name in self.spellings[1:] if not name.startswith("--")))

    @property
    def aliases(self) -> tuple[str, ...]:
        """Further long spellings."""
        return tuple(name for name in self.spellings[1:] if name.startswith("--"))


#: Spellings beside ``--<name>``, in the order of the help.
_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "tags": ("--tags", "-t"),
    "context": ("--additional-context", "-c", "--context"),
    "context-file": ("--additional-context-file", "-f", "--context-file"),
    "live": ("--live-output", "-l", "--live"),
    "data-config": ("--data-config", "--data-config-file-name"),
    "tools-config": ("--tools-config", "--tools-json-file-name"),
    "ignore-deprecated": ("--ignore-deprecated", "--ignore-deprecated-flag"),
    "registry": ("--registry", "-r"),
    "output": ("--output", "-o"),
    "target-archs": ("--target-archs", "-a"),
    "manifest": ("--manifest-file", "-m", "--manifest"),
    "manifest-out": ("--manifest-output", "--manifest-out"),
    "summary-output": ("--summary-output", "-s"),
    "require-pinned": ("--require-pinned", "--require-pinned-image"),
}
_PANELS: Final[Mapping[str, tuple[str, ...]]] = {
    SELECT: ("tags", "root", "no-dynamic", "ignore-deprecated", "disable-skip-gpu-arch", "resume"),
    CONTEXT: ("context", "context-file", "credentials", "data-config", "tools-config", "force-mirror-local"),
    GPUS: ("cpu", "gpus", "simulate-gpus", "gpu-wait", "gpu-busy", "cpus-per-model", "build-jobs"),
    IMAGES: (
        *("registry", "manifest", "manifest-out", "batch-manifest", "target-archs", "use-image"),
        *(
            "require-pinned",
            "clean-docker-cache",
            "no-pull",
            "timeout-pull",
            "timeout-build",
            "queue-timeout",
            "engine-silence",
        ),
    ),
    RUNNING: (
        *("timeout", "timeout-prepare", "timeout-collect", "live", "keep-alive", "keep-model-dir"),
        *("skip-model-run", "retries", "sys-env-details", "heartbeat"),
    ),
    SAFETY: ("strict-log", "unprivileged", "known-hosts"),
}
#: Options that commands set by themselves, or that are commands here.
_NOT_HERE: Final = frozenset({"plan", "list-tags", "build-only"})
#: Options that make no sense while nothing is run.
_RUN_ONLY: Final = frozenset({"manifest", "require-pinned"})
#: Options of a build phase: ``run`` builds what the selection needs and nothing else (contract 19.2).
_BUILD_ONLY: Final = frozenset({"batch-manifest", "target-archs", "use-image"})

VERBOSE: Final = Param("verbose", "flag", "show more", ("--verbose", "-v"))
WORKERS: Final = Param(
    "workers",
    "text",
    "run models at the same time: a number, or auto (as many as GPUs allow)",
    ("--workers", "-n"),
    "N|auto",
    panel=GPUS,
)
ENV_DETAILS: Final = Param(
    "sys-env-details",
    "pair",
    "run the environment collector in every container (default: on)",
    ("--sys-env-details/--no-sys-env-details",),
    panel=RUNNING,
)
ENV_DETAILS_TEXT: Final = Param(
    "generate-sys-env-details",
    "boolean",
    "the same as a value: False, 0, no and off switch it off",
    ("--generate-sys-env-details",),
    "VALUE",
    panel=RUNNING,
    option="sys-env-details",
)
ON_COMPUTE: Final = Param(
    "build-on-compute",
    "flag",
    "build and push in a Slurm job; needs --registry and a slurm block in the context",
    ("--build-on-compute",),
    panel=IMAGES,
)
_BUILD_MANIFEST: Final = Param(
    "manifest-out",
    "path",
    "the build manifest",
    ("--manifest-output", "-m", "--manifest-out"),
    "FILE",
    default=DEFAULT_MANIFEST,
    panel=IMAGES,
)


def _of_option(option: Option) -> Param:
    names = _SPELLINGS.get(option.name, (f"--{option.name}",))
    panel = next((title for title, members in _PANELS.items() if option.name in members), OUTPUT)
    return Param(
        name=option.name,
        kind="several" if option.name == "tags" else option.kind,
        help=option.help,
        spellings=names,
        metavar=option.metavar,
        default=option.default,
        choices=option.choices,
        panel=panel,
        const=option.const,
    )


@functools.cache
def shared() -> tuple[Param, ...]:
    """One parameter for every pytest option that the command lines have, in the order of the table."""
    params = []
    for option in OPTIONS:
        if option.name == "sys-env-details":
            params += [ENV_DETAILS, ENV_DETAILS_TEXT]
        elif option.name not in _NOT_HERE:
            params.append(_of_option(option))
    return tuple(params)


def run_params() -> tuple[Param, ...]:
    """Options of ``run``."""
    return _sorted(
        *(param for param in shared() if param.name not in _BUILD_ONLY),
        *(WORKERS, VERBOSE),
    )


def build_params() -> tuple[Param, ...]:
    """Options of ``build``."""
    left_out = _RUN_ONLY | {"manifest-out", "cleanup-perf"}
    return _sorted(
        *(param for param in shared() if param.name not in left_out),
        *(_BUILD_MANIFEST, WORKERS, ON_COMPUTE, VERBOSE),
    )


def plan_params() -> tuple[Param, ...]:
    """Options of ``plan``."""
    writing = {"output", "results-dir", "manifest-out", "build-summary", "run-summary", "db", "report"}
    writing |= {"openmetrics", "benchmark-json", "github-summary", "heartbeat", "perf-csv-schema", "resume"}
    writing |= {"live", "retries", "build-jobs", "queue-timeout", "summary-output", "cleanup-perf"}
    return _sorted(*(param for param in shared() if param.name not in writing))


def export_params() -> tuple[Param, ...]:
    """Options of ``export-config``."""
    given = named("tags", "root", "no-dynamic", "context", "context-file", "credentials", "tools-config")
    output = Param("output", "path", "the file", ("--output", "-o"), "FILE", default="execution_config.json")
    return (*given, output)


def named(*names: str) -> tuple[Param, ...]:
    """The shared parameters of these names, in this order."""
    by_name = {param.name: param for param in shared()}
    return tuple(by_name[name] for name in names)


def _sorted(*params: Param) -> tuple[Param, ...]:
    """By heading, so that the help shows what is used most first."""
    order = [SELECT, CONTEXT, RUNNING, IMAGES, GPUS, OUTPUT, SAFETY]
    return tuple(sorted(params, key=lambda param: order.index(param.panel)))


def pytest_words(params: Iterable[Param], values: Mapping[str, object]) -> list[str]:
    """What was given, as words for pytest; ``--mad-<name>=<value>``, so that no value looks like a path.

    Only parameters that are pytest options; the caller handles the others.
    """
    known = {option.name for option in OPTIONS}
    words: list[str] = []
    for param in params:
        name, value = param.option or param.name, values.get(param.dest)
        if name not in known or value is None or value == []:
            continue
        if param.kind == "flag":
            words += [f"--mad-{name}"] if value else []
        elif param.kind == "pair":
            words.append(f"--mad-{name}={'true' if value else 'false'}")
        else:
            several = value if isinstance(value, list) else [value]
            words += [f"--mad-{name}={one}" for one in several]
    return words
