"""What an executor saw of one run, before anybody judged it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_madengine.results.scanner import LogFindings


@dataclass(frozen=True)
class RunResult:
    """What an executor saw; ``results.outcome`` turns it into a verdict."""

    #: Exit status of the model script; ``None`` when it did not run or did not end by itself.
    exit_code: int | None
    #: Phase in which the run ended: ``prepare``, ``run``, ``collect`` (all went well: ``done``).
    ended_in: str
    #: Name of the failing step of that phase (``clone``, ``pre-script trace.sh``, ...), with its status.
    failed_step: str = ""
    failed_step_code: int | None = None
    #: Phase whose limit expired, and that limit in seconds.
    timed_out: str = ""
    timeout: float | None = None
    #: Killed by the kernel for memory.
    out_of_memory: bool = False
    interrupted: bool = False
    #: A reason of the engine's side, e.g. the container vanished.
    engine_error: str = ""
    findings: LogFindings = field(default_factory=LogFindings)
    #: Seconds per phase; ``run`` is ``test_duration``.
    durations: Mapping[str, float] = field(default_factory=dict)
    git_commit: str = ""
    #: Collected files, relative to the artifacts directory.
    artifacts: tuple[str, ...] = ()
    log_file: str = ""
    log_tail: tuple[str, ...] = ()
    #: Text of the multiple_results file written during this run; ``None`` when there is none.
    multiple_results: str | None = None
    #: Container that was left running on purpose (``--mad-keep-alive``).
    kept_container: str = ""
    warnings: tuple[str, ...] = ()
