"""What a hook of the user answered, as metrics: anything else is an error with a reason."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from pytest_madengine.errors import ResultError
from pytest_madengine.results.limits import METRICS
from pytest_madengine.results.lines import read_cell
from pytest_madengine.results.readings import means_success
from pytest_madengine.results.record import Metric, Outcome

_HINT: Final = "return a list of pytest_madengine.results.record.Metric, or None for the built-in rules"
_SHOWN: Final = 60


def checked_metrics(answer: Any, hook: str) -> tuple[Metric, ...]:
    """The metrics of an answer; a value that is not one makes its metric a FAILURE.

    :raises ResultError: not a collection of metrics, an empty one, or too many.
    """
    if isinstance(answer, (str, bytes, Mapping, Metric)) or not isinstance(answer, Iterable):
        raise ResultError(f"{hook} returned {_named(answer)}, which is not a list of metrics", hint=_HINT)
    entries = list(itertools.islice(answer, METRICS + 1))
    if not entries:
        raise ResultError(f"{hook} found no metric: its answer is empty", hint=_HINT)
    if len(entries) > METRICS:
        raise ResultError(f"{hook} returned more than {METRICS} metrics", hint=_HINT)
    return tuple(_checked(entry, f"entry {number} of {hook}") for number, entry in enumerate(entries, 1))


def _checked(entry: Any, where: str) -> Metric:
    if not isinstance(entry, Metric):
        raise ResultError(f"{where} is {_named(entry)}, not a Metric", hint=_HINT)
    value: Any = entry.value
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        value = _written(value)
    for name, text in (("value", value), ("name", entry.name), ("row", entry.row)):
        if not isinstance(text, str):
            raise ResultError(f"{where}: its {name} is {_named(text)}, not a text", hint=_HINT)
    for name in ("overrides", "extra"):
        cells = getattr(entry, name)
        texts = isinstance(cells, Mapping) and all(
            isinstance(text, str) for pair in cells.items() for text in pair
        )
        if not texts:
            raise ResultError(f"{where}: its {name} is not a mapping of texts", hint=_HINT)
    reading = read_cell(value)
    good = reading.is_value and means_success(str(entry.outcome))
    outcome = Outcome.SUCCESS if good else Outcome.FAILURE
    return dataclasses.replace(entry, value=reading.value, outcome=outcome)


def _written(value: Any) -> str:
    """A number as text: whole ones stay whole, and one that is none is said as Python says it."""
    try:
        number = float(value)
    except OverflowError:
        return "inf"
    if isinstance(value, int) or not math.isfinite(number):
        return str(number if not math.isfinite(number) else int(value))
    return repr(number)


def _named(value: Any) -> str:
    """The type of a value, with the value itself when it is short and plain."""
    kind = type(value).__name__
    if isinstance(value, (int, float, str, bool, type(None))):
        text = repr(value)
        return f"{text if len(text) <= _SHOWN else text[:_SHOWN] + '...'} ({kind})"
    return f"a {kind}"
