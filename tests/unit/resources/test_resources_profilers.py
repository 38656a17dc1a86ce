"""Profiler wrappers and trace scripts (contract 11.2), run for real with fake profilers."""

from __future__ import annotations

import json
from typing import Any

import pytest

WRAPPER = "../scripts/common/tools/rocprof_wrapper.sh"
RTL = "../scripts/common/tools/rtl_trace_wrapper.sh"
#: A profiler that shows its name and arguments, one a line.
SHOW = 'printf "%s\\n" "${0##*/}" "$@"'


def test_wrapper_prefers_rocprofv3(workspace: Any) -> None:
    workspace.fake("rocprofv3", SHOW)
    workspace.fake("rocprof", SHOW)
    done = workspace.run(
        "bash", WRAPPER, "--runtime-trace", "-d", "out dir", "--", "bash", "run.sh", "--", "$x"
    )
    assert done.stdout.splitlines() == [
        "rocprofv3", "--runtime-trace", "-d", "out dir", "--", "bash", "run.sh", "--", "$x",
    ]  # fmt: skip


def test_wrapper_falls_back_to_rocprof(workspace: Any) -> None:
    workspace.fake("rocprof", SHOW)
    done = workspace.run("bash", WRAPPER, "--hip-trace", "--", "bash", "run.sh", "a b")
    assert done.stdout.splitlines() == ["rocprof", "--hip-trace", "bash", "run.sh", "a b"]


def test_wrapper_without_profiler_fails_with_a_message(workspace: Any) -> None:
    done = workspace.run("bash", WRAPPER, "--hip-trace", "--", "bash", "-c", "echo ran")
    assert (done.returncode, done.stdout) == (127, "")
    assert "neither rocprofv3 nor rocprof" in done.stderr


def test_wrapper_finds_the_profiler_below_the_rocm_root(workspace: Any) -> None:
    (workspace.root / "rocm/bin").mkdir(parents=True)
    workspace.fake("rocprofv3", 'echo "$PATH"').rename(workspace.root / "rocm/bin/rocprofv3")
    done = workspace.run("bash", WRAPPER, "--", "true", env={"ROCM_PATH": str(workspace.root / "rocm")})
    assert done.stdout == f"{workspace.bin}\n"


@pytest.mark.parametrize("status", [0, 3, 137])
def test_wrapper_exit_status_is_the_workload_s(workspace: Any, status: int) -> None:
    workspace.fake("rocprofv3", 'while [[ $1 != -- ]]; do shift; done; shift; exec "$@"')
    assert workspace.run("bash", WRAPPER, "--x", "--", "bash", "-c", f"exit {status}").returncode == status


def test_wrapper_without_a_command_is_a_usage_error(workspace: Any) -> None:
    assert workspace.run("bash", WRAPPER, "--hip-trace", "--").returncode == 2


def test_rtl_passes_the_mode_when_it_is_known(workspace: Any) -> None:
    workspace.fake("rtl", f'if [[ $* == "trace --help" ]]; then echo "  --mode MODE"; else {SHOW}; fi')
    done = workspace.run("bash", RTL, "bash", "run.sh", "a b", env={"RTL_MODE": "lite"})
    assert done.stdout.splitlines() == [
        "rtl", "trace", "--mode", "lite", "-o", "rocm_trace_lite_output/trace.db", "bash", "run.sh", "a b",
    ]  # fmt: skip
    assert (workspace.model / "rocm_trace_lite_output").is_dir()


def test_rtl_without_mode_and_with_paths_of_the_user(workspace: Any) -> None:
    workspace.fake("rtl", SHOW)
    env = {"RTL_MODE": "lite", "RTL_WRAPPER_OUTPUT_DIR": "o", "RTL_WRAPPER_TRACE_DB": "p/q.db"}
    done = workspace.run("bash", RTL, "true", env=env)
    assert done.stdout.splitlines() == ["rtl", "trace", "-o", "p/q.db", "true"]
    assert (workspace.model / "o").is_dir()
    assert (workspace.model / "p").is_dir()
    assert "no --mode" in done.stderr


