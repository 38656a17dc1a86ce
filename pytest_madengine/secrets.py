"""Typed secrets and the one redactor that stands in front of every sink (contract 14.2)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

#: What a secret is replaced by, everywhere.
MASK: Final = "***"
#: Values shorter than this many characters are not searched for (contract 14.2).
MIN_LENGTH: Final = 4
#: Names of variables whose values are secret (contract 14.2).
SECRET_NAME: Final = re.compile(r"(?i)token|secret|passw|api_?key|credential|private_key")
#: Password part of a URL (contract 14.2).
_URL_PASSWORD: Final = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:)[^/\s@]+(?=@)")
#: The same for streams: it starts with a literal, which keeps the search fast, and its length has a limit.
_STREAM_PASSWORD: Final = re.compile(rb"(?P<head>://[^/\s:@]{0,256}:)[^/\s@]{1,768}(?=@)")
_URL_END: Final = re.compile(rb"[/\s@]")
_URL_LENGTH: Final = 1028


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

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled: it must not leave this process")


def reveal(value: str | Secret) -> str:
    """The plain text of a value that may be a secret."""
    return value.reveal() if isinstance(value, Secret) else value


class Redactor:
    """Replaces known secret values, in all forms of contract 14.2, by :data:`MASK`.

    One instance serves a process; values are added as they become known.  It is safe to call on every
    chunk of a log: without secrets it costs one attribute test.
    """

    def __init__(self, values: Iterable[str | Secret] = ()) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._bytes_forms: tuple[bytes, ...] = ()
        self._bytes_pattern: re.Pattern[bytes] | None = None
        self.add(*values)

    def add(self, *values: str | Secret) -> None:
        """Makes values known.  Multi-line values are also searched line by line."""
        before = len(self._forms)
        for value in values:
            text = reveal(value)
            self._forms |= _forms(text)
            for line in text.splitlines():
                self._forms |= _forms(line.strip())
        if len(self._forms) != before:
            ordered = sorted(self._forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, ordered)))
            encoded = {form.encode("utf-8", "surrogateescape") for form in ordered}
            forms = sorted(encoded, key=lambda form: (-len(form), form))
            self._bytes_pattern = re.compile(b"|".join(map(re.escape, forms)))
            self._bytes_forms = tuple(forms)

    @property
    def longest(self) -> int:
        """Length in bytes of the longest form: what a streaming reader must hold back."""
        return len(self._bytes_forms[0]) if self._bytes_forms else 0

    def text(self, text: str) -> str:
        """The text without secrets and without passwords in URLs."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        return _URL_PASSWORD.sub(rf"\g<head>{MASK}", text) if "://" in text else text

    def data(self, data: bytes) -> bytes:
        """The bytes without secrets; for log streams (whole values only, see :attr:`longest`)."""
        for form in self._bytes_forms:
            if form in data:
                data = data.replace(form, MASK.encode())
        return data

    def stream(self, data: bytes) -> tuple[bytes, bytes]:
        """Redacts the start of a stream: (what no later byte can change, redacted; the undecided rest).

        Put the rest in front of the next chunk; at the end of the stream redact it with :meth:`end`.  How
        the stream is cut into chunks makes no difference.
        """
        forms, pattern = self._bytes_forms, self._bytes_pattern
        limit = len(data) - max(self.longest - 1, 0)
        if limit > 0:
            limit = _before_open_url(data, limit)
        if limit <= 0:
            return b"", data
        if pattern is None or not any(form in data for form in forms):
            return _without_passwords(data[:limit]), data[limit:]
        pieces, position = [], 0
        for match in pattern.finditer(data):
            if match.start() >= limit:
                break
            pieces += [data[position : match.start()], MASK.encode()]
            position = match.end()
        pieces.append(data[position:limit])
        return _without_passwords(b"".join(pieces)), data[max(position, limit) :]

    def end(self, data: bytes) -> bytes:
        """Redacts the rest that :meth:`stream` left at the end of a stream."""
        if self._bytes_pattern is not None:
            data = self._bytes_pattern.sub(MASK.encode(), data)
        return _without_passwords(data)


def _without_passwords(data: bytes) -> bytes:
    return _STREAM_PASSWORD.sub(rb"\g<head>" + MASK.encode(), data) if b"://" in data else data


def _before_open_url(data: bytes, limit: int) -> int:
    """The limit, moved in front of a URL whose password could go on beyond it."""
    start = data.rfind(b"://", max(limit - _URL_LENGTH, 0), limit)
    if start >= 0 and _URL_END.search(data, start + 3, limit) is None:
        return start
    for tail in (b":", b":/"):
        if data.endswith(tail, 0, limit):
            return limit - len(tail)
    return limit


def _forms(value: str) -> set[str]:
    if len(value) < MIN_LENGTH:
        return set()
    raw = value.encode("utf-8", "surrogateescape")
    forms = {value, quote(value, safe=""), quote(value), quote_plus(value)}
    forms |= {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    forms |= {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    return {form for form in forms if len(form) >= MIN_LENGTH}
