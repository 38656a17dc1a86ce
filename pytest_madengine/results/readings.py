"""The one grammar of numbers and status words: log lines, result files, hooks, tables (docs: formats.md).

A text is read whole or not at all.  What looks like a number but leaves doubt which one is *ambiguous*, and
fails its result; a part of a number is never taken in silence.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import Enum
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Characters of the longest number; no float and no measurement has more.
LONGEST: Final = 400
#: A plain number, as it is stored: the digits of ASCII, no separators.
_PLAIN: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
#: Thousands in groups: ``1,234.5`` as the contract has it, ``1.234,5`` and ``1 234,5``, which can mean
#: nothing else.  ``1.234`` is a plain number, ``1 234`` may be two.
_GROUPED: Final = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_EUROPEAN: Final = re.compile(r"[+-]?[0-9]{1,3}(?:(?:\.[0-9]{3})+|(?:[ \u00a0\u2009\u202f][0-9]{3})+),[0-9]+")
#: Factors that may be glued to a number.
FACTORS: Final = {
    **{letter: 1000**power for power, letter in enumerate("kMGT", 1)},
    "K": 1000,
    **{f"{letter}i": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_SCALED: Final = re.compile(rf"({_PLAIN.pattern}|{_GROUPED.pattern})[ ]?([kKMGT]i?)")
_TOLERANCE: Final = rf"[ \t]*(?:±|\+/-|\+-)[ \t]*(?:{_PLAIN.pattern})%?"
_TOLERATED: Final = re.compile(rf"({_PLAIN.pattern}|{_GROUPED.pattern}){_TOLERANCE}")
#: A word that a reader would take for a number or the rest of one: ``234,5``, ``-5``, ``0x10``, ``10^3``.
_LIKE_NUMBER: Final = re.compile(
    r"[+\-~]?[.,]?[0-9][0-9.,'_]*(?:[eEdDpP][+-]?[0-9]*)?%?(?:[*×^/][0-9.,*×^/+-]*)?"
    r"|[+-]?0[xXbBoO][0-9a-fA-F_.]+"
)
#: Digits with any separators, hexadecimal and the like, numbers with a broken exponent or a doubtful factor.
_DIGITS: Final = re.compile(r"[+-]?[.,]?[0-9][0-9.,'_’ \u00a0\u2009\u202f]*")
_HEXADECIMAL: Final = re.compile(r"[+-]?0[xXbBoO][0-9a-fA-F_.]+(?:[pP][+-]?[0-9]*)?")
_BROKEN: Final = re.compile(rf"(?:{_PLAIN.pattern})(?:[eEdDpP][+-]?[0-9.]*|[ ]?[BPEZY])")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: Texts that mean "no value" (compared in lower case, without blanks around and brackets).
_NOTHING: Final = _words(
    "nan inf infinity ∞ 1.#inf 1.#qnan 1.#ind n/a na #n/a #na n.a. n.a none null nil nat undefined unknown "
    "missing empty skip skipped tbd todo false - -- --- – — ? ?? . .. ... … x "
    "#div/0! #value! #ref! #name? #num! #null! #error!"
) | {"", "not available", "not applicable", "no data", "no value", "no result"}
#: Words that say that something went wrong, wherever they stand in a text.
_WRONG: Final = re.compile(
    r"(?:^|[^a-z])(?:errs?|errors?|errored|fails?|failed|failing|failures?|oom|oomkilled|timed?[ _-]?out|"
    r"exceptions?|traceback|crash|crashed|killed|abort|aborted|segfault|segmentation|cancell?ed|invalid|"
    r"out[ _-]of[ _-]memory|core dumped|unsupported|refused|broken|hung|panic|fatal)(?:[^a-z]|$)"
)
_WRONG_CLASS: Final = re.compile(r"[A-Za-z](?:Error|Exception)\b")
_GOOD_STATUS: Final = _words(
    "success succeeded successful successfully pass passed passing p ok okay good true yes y t done complete "
    "completed finished valid ✓ ✔ ✅"
) | {""}


class Kind(Enum):
    """What a text is."""

    NUMBER = "number"
    #: Words or a notation of the model's own (``14-18|32``): kept, never compared.
    TEXT = "text"
    #: It says that there is no value, or what went wrong.
    NOTHING = "nothing"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True)
class Reading:
    """What a text says."""

    kind: Kind
    #: As it is stored: a number without separators, factors and tolerance; any other text as it is.
    value: str

    @property
    def is_value(self) -> bool:
        """True for a number or a text of the model's own: something was measured."""
        return self.kind in (Kind.NUMBER, Kind.TEXT)