def test_rtl_as_a_python_module(workspace: Any) -> None:
    workspace.fake("python3", f"[[ $1 == -c ]] && exit 0; {SHOW}")
    done = workspace.run("bash", RTL, "true")
    assert done.stdout.splitlines()[:4] == ["python3", "-m", "rocm_trace_lite.cli", "trace"]


def test_rtl_missing_or_without_command(workspace: Any) -> None:
    assert workspace.run("bash", RTL, "true").returncode == 127
    assert workspace.run("bash", RTL).returncode == 2


@pytest.mark.parametrize("script", ["pre_scripts/trace.sh", "post_scripts/trace.sh"])
def test_an_unknown_tracer_is_a_usage_error(workspace: Any, script: str) -> None:
    assert workspace.step(script, "other").returncode == 2
    assert workspace.step(script).returncode == 2


def test_rpd_uses_the_tracer_of_the_image(workspace: Any) -> None:
    workspace.fake("runTracer.sh", SHOW)
    assert workspace.step("pre_scripts/trace.sh", "rpd").returncode == 0
    tracer = workspace.model / "rocmProfileData/rpd_tracer/runTracer.sh"
    done = workspace.run("bash", str(tracer.relative_to(workspace.model)), "a b")
    assert done.stdout.splitlines() == ["runTracer.sh", "a b"]


def _pins(workspace: Any) -> dict[str, str]:
    text = (workspace.root / "scripts/common/tools/pins.sh").read_text(encoding="utf-8")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


_GIT = """
echo "git $*" >>"$HOME.calls"
case " $* " in
    *" init "*) mkdir -p "${@: -1}/rpd_tracer"; : >"${@: -1}/rpd_tracer/runTracer.sh" ;;
    *" rev-parse "*) echo "$FAKE_HEAD" ;;
esac
"""


def _builder(workspace: Any) -> dict[str, str]:
    workspace.fake("git", _GIT)
    for tool in ("make", "g++", "sqlite3", "apt-get"):
        workspace.fake(tool, f'echo "{tool} $*" >>"$HOME.calls"')
    return {"FAKE_HEAD": _pins(workspace)["RPD_REVISION"]}


def test_rpd_is_built_from_the_pinned_commit(workspace: Any) -> None:
    """Defect 41: container scripts install only pinned versions."""
    env = _builder(workspace)
    done = workspace.step("pre_scripts/trace.sh", "rpd", env=env)
    assert done.returncode == 0, done.stderr
    calls = (workspace.root / "home.calls").read_text(encoding="utf-8")
    assert f"fetch -q --depth 1 {_pins(workspace)['RPD_REPOSITORY']} {env['FAKE_HEAD']}" in calls
    assert "make -s -C rocmProfileData install" in calls
    assert len(env["FAKE_HEAD"]) == 40


def test_rpd_refuses_another_commit(workspace: Any) -> None:
    """Defect 41: given a source that is not the pinned one, when built, then refused."""
    done = workspace.step("pre_scripts/trace.sh", "rpd", env={**_builder(workspace), "FAKE_HEAD": "0" * 40})
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert "make" not in (workspace.root / "home.calls").read_text(encoding="utf-8").replace("apt", "")


def test_rpd_without_network_says_so(workspace: Any) -> None:
    env = _builder(workspace)
    workspace.fake("git", '[[ " $* " == *" fetch "* ]] && exit 128; exit 0')
    done = workspace.step("pre_scripts/trace.sh", "rpd", env=env)
    assert done.returncode == 1
    assert "cannot fetch revision" in done.stderr
    assert "'rpd' cannot be prepared" in done.stderr


def test_rpd_output(workspace: Any) -> None:
    (workspace.model / "trace.rpd").write_text("db", encoding="utf-8")
    (workspace.model / "rocmProfileData/tools").mkdir(parents=True)
    (workspace.model / "rocmProfileData/tools/rpd2tracing.py").write_text(
        "import sys; open(sys.argv[2], 'w').write(open(sys.argv[1]).read() + ' json')", encoding="utf-8"
    )
    workspace.real("python3")
    assert workspace.step("post_scripts/trace.sh", "rpd").returncode == 0
    output = workspace.model / "rpd_output"
    assert (output / "trace.rpd").read_text(encoding="utf-8") == "db"
    assert (output / "trace.json").read_text(encoding="utf-8") == "db json"


