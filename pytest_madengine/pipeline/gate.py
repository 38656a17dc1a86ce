"""The performance gate of one item: judged by references and history, measured again where that decides.

What is compared with what is the rule's business (``pytest_madengine.gate``); here are the sources of a
process, the re-runs on the lease of the item, and their budget for the whole session.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, Protocol

from pytest_madengine.errors import ConfigError, MadError, Warned
from pytest_madengine.gate import words
from pytest_madengine.gate.direction import direction
from pytest_madengine.gate.facts import Value, values_of
from pytest_madengine.gate.finding import HISTORY, REFERENCE, Finding, ordered, verdict_of
from pytest_madengine.gate.judge import Decision, decide
from pytest_madengine.gate.key import changed, gate_key
from pytest_madengine.gate.past import past_of
from pytest_madengine.gate.references import Book, judge_reference
from pytest_madengine.pipeline.gatesources import History, history_of, read_references
from pytest_madengine.results.record import Attempt, Outcome
from pytest_madengine.session.gating import FAIL, Judged, gate_mode, has_references, has_source
from pytest_madengine.util.clock import utc_now
from pytest_madengine.util.locks import locked

if TYPE_CHECKING:
    from pytest_madengine.gate.tuning import Tuning
    from pytest_madengine.plan.runplan import RunPlan
    from pytest_madengine.results.outcome import Verdict
    from pytest_madengine.results.record import RunRecord
    from pytest_madengine.results.result import RunResult
    from pytest_madengine.session.items import ItemSpec
    from pytest_madengine.session.session import MadSession

#: Counts the re-runs of a session, for all its processes.
BUDGET_FILE: Final = "gate.reruns"
#: Under which name a process keeps its gate in the session.
_KEPT: Final = "gate"


class Item(Protocol):
    """What the gate asks of an item (``pipeline.run.ItemRun``)."""

    session: MadSession
    spec: ItemSpec
    plan: RunPlan | None
    result: RunResult | None
    verdict: Verdict | None
    durations: dict[str, float]
    warnings: list[str]
    attempt_started: str
    gate: Judged

    def measure(self) -> Verdict:
        """Runs the item once; what came out."""

    def record(self) -> RunRecord:
        """The record as it would be now."""


@dataclass(frozen=True)
class Runs:
    """The runs of an item so far: a record each, and its values by (row, metric)."""

    records: tuple[RunRecord, ...]
    values: tuple[Mapping[tuple[str, str], Value], ...]

    @classmethod
    def of(cls, records: Sequence[RunRecord]) -> Runs:
        """The values that may be judged."""
        values = tuple({(one.row, one.name): one for one in values_of(record)} for record in records)
        return cls(tuple(records), values)

    def of_metric(self, key: tuple[str, str]) -> list[tuple[RunRecord, Value]]:
        """The runs in which a metric has a value."""
        pairs = zip(self.records, self.values, strict=True)
        return [(record, values[key]) for record, values in pairs if key in values]


class SessionGate:
    """The gate of one process: sources are read once, when the first item is judged.

    :raises MadError: references or history cannot be read.
    """

    def __init__(self, session: MadSession) -> None:
        self.session = session
        self.book: Book
        self.tuning: Tuning
        self.book, self.tuning = read_references(session)
        self.options = self.tuning.options(session.settings.gate_tolerance)
        models = [spec.selected.model for specs in session.items_by_file.values() for spec in specs]
        self._items = len(models)
        self.history: History | None = history_of(session, [model.name for model in models])

    def judge(self, runs: Runs) -> list[Finding]:
        """A finding per metric of the first run."""
        return [self._finding(runs, key) for key in runs.values[0]]

    def _finding(self, runs: Runs, key: tuple[str, str]) -> Finding:
        found = runs.of_metric(key)
        value, record = found[0][1], found[0][0]
        numbers = tuple(one.number for _, one in found)
        names = dict.fromkeys((value.row, record.model))
        book = self.book
        reference = next(filter(None, (book.reference(n, value.name, value.facts) for n in names)), None)
        towards = (reference.direction if reference else 0) or direction(value.name)
        accepted = next(filter(None, (book.accepted_last(n, value.name, value.facts) for n in names)), None)
        stored = self.history.earlier(value.facts, record.model) if self.history is not None else ()
        past = past_of(stored, session=self.session.run_id, now=_now(), accepted=accepted)
        decision, source = decide(past.values, numbers, towards, self.options), HISTORY
        if reference is not None:
            again = len(numbers) - 1 < self.options.confirm
            other = judge_reference(reference, numbers, towards, self.options.tolerance, may_run_again=again)
            if _rank(other) < _rank(decision) or self.history is None:
                decision, source = other, REFERENCE
        differences: tuple[str, ...] = ()
        if decision.word == words.REGRESSION and past.last_session and self.history is not None:
            before = self.history.context(past.last_session, value.facts)
            differences = changed(before or past.context, value.facts)
        expected = next(filter(None, (book.expected(n, value.name, value.facts) for n in names)), None)
        row = value.row if value.row != record.model else ""
        return Finding(value, decision, source, numbers, row, differences, expected, _now().date())

    def take_rerun(self) -> bool:
        """Whether the session may run one more item again; counted for all its processes."""
        with locked(self.session.directory / BUDGET_FILE) as stream:
            if stream.seek(0, 2) >= self.tuning.budget(self._items):
                return False
            stream.write(b".")
            return True


def _rank(decision: Decision) -> int:
    """Smaller in the worse verdict; a verdict that another run may change comes first."""
    return -1 if decision.word == words.RERUN else words.ORDER.index(decision.word)


def check_gate(session: MadSession) -> None:
    """Reads the sources before anything runs: what is wrong ends a session in mode ``fail``.

    In mode ``warn`` it is a warning, and every item says that it was not judged.

    :raises ConfigError: mode ``fail``, and a source is missing or cannot be read.
    """
    modes = {gate_mode(session.settings, one.model) for one in session.selected}
    if not modes - {"off"}:
        return
    try:
        session.kept[_KEPT] = SessionGate(session)
        own = any(has_references(one.model) for one in session.selected)
        if session.settings.gate and not has_source(session.settings) and not own:
            raise ConfigError(
                f"--mad-gate={session.settings.gate} has nothing to compare with",
                hint="give --mad-db, --mad-gate-history or --mad-references",
            )
    except MadError as error:
        session.kept[_KEPT] = error
        if FAIL in modes:
            raise ConfigError(f"performance gate: {error.message}", hint=error.hint) from None
        session.warnings.append(Warned(f"performance is not judged: {error.message}"))


def _gate_of(session: MadSession) -> SessionGate | MadError:
    """The gate of this process, or why there is none; made once."""
    if _KEPT not in session.kept:
        try:
            session.kept[_KEPT] = SessionGate(session)
        except MadError as error:
            session.kept[_KEPT] = error
    gate: SessionGate | MadError = session.kept[_KEPT]
    return gate


def judge_item(item: Item) -> None:
    """Judges the metrics of an item that is a SUCCESS; runs it again where that decides."""
    mode = gate_mode(item.session.settings, item.spec.selected.model)
    gate = _gate_of(item.session)
    try:
        if isinstance(gate, MadError):
            raise gate
        runs, findings = _findings(item, gate)
    except MadError as error:
        text = f"performance was not judged: {error.message}"
        item.gate.said = {"verdict": words.NO_BASELINE, "message": text, "mode": mode, "metrics": []}
        item.warnings.append(text)
        if mode == FAIL:
            item.gate.failures = (text,)
        return
    _take_decided_values(item, runs, findings)
    _conclude(item, gate, findings, mode)


def _findings(item: Item, gate: SessionGate) -> tuple[Runs, list[Finding]]:
    runs = Runs.of([item.record()])
    while True:
        findings = gate.judge(runs)
        if all(finding.word != words.RERUN for finding in findings):
            return runs, findings
        again = _measured_again(item) if gate.take_rerun() else None
        if again is None:
            return runs, [_not_confirmed(finding) for finding in findings]
        runs = Runs.of([*runs.records, again])


def _not_confirmed(finding: Finding) -> Finding:
    if finding.word != words.RERUN:
        return finding
    return replace(finding, decision=replace(finding.decision, word=words.INCONCLUSIVE, reason=words.BUDGET))


def _measured_again(item: Item) -> RunRecord | None:
    """One more run on the same lease; ``None`` when it gave nothing to compare, which is a warning.

    The item stays what its first run made it.
    """
    first = (item.plan, item.result, item.verdict, dict(item.durations), item.attempt_started)
    started, begin, number = utc_now(), time.monotonic(), len(item.gate.reruns) + 1
    warnings = list(item.warnings)
    item.plan = None  # a container name serves one run
    item.gate.directory = f"re-run-{number}"
    item.gate.reruns.append(Attempt(Outcome.FAILURE, "interrupted", "run", started, 0.0))
    record, reason, phase = None, "", ""
    try:
        verdict = item.verdict = item.measure()
        reason, phase = verdict.reason, verdict.phase
        if verdict.outcome is Outcome.SUCCESS:
            record = item.record()
    except MadError as error:
        reason, phase = error.message, error.phase
    finally:
        item.gate.directory = ""
        item.plan, item.result, item.verdict, item.durations, item.attempt_started = first
        outcome = Outcome.SUCCESS if record is not None else Outcome.FAILURE
        why = f"re-run {number} of the performance gate" + (f": {reason}" if reason else "")
        item.gate.reruns[-1] = Attempt(outcome, why, phase, started, round(time.monotonic() - begin, 3))
    # Most are those of the first run once more.
    item.warnings[:] = dict.fromkeys((*warnings, *item.warnings))
    if record is None:
        item.warnings.append(f"re-run {number} of the performance gate failed in {phase}: {reason}")
    return record


def _take_decided_values(item: Item, runs: Runs, findings: Iterable[Finding]) -> None:
    """Metrics get the value of the run that decided."""
    assert item.verdict is not None
    metrics = list(item.verdict.metrics)
    for finding in findings:
        record, value = runs.of_metric((finding.value.row, finding.value.name))[finding.decided]
        place = finding.value.position
        metrics[place] = replace(metrics[place], value=record.metrics[value.position].value)
    item.verdict = replace(item.verdict, metrics=tuple(metrics))


def _conclude(item: Item, gate: SessionGate, findings: list[Finding], mode: str) -> None:
    by_loss = ordered(findings)
    verdict = verdict_of(findings)
    worst = by_loss[0] if by_loss else None
    said = [one for one in by_loss if one.word in (words.REGRESSION, words.INCONCLUSIVE, words.IMPROVED)]
    change = worst.entry()["change"] if worst is not None else None
    item.gate.said = {
        "verdict": verdict,
        "change": "" if change is None else f"{change:+.1f} %",
        "message": "; ".join(one.sentence() for one in said),
        "reason": worst.decision.reason if worst is not None else "",
        "key": gate_key(worst.value.facts) if worst is not None else "",
        "mode": mode,
        "metrics": [one.entry() for one in findings],
        "session": "",
    }
    bad = [one for one in by_loss if one.word == words.REGRESSION and not one.excused]
    excused = [one for one in by_loss if one.excused]
    texts = [one.sentence() for one in bad]
    if gate.tuning.missing == "fail":
        texts += [one.sentence() for one in by_loss if one.word == words.NO_BASELINE]
    if mode == FAIL:
        item.gate.failures = tuple(texts)
        item.gate.expected = "; ".join(one.sentence() for one in excused)
    else:
        item.warnings += texts + [one.sentence() for one in excused]
    for one in by_loss:
        if one.expected is not None and one.word in (words.PASS, words.IMPROVED):
            item.warnings.append(f"xfail of {one.value.name} is no longer needed ({one.expected.place})")


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)
