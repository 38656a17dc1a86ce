"""The result of a run, put together from everything that was seen of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_madengine.executors.docker.supervision import Supervisor
from pytest_madengine.executors.events import Events
from pytest_madengine.results.result import RunResult
from pytest_madengine.results.scanner import LogFindings

_PHASES = ("prepare", "run", "collect")


@dataclass(frozen=True)
class Ending:
    """How the container ended, as the engine tells it."""

    name: str
    #: ``None``: the engine did not say.
    exit_status: int | None
    #: Why the engine lost it; empty when it did not.
    lost: str = ""
    #: The engine saw the kernel kill for memory.
    out_of_memory: bool = False


def make_result(
    events: Events,
    supervisor: Supervisor,
    ending: Ending,
    findings: LogFindings,
    *,
    log_file: str,
    log_tail: tuple[str, ...],
    multiple_results: str | None,
    artifacts: tuple[str, ...],
    warnings: Iterable[str],
) -> RunResult:
    """What the executor saw, without judging it."""
    failed = events.failed[0] if events.failed else None
    ended_in = _ended_in(events, supervisor)
    if failed is None and supervisor.timed_out in ("prepare", "collect") and events.step:
        step, code = events.step, None
    else:
        step, code = (failed.name, failed.code) if failed is not None else ("", None)
    out_of_memory = events.oom_kills > 0 or ending.out_of_memory
    exit_code, contradiction = _exit_code(events, supervisor, ending)
    return RunResult(
        exit_code=exit_code,
        ended_in=ended_in,
        failed_step=step,
        failed_step_code=code,
        timed_out=supervisor.timed_out,
        timeout=supervisor.timeout,
        out_of_memory=out_of_memory,
        interrupted=supervisor.interrupted,
        engine_error="" if out_of_memory else _engine_error(events, supervisor, ending),
        findings=findings,
        durations=events.durations(),
        git_commit=events.commit,
        artifacts=artifacts,
        log_file=log_file,
        log_tail=log_tail,
        multiple_results=multiple_results,
        kept_container=ending.name if supervisor.kept else "",
        warnings=(*events.warnings, *warnings, *contradiction),
    )


def _exit_code(events: Events, supervisor: Supervisor, ending: Ending) -> tuple[int | None, tuple[str, ...]]:
    """The exit status of the script.  Where its events claim success, the first process has the last word.

    The workload can write into the events file; the status of the container's first process is out of its
    reach, and it is 0 only when the script and all steps ended well.  The engine tells it, or that process
    itself when the container stays.  Nobody told it: that is no success.
    """
    code, status = events.exit_code, ending.exit_status
    if code != 0 or supervisor.stopping or events.failed:
        return code, ()
    if supervisor.kept:
        told, status = "the container's first process", supervisor.kept_status
        if status is None:
            return None, ("the container that stays told no exit status of its run",)
    else:
        told = "the engine"
    if not status:
        return code, ()
    return status, (f"the run's events say exit status 0, {told} says {status}",)


def _ended_in(events: Events, supervisor: Supervisor) -> str:
    if supervisor.timed_out:
        return supervisor.timed_out
    if events.finished:
        return _phase_of(events.failed[0].phase) if events.failed else "done"
    seen = [name for name in _PHASES if name in events.phases]
    return seen[-1] if seen else supervisor.phase


def _phase_of(name: str) -> str:
    return name if name in _PHASES else "collect"


def _engine_error(events: Events, supervisor: Supervisor, ending: Ending) -> str:
    """Why a container ended that neither came to its end nor was stopped by us."""
    if supervisor.stuck:
        return f"the engine could not end container {ending.name}"
    if events.finished or supervisor.stopping or supervisor.kept:
        return ""
    if ending.lost:
        return ending.lost
    if events.stopped_by == "term":
        return f"container {ending.name} was stopped from outside"
    if events.stopped_by == "lifeline":
        return f"the connection to container {ending.name} broke off"
    if events.ended:
        return f"something in container {ending.name} killed everything in it, our script included"
    if ending.exit_status == 137:
        return f"container {ending.name} was killed from outside (exit status 137)"
    status = "" if ending.exit_status is None else f" (exit status {ending.exit_status})"
    return f"container {ending.name} ended before its script did{status}"
