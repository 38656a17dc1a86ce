"""Command line and ini options, their environment twins, and the :class:`Settings` made of them.

Every option ``--mad-some-name`` has an ini twin ``mad_some_name`` and an environment twin
``MAD_PYTEST_SOME_NAME``.  Precedence: command line, environment, ini, default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_madengine.settings import Settings


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
    Option("data-config", "path", "data sources (default: data.json of the root)", "FILE"),
    Option("tools-config", "path", "tools (default: scripts/common/tools.json of the root)", "FILE"),
    Option("output", "path", "results table", "FILE", default="perf.csv"),
    Option("results-dir", "path", "logs, artifacts, records", "DIR", default="mad-results"),
    Option("timeout", "int", "limit of every run in seconds; 0 or -1: none", "S"),
    Option("timeout-pull", "seconds", "limit of a pull; 0 or -1: none", "S", default="3600"),
    Option("timeout-build", "seconds", "limit of a build; 0 or -1: none", "S", default="-1"),
    Option("timeout-prepare", "seconds", "limit of the steps before the run", "S", default="3600"),
    Option("timeout-collect", "seconds", "limit of the steps after the run", "S", default="600"),
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
    Option("manifest", "path", "run the images of this build manifest instead of building", "FILE"),
    Option(
        "manifest-out",
        "path",
        "write a build manifest (with --mad-build-only: build_manifest.json)",
        "FILE",
    ),
    Option("batch-manifest", "path", "models to build, as a JSON list; excludes --mad-tags", "FILE"),
    Option("target-archs", "words", "build one image for each of these GPU architectures", "LIST"),
    Option(
        "use-image", "text", "use this image, or with auto the one the model names; no build", "NAME|auto"
    ),
    Option("require-pinned", "flag", "refuse an image whose digest is not the one of the manifest"),
    Option("build-summary", "path", "write what was built and pushed as JSON", "FILE"),
    Option("run-summary", "path", "write what was run as JSON", "FILE"),
    Option("heartbeat", "seconds", "seconds between heartbeat lines off a terminal", "S", default="180"),
)

#: File names that hold model entries.
MODEL_FILES = frozenset({"models.json", "get_models_json.py"})

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def add_options(parser: pytest.Parser) -> None:
    """Registers every option with its ini twin in the group ``mad``."""
    group = parser.getgroup("mad", "pytest-madengine: models of a MAD repository as tests")
    for option in OPTIONS:
        names = (f"--mad-{option.name}", *option.aliases)
        attributes: dict[str, Any] = {"dest": option.dest, "default": None}
        attributes["help"] = option.help + (f" (default: {option.default})" if option.default else "")
        if option.kind == "flag":
            group.addoption(*names, action="store_true", **attributes)
        else:
            attributes["action"] = "append" if option.kind == "list" else "store"
            attributes["metavar"] = option.metavar or None
            attributes["choices"] = option.choices or None
            if option.const:
                attributes.update(nargs="?", const=option.const)
            group.addoption(*names, **attributes)
        ini_type: Any = {"flag": "bool", "list": "args"}.get(option.kind, "string")
        parser.addini(option.dest, f"twin of --mad-{option.name}", type=ini_type, default=None)
    parser.addini("mad", "this is a MAD repository: let -m and -k select models", type="bool", default=False)
    parser.addini("mad_junit_properties", "mad.* properties of JUnit cases", type="bool", default=True)


#: Options whose environment or ini twin alone turns the plugin on: they say what to run.
ACTIVATING = frozenset({"tags", "manifest", "batch-manifest"})


def names_model_file(argument: str) -> bool:
    """True when a command line argument names a file of model entries, with or without ``::NAME``."""
    return argument.partition("::")[0].rpartition("/")[2] in MODEL_FILES


def is_given(config: pytest.Config) -> bool:
    """True when any ``--mad-*`` option is given, or a twin that says what to run (design section 4).

    Other environment variables, set for all jobs of a CI system, do not turn the plugin on.
    """
    values = vars(config.option)
    if any(values.get(option.dest) is not None for option in OPTIONS):
        return True
    active = [option for option in OPTIONS if option.name in ACTIVATING]
    return any(option.env in os.environ or config.getini(option.dest) for option in active)


def raw_value(config: pytest.Config, name: str, environ: Mapping[str, str]) -> tuple[Any, str]:
    """The value of an option as given, and where it came from: ``option``, ``env``, ``ini``, ``default``."""
    option = _BY_NAME[name]
    value = getattr(config.option, option.dest, None)
    if value is not None:
        return value, "option"
    if option.env in environ:
        text = environ[option.env]
        if option.kind == "flag":
            return _boolean(option, text), "env"
        return ([text] if option.kind == "list" else text), "env"
    value = config.getini(option.dest)
    if value is not None and value not in ("", []):
        return value, "ini"
    return None, "default"


def raw_flag(config: pytest.Config, name: str) -> bool:
    """A flag, before any :class:`Settings` exist."""
    return bool(raw_value(config, name, os.environ)[0])


def resolve(config: pytest.Config, root: Path, environ: Mapping[str, str]) -> Settings:
    """All options as :class:`Settings`.

    :raises pytest.UsageError: a value has the wrong type; the message names the option and its source.
    """
    from pytest_madengine.settings import Settings

    values: dict[str, Any] = {"root": root, "environ": dict(environ)}
    base = config.invocation_params.dir
    for option in OPTIONS:
        name = option.dest.removeprefix("mad_")
        if name in ("root", "plan", "list_tags", "heartbeat"):
            continue
        raw, source = raw_value(config, option.name, environ)
        # Paths of an ini file are relative to the rootdir, like all paths in pytest ini files.
        anchor = config.rootpath if source == "ini" else base
        if raw is None:
            raw = option.default or None
        values[name] = _convert(option, raw, anchor, source)
    for name in ("tags", "collect", "target_archs"):
        values[name] = tuple(values[name] or ())
    for name in ("context", "gpus", "simulate_gpus", "resume", "db", "registry", "use_image"):
        values[name] = values[name] or ""
    return Settings(**values)


def seconds(config: pytest.Config, name: str, environ: Mapping[str, str]) -> float | None:
    """A ``seconds`` option outside of :class:`Settings`."""
    raw, source = raw_value(config, name, environ)
    option = _BY_NAME[name]
    value = _convert(option, option.default if raw is None else raw, config.rootpath, source)
    return None if value is None else float(value)


def _convert(option: Option, raw: Any, anchor: Path, source: str) -> Any:
    if option.kind == "flag":
        return bool(raw)
    if raw is None:
        return None
    if option.choices and raw not in option.choices:
        raise _usage(option, raw, source, "one of " + ", ".join(option.choices))
    if option.kind == "path":
        path = Path(str(raw)).expanduser()
        return path if path.is_absolute() else anchor / path
    if option.kind == "boolean":
        return _boolean(option, str(raw))
    if option.kind == "words":
        return tuple(dict.fromkeys(str(raw).replace(",", " ").split()))
    if option.kind == "int":
        try:
            number = int(str(raw))
        except ValueError:
            raise _usage(option, raw, source, "a whole number of seconds, or -1 for none") from None
        if number < -1:
            raise _usage(option, raw, source, "a whole number of seconds, or -1 for none")
        return number
    if option.kind == "count":
        text = str(raw).strip()
        if not (text.isascii() and text.isdecimal()):
            raise _usage(option, raw, source, "a whole number, 0 or more")
        return int(text)
    if option.kind == "seconds":
        try:
            value = float(str(raw))
        except ValueError:
            raise _usage(option, raw, source, "a number of seconds") from None
        if value != value or (value < 0 and value != -1):
            raise _usage(option, raw, source, "a number of seconds, or -1 for none")
        return value if value > 0 else None
    return raw


def _boolean(option: Option, text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise _usage(option, text, "given", "a boolean: true or false")


def _usage(option: Option, raw: object, source: str, expected: str) -> pytest.UsageError:
    where = {"env": option.env, "ini": f"ini option {option.dest}"}.get(source, f"--mad-{option.name}")
    return pytest.UsageError(f"{where}: {raw!r} is not {expected}")


_BY_NAME = {option.name: option for option in OPTIONS}
