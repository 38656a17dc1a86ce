"""References, accepted changes, pins and expected failures: what people say about the numbers of a model.

The values are ReFrame's ``(value, lower, upper, unit)``; ``when`` narrows an entry to some GPUs or sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Final, TypeVar

from pytest_madengine.errors import ConfigError
from pytest_madengine.gate import words
from pytest_madengine.gate.judge import Decision
from pytest_madengine.gate.scale import median

_SLACK: Final = 1e-9
#: ``direction`` as it is written.
DIRECTIONS: Final = {"higher": 1, "lower": -1}


@dataclass(frozen=True)
class Entry:
    """What all entries have: ``metric`` may be ``*``; ``when`` are globs on facts of key or context."""

    model: str
    metric: str
    when: Mapping[str, str]
    #: Where it stands: ``mad-references.json: references[2].metrics.ttft_ms``.
    place: str

    def applies(self, model: str, metric: str, facts: Mapping[str, str]) -> bool:
        """Whether the entry speaks of this metric under these facts."""
        if self.metric not in (metric, "*") or self.model != model:
            return False
        return all(fnmatchcase(facts.get(name, ""), glob) for name, glob in self.when.items())

    @property
    def precision(self) -> tuple[int, int, int]:
        """Greater in the more specific entry: named metric, most facts, most without wildcard."""
        plain = sum(not set("*?[") & set(glob) for glob in self.when.values())
        return (self.metric != "*", len(self.when), plain)


@dataclass(frozen=True)
class Reference(Entry):
    """A value and how far a run may be from it: shares of the value, absolute where it is 0.

    A side that is ``None`` is open.  ``direction`` 0: not said.
    """

    value: float = math.nan
    lower: float | None = None
    upper: float | None = None
    #: Sides that the entry does not name at all: the direction of the metric decides about them.
    missing: frozenset[str] = frozenset()
    unit: str = ""
    direction: int = 0
    tolerance: float | None = None
    #: A run that is better than the good side fails as well.
    strict: bool = False

    def limits(self, direction: int, tolerance: float) -> tuple[float, float]:
        """The least and the greatest value that pass; infinite where a side is open.

        A side that is missing gets the tolerance when it is the bad one, else it is open.
        """
        share = self.tolerance if self.tolerance is not None else tolerance
        lower, upper = self.lower, self.upper
        if "lower" in self.missing and direction > 0:
            lower = -share
        if "upper" in self.missing and direction < 0:
            upper = share
        return reference_bounds(self.value, lower, upper)


@dataclass(frozen=True)
class Accepted(Entry):
    """A change that somebody accepted: the level restarts at the run ``run`` with this value."""

    value: float = math.nan
    run: str = ""
    at: str = ""
    reason: str = ""
    by: str = ""


@dataclass(frozen=True)
class Pinned(Entry):
    """The level that drift is judged against."""

    value: float = math.nan
    at: str = ""


@dataclass(frozen=True)
class Expected(Entry):
    """A regression that is known and may last until a date (the day itself included, UTC)."""

    reason: str = ""
    until: date = date.min


AnyEntry = TypeVar("AnyEntry", bound=Entry)


@dataclass(frozen=True)
class Book:
    """All that one repository says, from its file and from the entries of its models."""

    references: tuple[Reference, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    pinned: tuple[Pinned, ...] = ()
    xfail: tuple[Expected, ...] = ()

    def reference(self, model: str, metric: str, facts: Mapping[str, str]) -> Reference | None:
        """The reference of a metric: the most specific one that applies.

        :raises ConfigError: two that are equally specific apply.
        """
        return _most_specific(self.references, model, metric, facts)

    def expected(self, model: str, metric: str, facts: Mapping[str, str]) -> Expected | None:
        """The expected failure of a metric, likewise."""
        return _most_specific(self.xfail, model, metric, facts)

    def pin(self, model: str, metric: str, facts: Mapping[str, str]) -> Pinned | None:
        """The pinned level of a metric, likewise."""
        return _most_specific(self.pinned, model, metric, facts)

    def accepted_last(self, model: str, metric: str, facts: Mapping[str, str]) -> Accepted | None:
        """The accepted change of a metric that counts: the newest."""
        found = [one for one in self.accepted if one.applies(model, metric, facts)]
        return max(found, key=lambda one: one.at, default=None)


def _most_specific(
    entries: Iterable[AnyEntry], model: str, metric: str, facts: Mapping[str, str]
) -> AnyEntry | None:
    found = [one for one in entries if one.applies(model, metric, facts)]
    if not found:
        return None
    found.sort(key=lambda one: one.precision, reverse=True)
    if len(found) > 1 and found[0].precision == found[1].precision:
        raise ConfigError(
            f"{found[0].place} and {found[1].place} both apply to {model} {metric}",
            hint='make one of them more specific with "when", or remove it',
        )
    return found[0]


def reference_bounds(value: float, lower: float | None, upper: float | None) -> tuple[float, float]:
    """The bounds of a reference as ReFrame computes them.

    ``value (1 + lower)`` and ``value (1 + upper)``; of a negative value the fractions turn, of 0 they are
    absolute; ``None`` is unbounded.

    :raises ValueError: a fraction is out of its range.
    """
    if lower is not None:
        _within("lower", lower, -math.inf if value <= 0 else -1.0, 0.0)
    if upper is not None:
        _within("upper", upper, 0.0, 1.0 if value < 0 else math.inf)
    if value == 0:
        return (-math.inf if lower is None else lower, math.inf if upper is None else upper)
    turn = -1 if value < 0 else 1
    return (
        -math.inf if lower is None else value * (1 + turn * lower),
        math.inf if upper is None else value * (1 + turn * upper),
    )


def _within(name: str, share: float, least: float, most: float) -> None:
    if math.isnan(share) or not least <= share <= most:
        raise ValueError(f"{name} is {share:g}, but must be between {least:g} and {most:g}")


def judge_reference(
    reference: Reference, runs: Sequence[float], direction: int, tolerance: float, *, may_run_again: bool
) -> Decision:
    """Judges the runs of this session by a reference; a loss is one when all runs are beyond the bound.

    :param runs: finite values, in their order.
    :param direction: of the metric, where the reference does not say it.
    """
    towards = reference.direction or direction
    low, high = reference.limits(towards, tolerance)
    value = _deciding(runs, towards)
    sides = [_side(run, low, high, towards) for run in runs]
    if all(side < 0 for side in sides):
        word = words.RERUN if may_run_again else words.REGRESSION
    elif all(side > 0 for side in sides):
        word = words.REGRESSION if reference.strict else words.IMPROVED
    else:
        word = words.PASS
    bad = high if towards < 0 else low
    size = abs(reference.value) or 1.0
    sign = -1 if towards < 0 else 1
    return Decision(
        word,
        words.REFERENCE,
        value=value,
        baseline=reference.value,
        change=sign * (value - reference.value) / size,
        band=abs(reference.value - bad) / size,
        runs=len(runs),
    )


def _deciding(runs: Sequence[float], direction: int) -> float:
    if len(runs) > 2 or direction == 0:
        return median(runs)
    return min(runs) if direction < 0 else max(runs)


def _side(value: float, low: float, high: float, direction: int) -> int:
    """-1: beyond the bad bound, 1: beyond the good one; with an unknown direction both are bad."""
    slack = _SLACK * max(abs(value), 1e-300)
    if value < low - slack:
        return 1 if direction < 0 else -1
    if value > high + slack:
        return 1 if direction > 0 else -1
    return 0
