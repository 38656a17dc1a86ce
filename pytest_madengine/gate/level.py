"""The level of a history: where it last changed for good.

A lasting improvement starts a new level; a loss never does (a ratchet): what got slower and stays slower
keeps being compared with what it was, until somebody accepts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_madengine.gate.scale import MEAN_DEVIATION, median_of_sorted

#: Runs before and after a step, for an improvement and for a loss.
BEFORE_GAIN: Final = 2
BEFORE_LOSS: Final = 5
AFTER: Final = 4
#: A step is at least so many times the noise around it.
_NOISES: Final = 3.0
#: Shares of the runs after and before the step that lie on their side of its middle.
_AFTER_SHARE: Final = 0.9
_BEFORE_SHARE: Final = 0.8


@dataclass(frozen=True)
class Step:
    """A lasting change: ``at`` is the number of runs before it, ``size`` is positive for a gain."""

    at: int
    before: float
    after: float

    @property
    def size(self) -> float:
        """Difference of the two medians on the scale."""
        return self.after - self.before


def level_of(places: Sequence[float], tolerance: float) -> tuple[Sequence[float], Step | None]:
    """The places after the last lasting improvement, and the lasting loss among them, if there is one."""
    while True:
        splits = _Splits(places, tolerance)
        gain = splits.step(1, BEFORE_GAIN)
        if gain is None:
            return places, splits.step(-1, BEFORE_LOSS)
        places = places[gain.at :]


class _Splits:
    """All ways to cut places in two, by how well the medians of the parts explain them."""

    def __init__(self, places: Sequence[float], tolerance: float) -> None:
        self._places = places
        self._tolerance = tolerance
        # Most histories are quiet: no step fits into them, and there is nothing to compute.
        self._flat = len(places) < BEFORE_GAIN + AFTER or max(places) - min(places) <= tolerance
        self._left = [] if self._flat else _costs(places)
        self._right = [] if self._flat else _costs(places[::-1])

    def step(self, sign: int, before: int) -> Step | None:
        """The step up (``sign`` 1) or down (-1) that explains the places best, if it is lasting and large.

        Best is the split with the least sum of absolute deviations from the medians of its two parts.
        """
        if self._flat:
            return None
        count = len(self._places)
        best: tuple[float, Step] | None = None
        for at in range(before, count - AFTER + 1):
            (cost_before, low), (cost_after, high) = self._left[at - 1], self._right[count - at - 1]
            if sign * (high - low) > self._tolerance and (best is None or cost_before + cost_after < best[0]):
                best = (cost_before + cost_after, Step(at, low, high))
        if best is None:
            return None
        noise = MEAN_DEVIATION * best[0] / (count - 2)
        large = sign * best[1].size > _NOISES * noise
        return best[1] if large and _separates(self._places, best[1], sign) else None


def _costs(places: Sequence[float]) -> list[tuple[float, float]]:
    """Of each beginning of the places: the sum of absolute deviations from its median, and the median."""
    ordered: list[float] = []
    result = []
    for count, place in enumerate(places, 1):
        ordered.append(place)
        ordered.sort()  # almost sorted: one pass
        half = count // 2
        cost = sum(ordered[count - half :]) - sum(ordered[:half])
        result.append((cost, median_of_sorted(ordered)))
    return result


def _separates(places: Sequence[float], step: Step, sign: int) -> bool:
    middle = step.before / 2 + step.after / 2
    before = sum(sign * place < sign * middle for place in places[: step.at])
    after = sum(sign * place > sign * middle for place in places[step.at :])
    return before >= _BEFORE_SHARE * step.at and after >= _AFTER_SHARE * (len(places) - step.at)
