"""Two runs side by side: what got better, what got worse, and what cannot be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_madengine.gate.compare import Comparison

#: Columns of the table and of the CSV.
COLUMNS: Final = ("item", "model", "metric", "a", "b", "change", "verdict")
#: Verdicts in the order in which they are counted.
_VERDICTS: Final = (
    *("worse", "gone", "better", "equal", "changed", "not comparable", "not run", "new", "no number"),
)


@dataclass(frozen=True)
class Judged:
    """One metric of two runs.

    ``verdict`` is ``better``, ``worse`` or ``equal``; ``changed`` when the name does not say which direction
    is better; ``not comparable`` when the runs asked for different things; ``gone`` when the item ran and has
    no value any more, ``not run`` when it did not run; ``new``; ``no number`` for text.
    """

    pair: Comparison
    verdict: str
    #: Percent; ``None`` without two numbers.
    change: float | None = None
    #: Worse than the threshold allows, or gone.
    failed: bool = False

    @property
    def explanation(self) -> str:
        """What happened, in a few words."""
        before = self.pair.a.value if self.pair.a else "-"
        after = self.pair.b.value if self.pair.b else "no value"
        change = "" if self.change is None else f" ({self.change:+.2f} %)"
        return f"{self.pair.metric} {self.verdict}: {before} before, {after} now{change}"

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            **self.pair.to_dict(),
            "change_percent": self.change,
            "verdict": self.verdict,
            "failed": self.failed,
        }


def judge(pairs: Iterable[Comparison], present: Collection[str], threshold: float | None) -> list[Judged]:
    """A verdict for each metric.

    :param present: items that the later run has, with or without values.
    :param threshold: percent by which a metric may get worse; ``None`` counts as 0.
    """
    return [_judge(pair, present, threshold or 0.0) for pair in pairs]


def _judge(pair: Comparison, present: Collection[str], threshold: float) -> Judged:
    from pytest_madengine.gate.direction import direction

    if pair.a is None:
        return Judged(pair, "new")
    if pair.b is None:
        gone = pair.item_id in present
        return Judged(pair, "gone" if gone else "not run", failed=gone)
    change = None if pair.ratio is None else (pair.ratio - 1) * 100
    if not pair.comparable:
        return Judged(pair, "not comparable", change)
    if change is None:
        return Judged(pair, "equal" if pair.a.value == pair.b.value else "no number")
    if change == 0:
        return Judged(pair, "equal", change)
    # A negative value turns the meaning of its ratio around.
    sign = direction(pair.metric) * (1 if (pair.a.number or 0) > 0 else -1)
    if sign == 0:
        return Judged(pair, "changed", change)
    worse = change * sign < 0
    return Judged(pair, "worse" if worse else "better", change, failed=worse and abs(change) > threshold)


def rows_of(judged: Sequence[Judged], *, numbers: bool = False) -> list[dict[str, Any]]:
    """Rows of the table.

    :param numbers: changes as numbers of percent, for programs.
    """
    return [
        {
            "item": one.pair.item_id,
            "model": one.pair.model,
            "metric": one.pair.metric,
            "a": one.pair.a.value if one.pair.a else None,
            "b": one.pair.b.value if one.pair.b else None,
            "change": one.change if numbers or one.change is None else f"{one.change:+.2f} %",
            "verdict": one.verdict,
        }
        for one in judged
    ]


def totals(judged: Sequence[Judged]) -> str:
    """``1 worse, 3 better``, in one line."""
    counts = Counter(one.verdict for one in judged)
    found = [f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict]]
    return ", ".join(found) or "nothing to compare"
