"""Tools that wrap, prepare and follow the run of a model (contract section 11.1, 11.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.plan.wording import as_text, did_you_mean
from pytest_madengine.util import jsontext

#: Library trace tools; they share one wrapper that writes ``library_trace.csv``.
TRACE_TOOLS: Final = frozenset(
    {"trace", "rocblas_trace", "hipblaslt_trace", "miopen_trace", "tensile_trace", "rccl_trace"}
)
_LITE_TOOLS: Final = frozenset({"rocm_trace_lite", "rocm_trace_lite_default"})
#: Unprefixed variable names of v1 that a context entry of a profiler may use (contract 11.5).
_PROFILER_PREFIX: Final = {"gpu_info_power_profiler": "POWER_", "gpu_info_vram_profiler": "VRAM_"}
_PROFILER_NAMES: Final = {
    "DEVICE": "DEVICE",
    "SAMPLING_RATE": "SAMPLING_RATE",
    "MODE": "MODE",
    "DUAL-GCD": "DUAL_GCD",
}
_TOOL_FIELDS: Final = ("pre_scripts", "cmd", "env_vars", "post_scripts")
_ENTRY_FIELDS: Final = ("name", "cmd", "env_vars")


@dataclass(frozen=True)
class HookScript:
    """A pre- or post-script: path as written (relative to the MAD root) and arguments."""

    path: str
    args: str = ""


@dataclass(frozen=True)
class Tool:
    """One tool of tools.json, with the overrides of the context once it is selected."""

    name: str
    cmd: str = ""
    env_vars: Mapping[str, str] = field(default_factory=dict)
    pre_scripts: tuple[HookScript, ...] = ()
    post_scripts: tuple[HookScript, ...] = ()
    #: Names of ``env_vars`` that the context's entry set.
    overridden: frozenset[str] = frozenset()

    @property
    def is_rocprof(self) -> bool:
        """True for the rocprof family: every tool whose name starts with ``rocprof``."""
        return self.name.startswith("rocprof")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that the tool writes at the top of the workspace or in the model directory."""
        if self.is_rocprof:
            names = ["rocprof_output"]
        elif self.name in _LITE_TOOLS:
            names = ["rocm_trace_lite_output"]
        elif self.name in TRACE_TOOLS:
            names = ["library_trace.csv"]
        else:
            names = [f"{self.name}_output", f"{self.name}_output.csv"]
        given = [value for key, value in self.env_vars.items() if key.endswith("OUTPUT_FILE") and value]
        return tuple(dict.fromkeys([*names, *given]))


@dataclass(frozen=True)
class ToolsConfig:
    """The built-in tools.json with that of the repository on top."""

    tools: Mapping[str, Tool] = field(default_factory=dict)
    #: ``docker`` section: build arguments and container variables of lowest precedence.
    docker_build_args: Mapping[str, str] = field(default_factory=dict)
    docker_environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SelectedTools:
    """The tools of one run in the order of the context, and what is worth a warning."""

    tools: tuple[Tool, ...] = ()
    notes: tuple[str, ...] = ()

    def command(self, encapsulate: str = "") -> str:
        """What stands before the interpreter: the last tool outermost, equal texts once."""
        texts = dict.fromkeys(tool.cmd.strip() for tool in self.tools if tool.cmd.strip())
        return " ".join([*reversed(texts), *([encapsulate.strip()] if encapsulate.strip() else [])])

    @property
    def pre_scripts(self) -> tuple[HookScript, ...]:
        """Pre-scripts of the tools, last tool first."""
        return tuple(script for tool in reversed(self.tools) for script in tool.pre_scripts)

    @property
    def post_scripts(self) -> tuple[HookScript, ...]:
        """Post-scripts of the tools in tool order."""
        return tuple(script for tool in self.tools for script in tool.post_scripts)


def load_tools(builtin: Mapping[str, Any], repo_text: str | None, where: str) -> ToolsConfig:
    """The built-in tools, overridden per tool name by the repository's tools.json.

    :param builtin: the parsed built-in file.
    :param repo_text: text of the repository's file; ``None`` when there is none.
    :param where: path of the repository's file, for messages.
    :raises ConfigError: the text is no JSON object of the form of contract 11.1.
    """
    base = _config(builtin, "built-in tools.json")
    if repo_text is None:
        return base
    try:
        parsed = jsontext.parse(repo_text)
    except jsontext.JsonTextError as error:
        raise ConfigError(f"{where}: not valid JSON: {error}") from None
    if not isinstance(parsed, Mapping):
        raise ConfigError(f"{where}: not a JSON object")
    own = _config(parsed, where)
    return ToolsConfig(
        {**base.tools, **own.tools},
        {**base.docker_build_args, **own.docker_build_args},
        {**base.docker_environment, **own.docker_environment},
    )


def _config(data: Mapping[str, Any], where: str) -> ToolsConfig:
    docker = _object(data.get("docker"), f"{where}: docker")
    tools = _object(data.get("tools"), f"{where}: tools")
    return ToolsConfig(
        {name: _tool(name, entry, f"{where}: tool {name!r}") for name, entry in tools.items()},
        _texts(docker.get("build_args"), f"{where}: docker.build_args"),
        _texts(docker.get("environment"), f"{where}: docker.environment"),
    )


