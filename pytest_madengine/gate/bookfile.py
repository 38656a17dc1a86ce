"""From the JSON or TOML of a references file, or of the entry of a model, to a :class:`Book`.

Everything that is wrong is collected: a run stops at the first problem, ``madengine lint`` shows all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from pytest_madengine.gate.key import CONTEXT_FACTS, KEY_FACTS
from pytest_madengine.gate.references import (
    DIRECTIONS,
    Accepted,
    Book,
    Expected,
    Pinned,
    Reference,
    reference_bounds,
)

#: An expected failure may last so long from today.
LONGEST_EXPECTATION: Final = timedelta(days=180)
_LISTS: Final = ("references", "accepted", "pinned", "xfail")
_METRIC_KEYS: Final = frozenset(("value", "lower", "upper", "unit", "direction", "tolerance", "strict"))
_REFERENCE_KEYS: Final = frozenset(("model", "when", "metrics"))


@dataclass(frozen=True)
class Problem:
    """Something in the file that cannot be used."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass
class _Reader:
    source: str
    problems: list[Problem] = field(default_factory=list)

    def note(self, place: str, text: str) -> None:
        self.problems.append(Problem(f"{self.source}: {place}" if place else self.source, text))

    # ---- values -------------------------------------------------------------------------------------

    def objects(self, value: object, place: str) -> Iterator[tuple[Mapping[str, Any], str]]:
        """The objects of a list."""
        if not isinstance(value, list):
            self.note(place, "is not a list")
            return
        for number, one in enumerate(value):
            if isinstance(one, Mapping):
                yield one, f"{place}[{number}]"
            else:
                self.note(f"{place}[{number}]", "is not an object")

    def text(self, entry: Mapping[str, Any], name: str, place: str, default: str | None = None) -> str:
        value = entry.get(name, default)
        if isinstance(value, str) and (value or default is not None):
            return value
        self.note(place, f'needs "{name}", a text')
        return ""

    def number(self, entry: Mapping[str, Any], name: str, place: str) -> float | None:
        """A finite number; ``None`` when it is null, absent, or wrong (which is noted)."""
        value = entry.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            self.note(place, f'"{name}" is not a number')
            return None
        return float(value)

    def when(self, entry: Mapping[str, Any], place: str) -> dict[str, str]:
        """Globs by the name of their fact; numbers count as their text."""
        given = entry.get("when", {})
        if not isinstance(given, Mapping):
            self.note(place, '"when" is not an object')
            return {}
        result = {}
        for name, glob in given.items():
            if name not in KEY_FACTS and name not in CONTEXT_FACTS:
                known = ", ".join((*KEY_FACTS[2:], *CONTEXT_FACTS))
                self.note(place, f'"when" names the unknown fact "{name}" (known: {known})')
            elif isinstance(glob, bool) or not isinstance(glob, str | int | float):
                self.note(place, f'"when.{name}" is not a text')
            else:
                result[str(name)] = str(glob)
        return result

    def day(self, entry: Mapping[str, Any], name: str, place: str) -> date | None:
        value = entry.get(name)
        if isinstance(value, date):  # TOML has dates
            return value
        try:
            return date.fromisoformat(value if isinstance(value, str) else "")
        except ValueError:
            self.note(place, f'needs "{name}", a date like 2027-01-31')
            return None

    # ---- entries ------------------------------------------------------------------------------------

    def references(self, value: object, place: str, model: str) -> Iterator[Reference]:
        for entry, where in self.objects(value, place):
            self.only(entry, _REFERENCE_KEYS, where)
            name = model or self.text(entry, "model", where)
            metrics = entry.get("metrics")
            when = self.when(entry, where)
            if not isinstance(metrics, Mapping):
                self.note(where, 'needs "metrics", an object of references by metric')
                continue
            for metric, given in metrics.items():
                found = self.reference(name, str(metric), when, given, f"{where}.metrics.{metric}")
                if found is not None:
                    yield found

    def reference(
        self, model: str, metric: str, when: Mapping[str, str], given: object, place: str
    ) -> Reference | None:
        fields = self._fields(given, place)
        if fields is None:
            return None
        before = len(self.problems)
        value = self.number(fields, "value", place)
        if value is None and len(self.problems) == before:
            self.note(place, 'needs "value", a number')
        lower, upper = self.number(fields, "lower", place), self.number(fields, "upper", place)
        tolerance = self.number(fields, "tolerance", place)
        if tolerance is not None and not 0 <= tolerance < 1:
            self.note(place, '"tolerance" is a share between 0 and 1 (0.05: 5 %)')
        unit, towards = self.text(fields, "unit", place, ""), self.text(fields, "direction", place, "")
        if towards and towards not in DIRECTIONS:
            self.note(place, '"direction" is "higher" or "lower"')
        if value is not None and len(self.problems) == before:
            try:
                reference_bounds(value, lower, upper)
            except ValueError as error:
                self.note(place, str(error))
        if value is None or len(self.problems) > before:
            return None
        missing = frozenset({"lower", "upper"} - fields.keys())
        where = f"{self.source}: {place}"
        return Reference(
            *(model, metric, when, where, value, lower, upper, missing, unit),
            direction=DIRECTIONS.get(towards, 0),
            tolerance=tolerance,
            strict=fields.get("strict") is True,
        )

    def _fields(self, given: object, place: str) -> Mapping[str, Any] | None:
        if isinstance(given, Mapping):
            self.only(given, _METRIC_KEYS, place)
            return given
        if isinstance(given, Sequence) and not isinstance(given, str) and len(given) in (3, 4):
            return dict(zip(("value", "lower", "upper", "unit"), given, strict=False))
        self.note(place, "is neither [value, lower, upper, unit] nor an object")
        return None

    def only(self, entry: Mapping[str, Any], known: frozenset[str], place: str) -> None:
        """Notes keys that mean nothing; those that begin with ``_`` are comments."""
        for name in sorted(map(str, entry.keys() - known)):
            if not name.startswith("_"):
                self.note(place, f'unknown key "{name}" (known: {", ".join(sorted(known))})')

    def accepted(self, value: object, place: str) -> Iterator[Accepted]:
        for entry, where in self.objects(value, place):
            number = self.number(entry, "value", where)
            model, metric = self.text(entry, "model", where), self.text(entry, "metric", where)
            when, reason = self.when(entry, where), self.text(entry, "reason", where)
            run, by, at = (self.text(entry, name, where, "") for name in ("from", "by", "at"))
            if number is None:
                self.note(where, 'needs "value", a number')
            else:
                yield Accepted(model, metric, when, f"{self.source}: {where}", number, run, at, reason, by)

    def pinned(self, value: object, place: str) -> Iterator[Pinned]:
        for entry, where in self.objects(value, place):
            number = self.number(entry, "value", where)
            model, metric = self.text(entry, "model", where), self.text(entry, "metric", where)
            when, at = self.when(entry, where), self.text(entry, "at", where, "")
            if number is None:
                self.note(where, 'needs "value", a number')
            else:
                yield Pinned(model, metric, when, f"{self.source}: {where}", number, at)

    def expected(self, value: object, place: str) -> Iterator[Expected]:
        for entry, where in self.objects(value, place):
            until = self.day(entry, "until", where)
            model, metric = self.text(entry, "model", where), self.text(entry, "metric", where, "*")
            when, reason = self.when(entry, where), self.text(entry, "reason", where)
            if until is not None:
                yield Expected(model, metric, when, f"{self.source}: {where}", reason, until)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def read_book(data: object, source: str) -> tuple[Book, list[Problem]]:
    """What a references file says, and what is wrong with it.

    :param data: the parsed JSON or TOML.
    :param source: name of the file, for places.
    """
    reader = _Reader(source)
    if not isinstance(data, Mapping):
        reader.note("", "is not an object")
        return Book(), reader.problems
    reader.only(data, frozenset((*_LISTS, "gate")), "the file")
    book = Book(
        tuple(reader.references(data.get("references", []), "references", "")),
        tuple(reader.accepted(data.get("accepted", []), "accepted")),
        tuple(reader.pinned(data.get("pinned", []), "pinned")),
        tuple(reader.expected(data.get("xfail", []), "xfail")),
    )
    return book, reader.problems


def read_entry(
    entry: Mapping[str, Any], model: str, source: str
) -> tuple[tuple[Reference, ...], list[Problem]]:
    """The references in the entry of a model: ``reference`` (one object) or ``references`` (a list)."""
    reader = _Reader(source)
    found: list[Reference] = []
    if "references" in entry:
        found += reader.references(entry["references"], f"{model}.references", model)
    if "reference" in entry:
        found += reader.references([entry["reference"]], f"{model}.reference", model)
    return tuple(found), reader.problems


def too_long(expected: Expected, today: date) -> bool:
    """An expected failure without an end in sight."""
    return expected.until - today > LONGEST_EXPECTATION
