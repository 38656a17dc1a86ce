"""The rule: one metric of one run against its history.

A run that looks worse than its history by more than noise is measured again; only what is confirmed is a
regression.  Constants are in :class:`Options`; why they are what they are, and what they reach, is printed by
``python -m benchmarks gate``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pytest_madengine.gate import words
from pytest_madengine.gate.level import Step
from pytest_madengine.gate.level import level_of as level_on_scale
from pytest_madengine.gate.scale import Scale, Spread, finite, log_loss, median, spread_of, t_quantile

#: Fewer runs are no baseline; below :data:`FIRM` only large losses fail.
ENOUGH: Final = 3
FIRM: Final = 5
#: The loss that fails with fewer than :data:`FIRM` runs, as a share.
LARGE_LOSS: Final = 0.2
#: Share of the tolerance within which a run is never bad.
_CALM: Final = 0.8
#: Chance that a run of an unchanged model is measured again.
_SUSPICION: Final = 0.02
#: So many bands decide before all re-runs are used.
_CLEAR: Final = 1.5
#: Share of the variance that is assumed to stay for a re-run in the same session.
_SHARED: Final = 0.5
#: A value that equals a border but for rounding is inside.
_SLACK: Final = 1e-9


@dataclass(frozen=True)
class Options:
    """What may be chosen.  ``tolerance`` is a share, ``shift`` the common loss of the session as a log."""

    confirm: int = 1
    tolerance: float = 0.05
    alpha: float = 0.0005
    window: int = 20
    shift: float = 0.0
    #: What a lasting loss that nobody accepted means: ``warn``, ``fail`` or ``off``.
    lasting: str = "warn"

    @classmethod
    def of(cls, given: Mapping[str, object] | Options | None) -> Options:
        """From a mapping whose keys are all optional.

        :raises TypeError: a key is not known.
        """
        if isinstance(given, Options):
            return given
        return _DEFAULT if not given else cls(**given)  # type: ignore[arg-type]


_DEFAULT: Final = Options()


@dataclass(frozen=True)
class Decision:
    """The verdict on one metric.

    ``change`` is the value that decided against the baseline as a share, negative when it is worse (whichever
    direction is better); ``band`` the smallest loss that would be found, likewise.  Without a baseline all
    numbers but ``value`` are NaN.
    """

    word: str
    reason: str = ""
    value: float = math.nan
    baseline: float = math.nan
    change: float = math.nan
    band: float = math.nan
    noise: float = math.nan
    #: Runs of the history that count.
    n: int = 0
    #: Runs of this session that were judged.
    runs: int = 0


def decide(
    history: Sequence[float],
    new: Sequence[float],
    direction: int,
    options: Mapping[str, object] | Options | None = None,
) -> Decision:
    """Judges the runs of this session, or asks for one more (``rerun``).

    :param history: values of the key, oldest first, one per session.
    :param new: values of this session so far, in the order of the runs.
    :param direction: 1 when more is better, -1 when less is, 0 when nobody knows.
    :param options: fields of :class:`Options`.
    """
    chosen = Options.of(options)
    measured = finite(new)
    if not measured:
        return Decision(words.NO_BASELINE, words.NOT_A_NUMBER)
    if direction == 0:
        return _none(words.UNKNOWN_DIRECTION, measured, history)
    earlier = finite(history)
    if len(earlier) < ENOUGH:
        return _none(words.TOO_FEW, measured, earlier)
    case = _Case.of(earlier, measured, 1 if direction > 0 else -1, chosen)
    word, reason = case.verdict()
    return case.decision(word, reason)


def _none(reason: str, measured: Sequence[float], history: Sequence[float]) -> Decision:
    return Decision(words.NO_BASELINE, reason, value=measured[0], n=len(history), runs=len(measured))


def baseline_of(
    history: Sequence[float], direction: int, options: Mapping[str, object] | Options | None = None
) -> Decision | None:
    """What a run of the median would be judged: for showing baseline, noise and band of a key.

    ``None`` without a baseline.
    """
    earlier = finite(history)
    chosen = Options.of(options)
    if len(earlier) < ENOUGH or direction == 0:
        return None
    scale, places, _ = level_of(earlier, direction, chosen)
    value = scale.back(median(places[-chosen.window :]))
    return _Case.of(earlier, [value], 1 if direction > 0 else -1, chosen).decision(words.PASS, "")


def level_of(
    history: Sequence[float], direction: int, options: Options
) -> tuple[Scale, Sequence[float], Step | None]:
    """The scale of a history (finite values), the places of the level that counts, and its lasting loss."""
    scale = Scale.of(history, direction)
    return scale, *level_on_scale([scale.to(value) for value in history], log_loss(options.tolerance))


@dataclass(frozen=True)
class _Case:
    """Everything that the rule asks about one metric, on the scale."""

    options: Options
    scale: Scale
    spread: Spread
    tolerance: float
    #: Places of the new runs, the common loss of the session taken out.
    runs: tuple[float, ...]
    #: Median before a lasting loss in the history, if there is one.
    lost_level: float | None
    #: Runs of the whole history: a new level is judged by the noise of few runs, but not as a new model.
    known: int

    @classmethod
    def of(cls, history: Sequence[float], new: Sequence[float], direction: int, options: Options) -> _Case:
        tolerance = log_loss(options.tolerance)
        scale, level, loss = level_of(history, direction, options)
        step = None if options.lasting == "off" else loss
        shift = min(options.shift, 0.0)
        runs = tuple(scale.to(value) - shift for value in new)
        spread = spread_of(level[-options.window :], tolerance)
        return cls(options, scale, spread, tolerance, runs, step.before if step else None, len(history))

    def verdict(self) -> tuple[str, str]:
        loss = self.loss
        if self.may_run_again and self.suspicious(loss):
            return words.RERUN, ""
        if self.is_regression(loss):
            return words.REGRESSION, ""
        if loss > self.tolerance + _SLACK and not self.lasting:
            return words.INCONCLUSIVE, words.HISTORY if self.known < FIRM else words.SPREAD
        if self.lasting:
            return (words.REGRESSION if self.options.lasting == "fail" else words.INCONCLUSIVE), words.LEVEL
        return (words.IMPROVED if -loss > self.band(len(self.runs)) + _SLACK else words.PASS), ""

    @property
    def place(self) -> float:
        """The run that counts: of two the better, of three and more the median."""
        return max(self.runs) if len(self.runs) < 3 else median(self.runs)

    @property
    def loss(self) -> float:
        return self.spread.centre - self.place

    @property
    def may_run_again(self) -> bool:
        return len(self.runs) - 1 < self.options.confirm

    @property
    def least(self) -> float:
        """The loss that a regression exceeds whatever the noise."""
        return max(self.tolerance, _LARGE) if self.known < FIRM else self.tolerance

    def suspicious(self, loss: float) -> bool:
        """Worth another run: beyond what is calm and what noise does in one of fifty runs."""
        if len(self.runs) > 1 and loss > _CLEAR * self.band(len(self.runs)) and self.is_regression(loss):
            return False
        noise = t_quantile(_SUSPICION, self.spread.freedom) * self.spread.noise
        return loss > max(_CALM * self.least, noise * math.sqrt(1 + 1 / self.spread.runs)) + _SLACK

    def is_regression(self, loss: float) -> bool:
        return (
            loss > max(self.band(len(self.runs)), self.least) + _SLACK
            and self.place < self.spread.floor
            and all(self.spread.centre - run > _CALM * self.tolerance + _SLACK for run in self.runs)
        )

    @property
    def lasting(self) -> bool:
        """The run stands where a lasting loss of the history left the metric."""
        return self.lost_level is not None and self.lost_level - self.place > self.tolerance + _SLACK

    def band(self, runs: int) -> float:
        """The loss that the noise of history and new runs cannot explain."""
        width = _width(self.options.alpha, self.spread.freedom, self.spread.runs, runs)
        return max(self.tolerance, width * self.spread.noise)

    def decision(self, word: str, reason: str) -> Decision:
        scale, spread = self.scale, self.spread
        place = self.place
        # What is shown is what was measured: the common loss of the session is said once, apart.
        value = scale.back(place + min(self.options.shift, 0.0))
        return Decision(
            word,
            reason,
            value=value,
            baseline=scale.back(spread.centre),
            change=scale.change(place - spread.centre),
            band=-scale.change(-max(self.band(len(self.runs)), self.least)),
            noise=scale.change(spread.noise),
            n=spread.runs,
            runs=len(self.runs),
        )


_LARGE: Final = log_loss(LARGE_LOSS)


@lru_cache(maxsize=4096)
def _width(alpha: float, freedom: int, history: int, runs: int) -> float:
    """The half width of the band in units of the noise."""
    shared = 1.0 if runs == 1 else _SHARED + (1 - _SHARED) / runs
    return t_quantile(alpha, freedom) * math.sqrt(1 / history + shared)
