"""The table ``gate`` of a references file: what few people change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_madengine.gate.judge import Options


@dataclass(frozen=True)
class Tuning:
    """Settings of the gate beside mode, tolerance and history."""

    #: Re-runs of a suspicious item; 0: none.
    confirm: int = 1
    #: Re-runs of a session; ``None``: a tenth of its items, at least 3.
    reruns: int | None = None
    #: Largest loss that never fails, as a share; ``None``: that of the option.
    tolerance: float | None = None
    alpha: float = 0.0005
    window: int = 20
    #: What a lasting loss that nobody accepted means: ``warn``, ``fail`` or ``off``.
    lasting: str = "warn"
    #: What a metric without a baseline means: ``pass`` or ``fail``.
    missing: str = "pass"

    def options(self, tolerance: float) -> Options:
        """As the rule takes them.

        :param tolerance: of the option, where the table has none.
        """
        own = tolerance if self.tolerance is None else self.tolerance
        return Options(self.confirm, own, self.alpha, self.window, lasting=self.lasting)

    def budget(self, items: int) -> int:
        """Re-runs that a session of so many items may have."""
        return max(3, items // 10) if self.reruns is None else self.reruns


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _share(most: float) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return math.isfinite(value) and 0 < value < most

    return check


_CHECKS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "confirm": (_whole(0), "a whole number, 0 or more"),
    "reruns": (_whole(0), "a whole number, 0 or more"),
    "tolerance": (_share(1), "a share between 0 and 1 (0.05: 5 %)"),
    "alpha": (_share(0.5), "a share between 0 and 0.5"),
    "window": (_whole(5), "a whole number, 5 or more"),
    "lasting": (lambda value: value in ("warn", "fail", "off"), '"warn", "fail" or "off"'),
    "missing": (lambda value: value in ("pass", "fail"), '"pass" or "fail"'),
}


def read_tuning(table: object, source: str) -> tuple[Tuning, list[str]]:
    """The table, and what is wrong with it, a line each.

    :param source: name of the file, for messages.
    """
    if not isinstance(table, Mapping):
        return Tuning(), [f'{source}: "gate" is not an object']
    problems, chosen = [], {}
    for name, value in table.items():
        if name not in _CHECKS:
            problems.append(f'{source}: "gate" has no setting "{name}" (there are: {", ".join(_CHECKS)})')
            continue
        check, expected = _CHECKS[name]
        if check(value):
            chosen[name] = value
        else:
            problems.append(f'{source}: "gate.{name}" is not {expected}')
    return Tuning(**chosen), problems
