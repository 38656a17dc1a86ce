"""Typed secrets and the one redactor that stands in front of every sink (contract 14.2)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, AnyStr, Final
from urllib.parse import quote, quote_plus

#: What a secret is replaced by, everywhere.
MASK: Final = "***"
#: Values shorter than this many characters are not searched for (contract 14.2).
MIN_LENGTH: Final = 4
#: Values that are settings rather than secrets whatever their variable is called.
_PLAIN_SETTING: Final = re.compile(r"(?i)[-+]?[0-9]{1,6}(\.[0-9]{1,6})?|true|false|none|null")
#: Names of variables whose values are secret (contract 14.2).
SECRET_NAME: Final = re.compile(r"(?i)token|secret|passw|api_?key|credential|private_key")
#: Password part of a URL (contract 14.2).  It begins at the literal ``://``, so a search is linear; the
#: password reaches to the last ``@`` of the authority, as an unescaped one may be part of it.
_URL_PASSWORD: Final = r"(?P<head>://(?<=[A-Za-z0-9+.-]://)[^/\s:]*:)[^/\s\"'<>]+(?=@)"
_URL_PASSWORD_TEXT: Final = re.compile(_URL_PASSWORD)
_URL_PASSWORD_BYTES: Final = re.compile(_URL_PASSWORD.encode())
_PERCENT: Final = re.compile(r"%[0-9A-F]{2}")


def is_secret_name(name: str) -> bool:
    """True when a variable of this name holds a secret: by pattern, or as ``MAD_SECRETS*``."""
    return "MAD_SECRETS" in name or SECRET_NAME.search(name) is not None


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
    chunk of a log: it costs one fast search per form, and next to nothing without secrets.
    """

    def __init__(self, values: Iterable[str | Secret] = ()) -> None:
        self._text_forms: tuple[str, ...] = ()
        self._bytes_forms: tuple[bytes, ...] = ()
        self.add(*values)

    def add(self, *values: str | Secret) -> None:
        """Makes values known.  Multi-line values are also searched line by line."""
        forms = set(self._text_forms)
        for value in values:
            text = reveal(value)
            forms |= _forms(text)
            for line in text.splitlines():
                forms |= _forms(line.strip())
        if len(forms) != len(self._text_forms):
            self._text_forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
            self._bytes_forms = tuple(sorted(map(_encoded, forms), key=lambda form: (-len(form), form)))

    @property
    def longest(self) -> int:
        """Length in bytes of the longest form: what a streaming reader must hold back."""
        return len(self._bytes_forms[0]) if self._bytes_forms else 0

    def text(self, text: str) -> str:
        """The text without secrets and without passwords in URLs."""
        if self._text_forms:
            text = _masked(text, self._text_forms, MASK)
        return _URL_PASSWORD_TEXT.sub(rf"\g<head>{MASK}", text) if "://" in text else text

    def data(self, data: bytes) -> bytes:
        """The same for bytes; for log streams (whole values only, see :attr:`longest`)."""
        mask = MASK.encode()
        if self._bytes_forms:
            data = _masked(data, self._bytes_forms, mask)
        has_login = b"://" in data and b"@" in data
        return _URL_PASSWORD_BYTES.sub(rb"\g<head>" + mask, data) if has_login else data


def _masked(haystack: AnyStr, forms: tuple[AnyStr, ...], mask: AnyStr) -> AnyStr:
    """The haystack with every stretch that belongs to an occurrence of a form replaced by the mask.

    Occurrences may overlap each other; replacing one form after the other would leave pieces of the rest.
    """
    spans = sorted(span for form in forms for span in _spans(haystack, form))
    if not spans:
        return haystack
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


def _spans(haystack: AnyStr, form: AnyStr) -> Iterator[tuple[int, int]]:
    """Where the form occurs; occurrences that overlap each other are one span."""
    start = haystack.find(form)
    while start >= 0:
        end = start + len(form)
        following = haystack.find(form, start + 1)
        while start < following < end:
            end = following + len(form)
            following = haystack.find(form, following + 1)
        yield start, end
        start = following


def _forms(value: str) -> set[str]:
    """All forms of one value that are searched for.  Blanks alone are no secret: they are everywhere.

    Nor is a short number or a boolean word, which variables like ``MAX_TOKENS`` hold: masking ``1024``
    wherever it stands would falsify results.
    """
    if len(value) < MIN_LENGTH or not value.strip() or _PLAIN_SETTING.fullmatch(value):
        return set()
    raw = _encoded(value)
    quoted = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    based = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms |= quoted | {_PERCENT.sub(lambda match: match[0].lower(), form) for form in quoted}
    return forms | based | {form.rstrip("=") for form in based}


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
