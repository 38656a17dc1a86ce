"""One item on its way: what its phases produced, and the record made of it at the end.

The fixtures and ``mad_run`` drive an :class:`ItemRun` through the same steps; whatever happens on the way,
:meth:`ItemRun.record` gives exactly one record.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_madengine.errors import EngineError, MadError, PlanError, ResultError, RunError
from pytest_madengine.plan.runplan import DataMount, Image, Lease, RunPlan
from pytest_madengine.results.cleaning import Gate
from pytest_madengine.results.lines import own_lines
from pytest_madengine.results.record import Attempt, Metric, Outcome, RunRecord
from pytest_madengine.session.gating import Judged, is_judged
from pytest_madengine.session.items import ItemSpec
from pytest_madengine.session.session import MadSession
from pytest_madengine.util.clock import utc_now, utc_precise
from pytest_madengine.util.ends import asked
from pytest_madengine.util.files import append_line
from pytest_madengine.util.text import clip

if TYPE_CHECKING:
    from pytest_madengine.data.progress import TransferState
    from pytest_madengine.results.outcome import Verdict
    from pytest_madengine.results.result import RunResult
    from pytest_madengine.scheduling.leases import HeldLease

T = TypeVar("T")

#: Seconds before a run that was lost is tried again, longer each time: an engine that is being stopped ends
#: its containers first and goes on accepting requests meanwhile.
RETRY_PAUSE = 2.0
#: Lines of the log shown in a failing test.
SHOWN_LINES = 8
#: Characters of such a line.
SHOWN_WIDTH = 400


@dataclass
class ItemRun:
    """State of one item; every step stores what it made."""

    session: MadSession
    spec: ItemSpec
    item_id: str
    phase: str = "setup"
    started: str = field(default_factory=utc_now)
    durations: dict[str, float] = field(default_factory=dict)
    image: Image | None = None
    #: The name that the image was meant to get, once it was asked for.
    intended_image: str | None = None
    data: tuple[DataMount, ...] = ()
    lease: Lease = field(default_factory=Lease)
    lease_times: dict[str, str] = field(default_factory=dict)
    #: Somebody else had the GPUs that this item got or waits for.
    waited_for_gpus: bool = False
    plan: RunPlan | None = None
    result: RunResult | None = None
    verdict: Verdict | None = None
    credentials: Mapping[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    #: Called with the plan; may return a changed one (hook ``pytest_mad_plan``).
    change_plan: Callable[[RunPlan], RunPlan | None] | None = None
    #: Hook ``pytest_mad_parse_metrics``.
    parse_metrics: Callable[[RunPlan, str], Any] | None = None
    decided: tuple[Outcome, str, str] | None = None
    failure: MadError | None = None
    #: This host does not have the GPUs that the item needs: it is skipped.
    lacks_hardware: bool = False
    #: A row of multiple results is being reported as a pytest subtest.
    in_subtest: bool = False
    #: What became of the push: ``registry``, ``reference``, ``digest`` or ``error``.
    push: dict[str, str] = field(default_factory=dict)
    #: Failed tries before the last one.
    attempts: list[Attempt] = field(default_factory=list)
    #: When the try after the last failed one began; empty for the first.
    attempt_started: str = ""
    #: Tells a later session whether it would run the same (:mod:`.resumekey`); ``None``: not asked yet.
    resume_key: str | None = None
    #: Session whose SUCCESS stands for this item (``--mad-resume``).
    resumed_from: str = ""
    gate: Judged = field(default_factory=Judged)

    # ---- steps --------------------------------------------------------------------------------------

    @property
    def model_name(self) -> str:
        """Full name of the model."""
        return self.spec.selected.model.name

    @property
    def artifacts(self) -> Path:
        """Artifacts directory of the item; a re-run of the performance gate has one below it."""
        return self.session.artifacts(self.spec) / self.gate.directory

    @contextlib.contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds the time spent inside to the duration of a phase."""
        self.phase = phase
        start = time.monotonic()
        try:
            yield
        finally:
            self.durations[phase] = self.durations.get(phase, 0.0) + time.monotonic() - start

    def key_in(self, image_id: str) -> str:
        """The resume key of a run in this very image; without an id, of one that the key describes itself."""
        return f"{self.resume_key}:{image_id}" if self.resume_key and image_id else self.resume_key or ""

    def prepare_image(self) -> Image:
        """Builds, pulls or finds the image.

        :raises MadError: no Dockerfile matches, the build or the pull failed, no engine answers.
        """
        from pytest_madengine.pipeline.image import image_for

        with self.timed("build" if self.spec.block is None else "pull"):
            self.image = self.attempted(lambda again: image_for(self, again))
        return self.image

    def push_image(self) -> Image:
        """Pushes the image where a registry is given (after :meth:`prepare_image`).

        :raises MadError: the registry refuses us, or the image cannot be pushed.
        """
        from pytest_madengine.pipeline.push import push_image

        self.attempted(lambda _again: push_image(self))
        assert self.image is not None
        return self.image

    def attempted(self, step: Callable[[bool], T]) -> T:
        """The result of a step; after a failure of the machine it is tried again (``--mad-retries``).

        :param step: called with true when it is tried again.
        """
        again = False
        while True:
            started, begin = utc_now(), time.monotonic()
            try:
                return step(again)
            except MadError as error:
                if not error.infrastructure or len(self.attempts) >= self.session.settings.retries:
                    raise
                self.note_attempt(error.message, error.phase, started, time.monotonic() - begin)
                again = True

    def note_attempt(self, reason: str, phase: str, started: str, duration: float) -> None:
        """A failed try that is not the last one."""
        text = Gate(self.session.redactor).message(reason)
        self.attempts.append(Attempt(Outcome.FAILURE, text, phase, started, round(duration, 3)))
        self.attempt_started = utc_now()
        self.warnings.append(f"attempt {len(self.attempts)} failed in {phase}: {text}")

    def prepare_data(self) -> tuple[DataMount, ...]:
        """Makes the data of the model available.

        :raises DataError: it cannot be provided.
        """
        model = self.spec.selected.model
        if model.data.strip():
            with self.timed("data"):
                if self.session.plan_only:
                    self.data = self.session.data.plan(model)
                else:
                    self.session.data.progress = self._log_progress
                    self.data = self.session.data.provide(model, self.artifacts, self.credentials)
                self.warnings += self.session.data.notes(model)
        return self.data

    def release_data(self) -> None:
        """Removes what was downloaded for this item alone."""
        if self.data and not self.session.plan_only:
            self.session.data.release(self.data)

    def _log_progress(self, state: TransferState) -> None:
        append_line(self.artifacts / "data.live.log", self.session.redactor.text(state.line()))

    def acquire_gpus(self) -> HeldLease | None:
        """Leases the GPUs the item needs; ``None`` when it needs none.

        :raises MadError: more GPUs are wanted than there are.
        """
        from pytest_madengine.scheduling.pool import demand_of

        session = self.session
        demand = demand_of(session.context, self.spec.selected.model, session.settings)
        if not session.leases.needs_lease(demand):
            self.lease = Lease()
            return None
        holder = {"session": session.run_id, "item": self.spec.name}
        with self.timed("lease"):
            held = session.leases.acquire(
                demand, plan_only=session.plan_only, holder=holder, on_wait=self._log_wait
            )
            if self.waited_for_gpus:
                self._log_wait("leased")
            if held.after_death and not held.lease.simulated:
                self.warnings += session.reap()
        self.lease = held.lease
        self.warnings += held.notes
        self.lease_times["from"] = utc_precise()
        return held

    def _log_wait(self, text: str) -> None:
        self.waited_for_gpus = True
        append_line(self.artifacts / "lease.live.log", text)

    def release_gpus(self, held: HeldLease | None) -> None:
        """Gives the GPUs back."""
        if held is not None:
            # Noted first: the moment after the release another item may hold the GPUs.
            self.lease_times["to"] = utc_precise()
            held.release()

    def make_plan(self) -> RunPlan:
        """The complete plan of the run."""
        from pytest_madengine.pipeline.plan import plan_for

        self.phase = PlanError.phase
        plan = plan_for(self)
        if self.change_plan is not None:
            plan = self._changed(plan, self.change_plan)
        self.session.redactor.add(*plan.secrets)
        self.plan = plan
        return plan

    @staticmethod
    def _changed(plan: RunPlan, change: Callable[[RunPlan], RunPlan | None]) -> RunPlan:
        try:
            changed = change(plan)
        except KeyboardInterrupt:
            if asked():
                raise
            raise PlanError("hook pytest_mad_plan raised KeyboardInterrupt") from None
        if changed is not None and not isinstance(changed, RunPlan):
            raise PlanError(
                f"hook pytest_mad_plan gives a value of type {type(changed).__name__}, not a RunPlan",
                hint="return a changed RunPlan (dataclasses.replace), or None to leave it as it is",
            )
        return changed or plan

    def execute(self) -> Verdict:
        """Runs the plan and judges what came out; the performance gate may have it run again."""
        self.verdict = self.measure()
        if self.verdict.outcome is Outcome.SUCCESS and is_judged(self.session, self.spec):
            from pytest_madengine.pipeline.gate import judge_item

            judge_item(self)
        return self.verdict

    def measure(self) -> Verdict:
        """Runs the plan once, more often only after failures of the machine."""
        while True:
            started, begin = utc_now(), time.monotonic()
            plan, verdict = self._run_once()
            retry = verdict.outcome is Outcome.FAILURE and verdict.infrastructure
            if not retry or len(self.attempts) >= self.session.settings.retries:
                break
            self.note_attempt(verdict.reason, verdict.phase, started, time.monotonic() - begin)
            time.sleep(RETRY_PAUSE * len(self.attempts))
            self.plan = None  # a container name serves one try
        verdict = self._with_user_metrics(plan, verdict)
        gate = Gate(self.session.redactor)
        self.warnings += list(verdict.warnings)
        return replace(
            verdict,
            reason=gate.message(verdict.reason),
            hint=gate.message(verdict.hint),
            metrics=gate.metrics(verdict.metrics),
        )

    def _run_once(self) -> tuple[RunPlan, Verdict]:
        plan = self.plan or self.make_plan()
        self.phase = "run"
        self.result = self.attempted(lambda again: self._start(plan, again))
        self.durations.update(self.result.durations)
        return plan, self._judged(plan, self.result)

    def _judged(self, plan: RunPlan, result: RunResult, found: Sequence[Metric] | None = None) -> Verdict:
        from pytest_madengine.results.outcome import judge

        return judge(
            result,
            multiple_results=plan.multiple_results,
            strict_log=self.session.settings.strict_log,
            collect_metrics=self.session.settings.environ.get("MAD_COLLECT_METRICS", "").lower() != "false",
            skip_run=plan.script.skip_run,
            found=found,
        )

    def _start(self, plan: RunPlan, again: bool) -> RunResult:
        if again:
            plan = self.make_plan()
        try:
            return self.session.executor.run(plan, self.artifacts)
        except OSError as error:
            # A full disk, most of all: nothing that the model could be blamed for.
            place = error.filename or self.artifacts
            raise EngineError(
                f"{place}: {error.strerror or error}",
                hint="workspaces, logs and artifacts go to --mad-results-dir: see its space and permissions",
            ) from None

    def _with_user_metrics(self, plan: RunPlan, verdict: Verdict) -> Verdict:
        from pytest_madengine.results.hookmetrics import checked_metrics
        from pytest_madengine.results.outcome import HOOK

        result = self.result
        if self.parse_metrics is None or result is None or result.exit_code != 0:
            return verdict
        answer = self.parse_metrics(plan, str(self.artifacts / result.log_file))
        if answer is None:
            return verdict
        try:
            return self._judged(plan, result, checked_metrics(answer, HOOK))
        except ResultError as error:
            return replace(
                verdict,
                outcome=Outcome.FAILURE,
                reason=error.message,
                phase="results",
                hint=error.hint,
                metrics=(),
            )

    def error_of(self, verdict: Verdict) -> RunError:
        """The exception that makes the test of a FAILURE fail."""
        tail = self.result.log_tail if self.result is not None else ()
        return RunError(verdict.reason, hint=verdict.hint, log_tail=tail)

    # ---- the end ------------------------------------------------------------------------------------

    def decide(self, outcome: Outcome, reason: str, phase: str = "") -> None:
        """Fixes the outcome unless an earlier FAILURE already did."""
        if self.decided is None or (self.decided[0] is not Outcome.FAILURE and outcome is Outcome.FAILURE):
            self.decided = (outcome, reason, phase or self.phase)

    def fail(self, error: BaseException) -> None:
        """Decides FAILURE because of an exception."""
        if isinstance(error, MadError):
            phase = self.verdict.phase if self.verdict and isinstance(error, RunError) else error.phase
            if self.failure is None:
                self.failure = error
            self.decide(Outcome.FAILURE, error.message, phase)
        else:
            self.decide(Outcome.FAILURE, self.reason_of(error))

    @staticmethod
    def reason_of(error: BaseException) -> str:
        """An exception as a reason: one line."""
        if isinstance(error, MadError):
            return error.message
        lines = str(error).strip().splitlines()
        text = lines[0] if lines else ""
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    def record(self) -> RunRecord:
        """The one record of the item."""
        from pytest_madengine.pipeline.record import make_record

        return make_record(self)

    def failure_lines(self, error: MadError) -> list[str]:
        """What a failing test shows: at most 15 lines."""
        gate = Gate(self.session.redactor)
        phase = self.verdict.phase if self.verdict and isinstance(error, RunError) else error.phase
        lines = [f"{self.spec.name}: FAILURE in {phase or self.phase}: {' '.join(error.message.split())}"]
        if self.result is not None and self.result.exit_code not in (None, 0):
            lines.append(f"exit status: {self.result.exit_code}")
        tail = [line for line in own_lines(error.log_tail) if line.strip()][-SHOWN_LINES:]
        lines += [f"  | {clip(gate.log_line(line), SHOWN_WIDTH)}" for line in tail]
        log = self.log_path()
        if log:
            lines.append(f"log: {log}")
        if error.hint:
            lines.append(f"hint: {' '.join(error.hint.split())}")
        return [gate.message(line) for line in lines]

    def log_path(self) -> str:
        """Path of the most telling log, relative to the results directory's parent when possible."""
        name = self.result.log_file if self.result is not None else ""
        path = self.artifacts / name if name else None
        if path is None and self.failure is not None and self.failure.phase == "build":
            logs = sorted(self.artifacts.glob("*.build.live.log"))
            path = logs[0] if logs else None
        return str(path) if path is not None else ""
