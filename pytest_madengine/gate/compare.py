"""Two sessions side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_madengine.results.point import Point


@dataclass(frozen=True)
class Comparison:
    """One metric of one item in two sessions; a side that lacks it is ``None``."""

    item_id: str
    model: str
    metric: str
    a: Point | None
    b: Point | None

    @property
    def ratio(self) -> float | None:
        """``b`` divided by ``a``; ``None`` for text, a missing side or an ``a`` of zero."""
        before = self.a.number if self.a else None
        after = self.b.number if self.b else None
        return after / before if before and after is not None else None

    @property
    def comparable(self) -> bool:
        """True when both sides measured the same thing: equal, known fingerprints."""
        if self.a is None or self.b is None:
            return False
        return bool(self.a.fingerprint) and self.a.fingerprint == self.b.fingerprint

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**asdict(self), "ratio": self.ratio, "comparable": self.comparable}


def compare_points(before: Sequence[Point], after: Sequence[Point]) -> list[Comparison]:
    """Pairs of equal item, row name and metric, in the order of ``before``, then what only ``after`` has.

    A metric that a run printed several times is paired by number of appearance.
    """
    left, right = _numbered(before), _numbered(after)
    return [Comparison(*key[:3], left.get(key), right.get(key)) for key in (left | right)]


def _numbered(points: Sequence[Point]) -> dict[tuple[str, str, str, int], Point]:
    seen: dict[tuple[str, str, str, int], Point] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    for point in points:
        item, model, metric = name = (point.item_id, point.model, point.metric)
        seen[item, model, metric, counts[name]] = point
        counts[name] += 1
    return seen