def number(text: str) -> float | None:
    """The finite number that a stored value is, or ``None`` for every other text."""
    text = text.strip(" \t\r\n")
    if len(text) > LONGEST or not _PLAIN.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def is_like_number(text: str) -> bool:
    """True for a text that a reader would take for a number or a part of one."""
    text = _CONTROL.sub("", text)
    return bool(_LIKE_NUMBER.fullmatch(text)) or (text[:1].isnumeric() and not text[:1].isascii())


def scaled(value: str, suffix: str) -> str:
    """A plain number with the factor of its suffix (a key of :data:`FACTORS`), exactly."""
    exact = Context(prec=2 * LONGEST)
    product = exact.normalize(exact.multiply(Decimal(value), Decimal(FACTORS[suffix])))
    return f"{product:f}" if -30 < product.adjusted() < 30 else str(product)


def read(text: str) -> Reading:
    """Reads a whole cell of a result file, or the value of a hook's metric."""
    text = text.strip()
    if len(text) <= LONGEST:
        if number(text) is not None:
            return Reading(Kind.NUMBER, text)
        if _is_nothing(text):
            return Reading(Kind.NOTHING, text)
        plain = _read_written(text)
        if plain is not None:
            return Reading(Kind.NUMBER, plain) if number(plain) is not None else Reading(Kind.AMBIGUOUS, text)
    if _CONTROL.search(text) or _is_doubtful(text):
        return Reading(Kind.AMBIGUOUS, text)
    return Reading(Kind.TEXT, text)


def _read_written(text: str) -> str | None:
    """The plain form of the other notations that leave no doubt."""
    if _GROUPED.fullmatch(text):
        return text.replace(",", "")
    if _EUROPEAN.fullmatch(text):
        return european(text)
    match = _TOLERATED.fullmatch(text)
    if match:
        return match[1].replace(",", "")
    match = _SCALED.fullmatch(text)
    if match and match[2] in FACTORS and number(match[1].replace(",", "")) is not None:
        return scaled(match[1].replace(",", ""), match[2])
    return None


def european(text: str) -> str:
    """``1.234,5`` and ``1 234,5`` as plain numbers."""
    whole, _, rest = text.partition(",")
    return f"{re.sub('[^0-9+-]', '', whole)}.{rest}"


def _is_nothing(text: str) -> bool:
    low = text.lower().strip("()<>[]\"' ")
    return low in _NOTHING or low.lstrip("+-") in _NOTHING or says_wrong(text)


def says_wrong(text: str) -> bool:
    """True for a text with a word that tells of a failure: ``ERROR: OOM``, ``timed out``, ``ValueError``."""
    text = text[:LONGEST]
    return bool(_WRONG.search(text.lower()) or _WRONG_CLASS.search(text))


def _is_doubtful(text: str) -> bool:
    """Only digits, separators and signs, or a hexadecimal, scaled or foreign number: which one is not clear.

    A number with its unit (``12 ms``), a range or a time of day is a text.
    """
    if len(text) > LONGEST:
        return bool(_DIGITS.fullmatch(text) or _PLAIN.fullmatch(text))
    if "±" in text:
        return True
    if any(sign.isnumeric() and not sign.isascii() for sign in text) or "−" in text:
        return any(sign.isnumeric() for sign in text)
    return bool(_DIGITS.fullmatch(text) or _HEXADECIMAL.fullmatch(text) or _BROKEN.fullmatch(text))


def means_success(status: str) -> bool:
    """True for a status cell, or a hook's outcome, that says success or nothing.

    Whatever is not known as a word for success is a failure: nothing unknown becomes a result.
    """
    folded = unicodedata.normalize("NFKC", status).strip().strip("\"'[]()!. ").lower()
    return folded in _GOOD_STATUS
