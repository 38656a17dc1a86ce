"""The library trace (contract 11.4), run for real."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.resources import scripts_common

SCRIPT = scripts_common() / "tools" / "get_library_trace.py"

VECTORS = [
    ("x ./rocblas-bench -f gemm -r f32_r", "rocblas", "./rocblas-bench -f gemm -r f32_r"),
    (
        '- { rocblas_function: "rocblas_sgemm" }',
        "rocblas_function",
        '- { rocblas_function: "rocblas_sgemm" }',
    ),
    ("x hipblaslt-bench --api_method c -m 8", "hipblaslt", "hipblaslt-bench --api_method c -m 8"),
    ("Running kernel: Cijk_A", "tensile", "Cijk_A"),
    ("MIOpen(HIP): Command [f] ./bin/MIOpenDriver conv -n 1", "miopen", "./bin/MIOpenDriver conv -n 1"),
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "run_directory"
    directory.mkdir()
    return directory


def _trace(
    model: Path, *argv: str, env: dict[str, str] | None = None, merged: bool = True
) -> subprocess.CompletedProcess[bytes]:
    environ = {"PATH": os.environ["PATH"], "TRACE_MODE": "trace", **(env or {})}
    return subprocess.run(
        [sys.executable, SCRIPT, *argv],
        cwd=model,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        timeout=60,
        check=False,
    )


def _rows(model: Path) -> list[dict[str, str]]:
    with (model.parent / "library_trace.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _show(model: Path, text: str) -> tuple[str, ...]:
    (model / "text").write_text(text, encoding="utf-8", newline="")
    return "cat", "text"


@pytest.mark.parametrize(("line", "library", "config"), VECTORS, ids=[row[1] for row in VECTORS])
def test_vector_of_11_4(model: Path, line: str, library: str, config: str) -> None:
    done = _trace(model, *_show(model, f"before\n{line}\nafter\n"))
    assert done.stdout == b"before\nafter\n"
    assert [(row["library"], row["config"], row["calls"]) for row in _rows(model)] == [(library, config, "1")]


def test_vector_of_11_4_performance_line_is_printed_unchanged(model: Path) -> None:
    done = _trace(model, *_show(model, "performance: 5 x\n"))
    assert done.stdout == b"performance: 5 x\n"
    assert _rows(model) == []


def test_equal_calls_are_one_row_that_counts_them(model: Path) -> None:
    """Vector of 11.4: three MIOpen calls; the predecessor did not add them up."""
    lines = [VECTORS[4][0], VECTORS[0][0], VECTORS[4][0], VECTORS[4][0], VECTORS[3][0], VECTORS[3][0]]
    _trace(model, *_show(model, "\n".join(lines) + "\n"))
    assert [(row["library"], row["calls"]) for row in _rows(model)] == [
        ("miopen", "3"),
        ("rocblas", "1"),
        ("tensile", "2"),
    ]


def test_columns_and_facts_of_a_row(model: Path) -> None:
    env = {"JENKINS_BUILD_NUMBER": "17", "MAD_MODEL_NAME": "dummy3/dummy_3"}
    _trace(model, *_show(model, VECTORS[3][0]), env=env)
    header = (model.parent / "library_trace.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "jobid,created_date,model,library,config,calls"
    (row,) = _rows(model)
    assert (row["jobid"], row["model"]) == ("17", "dummy3/dummy_3")
    assert len(row["created_date"]) == len("2026-11-23 21:00:00")


def test_without_a_build_number_the_job_is_0(model: Path) -> None:
    _trace(model, *_show(model, VECTORS[3][0]))
    assert _rows(model)[0]["jobid"] == "0"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ({"ROCBLAS_TRACE": "1"}, {"rocblas", "rocblas_function"}),
        ({"HIPBLASLT_TRACE": "1"}, {"hipblaslt"}),
        ({"MIOPEN_TRACE": "1", "TENSILE_TRACE": "1", "ROCBLAS_TRACE": "0"}, {"miopen", "tensile"}),
        ({"TRACE_MODE": "tensile_trace, miopen_trace"}, {"miopen", "tensile"}),
        ({"TRACE_MODE": "trace"}, {"rocblas", "rocblas_function", "hipblaslt", "tensile", "miopen"}),
    ],
)
def test_only_the_selected_libraries_are_traced(
    model: Path, mode: dict[str, str], expected: set[str]
) -> None:
    text = "\n".join(row[0] for row in VECTORS) + "\n"
    done = _trace(model, *_show(model, text), env={"TRACE_MODE": "", **mode})
    assert {row["library"] for row in _rows(model)} == expected
    kept = [line for line, library, _ in VECTORS if library not in expected]
    assert done.stdout.decode().splitlines() == kept


def test_the_workload_gets_the_variables_of_11_4(model: Path) -> None:
    lines = _trace(model, "env").stdout.decode().splitlines()
    for wanted in (
        "ROCBLAS_LAYER=6",
        "MIOPEN_ENABLE_LOGGING_CMD=1",
        "TENSILE_DB=0x8000",
        "NCCL_DEBUG=INFO",
        "RCCL_KERNEL_COLL_TRACE_ENABLE=1",
        "NCCL_DEBUG_SUBSYS=INIT,COLL",
    ):
        assert wanted in lines


def test_rccl_alone_sets_its_variables_and_writes_no_rows(model: Path) -> None:
    done = _trace(model, "env", env={"TRACE_MODE": "", "RCCL_TRACE": "1"})
    assert b"NCCL_DEBUG=INFO\n" in done.stdout
    assert b"ROCBLAS_LAYER" not in done.stdout
    assert not (model.parent / "library_trace.csv").exists()


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_exit_status_is_the_workload_s(model: Path, status: int) -> None:
    """11.4: the predecessor swallowed the exit status."""
    assert _trace(model, "bash", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_death_by_a_signal_is_128_plus_its_number(model: Path, number: signal.Signals) -> None:
    assert _trace(model, "bash", "-c", f"kill -{int(number)} $$").returncode == 128 + number


def test_a_missing_workload_is_127(model: Path) -> None:
    done = _trace(model, "no-such-command")
    assert done.returncode == 127
    assert b"no-such-command" in done.stdout


def test_calls_are_kept_when_the_tracer_is_stopped(model: Path) -> None:
    """A time limit ends the wrapper by SIGTERM: the workload gets it, too, and its calls are written."""
    line = VECTORS[3][0]
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "bash", "-c", f'echo "{line}"; echo ready; exec sleep 60'],
        cwd=model,
        env={"PATH": os.environ["PATH"], "TRACE_MODE": "trace"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    process.stdout.close()
    assert _rows(model)[0]["config"] == "Cijk_A"


def test_a_background_process_does_not_hold_the_run(model: Path) -> None:
    """Given a workload that leaves a daemon with its output open, when it ends, then the tracer ends."""
    done = _trace(model, "bash", "-c", "sleep 600 & echo $!; exit 3", merged=False)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert done.returncode == 3


def test_the_beginning_of_a_line_is_shown_before_its_end(model: Path) -> None:
    """Progress dots appear although no line end follows."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "bash", "-c", "printf ...; read -r"],
        cwd=model,
        env={"PATH": os.environ["PATH"], "TRACE_MODE": "trace"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.read(3) == b"..."
    process.stdin.write(b"\n")
    process.stdin.close()
    process.wait(timeout=30)
    process.stdout.close()


def test_stdout_and_stderr_stay_apart(model: Path) -> None:
    command = f'echo out; echo err >&2; echo "{VECTORS[0][0]}" >&2; echo "{VECTORS[2][0]}"'
    done = _trace(model, "bash", "-c", command, merged=False)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    assert {row["library"] for row in _rows(model)} == {"rocblas", "hipblaslt"}


def test_a_call_after_a_progress_bar_counts(model: Path) -> None:
    done = _trace(model, *_show(model, "10%\rRunning kernel: K\n20%\r\nRunning kernel: K\r\nend"))
    assert done.stdout == b"10%\r20%\r\nend"
    assert _rows(model)[0]["calls"] == "2"


def test_output_file_can_be_chosen_and_grows(model: Path) -> None:
    for _ in range(2):
        _trace(model, *_show(model, VECTORS[3][0]), env={"OUTPUT_FILE": "mine.csv"})
    assert len((model / "mine.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert not (model.parent / "library_trace.csv").exists()


def test_an_unwritable_output_is_a_warning(model: Path) -> None:
    done = _trace(model, *_show(model, VECTORS[3][0]), env={"OUTPUT_FILE": "no/such/directory.csv"})
    assert done.returncode == 0
    assert b"warning: library trace is lost" in done.stdout


def test_nothing_to_trace_runs_the_workload_with_a_warning(model: Path) -> None:
    done = _trace(model, "echo", "hello", env={"TRACE_MODE": "nonsense"}, merged=False)
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    assert b"unknown name in TRACE_MODE: nonsense" in done.stderr
    assert b"nothing to trace" in done.stderr


def test_without_a_workload_it_is_a_usage_error(model: Path) -> None:
    assert _trace(model).returncode == 2


def _module() -> ModuleType:
    """The script as a module; compiled here, since an import would leave a cache among the built-in files."""
    module = ModuleType("get_library_trace")
    exec(compile(SCRIPT.read_text(encoding="utf-8"), str(SCRIPT), "exec"), module.__dict__)
    return module


_TRACER = _module()
_PIECES = st.sampled_from(
    [row[0].encode() for row in VECTORS] + [b"plain", b"\xff\x00", b"\r", b"\n", b"\r\n"]
)


@given(chunks=st.lists(st.lists(_PIECES | st.binary(max_size=5), max_size=5).map(b"".join), max_size=6))
def test_no_byte_is_lost_however_it_arrives(chunks: list[bytes]) -> None:
    """What is not a call passes unchanged, what is one is counted; how the output is cut does not matter."""
    every = _TRACER.Calls(set(_TRACER.TRACES))
    passed, start, text = b"", 0, b"".join(chunks)
    for end in [*re.finditer(rb"\r\n|\n|\r", text), None]:
        stop, after = (end.start(), end.end()) if end else (len(text), len(text))
        passed += b"" if every.take(text[start:stop]) else text[start:after]
        start = after

    found = _TRACER.Calls(set(_TRACER.TRACES))
    source, feed = os.pipe()
    collected, target = os.pipe()
    with os.fdopen(source, "rb", 0) as reader, os.fdopen(collected, "rb", 0) as result:
        stream = _TRACER.Stream(reader, target, found)
        for chunk in filter(None, chunks):
            os.write(feed, chunk)
            assert stream.read()
        os.close(feed)
        assert not stream.read()
        os.close(target)
        assert result.read() == passed
    assert found.counts == every.counts
