"""The built-in tools.json against the table of contract 11.2."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from pytest_madengine.resources import builtin_tools, scripts_common

W = "bash ../scripts/common/tools/rocprof_wrapper.sh"
C = "../scripts/common/tools/counters"
D = "--output-format pftrace -d ./rocprof_output"
P = "scripts/common/pre_scripts/"
Q = "scripts/common/post_scripts/"
LIBRARY = "python3 ../scripts/common/tools/get_library_trace.py"
AGENT = (
    f"{W} --runtime-trace --stats --kernel-trace --output-format csv -d ./rocprof_output -o rocprofv3_output"
)
RTL = "bash ../scripts/common/tools/rtl_trace_wrapper.sh "
ROCPROF_POST = [(Q + "trace.sh", "rocprof")]

#: name -> cmd, env_vars
ROCPROF_FAMILY: dict[str, tuple[str, dict[str, str]]] = {
    "rocprof": (f"{W} --runtime-trace --", {}),
    "rocprof_hip_only": (f"{W} --hip-trace --", {}),
    "rocprof_sys": (f"{W} --sys-trace --", {}),
    "rocprofv3": ("rocprofv3 --runtime-trace --", {}),
    "rocprofv3_compute": (f"{W} --hip-trace --kernel-trace -i {C}/compute_bound.txt {D} --", {}),
    "rocprofv3_memory": (
        f"{W} --hip-trace --kernel-trace --memory-copy-trace --memory-allocation-trace "
        f"-i {C}/memory_bound.txt {D} --",
        {},
    ),
    "rocprofv3_communication": (
        f"{W} --hip-trace --hsa-trace --kernel-trace --memory-copy-trace --rccl-trace "
        f"--scratch-memory-trace {D} --",
        {"RCCL_DEBUG": "INFO"},
    ),
    "rocprofv3_full": (
        f"{W} --hip-trace --hsa-trace --kernel-trace --memory-copy-trace --memory-allocation-trace "
        "--rccl-trace --scratch-memory-trace --marker-trace --runtime-trace "
        f"-i {C}/full_profile.txt --output-format pftrace --stats -d ./rocprof_output --",
        {"RCCL_DEBUG": "INFO", "HSA_ENABLE_SDMA": "0"},
    ),
    "rocprofv3_lightweight": (
        f"{W} --hip-trace --kernel-trace --output-format json -d ./rocprof_output --",
        {},
    ),
    "rocprofv3_agent": (f"{AGENT} --", {}),
    "rocprofv3_agent_counter": (f"{AGENT} -i {C}/instruction_mix.txt --", {}),
    "rocprofv3_perfetto": (
        f"{W} --hip-trace --kernel-trace --memory-copy-trace --output-format pftrace "
        "--perfetto-trace-filename model_trace.pftrace -d ./rocprof_output --",
        {},
    ),
    "rocprofv3_api_overhead": (
        f"{W} --hip-trace --hsa-trace --marker-trace --runtime-trace --stats --output-format json "
        "-d ./rocprof_output --",
        {},
    ),
    "rocprofv3_pc_sampling": (
        f"{W} --hip-trace --kernel-trace --pc-sampling-beta-enabled --pc-sampling-unit time "
        f"--pc-sampling-method stochastic --pc-sampling-interval 1000 {D} --",
        {},
    ),
}
LIBRARY_TRACES = {
    "rocblas_trace": ["ROCBLAS_TRACE"],
    "hipblaslt_trace": ["HIPBLASLT_TRACE"],
    "miopen_trace": ["MIOPEN_TRACE"],
    "tensile_trace": ["TENSILE_TRACE"],
    "rccl_trace": ["RCCL_TRACE"],
    "trace": ["ROCBLAS_TRACE", "HIPBLASLT_TRACE", "MIOPEN_TRACE", "TENSILE_TRACE", "RCCL_TRACE"],
}

Row = tuple[str, dict[str, str], list[tuple[str, str]], list[tuple[str, str]]]


def _profiler(kind: str) -> Row:
    upper, tool = kind.upper(), f"gpu_info_{kind}_profiler"
    env = {
        f"{upper}_DEVICE": "all",
        f"{upper}_SAMPLING_RATE": "0.1",
        f"{upper}_MODE": kind,
        f"{upper}_DUAL_GCD": "false",
        f"{upper}_OUTPUT_FILE": f"{tool}_output.csv",
    }
    return (
        "",
        env,
        [(P + "gpu_info_pre.sh", ""), (P + f"gpu_info_{kind}_start.sh", "")],
        [(Q + f"gpu_info_{kind}_stop.sh", ""), (Q + "gpu_info_post.sh", tool)],
    )


def _echo(letter: str) -> Row:
    script = "scripts/common/test_echo.sh"
    return (
        f"echo cmd_{letter} && ",
        {},
        [(script, f"pre_script {letter}")],
        [(script, f"post_script {letter}")],
    )


TABLE: dict[str, Row] = {
    "rpd": (
        "./rocmProfileData/rpd_tracer/runTracer.sh",
        {"LD_LIBRARY_PATH": "./rocmProfileData/rpd_tracer:/opt/rocm/lib"},
        [(P + "trace.sh", "rpd")],
        [(Q + "trace.sh", "rpd")],
    ),
    **{name: (cmd, env, [], ROCPROF_POST) for name, (cmd, env) in ROCPROF_FAMILY.items()},
    **{
        name: (RTL, {"RTL_MODE": mode}, [(P + "trace.sh", name[:15])], [(Q + "trace.sh", name[:15])])
        for name, mode in (("rocm_trace_lite", "lite"), ("rocm_trace_lite_default", "default"))
    },
    **{name: (LIBRARY, dict.fromkeys(env, "1"), [], []) for name, env in LIBRARY_TRACES.items()},
    "gpu_info_power_profiler": _profiler("power"),
    "gpu_info_vram_profiler": _profiler("vram"),
    "therock_check": ("", {}, [("scripts/common/tools/detect_therock.sh", "")], []),
    "test_tools_A": _echo("A"),
    "test_tools_B": _echo("B"),
}


def _scripts(entries: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(entry["path"], entry.get("args", "")) for entry in entries]


def test_no_tool_is_missing_or_invented() -> None:
    """Contract 11.2."""
    assert sorted(builtin_tools()["tools"]) == sorted(TABLE)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_tool_is_as_in_the_table(name: str) -> None:
    """Contract 11.2."""
    tool: dict[str, Any] = builtin_tools()["tools"][name]
    found = (tool["cmd"], tool["env_vars"], _scripts(tool["pre_scripts"]), _scripts(tool["post_scripts"]))
    assert found == TABLE[name]


def test_every_file_that_a_tool_names_is_built_in() -> None:
    root = scripts_common().parent.parent
    for name, tool in builtin_tools()["tools"].items():
        paths = [path for path, _ in _scripts(tool["pre_scripts"] + tool["post_scripts"])]
        paths += [
            word[len("../") :] for word in shlex.split(tool["cmd"].rstrip("& ")) if word.startswith("../")
        ]
        missing = [path for path in paths if not (root / path).is_file()]
        assert not missing, name


def test_callers_may_change_what_they_get() -> None:
    builtin_tools()["tools"].clear()
    assert builtin_tools()["tools"]


@pytest.mark.parametrize(
    "path", sorted((scripts_common() / "tools/counters").iterdir()), ids=lambda p: p.name
)
def test_counters_cost_one_run_only(path: Any) -> None:
    """rocprofv3 runs the workload once per ``pmc:`` line; the SQ block counts eight things at a time."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("pmc:")]
    assert len(lines) == 1
    counters = lines[0].split()[1:]
    assert len(set(counters)) == len(counters)
    assert len([name for name in counters if name.startswith("SQ_")]) <= 8
