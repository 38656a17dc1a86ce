"""Contract 12.2, 10.3 and 10.8: the verdict about a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.results.limits import METRICS
from pytest_madengine.results.outcome import Verdict, judge
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.results.result import RunResult
from pytest_madengine.results.rows import record_rows
from pytest_madengine.results.scanner import LogScanner


def result(log: str = "performance: 5 x\n", code: int | None = 0, **fields: Any) -> RunResult:
    scanner = LogScanner()
    scanner.feed(log.encode())
    values: dict[str, Any] = {"exit_code": code, "ended_in": "done", "findings": scanner.findings(), **fields}
    return RunResult(**values)


def cells(verdict: Verdict) -> list[tuple[str, str, str]]:
    return [(metric.value, metric.name, str(metric.outcome)) for metric in verdict.metrics]


@pytest.mark.parametrize(
    ("log", "code", "default", "strict", "reason"),
    [
        (
            "Traceback (most recent call last)\nperformance: 1 pass",
            0,
            "SUCCESS",
            "FAILURE",
            "error pattern 'Traceback (most recent call last)' in log line 1",
        ),
        (
            "0 FAILED, 12 passed\nperformance: 5 x",
            0,
            "SUCCESS",
            "FAILURE",
            "error pattern 'FAILED' in log line 1",
        ),
        ("performance: 5 x", 1, "FAILURE", "FAILURE", "script exited with 1"),
        ("CUDA out of memory", 0, "FAILURE", "FAILURE", "error pattern 'CUDA out of memory' in log line 1"),
        ("FutureWarning: a ValueError: b", 0, "FAILURE", "FAILURE", "no performance metric in the log"),
    ],
)
def test_outcome_vectors(log: str, code: int, default: str, strict: str, reason: str) -> None:
    """Contract 12.2, and defect 7: `0 FAILED` or an exception text with performance and exit 0 / SUCCESS."""
    relaxed, severe = judge(result(log, code)), judge(result(log, code), strict_log=True)
    assert (str(relaxed.outcome), str(severe.outcome)) == (default, strict)
    assert severe.reason == reason
    if default == "SUCCESS":
        assert relaxed.warnings == (reason,)
        assert relaxed.reason == ""
    else:
        assert relaxed.reason == reason


def test_success() -> None:
    verdict = judge(result(warnings=("from the executor",)))
    assert verdict.outcome is Outcome.SUCCESS
    assert cells(verdict) == [("5", "x", "SUCCESS")]
    assert verdict.warnings == ("from the executor",)


def test_no_performance_is_never_success() -> None:
    """Defect 47: given a run without error and without performance / FAILURE; with `failed (exitcode:` /
    that pattern is the reason."""
    assert judge(result("all fine\n")).reason == "no performance metric in the log"
    verdict = judge(result("rank 0 failed (exitcode: 1)\n"))
    assert verdict.outcome is Outcome.FAILURE
    assert verdict.reason == "error pattern 'failed (exitcode:' in log line 1"
    assert verdict.hint


def test_malformed_line_is_quoted() -> None:
    """Contract 12.1."""
    verdict = judge(result("performance: 12,3 s/s\n"))
    assert verdict.reason == "performance line without a valid value: 'performance: 12,3 s/s'"
    assert verdict.phase == "results"
    assert judge(result(f"performance: {'|' * 500}\n")).reason.endswith("|...'")


@pytest.mark.parametrize(
    ("code", "fields", "reason"),
    [
        (1, {}, "script exited with 1"),
        (127, {}, "script exited with 127"),
        (255, {}, "script exited with 255"),
        (137, {}, "script exited with 137 (killed by SIGKILL)"),
        (139, {}, "script exited with 139 (killed by SIGSEGV)"),
        (134, {}, "script exited with 134 (killed by SIGABRT)"),
        (143, {}, "script exited with 143 (killed by SIGTERM)"),
        (-9, {}, "script exited with -9 (killed by SIGKILL)"),
        (137, {"out_of_memory": True}, "script exited with 137 (killed by the kernel for memory)"),
        (1, {"out_of_memory": True}, "script exited with 1 (a process was killed by the kernel for memory)"),
        (None, {"out_of_memory": True, "ended_in": "run"}, "killed by the kernel for memory"),
        (None, {"interrupted": True, "ended_in": "run"}, "interrupted"),
        (
            None,
            {"timed_out": "run", "timeout": 60.0, "ended_in": "run"},
            "Program timed out. Requested timeout=60 (run phase)",
        ),
        (
            None,
            {"timed_out": "prepare", "timeout": 1.5, "ended_in": "prepare"},
            "Program timed out. Requested timeout=1.5 (prepare phase)",
        ),
        (
            0,
            {"timed_out": "collect", "timeout": 600, "ended_in": "collect"},
            "Program timed out. Requested timeout=600 (collect phase)",
        ),
        (
            137,
            {"timed_out": "run", "timeout": 60, "ended_in": "collect"},
            "Program timed out. Requested timeout=60 (run phase)",
        ),
        (None, {"engine_error": "container vanished", "ended_in": "run"}, "container vanished"),
        (None, {"engine_error": "connection lost", "ended_in": "done"}, "connection lost"),
        (
            None,
            {"ended_in": "prepare", "failed_step": "clone", "failed_step_code": 128},
            "clone failed with exit status 128",
        ),
        (
            None,
            {"ended_in": "prepare", "failed_step": "pre-script trace.sh", "failed_step_code": 137},
            "pre-script trace.sh failed with exit status 137 (killed by SIGKILL)",
        ),
        (None, {"ended_in": "run", "failed_step": "change directory"}, "change directory failed"),
        (
            0,
            {"ended_in": "collect", "failed_step": "post-script a.sh", "failed_step_code": 2},
            "post-script a.sh failed with exit status 2",
        ),
        (
            3,
            {"ended_in": "collect", "failed_step": "post-script a.sh", "failed_step_code": 2},
            "script exited with 3",
        ),
        (3, {"ended_in": "collect", "interrupted": True}, "script exited with 3"),
        (None, {"ended_in": "run"}, "the container ended in the run phase without an exit status"),
        (None, {"ended_in": "prepare"}, "the container ended in the prepare phase without an exit status"),
        (0, {"ended_in": "collect"}, "the container ended in the collect phase without an exit status"),
    ],
)
def test_failures_name_what_happened(code: int | None, fields: dict[str, Any], reason: str) -> None:
    """Contract 10.3, 10.8, 12.2: the reason; the performance found stays in the FAILURE row."""
    verdict = judge(result(code=code, **fields))
    assert verdict.outcome is Outcome.FAILURE
    assert verdict.reason == reason
    assert cells(verdict) == [("5", "x", "FAILURE")]
    assert verdict.has_row


def test_late_trouble_becomes_a_warning_of_a_failed_script() -> None:
    verdict = judge(result(code=3, ended_in="collect", timed_out="collect", timeout=600))
    assert verdict.reason == "script exited with 3"
    assert verdict.warnings == ("Program timed out. Requested timeout=600 (collect phase)",)


def test_post_script_does_not_hide_a_missing_metric() -> None:
    """Contract 10.3: a failing post-script is a FAILURE unless the item already failed."""
    verdict = judge(result("nothing", ended_in="collect", failed_step="post-script a.sh", failed_step_code=2))
    assert verdict.reason == "no performance metric in the log"


@pytest.mark.parametrize(
    ("fields", "phase", "infrastructure"),
    [
        ({"ended_in": "prepare", "failed_step": "clone"}, "prepare", False),
        ({"ended_in": "prepare", "timed_out": "prepare"}, "prepare", False),
        ({"ended_in": "run", "timed_out": "run"}, "run", False),
        ({"ended_in": "run", "engine_error": "gone"}, "engine", True),
        ({"ended_in": "run"}, "run", True),
        ({"ended_in": "run", "exit_code": 1}, "run", False),
        ({"ended_in": "run", "interrupted": True}, "run", False),
    ],
)
def test_phase_and_kind_of_a_failure(fields: dict[str, Any], phase: str, infrastructure: bool) -> None:
    verdict = judge(result(code=None, **fields) if "exit_code" not in fields else result(**fields))
    assert (verdict.phase, verdict.infrastructure) == (phase, infrastructure)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"timed_out": "run", "timeout": 1, "ended_in": "run"}, "--mad-timeout"),
        ({"timed_out": "prepare", "timeout": 1, "ended_in": "prepare"}, "mad_timeout_prepare"),
        ({"exit_code": 126}, "cannot be executed"),
        ({"exit_code": 127}, "command was not found"),
        ({"exit_code": 137, "out_of_memory": True}, "more memory"),
        ({"exit_code": 1}, "error pattern 'FAILED' in log line 1"),
    ],
)
def test_hints_say_what_to_do(fields: dict[str, Any], word: str) -> None:
    assert word in judge(result("FAILED\n", **fields)).hint


def test_survived_memory_kill_is_mentioned() -> None:
    verdict = judge(result(out_of_memory=True))
    assert verdict.outcome is Outcome.SUCCESS
    assert verdict.warnings == ("a process of the run was killed by the kernel for memory",)
    assert "more memory" in judge(result("nothing", out_of_memory=True)).hint


def test_worker_node() -> None:
    """Contract 12.2: SUCCESS `worker node`, no row; its failures have one."""
    verdict = judge(result("nothing"), collect_metrics=False)
    assert (str(verdict.outcome), verdict.reason, verdict.has_row) == ("SUCCESS", "worker node", False)
    assert judge(result("nothing", 1), collect_metrics=False).has_row


def test_skip_model_run() -> None:
    """Contract 10.3: SKIPPED, reason `--skip-model-run`; what failed before or after it still counts."""
    verdict = judge(result("", None), skip_run=True)
    assert (str(verdict.outcome), verdict.reason) == ("SKIPPED", "--skip-model-run")
    assert verdict.metrics == ()
    broken = result("", None, ended_in="prepare", failed_step="clone")
    assert judge(broken, skip_run=True).outcome is Outcome.FAILURE
    broken = result("", None, ended_in="collect", failed_step="post-script p.sh")
    assert judge(broken, skip_run=True).reason == "post-script p.sh failed"


# ---------------------------------------------------------------------------------------------------------
# multiple_results

ROWS = "model,performance,metric\n1,10,sps\n2,20,sps\n"


def rows(text: str | None, log: str = "", code: int | None = 0, **options: bool) -> Verdict:
    return judge(result(log, code, multiple_results=text), multiple_results="perf_x.csv", **options)


def test_rows_decide_and_lines_are_ignored() -> None:
    """Contract 12.3."""
    verdict = rows(ROWS, "performance: 99 ignored\n")
    assert verdict.outcome is Outcome.SUCCESS
    assert [(metric.row, metric.value) for metric in verdict.metrics] == [("1", "10"), ("2", "20")]


def test_missing_file() -> None:
    """Defects 1, 2 and 56: given nothing written during this run / FAILURE with one row."""
    verdict = rows(None, "performance: 5 x\n")
    assert verdict.reason == "multiple_results file perf_x.csv was not produced by this run"
    assert verdict.metrics == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model,performance,metric\n", "multiple_results file perf_x.csv has no rows"),
        ("", "multiple_results file perf_x.csv has no rows"),
        ("model,performance\n1,10\n", "Multiple Results CSV file is missing the metric column"),
    ],
)
def test_unusable_file(text: str, reason: str) -> None:
    """Contract 12.3, defect 56: a results file without `metric` / FAILURE, one row."""
    verdict = rows(text)
    assert (str(verdict.outcome), verdict.reason, verdict.metrics) == ("FAILURE", reason, ())


def test_rows_without_performance_are_named() -> None:
    """Contract 12.3."""
    verdict = rows("model,performance,metric\n1,10,sps\n2,,sps\n3,nan,sps\n")
    assert verdict.reason == "2 of 3 rows have no performance: 2, 3"
    assert [str(metric.outcome) for metric in verdict.metrics] == ["SUCCESS", "FAILURE", "FAILURE"]


def test_rows_marked_as_failed_are_named() -> None:
    verdict = rows("model,performance,metric,status\na,1,x,FAILURE\n,,x,\nc,3,x,SUCCESS\n")
    assert verdict.reason == "1 of 3 rows have no performance: (no name); 1 of 3 rows have status FAILURE: a"


def test_long_lists_of_rows_are_cut() -> None:
    text = "model,performance,metric\n" + "".join(f"r{number},,x\n" for number in range(15))
    assert rows(text).reason.endswith("r9 and 5 more")


def test_pattern_beside_rows() -> None:
    assert rows(ROWS, "FAILED\n").warnings == ("error pattern 'FAILED' in log line 1",)
    verdict = rows(ROWS, "FAILED\n", strict_log=True)
    assert verdict.reason == "error pattern 'FAILED' in log line 1"
    assert {str(metric.outcome) for metric in verdict.metrics} == {"FAILURE"}
    # A failure of the rows keeps its own reason.
    assert rows(None, "FAILED\n", strict_log=True).reason.endswith("was not produced by this run")


def test_rows_of_a_failed_script_are_kept() -> None:
    verdict = rows(ROWS, code=1)
    assert verdict.reason == "script exited with 1"
    assert {str(metric.outcome) for metric in verdict.metrics} == {"FAILURE"}
    assert rows("model\n1\n", code=1).warnings == (
        "Multiple Results CSV file is missing the performance column",
    )
    assert rows(None, code=1).metrics == ()


@given(
    st.builds(
        RunResult,
        exit_code=st.sampled_from([None, 0, 1, 137]),
        ended_in=st.sampled_from(["", "prepare", "run", "collect", "done"]),
        failed_step=st.sampled_from(["", "clone"]),
        timed_out=st.sampled_from(["", "run"]),
        out_of_memory=st.booleans(),
        interrupted=st.booleans(),
        engine_error=st.sampled_from(["", "gone"]),
        multiple_results=st.sampled_from([None, "", ROWS]),
        findings=st.sampled_from([result("").findings, result().findings, result("FAILED").findings]),
    ),
    st.sampled_from(["", "f.csv"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_success_needs_a_clean_end(
    seen: RunResult, name: str, strict: bool, collect: bool, skip: bool
) -> None:
    """Promise 1: every failure has a reason, and SUCCESS only follows a run that ended well with a result."""
    verdict = judge(seen, multiple_results=name, strict_log=strict, collect_metrics=collect, skip_run=skip)
    if verdict.outcome is Outcome.SUCCESS:
        assert seen.exit_code == 0
        assert not (seen.timed_out)
        assert not (seen.interrupted)
        assert not (seen.engine_error)
        assert verdict.metrics or not verdict.has_row
    else:
        assert verdict.reason
    assert verdict == judge(
        replace(seen), multiple_results=name, strict_log=strict, collect_metrics=collect, skip_run=skip
    )


def test_more_metrics_than_a_run_may_report() -> None:
    """faults 2.8: given more metrics or rows than a limit, then a FAILURE that says so, and nothing is cut in
    silence; at the limit all are there.
    """
    lines = [f"performance: {number} m{number}\n" for number in range(METRICS + 1)]
    assert len(judge(result("".join(lines[:METRICS]))).metrics) == METRICS
    verdict = judge(result("".join(lines)))
    assert (verdict.outcome, verdict.reason) == (Outcome.FAILURE, f"the log has more than {METRICS} metrics")
    assert verdict.metrics == ()
    assert "more than" in judge(result("".join(lines), code=1)).warnings[-1]
    header, row = "model,performance,metric\n", "1,2,x\n"
    assert len(rows(header + row * METRICS).metrics) == METRICS
    verdict = rows(header + row * (METRICS + 1))
    assert verdict.reason == f"multiple_results file perf_x.csv has more than {METRICS} rows"


def test_the_rows_of_a_record_are_linear_work() -> None:
    """faults 2.8: given a record with many metrics, when its rows are made, then each metric is looked at a
    bounded number of times.
    """
    looks = 0

    class Counted(Metric):
        def __getattribute__(self, name: str) -> Any:
            nonlocal looks
            looks += name == "outcome"
            return super().__getattribute__(name)

    counts = []
    for number in (100, 200):
        looks = 0
        metrics = tuple(Counted("1", f"m{index}") for index in range(number))
        record_rows(RunRecord("r", "i", "m", Outcome.SUCCESS, metrics=metrics))
        counts.append(looks)
    assert counts[1] == 2 * counts[0]