@pytest.mark.parametrize("trace", [True, False])
def test_rpd_without_trace_or_converter_only_warns(workspace: Any, trace: bool) -> None:
    if trace:
        (workspace.model / "trace.rpd").write_text("db", encoding="utf-8")
    done = workspace.step("post_scripts/trace.sh", "rpd")
    assert done.returncode == 0
    assert "warning: rpd" in done.stderr
    assert (workspace.model / "rpd_output/trace.rpd").exists() == trace


def _write(workspace: Any, **files: str) -> None:
    for name, text in files.items():
        path = workspace.model / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_rocprof_output_is_gathered(workspace: Any) -> None:
    """Contract 11.2, outputs of the rocprof family."""
    _write(
        workspace,
        **{
            "results.csv": "a",
            "results.stats.csv": "b",
            "rocprofv3-x/y": "c",
            "my_trace.csv": "d",
            "node7/12_results.db": "e",
            "other/file": "f",
            "results_model.csv": "the model's own result",
        },
    )
    done = workspace.step("post_scripts/trace.sh", "rocprof", env={"MAD_OUTPUT_CSV": "results_model.csv"})
    assert (done.returncode, done.stderr) == (0, "")
    output = workspace.model / "rocprof_output"
    found = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    assert found == [
        "my_trace.csv",
        "node7/12_results.db",
        "results.csv",
        "results.stats.csv",
        "rocprofv3-x/y",
    ]
    assert (workspace.model / "results_model.csv").is_file()


def test_rocprof_canonical_copies_and_histogram(workspace: Any) -> None:
    """Contract 11.2: canonical names; files of several processes become one."""
    header = "Kernel_Name,Counter_Name,Counter_Value\n"
    _write(
        workspace,
        **{
            "rocprof_output/node/1_counter_collection.csv": header + "gemm,SQ_WAVES,4\n",
            "rocprof_output/node/2_counter_collection.csv": header + "gemm,SQ_WAVES,6\nadd,SQ_WAVES,1\n",
            "rocprof_output/node/1_domain_stats.csv": "Name,Calls,TotalDurationNs\nHIP_API,3,450\n",
            "rocprof_output/rocprofv3_output_agent_info.csv": "x\n",
        },
    )
    workspace.real("python3")
    done = workspace.step("post_scripts/trace.sh", "rocprof")
    assert (done.returncode, done.stderr) == (0, "")
    output = workspace.model / "rocprof_output"
    counters = (output / "rocprofv3_output_counter_collection.csv").read_text(encoding="utf-8")
    assert counters == header + "gemm,SQ_WAVES,4\ngemm,SQ_WAVES,6\nadd,SQ_WAVES,1\n"
    assert (output / "rocprofv3_output_domain_stats.csv").is_file()
    assert json.loads((output / "instruction_histogram.json").read_text(encoding="utf-8")) == {
        "counters": {"SQ_WAVES": 11.0},
        "kernels": {"gemm": {"SQ_WAVES": 10.0}, "add": {"SQ_WAVES": 1.0}},
        "domains": {"HIP_API": {"calls": 3, "duration_ns": 450}},
    }


def test_rocprof_without_output_only_warns(workspace: Any) -> None:
    done = workspace.step("post_scripts/trace.sh", "rocprof")
    assert done.returncode == 0
    assert "warning: rocprof: the profiler left no output" in done.stderr


@pytest.mark.parametrize("trace", [True, False])
def test_rocm_trace_lite_output(workspace: Any, trace: bool) -> None:
    if trace:
        _write(workspace, **{"rocm_trace_lite_output/trace.db": "x"})
    done = workspace.step("post_scripts/trace.sh", "rocm_trace_lite")
    assert done.returncode == 0
    assert ("warning" in done.stderr) != trace
