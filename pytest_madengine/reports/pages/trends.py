"""The band within which a value of a benchmark is expected, from the values before it.

median of up to 20 preceding SUCCESS values +- the larger of 5 % and three robust standard deviations
(1.4826 x median absolute deviation).  With fewer than five of them the 5 % are doubled and the judgement is
weak.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pytest_madengine.gate.direction import direction
from pytest_madengine.gate.scale import median_of_sorted
from pytest_madengine.reports.pages.table import Table
from pytest_madengine.results.readings import number

#: Preceding values that count, and how many of them a firm judgement needs.
WINDOW: Final = 20
ENOUGH: Final = 5
#: Share of the median, and standard deviations, that are always within the band.
THRESHOLD: Final = 0.05
DEVIATIONS: Final = 3 * 1.4826

#: Verdicts of a value.
NONE, INSIDE, WORSE, BETTER, OUTSIDE = range(5)
#: Added to a verdict that rests on fewer than :data:`ENOUGH` values.
WEAK: Final = 8


@dataclass
class Trends:
    """What the history of each row says about it; all arrays have one entry per row.

    A row without a number, or that is the first of its series, has ``half`` 0 and the verdict ``NONE``.
    """

    #: ``(model, metric, GPU architecture)`` of each series.
    series: list[tuple[str, str, str]] = field(default_factory=list)
    #: Number of the series of a row plus one; 0: the row has no number.
    series_of: array[int] = field(default_factory=lambda: array("I"))
    median: array[float] = field(default_factory=lambda: array("f"))
    half: array[float] = field(default_factory=lambda: array("f"))
    verdict: array[int] = field(default_factory=lambda: array("B"))

    def latest(self) -> list[int]:
        """The last row of each series, in the order of :attr:`series`."""
        last = {found: row for row, found in enumerate(self.series_of) if found}
        return [last[found + 1] for found in range(len(self.series))]


def trends(table: Table) -> Trends:
    """Judges every row of a results table by the rows above it of the same series."""
    result = Trends()
    known: dict[tuple[str, str, str], int] = {}
    windows: list[deque[float]] = []
    directions: list[int] = []
    columns = (table.cells(name) for name in ("model", "metric", "gpu_architecture", "performance", "status"))
    for model, metric, architecture, text, status in zip(*columns, strict=True):
        value = number(text) if text else None
        if value is None:
            _add(result, 0, 0.0, 0.0, NONE)
            continue
        key = (model, metric, architecture)
        place = known.setdefault(key, len(known))
        if place == len(windows):
            windows.append(deque(maxlen=WINDOW))
            directions.append(direction(metric))
        window = windows[place]
        middle, half = band(window) if window else (0.0, 0.0)
        good = status.strip() == "SUCCESS"
        verdict = judge(value, middle, half, directions[place]) if good and half else NONE
        _add(result, place + 1, middle, half, verdict | (WEAK if verdict and len(window) < ENOUGH else 0))
        if good:
            window.append(value)
    result.series = list(known)
    return result


def _add(result: Trends, series: int, middle: float, half: float, verdict: int) -> None:
    result.series_of.append(series)
    result.median.append(middle)
    result.half.append(half)
    result.verdict.append(verdict)


def band(values: Sequence[float] | deque[float]) -> tuple[float, float]:
    """Median of the values and half the width of the band around it; ``(0, 0)`` when there is none."""
    ordered = sorted(values)
    middle = median_of_sorted(ordered)
    spread = median_of_sorted(sorted([abs(value - middle) for value in ordered]))
    share = THRESHOLD if len(ordered) >= ENOUGH else 2 * THRESHOLD
    half = max(share * abs(middle), DEVIATIONS * spread)
    # Beyond what a single-precision number can hold there is nothing to draw.
    return (middle, half) if math.isfinite(half) and max(abs(middle), half) < 1e38 else (0.0, 0.0)


def judge(value: float, middle: float, half: float, towards: int) -> int:
    """The verdict on a value.

    :param towards: what :func:`direction` says about the metric.
    """
    # A little slack: a value that equals the border but for rounding is inside.
    if abs(value - middle) <= half * (1 + 1e-9):
        return INSIDE
    if not towards:
        return OUTSIDE
    return BETTER if (value > middle) == (towards > 0) else WORSE
