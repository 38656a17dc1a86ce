"""What the gate says about one metric of an item: as an entry of the record, and as a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pytest_madengine.gate import words
from pytest_madengine.gate.facts import Value
from pytest_madengine.gate.judge import ENOUGH, Decision
from pytest_madengine.gate.references import Expected

#: Sources of a verdict.
HISTORY: Final = "history"
REFERENCE: Final = "reference"
#: Changes of the context that a sentence names.
_CHANGES: Final = 3


@dataclass(frozen=True)
class Finding:
    """The verdict on one metric after all runs of its item."""

    value: Value
    decision: Decision
    #: ``history`` or ``reference``: what decided.
    source: str
    #: Values of all runs, in their order.
    runs: tuple[float, ...]
    #: Row name below the model: empty for the only result of a model.
    row: str = ""
    #: What is different from the newest run of the baseline.
    changed: tuple[str, ...] = ()
    #: Somebody knows of the regression.
    expected: Expected | None = None
    today: date = date.min

    @property
    def word(self) -> str:
        """The verdict."""
        return self.decision.word

    @property
    def excused(self) -> bool:
        """A regression that may still last."""
        return self.word == words.REGRESSION and self.expected is not None and not self.expired

    @property
    def expired(self) -> bool:
        """The expected failure has come to its end."""
        return self.expected is not None and self.expected.until < self.today

    @property
    def decided(self) -> int:
        """The number of the run whose value counts: of two the better, of three and more the middle one."""
        wanted = self.decision.value
        return min(range(len(self.runs)), key=lambda number: abs(self.runs[number] - wanted))

    def entry(self) -> dict[str, Any]:
        """For ``RunRecord.gate["metrics"]``: changes and band in percent, numbers that are none ``None``."""
        one = self.decision
        return {
            "name": self.value.name,
            "row": self.value.row,
            "verdict": one.word,
            "reason": one.reason,
            "value": _known(one.value),
            "baseline": _known(one.baseline),
            "n": one.n,
            "change": _percent(one.change),
            "band": _percent(one.band),
            "runs": list(self.runs),
            "source": self.source,
            "changed": list(self.changed),
            "message": self.sentence(),
        }

    # ---- sentences ----------------------------------------------------------------------------------

    def sentence(self) -> str:
        """One sentence for people."""
        one = self.decision
        name = f"{self.row}: {self.value.name}" if self.row else self.value.name or "value"
        if one.word == words.NO_BASELINE:
            return f"{name}: no baseline: {self._missing()}"
        says = f"{name} {_number(one.value)} is {_share(one.change)} % {self._side()} {_number(one.baseline)}"
        says += f" ({self._compared()})"
        if one.word == words.INCONCLUSIVE:
            return f"{says}, inconclusive: {self._doubt()}"
        if one.word == words.REGRESSION and len(self.runs) > 1:
            again = len(self.runs) - 1
            says += f", confirmed by {again} re-run{'s' if again > 1 else ''}"
        if one.word == words.REGRESSION and one.reason == words.LEVEL:
            says += ", a lasting loss that nobody accepted"
        if one.word == words.IMPROVED and self.source == REFERENCE:
            says += ": too good, check the run"
        if one.word == words.REGRESSION and self.changed:
            says += f"; changed since: {', '.join(self.changed[:_CHANGES])}"
        if self.expected is not None and one.word == words.REGRESSION:
            until = self.expected.until.isoformat()
            says += f"; xfail of {until} expired" if self.expired else f"; expected: {self.expected.reason}"
        return says

    def _missing(self) -> str:
        one = self.decision
        if one.reason == words.TOO_FEW:
            return f"{one.n} comparable run{'' if one.n == 1 else 's'}, {ENOUGH} are needed"
        if one.reason == words.UNKNOWN_DIRECTION:
            return "nothing says whether more or less is better: give it a reference with a direction"
        return one.reason

    def _side(self) -> str:
        return "below" if self.decision.value < self.decision.baseline else "above"

    def _compared(self) -> str:
        one = self.decision
        if self.source == REFERENCE:
            limit = "" if math.isinf(one.band) else f", limit {_share(one.band)} %"
            return f"the reference{limit}"
        gpu = self.value.facts.get("gpu", "")
        return f"median of {one.n} runs{f' on {gpu}' if gpu else ''}, band {_share(one.band)} %"

    def _doubt(self) -> str:
        one = self.decision
        return {
            words.SPREAD: "this metric spreads that much between runs",
            words.HISTORY: f"only {one.n} runs are known",
            words.LEVEL: "a lasting loss that nobody accepted",
            words.BUDGET: "it was not measured again",
        }.get(one.reason, one.reason)


def verdict_of(findings: Iterable[Finding]) -> str:
    """The verdict of an item: the worst of its metrics."""
    return words.worst(finding.word for finding in findings)


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """The worst verdicts first, within them the largest losses."""
    rank = {word: number for number, word in enumerate(words.ORDER)}

    def key(finding: Finding) -> tuple[int, float]:
        change = finding.decision.change
        return rank.get(finding.word, len(rank)), 0.0 if math.isnan(change) else change

    return sorted(findings, key=key)


def _known(number: float) -> float | None:
    # Without the rounding errors of the logarithms between: 100, not 100.00000000000004.
    return float(f"{number:.12g}") if math.isfinite(number) else None


def _percent(share: float) -> float | None:
    return round(share * 100, 6) if math.isfinite(share) else None


def _number(value: float) -> str:
    return f"{value:.6g}"


def _share(share: float) -> str:
    return f"{abs(share) * 100:.1f}"
