"""Typed secrets and the one redactor that stands in front of every sink (contract 14.2)."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, AnyStr, Final, Generic
from urllib.parse import quote, quote_plus

from pytest_madengine.needles import Needles

#: What a secret is replaced by, everywhere but in names of files.
MASK: Final = "***"
#: The same in names of files: tools that upload artifacts, and other file systems, refuse an asterisk.
FILE_MASK: Final = "___"
#: Values shorter than this many characters are not searched for (contract 14.2).
MIN_LENGTH: Final = 4
#: Values that are settings rather than secrets whatever their variable is called.
_PLAIN_SETTING: Final = re.compile(r"(?i)[-+]?[0-9]{1,5}(\.[0-9]{1,6})?|true|false|none|null")
#: Values that also stand in texts that have nothing to do with them: a word of a language, a number.  They
#: are masked where they stand alone; a random text of letters is longer or mixes upper and lower case.
_WORD: Final = re.compile(r"[a-z]{1,16}|[A-Z]{1,16}|[A-Z][a-z]{1,15}")
_NUMBER: Final = re.compile(r"[0-9]+")
#: Variables that count tokens of a language model, and what they hold.
_COUNTER: Final = re.compile(
    r"(?i)tokens(?![a-z])|(max|min|num|n)_token|token_?(len|limit|count|num|size|budget)"
)
_COUNT: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
#: Names of variables whose values are secret (contract 14.2).
SECRET_NAME: Final = re.compile(r"(?i)token|secret|passw|api_?key|credential|private_key")
#: Password part of a URL (contract 14.2).  It begins at the literal ``://``, so a search is linear; the
#: password reaches to the last ``@`` of the authority, as an unescaped one may be part of it.
_URL_PASSWORD: Final = r"(?P<head>://(?<=[A-Za-z0-9+.-]://)[^/\s:]*:)[^/\s\"'<>]+(?=@)"
_URL_PASSWORD_TEXT: Final = re.compile(_URL_PASSWORD)
_URL_PASSWORD_BYTES: Final = re.compile(_URL_PASSWORD.encode())
_PERCENT: Final = re.compile(r"%[0-9A-F]{2}")
_URL_SAFE: Final = str.maketrans("+/", "-_")
#: What ``printf %q`` of bash puts a backslash before; older ones not before a comma.
_ESCAPED: Final = frozenset(" \t'\"\\|&;()<>!{}*[]?^$`,")
#: Characters in ``$'...'``.
_DOLLAR: Final = dict(
    zip("'\\\a\b\x1b\f\n\r\t\v", ("\\'", "\\\\", *(f"\\{char}" for char in "abEfnrtv")), strict=True)
)


def is_secret_name(name: str) -> bool:
    """True when a variable of this name holds a secret: by pattern, or as ``MAD_SECRETS*``."""
    return "MAD_SECRETS" in name or SECRET_NAME.search(name) is not None


def is_secret(name: str, value: str) -> bool:
    """True when a variable holds a secret: by its name, unless it counts tokens (``MAX_TOKENS=131072``)."""
    return is_secret_name(name) and not (_COUNTER.search(name) and _COUNT.fullmatch(value))


def secret_variables(environ: Mapping[str, str]) -> list[Secret]:
    """The secrets among the variables of this host.  A path is where a secret is, not what it is."""
    return [
        Secret(value)
        for name, value in environ.items()
        if is_secret(name, value) and not value.startswith(("/", "~"))
    ]


class Secret:
    """A secret text.  It is never printed by accident: ``str`` and ``repr`` show :data:`MASK`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The plain value, for the engine API, a file descriptor or stdin only."""
        return self._value

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled: it must not leave this process")


def reveal(value: str | Secret) -> str:
    """The plain text of a value that may be a secret."""
    return value.reveal() if isinstance(value, Secret) else value


class Redactor:
    """Replaces known secret values, in all forms of contract 14.2, by :data:`MASK`.

    One instance serves a process; values are added as they become known.  It is safe to call on every
    chunk of a log: it costs little more than one pass, and next to nothing without secrets.
    """

    def __init__(self, values: Iterable[str | Secret] = ()) -> None:
        self._known = _Known(frozenset(), frozenset())
        #: What is searched for, made when it is needed; that of earlier values is never used.
        self._in_text: tuple[_Known, _Search[str]] | None = None
        self._in_bytes: tuple[_Known, _Search[bytes]] | None = None
        self.add(*values)

    def add(self, *values: str | Secret) -> None:
        """Makes values known.  Multi-line values are also searched line by line."""
        forms, alone = set(self._known.forms), set(self._known.alone)
        for value in values:
            text = reveal(value)
            for part in (text, *(line.strip() for line in text.splitlines())):
                found = _forms(part)
                standing = {form for form in found if _WORD.fullmatch(form) or _NUMBER.fullmatch(form)}
                alone |= standing if part in standing else set()
                forms |= found - standing if part in standing else found
        if (len(forms), len(alone)) != (len(self._known.forms), len(self._known.alone)):
            self._known = _Known(frozenset(forms), frozenset(alone))

    @property
    def longest(self) -> int:
        """Length in bytes of the longest form, and of what decides about one: what a streaming reader must
        hold back."""
        return self._known.longest

    def text(self, text: str) -> str:
        """The text without secrets and without passwords in URLs."""
        return self._text(text, words=True)

    def name(self, text: str) -> str:
        """The same for the name of a metric, a column or a key: a word or a number in it is no secret."""
        return self._text(text, words=False)

    def file_name(self, text: str, *, words: bool = True) -> str:
        """The same for the name of a file.

        :param words: as :meth:`text`; else as :meth:`name`, for files that are there already.
        """
        masked = self._text(text, words=words)
        return masked if masked == text else masked.replace(MASK, FILE_MASK)

    def _text(self, text: str, *, words: bool) -> str:
        known = self._known
        if known.longest:
            made = self._in_text
            if made is None or made[0] is not known:
                made = self._in_text = (known, _Search(known.forms, known.alone, _alone_pattern(known.alone)))
            text = _masked(text, made[1].spans(text, words=words), MASK)
        return _URL_PASSWORD_TEXT.sub(rf"\g<head>{MASK}", text) if "://" in text else text

    def data(self, data: bytes) -> bytes:
        """The same for bytes; for log streams (whole values only, see :attr:`longest`)."""
        mask, known = MASK.encode(), self._known
        if known.longest:
            made = self._in_bytes
            if made is None or made[0] is not known:
                forms, alone = map(_encoded, known.forms), map(_encoded, known.alone)
                search = _Search(forms, alone, _alone_pattern(known.alone).encode())
                made = self._in_bytes = (known, search)
            data = _masked(data, made[1].spans(data, words=True), mask)
        has_login = b"://" in data and b"@" in data
        return _URL_PASSWORD_BYTES.sub(rb"\g<head>" + mask, data) if has_login else data


@dataclass(frozen=True)
class _Known:
    """All forms of all values."""

    forms: frozenset[str]
    #: Words and numbers, which are searched for as a whole.
    alone: frozenset[str]

    @cached_property
    def longest(self) -> int:
        """See :attr:`Redactor.longest`."""
        # A number is one only when no further digit follows, behind a point neither.
        alone = max(map(len, self.alone), default=-2) + 2
        return max(max((len(_encoded(form)) for form in self.forms), default=0), alone)


class _Search(Generic[AnyStr]):
    """Forms wherever they stand, words and numbers where the pattern allows them."""

    def __init__(self, forms: Iterable[AnyStr], alone: Iterable[AnyStr], pattern: AnyStr) -> None:
        everywhere: frozenset[AnyStr] = frozenset(forms)
        self._alone: frozenset[AnyStr] = frozenset(alone) - everywhere
        self._pattern: re.Pattern[AnyStr] = re.compile(pattern, re.ASCII)
        self._forms: Needles[AnyStr] = Needles(everywhere)
        self._all: Needles[AnyStr] = Needles(everywhere | self._alone)

    def spans(self, haystack: AnyStr, *, words: bool) -> list[tuple[int, int]]:
        """Where they are.

        :param words: look for words and numbers, too.
        """
        if not words:
            return self._forms.spans(haystack)
        spans = self._all.spans(haystack)
        if not self._alone:
            return spans
        return [span for span in spans if self._counts(haystack, *span)]

    def _counts(self, haystack: AnyStr, start: int, end: int) -> bool:
        # The pattern is asked about one place: looking for it would be slow, as it begins with a look behind.
        return haystack[start:end] not in self._alone or self._pattern.match(haystack, start) is not None


def _alone_pattern(values: Iterable[str]) -> str:
    """Words between characters that belong to no word or variable, numbers between those of no number."""
    words = "|".join(sorted(value for value in values if not value.isdigit())) or "(?!)"
    numbers = "|".join(sorted(value for value in values if value.isdigit())) or "(?!)"
    return rf"(?<!\w)(?:{words})(?!\w)|(?<![0-9])(?<![0-9]\.)(?:{numbers})(?![0-9]|\.[0-9])"


def _masked(haystack: AnyStr, spans: list[tuple[int, int]], mask: AnyStr) -> AnyStr:
    """The haystack with every stretch that belongs to a span replaced by the mask.

    Occurrences may overlap each other; replacing one form after the other would leave pieces of the rest.
    """
    if not spans:
        return haystack
    spans.sort()
    pieces: list[AnyStr] = []
    done, (start, end) = 0, spans[0]
    for next_start, next_end in spans[1:]:
        if next_start < end:
            end = max(end, next_end)
            continue
        pieces += [haystack[done:start], mask]
        done, start, end = end, next_start, next_end
    pieces += [haystack[done:start], mask, haystack[end:]]
    return haystack[:0].join(pieces)


def _forms(value: str) -> set[str]:
    """All forms of one value that are searched for.  Blanks alone are no secret: they are everywhere.

    Nor is a short number or a boolean word, which variables like ``MAX_TOKENS`` hold: masking ``1024``
    wherever it stands would falsify results.
    """
    if len(value) < MIN_LENGTH or not value.strip() or _PLAIN_SETTING.fullmatch(value):
        return set()
    raw = _encoded(value)
    quoted = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    cased = {value, value.upper(), value.lower()} if value.isascii() else {value}
    forms = cased | {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
    forms |= quoted | {_PERCENT.sub(lambda match: match[0].lower(), form) for form in quoted}
    return (
        forms
        | _quoted_for_shells(value, raw)
        | _based(raw)
        | {raw.hex(), raw.hex().upper(), html.escape(value)}
    )


def _based(raw: bytes) -> set[str]:
    """Base64 of the value itself, and of any longer text that holds it, e.g. ``user:value``.

    Four characters stand for three bytes, so there are three ways; of each, the characters that the value
    alone decides.  Fewer than six of them would be found anywhere.
    """
    whole = base64.b64encode(raw).decode()
    forms = {whole, whole.rstrip("=")}
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw).decode()
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        if last - first >= 6:
            forms.add(text[first:last])
    return forms | {form.translate(_URL_SAFE) for form in forms}


def _quoted_for_shells(value: str, raw: bytes) -> set[str]:
    """What ``printf %q``, ``${x@Q}``, ``set -x`` and ``shlex.quote`` make of the value."""
    inside = {value.replace("'", quote_mark) for quote_mark in ("'\\''", "'\"'\"'")}
    escaped = {_backslashed(value, _ESCAPED), _backslashed(value, _ESCAPED - {","})}
    dollar = "".join(_DOLLAR.get(char, char) for char in value)
    octal = "".join(
        _DOLLAR.get(chr(byte), chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in raw
    )
    return inside | escaped | {dollar, octal}


def _backslashed(value: str, special: frozenset[str]) -> str:
    pieces = []
    for place, char in enumerate(value):
        before = value[place - 1] if place else ""
        home, comment = char == "~" and before in ("", ":", "="), char == "#" and not place
        pieces.append(f"\\{char}" if char in special or home or comment else char)
    return "".join(pieces)


def _encoded(text: str) -> bytes:
    """UTF-8; bytes that were no UTF-8 when the text was read come out as they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def secrets_in(value: object) -> list[Secret]:
    """Every :class:`Secret` in a tree of mappings and lists."""
    if isinstance(value, Secret):
        return [value]
    if isinstance(value, Mapping):
        return [secret for part in value.values() for secret in secrets_in(part)]
    if isinstance(value, (list, tuple)):
        return [secret for part in value for secret in secrets_in(part)]
    return []
