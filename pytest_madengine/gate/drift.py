"""A slow loss that no single run shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from pytest_madengine.gate.judge import Options, level_of
from pytest_madengine.gate.scale import finite, log_loss, median, steady_noise, t_quantile

#: The newest runs whose median is compared, and the first runs of the level that they are compared with.
NEWEST: Final = 5
FIRST: Final = 10


def drift(
    history: Sequence[float],
    new: Sequence[float],
    pinned: float | None,
    direction: int,
    options: Mapping[str, object] | Options | None = None,
) -> bool:
    """Whether the median of the last runs is worse than a pinned level by more than tolerance and noise.

    :param history: values of the key, oldest first.
    :param new: values of this session; the best of them counts as its run.
    :param pinned: the level to compare with; ``None``: the first runs of the level.
    """
    chosen = Options.of(options)
    earlier, measured = finite(history), finite(new)
    usable = pinned is None or math.isfinite(pinned)
    if direction == 0 or not earlier or not usable:
        return False
    towards = 1 if direction > 0 else -1
    scale, level, _ = level_of(earlier, towards, chosen)
    places = [*level, *([max(map(scale.to, measured))] if measured else [])]
    first = FIRST if pinned is None else 0
    if len(places) < first + NEWEST:
        return False
    base = median(places[:FIRST]) if pinned is None else scale.to(pinned)
    loss = base - median(places[-NEWEST:])
    tolerance = log_loss(chosen.tolerance)
    noise, freedom = steady_noise(places, tolerance)
    error = noise * math.sqrt(1 / NEWEST + (1 / FIRST if pinned is None else 0))
    return loss > max(tolerance, t_quantile(chosen.alpha, freedom) * error)
