"""The scale on which values are compared, and the small statistics that the rule needs.

``statistics`` of the standard library takes 13 ms to import, numpy 100; this is all that is needed of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Beyond so many medians a value is just far away: squares of it stay finite.
_FAR: Final = 1e12
#: Logarithm below that of every positive float: what a value of 0 or less is where all others are positive.
_FLOOR: Final = -800.0
#: The median of the absolute deviations from the mean of a normal distribution, as a factor to its deviation.
MEAN_DEVIATION: Final = math.sqrt(math.pi / 2)


def finite(values: Sequence[float]) -> list[float]:
    """The values that are numbers, in their order; infinities and NaN are left out."""
    return [float(value) for value in values if math.isfinite(value)]


def median(values: Sequence[float]) -> float:
    """The median; the mean of the two in the middle when their number is even."""
    return median_of_sorted(sorted(values))


def median_of_sorted(ordered: Sequence[float]) -> float:
    """The same of values that are in order."""
    half, odd = divmod(len(ordered), 2)
    # Halved before they are added: the sum of two large floats may be infinite.
    return ordered[half] if odd else ordered[half - 1] / 2 + ordered[half] / 2


def log_loss(share: float) -> float:
    """A loss as a share (0.05: 5 % less) on the logarithmic scale, as a positive number."""
    return -math.log1p(-min(max(share, 0.0), 0.999999))


@dataclass(frozen=True)
class Scale:
    """Values of one metric to numbers of which more is better and whose differences are relative changes.

    Positive values go to ``direction * ln(value)``.  A history with values of 0 or less has no logarithms:
    its values go to ``direction * value / |median|``.
    """

    direction: int
    #: 0: logarithmic; otherwise what values are divided by.
    unit: float

    @classmethod
    def of(cls, history: Sequence[float], direction: int) -> Scale:
        """The scale of a history of finite values.  What is compared with it does not decide the scale."""
        if all(value > 0 for value in history):
            return cls(direction, 0.0)
        size = abs(median(history)) or max(abs(value) for value in history) or 1.0
        return cls(direction, size)

    def to(self, value: float) -> float:
        """A value on the scale."""
        if self.unit:
            return self.direction * in_units(value, self.unit)
        return self.direction * (math.log(value) if value > 0 else _FLOOR)

    def back(self, place: float) -> float:
        """The value that stands at a place of the scale."""
        if self.unit:
            return self.direction * place * self.unit
        exponent = self.direction * place
        return math.exp(exponent) if exponent > _FLOOR else 0.0

    def change(self, difference: float) -> float:
        """A difference on the scale as a share: -0.099 is 9.9 % worse."""
        return difference if self.unit else math.expm1(min(difference, 700.0))


def in_units(value: float, unit: float) -> float:
    """A value by what it is measured with, where there are no logarithms."""
    return max(-_FAR, min(_FAR, value / unit))


@dataclass(frozen=True)
class Spread:
    """What a history says about the next value: ``centre`` and ``noise`` on the scale."""

    centre: float
    noise: float
    #: Number of runs.
    runs: int
    #: Degrees of freedom of the noise, those of the prior included.
    freedom: int
    #: The value that a regression must be below: the lowest that passed; of 20 runs the third lowest.
    floor: float


#: Runs that the assumption about the noise is worth.
PRIOR_RUNS: Final = 4
#: Runs from which on the two lowest do not count as what passed before.
_MANY: Final = 20


def spread_of(places: Sequence[float], tolerance: float) -> Spread:
    """Centre and noise of places on a scale (at least two).

    The noise is the standard deviation about the median without the ``k // 10`` most extreme runs, corrected
    by ``1 + 2 g / k``, and moderated by a prior of a quarter of the tolerance that is worth four runs: it
    keeps three to five quiet runs from looking noiseless.
    """
    ordered = sorted(places)
    centre = median_of_sorted(ordered)
    noise, freedom = _moderated([place - centre for place in ordered], tolerance)
    low = 2 if len(ordered) >= _MANY else 0
    return Spread(centre, noise, len(ordered), freedom, ordered[low])


def steady_noise(places: Sequence[float], tolerance: float) -> tuple[float, int]:
    """Noise and degrees of freedom from the differences of neighbours, which a drift does not widen."""
    differences = [(places[at] - places[at - 1]) / math.sqrt(2) for at in range(1, len(places))]
    return _moderated(differences, tolerance)


def _moderated(deviations: Sequence[float], tolerance: float) -> tuple[float, int]:
    count = len(deviations)
    extreme = count // 10
    kept = sorted(map(abs, deviations))[: count - extreme]
    freedom = max(count - 1, 1)
    own = sum(one * one for one in kept) / freedom * (1 + 2 * extreme / count) ** 2
    prior = (tolerance / 4) ** 2
    return math.sqrt((PRIOR_RUNS * prior + freedom * own) / (PRIOR_RUNS + freedom)), PRIOR_RUNS + freedom


_QUANTILES: dict[tuple[float, int], float] = {}


def t_quantile(tail: float, freedom: int) -> float:
    """The value that Student's t exceeds with the probability ``tail`` (one side, below one half).

    Hill's expansion (G. W. Hill, Algorithm 396, Comm. ACM 13, 1970): within 1 % from four degrees of freedom.
    """
    known = _QUANTILES.get((tail, freedom))
    if known is None:
        known = _QUANTILES[tail, freedom] = _hill(2 * tail, max(freedom, 1))
    return known


def _hill(both: float, n: int) -> float:
    if n == 1:
        return 1 / math.tan(both * math.pi / 2)
    if n == 2:
        return math.sqrt(2 / (both * (2 - both)) - 2)
    a = 1 / (n - 0.5)
    b = 48 / (a * a)
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * both) ** (2 / n)
    if y > 0.05 + a:
        x = -normal_quantile(both / 2)
        y = x * x
        if n < 5:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (
            n + 1
        ) / (n + 2) + 1 / y
    return math.sqrt(n * y)


def normal_quantile(tail: float) -> float:
    """The (negative) value below which a normal variable lies with the probability ``tail`` (below one half).

    Abramowitz and Stegun 26.2.23, sharpened by two steps of Newton's method.
    """
    t = math.sqrt(-2 * math.log(tail))
    x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    for _ in range(2):
        above = math.erfc(x / math.sqrt(2)) / 2
        x += (above - tail) * math.sqrt(2 * math.pi) * math.exp(x * x / 2)
    return -x
