"""A/B: candidate against baseline in pairs of runs on one lease; no history is needed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pytest_madengine.gate import words
from pytest_madengine.gate.scale import in_units, median, t_quantile

#: The smallest mean loss that is a regression, and the one from which a wide interval is worth a word.
LEAST: Final = 0.02
_NOTABLE: Final = 0.01
_ALPHA: Final = 0.005
#: The noise that is assumed, and the pairs that the assumption is worth.
_PRIOR: Final = 0.01
_PRIOR_PAIRS: Final = 2
_SLACK: Final = 1e-12


@dataclass(frozen=True)
class Duet:
    """The verdict on pairs; ``change`` and the ends of its interval are shares, negative when worse."""

    word: str
    reason: str = ""
    change: float = math.nan
    low: float = math.nan
    high: float = math.nan
    pairs: int = 0


def duet(pairs: Iterable[tuple[float, float]], direction: int) -> Duet:
    """Judges (baseline, candidate) pairs by the logarithms of their ratios.

    :param direction: 1 when more is better, -1 when less is, 0 when nobody knows.
    """
    usable = [(float(a), float(b)) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
    if not usable:
        return Duet(words.NO_BASELINE, words.NOT_A_NUMBER)
    if direction == 0:
        return Duet(words.NO_BASELINE, words.UNKNOWN_DIRECTION, pairs=len(usable))
    sign = 1 if direction > 0 else -1
    differences, logarithmic = _differences(usable, sign)
    count = len(differences)
    mean = sum(differences) / count
    own = sum((one - mean) ** 2 for one in differences)
    deviation = math.sqrt((_PRIOR_PAIRS * _PRIOR**2 + own) / (_PRIOR_PAIRS + max(count - 1, 0)))
    half = t_quantile(_ALPHA, count + 1) * deviation / math.sqrt(count)
    low, high = mean - half, mean + half
    word, reason = _word(mean, low, high)

    def share(place: float) -> float:
        return math.expm1(min(place, 700.0)) if logarithmic else place

    return Duet(word, reason, share(mean), share(low), share(high), count)


def _differences(pairs: list[tuple[float, float]], sign: int) -> tuple[list[float], bool]:
    if all(a > 0 and b > 0 for a, b in pairs):
        return [sign * (math.log(b) - math.log(a)) for a, b in pairs], True
    values = [abs(a) for a, _ in pairs]
    unit = median(values) or max(values) or 1.0
    return [sign * (in_units(b, unit) - in_units(a, unit)) for a, b in pairs], False


def _word(mean: float, low: float, high: float) -> tuple[str, str]:
    least, notable = -math.log1p(-LEAST), -math.log1p(-_NOTABLE)
    if high < 0 and mean < -least - _SLACK:
        return words.REGRESSION, ""
    if low > 0 and mean > least + _SLACK:
        return words.IMPROVED, ""
    if low < -least and mean < -notable:
        return words.INCONCLUSIVE, words.SPREAD
    return words.PASS, ""
