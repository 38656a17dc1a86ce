"""A session in which everything is slower: the host, not the models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from pytest_madengine.gate.judge import ENOUGH, Options, level_of
from pytest_madengine.gate.scale import MEAN_DEVIATION, finite, median

#: So many metrics, of so many items, are needed to say something about the session.
METRICS: Final = 8
ITEMS: Final = 3
#: The smallest common loss, as a share.
_LEAST: Final = 0.02
#: The common loss is so many times its standard error.
_ERRORS: Final = 5.0
#: Share of the metrics that lost.
_LOST: Final = 0.75
#: Median absolute deviation to standard deviation of a normal variable.
_ROBUST: Final = 1.4826


def session_shift(items: Iterable[tuple[Sequence[float], float, int]]) -> float | None:
    """The common loss of the metrics of a session on one host, as a negative log; ``None`` without one.

    The caller makes sure that they are of at least :data:`ITEMS` items.

    :param items: (history, first value, direction) of each metric.
    """
    differences = [one for one in (_difference(*item) for item in items) if one is not None]
    if len(differences) < METRICS:
        return None
    common = median(differences)
    spread = _ROBUST * median([abs(one - common) for one in differences])
    error = MEAN_DEVIATION * spread / math.sqrt(len(differences))
    lost = sum(one < 0 for one in differences)
    if common >= math.log1p(-_LEAST) or -common <= _ERRORS * error or lost < _LOST * len(differences):
        return None
    return common


def _difference(history: Sequence[float], value: float, direction: int) -> float | None:
    earlier = finite(history)
    if len(earlier) < ENOUGH or direction == 0 or not math.isfinite(value):
        return None
    options = Options()
    scale, level, _ = level_of(earlier, 1 if direction > 0 else -1, options)
    return scale.to(value) - median(level[-options.window :])
