"""Tools, contract 11.1 and 11.2."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_samples import BUILTIN, tools_config
from pytest_madengine.errors import ConfigError
from pytest_madengine.plan.tools import HookScript, SelectedTools, load_tools, select_tools, tool_variables


def _select(*names: str, **options: Any) -> SelectedTools:
    return select_tools(tools_config(), [{"name": name} for name in names], **options)


def test_contract_10_3_order() -> None:
    """Contract 10.3: tools [A, B]: pre B, pre A, cmdB cmdA run, post A, post B."""
    chosen = _select("test_tools_A", "test_tools_B")
    assert [script.args for script in chosen.pre_scripts] == ["pre_script B", "pre_script A"]
    assert [script.args for script in chosen.post_scripts] == ["post_script A", "post_script B"]
    assert chosen.command("wrap") == "echo cmd_B && echo cmd_A && wrap"


def test_contract_10_3_equal_commands_are_used_once() -> None:
    """Contract 10.3: the library trace tools share one wrapper."""
    chosen = _select("miopen_trace", "test_tools_A", "rccl_trace")
    assert chosen.command() == "echo cmd_A && python3 ../scripts/common/tools/get_library_trace.py"
    assert tool_variables(chosen.tools) == {"MIOPEN_TRACE": ("1", False), "RCCL_TRACE": ("1", False)}


def test_no_tools() -> None:
    assert select_tools(tools_config(), None) == SelectedTools()
    assert SelectedTools().command() == ""


def test_contract_11_1_repository_overrides_per_name() -> None:
    """Contract 11.1: the repository file replaces a tool as a whole and adds others."""
    text = json.dumps({"tools": {"rocprof": {"cmd": "own"}, "new": {}}, "docker": {"environment": {"K": 1}}})
    config = tools_config(text)
    assert config.tools["rocprof"].cmd == "own"
    assert {"new", "test_tools_A"} <= set(config.tools)
    assert config.docker_environment == {"K": "1"}
    assert config.docker_build_args == {}


def test_contract_11_1_context_entry() -> None:
    """Contract 11.1: an entry replaces cmd and updates env_vars; also of a tool that has none."""
    entry = {"name": "rocprofv3", "cmd": "x", "env_vars": {"A": "1"}}
    (tool,) = select_tools(tools_config(), [entry]).tools
    assert (tool.cmd, tool.env_vars) == ("x", {"RCCL_DEBUG": "INFO", "A": "1"})
    assert tool_variables([tool]) == {"RCCL_DEBUG": ("INFO", False), "A": ("1", True)}
    (bare,) = select_tools(tools_config(), [{"name": "rocprof", "env_vars": {"B": 2}}]).tools
    assert bare.env_vars == {"B": "2"}


def test_defect_14_selection_does_not_change_the_configuration() -> None:
    """Defect 14, 52: given tools / when several models use them / then nothing accumulates."""
    config = tools_config()
    entry = [{"name": "test_tools_A", "env_vars": {"X": "1"}}]
    assert [select_tools(config, entry) for _ in range(3)] == [select_tools(tools_config(), entry)] * 3


def test_contract_11_5_unprefixed_names() -> None:
    """Contract 11.5: the v1 names are accepted in a context entry."""
    names = {"DEVICE": "0", "SAMPLING_RATE": "1", "MODE": "power", "DUAL-GCD": "true", "POWER_X": "y"}
    (tool,) = select_tools(tools_config(), [{"name": "gpu_info_power_profiler", "env_vars": names}]).tools
    assert tool.env_vars == {
        "POWER_DEVICE": "0",
        "POWER_OUTPUT_FILE": "power.csv",
        "POWER_SAMPLING_RATE": "1",
        "POWER_MODE": "power",
        "POWER_DUAL_GCD": "true",
        "POWER_X": "y",
    }


def test_unknown_tool() -> None:
    """Contract 11.1: usage error with did-you-mean."""
    with pytest.raises(ConfigError, match="unknown tool 'rocprfv3'") as caught:
        _select("rocprfv3")
    assert "'rocprofv3'" in caught.value.hint


@pytest.mark.parametrize("entries", ["rocprof", {"name": "rocprof"}, ["rocprof"], [{"name": 1}], [{}]])
def test_entries_of_another_form(entries: Any) -> None:
    with pytest.raises(ConfigError, match=r"context|unknown tool"):
        select_tools(tools_config(), entries)


def test_a_tool_named_twice_is_used_once() -> None:
    chosen = select_tools(tools_config(), [{"name": "rocprof"}, {"name": "rocprof", "cmd": "x", "foo": 1}])
    assert [tool.cmd for tool in chosen.tools] == ["x"]
    assert len(chosen.notes) == 2


@pytest.mark.parametrize(
    ("names", "available", "expected"),
    [
        (["rocprof", "test_tools_A"], True, ["rocprofv3", "test_tools_A"]),
        (["rocprofv3", "rocprof"], True, ["rocprofv3"]),
        (["rocprof", "rocprofv3", "miopen_trace"], False, ["miopen_trace"]),
    ],
)
def test_contract_11_2_several_nodes(names: list[str], available: bool, expected: list[str]) -> None:
    """Contract 11.2: rocprof becomes rocprofv3, or the family is dropped; others stay."""
    chosen = _select(*names, nodes=2, rocprofv3_available=available)
    assert [tool.name for tool in chosen.tools] == expected
    assert chosen.notes


def test_contract_11_2_two_tracers_warn() -> None:
    """Contract 11.2: rocm_trace_lite with the rocprof family warns."""
    assert "rocm_trace_lite" in _select("rocm_trace_lite", "rocprof").notes[0]


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("rocprof", ("rocprof_output",)),
        ("rocm_trace_lite", ("rocm_trace_lite_output",)),
        ("rccl_trace", ("library_trace.csv",)),
        (
            "gpu_info_power_profiler",
            ("gpu_info_power_profiler_output", "gpu_info_power_profiler_output.csv", "power.csv"),
        ),
    ],
)
def test_outputs(name: str, outputs: tuple[str, ...]) -> None:
    assert tools_config().tools[name].outputs == outputs


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"tools": []}',
        '{"tools": {"x": 1}}',
        '{"tools": {"x": {"cmd": 1}}}',
        '{"tools": {"x": {"command": "y"}}}',
        '{"tools": {"x": {"pre_scripts": "y"}}}',
        '{"tools": {"x": {"pre_scripts": [{}]}}}',
        '{"docker": {"environment": []}}',
        "[" * 100_000,
    ],
)
def test_malformed_files_are_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"scripts/common/tools\.json"):
        tools_config(text)


def test_fields_are_optional() -> None:
    config = load_tools({"tools": {"x": {"pre_scripts": [{"path": "a.sh"}], "env_vars": None}}}, None, "")
    assert config.tools["x"].pre_scripts == (HookScript("a.sh"),)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["tools", "docker", "cmd", "env_vars", "pre_scripts", "path", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_json_is_read_or_a_usage_error(value: Any) -> None:
    try:
        config = load_tools(BUILTIN, json.dumps(value), "t")
    except ConfigError:
        return
    assert set(BUILTIN["tools"]) <= set(config.tools)
