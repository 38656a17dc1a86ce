"""The verdict about one run (contract 12.2; reasons of 10.3 and 10.8)."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from pytest_madengine.errors import ResultError
from pytest_madengine.results.clonecause import clone_cause
from pytest_madengine.results.columns import seconds
from pytest_madengine.results.limits import METRICS
from pytest_madengine.results.metrics import single_metrics
from pytest_madengine.results.multiple import parse_multiple_results, rows_reason
from pytest_madengine.results.record import Metric, Outcome
from pytest_madengine.results.result import RunResult
from pytest_madengine.results.scanner import LogFindings

#: Reason of a worker node of a multi-node job (``MAD_COLLECT_METRICS=false``).
WORKER_NODE: Final = "worker node"
#: Reason of ``--skip-model-run``.
SKIP_MODEL_RUN: Final = "--skip-model-run"
#: The hook whose metrics take the place of ours.
HOOK: Final = "pytest_mad_parse_metrics"
_NO_METRIC: Final = "no performance metric in the log"
_OOM: Final = "killed by the kernel for memory"
_MEMORY_HINT: Final = "give the container more memory (--memory, --shm-size) or run a smaller configuration"
_PRINT_HINT: Final = "the script must print 'performance: <number> <metric>' on its standard output"
_NO_VALUE: Final = "performance line without a valid value"
#: A malformed line beside good ones is worth a warning when it may have had a number.
_DIGIT: Final = re.compile(r"performance:.*\d")
_NUMBER_HINT: Final = "print a plain number such as 1234.5, and the metric behind it"
#: Characters of a log line that a reason quotes.
_QUOTED: Final = 200
#: Exit statuses of bash that are no status of the workload.
_STATUS_HINTS: Final = {
    126: "the script cannot be executed: check its mode and its interpreter line",
    127: "a command was not found: check that the image contains it",
}


@dataclass(frozen=True)
class Verdict:
    """What the run means.  The fields go into the ``RunRecord`` as they are."""

    outcome: Outcome
    reason: str = ""
    #: Phase that decided: ``prepare``, ``run``, ``collect``, ``results``, ``engine``.
    phase: str = "run"
    metrics: tuple[Metric, ...] = ()
    warnings: tuple[str, ...] = ()
    #: What the user can do about a failure.
    hint: str = ""
    #: The machine or a service failed, not the model.
    infrastructure: bool = False
    #: False for a worker node: it has no row.
    has_row: bool = True


def judge(
    result: RunResult,
    *,
    multiple_results: str = "",
    strict_log: bool = False,
    collect_metrics: bool = True,
    skip_run: bool = False,
    found: Sequence[Metric] | None = None,
) -> Verdict:
    """The one verdict of a run, from what the executor saw and nothing else.

    :param multiple_results: file name of the model entry; empty: ``performance:`` lines count.
    :param strict_log: an error pattern fails the run even with performance.
    :param collect_metrics: False on a worker node (``MAD_COLLECT_METRICS=false``).
    :param skip_run: ``--skip-model-run``: everything but the model script was done.
    :param found: metrics that a hook of the user found; they take the place of everything printed or written.
    """
    failure = _broken_off(result) or _failed_prepare(result)
    late = result.exit_code is not None and result.ended_in in ("collect", "done")
    late = late and result.timed_out in ("", "collect")
    if not skip_run and (failure is None or late):
        # What comes after the script never hides that the script itself failed.
        script = _failed_script(result)
        if script is not None and failure is not None:
            script = replace(script, warnings=(failure.reason,))
        failure = script or failure
    if failure is not None:
        return _with_findings(failure, result, multiple_results)
    verdict = _judge_end(result, multiple_results, strict_log, collect_metrics, skip_run, found)
    collect = _failed_collect(result)
    if collect is not None and verdict.outcome is not Outcome.FAILURE:
        return _with_findings(collect, result, multiple_results)
    return replace(verdict, warnings=(*result.warnings, *verdict.warnings))


def _judge_end(
    result: RunResult,
    multiple_results: str,
    strict_log: bool,
    collect_metrics: bool,
    skip_run: bool,
    found: Sequence[Metric] | None,
) -> Verdict:
    """The script ended well, or was not to run: what did it leave?"""
    if skip_run:
        return Verdict(Outcome.SKIPPED, SKIP_MODEL_RUN)
    if not collect_metrics:
        return Verdict(Outcome.SUCCESS, WORKER_NODE, has_row=False)
    if found is not None:
        # A number is kept as printed, but for the blanks around it: outputs have it on one line.
        verdict = _judge_found(tuple(replace(metric, value=metric.value.strip()) for metric in found))
    else:
        verdict = _judge_rows(result, multiple_results) if multiple_results else _judge_log(result.findings)
    return _about_memory(_judge_pattern(verdict, result.findings, strict_log), result)


def _broken_off(result: RunResult) -> Verdict | None:
    """The run did not come to its end: interrupted, timed out, lost."""
    phase = result.ended_in or "run"
    if result.interrupted:
        return Verdict(Outcome.FAILURE, "interrupted", phase)
    if result.timed_out:
        reason = f"Program timed out. Requested timeout={seconds(result.timeout)} ({result.timed_out} phase)"
        option = f"mad_timeout_{result.timed_out}"
        if result.timed_out == "run":
            option = "--mad-timeout or the timeout of the model entry"
        return Verdict(Outcome.FAILURE, reason, result.timed_out, hint=f"raise the limit with {option}")
    if result.engine_error:
        return Verdict(Outcome.FAILURE, result.engine_error, "engine", infrastructure=True)
    return None


def _failed_prepare(result: RunResult) -> Verdict | None:
    if result.ended_in != "prepare":
        return None
    if result.failed_step:
        hint = "the model script did not run; the output of the step is in the log"
        return Verdict(Outcome.FAILURE, _step_reason(result), "prepare", hint=hint)
    return _without_status(result, "prepare")


def _failed_script(result: RunResult) -> Verdict | None:
    code = result.exit_code
    if code == 0:
        return None
    if code is None:
        if result.failed_step:
            return Verdict(Outcome.FAILURE, _step_reason(result), result.ended_in or "run")
        return _without_status(result, result.ended_in or "run")
    name = _signal_name(code)
    note = ""
    if result.out_of_memory:
        note = f" ({_OOM})" if name == "SIGKILL" else f" (a process was {_OOM})"
    elif name:
        note = f" (killed by {name})"
    hint = _MEMORY_HINT if result.out_of_memory else _status_hint(code, result.findings)
    return Verdict(Outcome.FAILURE, f"script exited with {code}{note}", hint=hint)


def _failed_collect(result: RunResult) -> Verdict | None:
    if result.ended_in != "collect":
        return None
    if result.failed_step:
        return Verdict(
            Outcome.FAILURE, _step_reason(result), "collect", hint="the output of the step is in the log"
        )
    return _without_status(result, "collect")


def _step_reason(result: RunResult) -> str:
    code = result.failed_step_code
    status = "" if code is None else f" with exit status {code}"
    name = _signal_name(code or 0)
    cause = clone_cause(result.log_tail) if result.failed_step == "clone" else ""
    reason = f"{result.failed_step} failed{status}" + (f" (killed by {name})" if name else "")
    return f"{reason}: {cause}" if cause else reason


def _without_status(result: RunResult, phase: str) -> Verdict:
    """Nobody said how the container ended: it was killed from outside, or by the kernel."""
    if result.out_of_memory:
        return Verdict(Outcome.FAILURE, _OOM, phase, hint=_MEMORY_HINT)
    return Verdict(
        Outcome.FAILURE,
        f"the container ended in the {phase} phase without an exit status",
        phase,
        hint="it was stopped or removed from outside, or the container engine restarted",
        infrastructure=True,
    )


def _signal_name(code: int) -> str:
    """Signal of a status above 128 (as shells report it) or of a negative one; empty for others."""
    number = -code if code < 0 else code - 128
    if not 0 < number < 32:
        return ""
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _status_hint(code: int, findings: LogFindings) -> str:
    if code in _STATUS_HINTS:
        return _STATUS_HINTS[code]
    return _pattern_text(findings) or "the end of the log says why"


def _pattern_text(findings: LogFindings) -> str:
    if not findings.error_pattern:
        return ""
    return f"error pattern '{findings.error_pattern}' in log line {findings.error_line}"


def _with_findings(failure: Verdict, result: RunResult, multiple_results: str) -> Verdict:
    """The failure with the metrics that were found all the same; they stay in the FAILURE row."""
    metrics, warnings = single_metrics(result.findings)
    if result.findings.too_many:
        metrics, warnings = (), (f"the log has more than {METRICS} metrics",)
    if multiple_results:
        metrics, warnings = (), ()
        if result.multiple_results is not None:
            try:
                metrics = parse_multiple_results(result.multiple_results, multiple_results)
            except ResultError as error:
                warnings = (error.message,)
    failed = tuple(replace(metric, outcome=Outcome.FAILURE) for metric in metrics)
    return replace(failure, metrics=failed, warnings=(*result.warnings, *failure.warnings, *warnings))


def _judge_log(findings: LogFindings) -> Verdict:
    metrics, warnings = single_metrics(findings)
    if findings.too_many:
        reason = f"the log has more than {METRICS} metrics"
        return Verdict(Outcome.FAILURE, reason, "results", hint="print fewer, or write them to an artifact")
    if findings.ambiguous and (metrics or not findings.error_pattern):
        reason = f"ambiguous number in '{_quoted(findings.ambiguous)}'"
        failed = tuple(replace(metric, outcome=Outcome.FAILURE) for metric in metrics)
        return Verdict(Outcome.FAILURE, reason, "results", failed, warnings, hint=_NUMBER_HINT)
    if metrics:
        if _DIGIT.search(findings.malformed):
            warnings = (*warnings, f"{_NO_VALUE}: '{_quoted(findings.malformed)}'")
        return Verdict(Outcome.SUCCESS, metrics=metrics, warnings=warnings)
    pattern = _pattern_text(findings)
    if pattern:
        return Verdict(Outcome.FAILURE, pattern, hint=f"{_NO_METRIC}; the lines around the pattern say why")
    if findings.malformed:
        reason = f"{_NO_VALUE}: '{_quoted(findings.malformed)}'"
        return Verdict(Outcome.FAILURE, reason, "results", hint=_PRINT_HINT)
    return Verdict(Outcome.FAILURE, _NO_METRIC, "results", hint=_PRINT_HINT)


def _quoted(line: str) -> str:
    return line if len(line) <= _QUOTED else f"{line[:_QUOTED]}..."


def _judge_rows(result: RunResult, file_name: str) -> Verdict:
    if result.multiple_results is None:
        return Verdict(
            Outcome.FAILURE,
            f"multiple_results file {file_name} was not produced by this run",
            "results",
            hint="the script must write it to its current directory or to /myworkspace",
        )
    try:
        metrics = parse_multiple_results(result.multiple_results, file_name)
    except ResultError as error:
        return Verdict(Outcome.FAILURE, error.message, "results", hint=error.hint)
    reason = rows_reason(metrics)
    if reason:
        hint = f"see {file_name} among the artifacts"
        return Verdict(Outcome.FAILURE, reason, "results", metrics, hint=hint)
    return Verdict(Outcome.SUCCESS, metrics=metrics)


def _judge_found(metrics: tuple[Metric, ...]) -> Verdict:
    reason = rows_reason(metrics, "metrics")
    if reason:
        return Verdict(Outcome.FAILURE, f"{HOOK}: {reason}", "results", metrics)
    return Verdict(Outcome.SUCCESS, metrics=metrics)


def _judge_pattern(verdict: Verdict, findings: LogFindings, strict_log: bool) -> Verdict:
    """An error pattern beside a result: a warning, or with ``strict_log`` the end of the matter."""
    text = _pattern_text(findings)
    if not text or verdict.reason == text:
        return verdict
    if not strict_log or verdict.outcome is not Outcome.SUCCESS:
        return replace(verdict, warnings=(*verdict.warnings, text))
    metrics = tuple(replace(metric, outcome=Outcome.FAILURE) for metric in verdict.metrics)
    hint = "the metrics are recorded; without --mad-strict-log the pattern would be a warning"
    return replace(verdict, outcome=Outcome.FAILURE, reason=text, metrics=metrics, hint=hint)


def _about_memory(verdict: Verdict, result: RunResult) -> Verdict:
    """A kill for memory that the script survived."""
    if not result.out_of_memory:
        return verdict
    hint = _MEMORY_HINT if verdict.outcome is Outcome.FAILURE else verdict.hint
    return replace(verdict, warnings=(*verdict.warnings, f"a process of the run was {_OOM}"), hint=hint)
