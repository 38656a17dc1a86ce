"""Limits of the phases of an item (contract 10.8)."""

from __future__ import annotations

import math
from typing import Any, Final

from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.options import LONGEST_LIMIT
from pytest_madengine.settings import PhaseTimeouts, Settings

#: Run limit in seconds of a model that names none.
DEFAULT_RUN: Final = 7200


def check_timeout_option(value: str | int | None) -> int | None:
    """The value of ``--timeout``: seconds, 0 or -1 for none, ``None`` when not given.

    :raises ConfigError: below -1 or not a whole number.
    """
    if value is None:
        return None
    text = str(value).strip()
    try:
        number = int(text)
    except ValueError:
        number = -2
    if isinstance(value, bool) or not -1 <= number <= LONGEST_LIMIT:
        raise ConfigError(
            f"--timeout is {text[:40]!r}, not a number of seconds up to {LONGEST_LIMIT} (0 or -1: no limit)"
        )
    return number


def phase_timeouts(settings: Settings, model: Model, context: Context) -> PhaseTimeouts:
    """Limits in seconds of every phase; ``None`` is no limit.

    :raises ConfigError: ``--timeout`` or ``timeout_multiplier`` is no such number.
    :raises PlanError: the ``timeout`` of the model is below -1.
    """
    return PhaseTimeouts(
        pull=_positive(settings.timeout_pull),
        build=_positive(settings.timeout_build),
        prepare=_positive(settings.timeout_prepare),
        run=_run_limit(settings, model, context),
        collect=_positive(settings.timeout_collect),
    )


def _run_limit(settings: Settings, model: Model, context: Context) -> float | None:
    multiplier = _multiplier(context.get("timeout_multiplier"))
    explicit = check_timeout_option(settings.timeout)
    if explicit is not None:
        return _positive(explicit)
    if model.timeout is not None and model.timeout < -1:
        raise PlanError(f"{model.source}: model {model.name!r}: timeout is {model.timeout}, below -1")
    own = DEFAULT_RUN if model.timeout is None else model.timeout
    if own * multiplier > LONGEST_LIMIT:
        raise PlanError(
            f"{model.source}: model {model.name!r}: timeout {own} times the context's timeout_multiplier, "
            f"{multiplier:g}, is more than {LONGEST_LIMIT} seconds",
            hint="use --timeout 0 for no limit",
        )
    return _positive(own * multiplier)


def _multiplier(value: Any) -> float:
    if value is None:
        return 1
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not (0 < number < math.inf):
        raise ConfigError(f"context: timeout_multiplier is {value!r}, not a number above 0")
    return number


def _positive(value: float | None) -> float | None:
    """0 and -1 mean no limit."""
    return value if value is not None and value > 0 else None