def _tool(name: str, entry: Any, where: str) -> Tool:
    data = _object(entry, where)
    for key in data:
        if key not in _TOOL_FIELDS:
            raise ConfigError(
                f"{where}: unknown field {key!r}",
                hint=did_you_mean(key, _TOOL_FIELDS) or f"known are {', '.join(_TOOL_FIELDS)}",
            )
    return Tool(
        name,
        cmd=_text(data.get("cmd"), f"{where}: cmd"),
        env_vars=_texts(data.get("env_vars"), f"{where}: env_vars"),
        pre_scripts=hook_scripts(data.get("pre_scripts"), f"{where}: pre_scripts"),
        post_scripts=hook_scripts(data.get("post_scripts"), f"{where}: post_scripts"),
    )


def hook_scripts(value: Any, where: str) -> tuple[HookScript, ...]:
    """Reads a list of ``{path, args?}``, as in tools.json and in the context.

    :raises ConfigError: anything else.
    """
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"{where}: not a list of objects with 'path' and 'args'")
    scripts = []
    for number, entry in enumerate(value):
        here = f"{where}[{number}]"
        data = _object(entry, here)
        path = _text(data.get("path"), f"{here}: path")
        if not path:
            raise ConfigError(f"{here}: 'path' is missing")
        scripts.append(HookScript(path, _text(data.get("args"), f"{here}: args")))
    return tuple(scripts)


def select_tools(
    config: ToolsConfig, entries: Any, *, nodes: int = 1, rocprofv3_available: bool = True
) -> SelectedTools:
    """The tools of the context key ``tools``, with its overrides.

    On several nodes ``rocprof`` becomes ``rocprofv3`` when that is available; otherwise the rocprof family
    is dropped with a note.  Other tools stay and run on every node.

    :param entries: the context's list of ``{name, cmd?, env_vars?}``; ``None`` for none.
    :raises ConfigError: an unknown tool or an entry of another form.
    """
    if entries is None:
        return SelectedTools()
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ConfigError("context: tools is not a list of objects with a 'name'")
    notes: list[str] = []
    tools: dict[str, Tool] = {}
    for number, entry in enumerate(entries):
        where = f"context: tools[{number}]"
        data = _object(entry, where)
        name = _text(data.get("name"), f"{where}: name")
        if name in tools:
            notes.append(f"tool {name!r} is selected twice; the last entry counts")
        for key in data:
            if key not in _ENTRY_FIELDS:
                notes.append(f"{where} ({name}): field {key!r} has no effect")
        tools[name] = _overridden(_known(config, name), data, where)
    if nodes > 1:
        tools = _for_several_nodes(config, tools, rocprofv3_available, notes)
    chosen = tuple(tools.values())
    if any(tool.is_rocprof for tool in chosen) and any(tool.name in _LITE_TOOLS for tool in chosen):
        notes.append("rocm_trace_lite together with a rocprof tool: the two tracers may disturb each other")
    return SelectedTools(chosen, tuple(notes))


def _known(config: ToolsConfig, name: str) -> Tool:
    if name not in config.tools:
        raise ConfigError(
            f"unknown tool {name!r} in the context",
            hint=did_you_mean(name, config.tools) or f"known are {', '.join(sorted(config.tools))}",
        )
    return config.tools[name]


def _overridden(tool: Tool, data: Mapping[str, Any], where: str) -> Tool:
    given = _texts(data.get("env_vars"), f"{where}: env_vars")
    prefix = _PROFILER_PREFIX.get(tool.name)
    if prefix is not None:
        given = {
            prefix + _PROFILER_NAMES[key] if key in _PROFILER_NAMES else key: value
            for key, value in given.items()
        }
    return replace(
        tool,
        cmd=_text(data["cmd"], f"{where}: cmd") if "cmd" in data else tool.cmd,
        env_vars={**tool.env_vars, **given},
        overridden=frozenset(given),
    )


def _for_several_nodes(
    config: ToolsConfig, tools: Mapping[str, Tool], available: bool, notes: list[str]
) -> dict[str, Tool]:
    kept: dict[str, Tool] = {}
    for name, tool in tools.items():
        if not tool.is_rocprof:
            kept[name] = tool
        elif not available:
            notes.append(
                f"tool {name!r} is dropped: rocprofv3 is not available and the run has several nodes"
            )
        elif name == "rocprof" and "rocprofv3" in config.tools:
            notes.append("tool 'rocprof' is replaced by 'rocprofv3': the run has several nodes")
            kept.setdefault("rocprofv3", config.tools["rocprofv3"])
        else:
            kept[name] = tool
    return kept


def tool_variables(tools: Iterable[Tool]) -> dict[str, tuple[str, bool]]:
    """Container variables of the tools: name -> (value, set by the context's entry); later tools win."""
    return {key: (value, key in tool.overridden) for tool in tools for key, value in tool.env_vars.items()}


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: not an object")
    return value


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{where}: not a text")
    return value


def _texts(value: Any, where: str) -> dict[str, str]:
    return {str(key): as_text(entry) for key, entry in _object(value, where).items()}
