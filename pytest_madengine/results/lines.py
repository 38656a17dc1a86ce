"""The values of one ``performance:`` line (contract 12.1), read by the grammar of :mod:`readings`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_madengine.results.patterns import PERFORMANCE, PERFORMANCE_VALUE, TRAINER_VALUE
from pytest_madengine.results.readings import (
    FACTORS,
    LONGEST,
    Kind,
    Reading,
    european,
    is_like_number,
    number,
    read,
    scaled,
)

#: What a shell prints of its commands (``set -x``, ``set -v``), and sources in a traceback: the value is in
#: the command, not a result of it.
_XTRACE: Final = re.compile(r"\++(?:[ \t(\[<:])")
_XTRACED: Final = re.compile(r"['\"]|(?:^|[\s:)\]])(?:echo|printf|print|tee|logger|eval)[ \t]")
_COMMAND: Final = re.compile(
    r"(?:^|[\s;&|({`])(?:(?:echo|printf)[ \t]+(?:-[-\w]+[ \t]+)*(?:\$?[\"'][^\"']{0,400})?"
    r"|print\([^()]{0,400})$"
)
#: Thousands in groups with a decimal comma: not a number of the contract, but only one number is meant.
_EUROPEAN: Final = re.compile(
    rf"{PERFORMANCE}[ \t]*"
    r"(?P<value>[+-]?[0-9]{1,3}(?:(?:\.[0-9]{3})+|(?:[ \u00a0\u2009\u202f][0-9]{3})+),[0-9]+)"
    r"(?=$|[ \t/%A-Za-z])[ \t]*(?P<unit>[^\s,]+)?"
)
_TOLERANCE: Final = re.compile(
    r"[ \t]+(?:±|\+/-|\+-)[ \t]*[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?%?(?=$|[ \t,])"
    r",?[ \t]*(?P<unit>[^\s,]+)?"
)
#: What is glued to a number, and the two words after it.
_GLUED: Final = re.compile(
    r"(?P<glued>[^\s,]*),?(?:[ \t]+(?P<first>[^\s,]+),?)?(?:[ \t]+(?P<second>[^\s,]+))?"
)
#: ``1e5.2``, ``1.5D+03``, ``5x10^3``, ``1e+``: a number goes on, and not as one of ours.
_GOES_ON: Final = re.compile(r"[A-Za-z][+-]?[.]?[0-9]|[eE][+-]?$|[eEdD][+-]$|/[ \t]*[+-]?[.]?[0-9]")
#: A number of at most three digits and a word like this may be thousands and a glued unit: ``1 234ms``.
_GROUP_AND_UNIT: Final = re.compile(r"[0-9]{3}(?:[.,][0-9]+)?[A-Za-z%/µ]+")
_SHORT: Final = re.compile(r"[+-]?[0-9]{1,3}")
_TIMES: Final = frozenset("xX×*·^")
_NUMERALS: Final = re.compile(
    r"hundred|thousand|(?:m|b|tr)illion|mio|mrd|mln|mn|bn|lakh|crore|dozen", re.IGNORECASE
)
#: Letters that may be a factor or a unit: before another word nobody knows.
_DOUBTFUL: Final = frozenset("BPEZYbmuµnp")


@dataclass(frozen=True)
class LineValues:
    """What one line says."""

    #: (value, metric), in order.
    found: tuple[tuple[str, str], ...] = ()
    #: A number is there of which only a part could be read.
    ambiguous: bool = False
    #: The line shows a command that prints a value, not the value.
    trace: bool = False


def read_line(text: str) -> LineValues:
    """Reads a line that contains ``performance:``."""
    found: list[tuple[str, str]] = []
    ambiguous = False
    position = 0
    traced = bool(_XTRACE.match(text.lstrip()))
    while True:
        place = text.find(PERFORMANCE, position)
        if place < 0:
            return LineValues(tuple(found), ambiguous)
        before = text[max(place - LONGEST, 0) : place]
        if (traced and _XTRACED.search(before)) or _COMMAND.search(before):
            return LineValues(tuple(found), ambiguous, trace=not found and not ambiguous)
        match = _EUROPEAN.match(text, place) or PERFORMANCE_VALUE.match(text, place)
        if match is None:
            position = place + 1
            continue
        pair = _read(text, match)
        if pair is None:
            ambiguous = True
        else:
            found.append(pair)
        position = match.end()


def _read(text: str, match: re.Match[str]) -> tuple[str, str] | None:
    """The value and metric of a match; ``None``: ambiguous."""
    value, unit = match["value"], match["unit"] or ""
    end = match.end("value")
    value = european(value) if match.re is _EUROPEAN else value.replace(",", "")
    tolerance = _TOLERANCE.match(text, end)
    if tolerance:
        unit = tolerance["unit"] or ""
        return (value, unit) if _is_clear(value, unit, text, tolerance.end()) else None
    rest = _GLUED.match(text, end)
    assert rest is not None  # every part of it is optional
    glued, first, second = rest["glued"], rest["first"] or "", rest["second"] or ""
    if glued in FACTORS:
        value = scaled(value, glued) if number(value) is not None else value
        return (value, first) if _is_clear(value, first, text, rest.end("first")) else None
    if not glued and first in FACTORS and second:
        value = scaled(value, first) if number(value) is not None else value
        return (value, second) if _is_clear(value, second, text, rest.end("second")) else None
    if glued and (_GOES_ON.match(glued) or (glued in _DOUBTFUL and first)):
        return None
    if not glued and first in "BPEZY" and second:
        return None
    return (value, unit) if _is_clear(value, unit, text, match.end()) else None


def _is_clear(value: str, unit: str, text: str, end: int) -> bool:
    """True when value and unit are all that the line says of this number."""
    if number(value) is None:  # longer than any number, or beyond the range of one
        return False
    if not unit:
        return True
    if is_like_number(unit) or "±" in unit or _NUMERALS.fullmatch(unit):
        return False
    if unit.startswith("/") and _GOES_ON.match(unit):
        return False
    if _SHORT.fullmatch(value) and _GROUP_AND_UNIT.fullmatch(unit):
        return False
    if unit in _TIMES:
        return not is_like_number("".join(text[end : end + LONGEST].split(maxsplit=1)[:1]))
    return any(sign.isalnum() or sign in "%$€£¥#°_@" for sign in unit)


def trainer_value(text: str) -> tuple[str, bool]:
    """The last ``train_samples_per_second`` of a line, and whether it is ambiguous; empty: there is none."""
    value, ambiguous = "", False
    for match in TRAINER_VALUE.finditer(text):
        reading = read(match["value"].rstrip(",") or match["value"])
        follows = text[match.end() : match.end() + 1]
        ambiguous = reading.kind is not Kind.NUMBER or follows.isalnum() or follows in ("_", "±")
        value = "" if ambiguous else reading.value
    return value, ambiguous


def read_cell(text: str) -> Reading:
    """Reads a cell of a result file, or the value of a hook's metric; also one with a unit behind it."""
    reading = read(text)
    if (
        reading.kind is Kind.TEXT
        and len(text) <= LONGEST
        and read_line(f"{PERFORMANCE} {reading.value}").ambiguous
    ):
        return Reading(Kind.AMBIGUOUS, reading.value)
    return reading


def own_lines(tail: Sequence[str]) -> Sequence[str]:
    """The lines of the model's own output, when the end of the preparation is among the lines."""
    for place, line in enumerate(tail):
        if line.startswith("MODEL REPO COMMIT:"):
            return tail[place + 1 :] or tail
    return tail
