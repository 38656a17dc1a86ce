"""Redaction of a byte stream: nothing secret slips through at the border of two chunks."""

from __future__ import annotations

from typing import Final

from pytest_madengine.secrets import Redactor

#: How far back a cut between words is looked for: a URL with a password must not be cut.
_WORD: Final = 1024
#: More undecided bytes than this are let go, masked: only one endless run of overlapping secrets gets there.
_MOST: Final = 1024 * 1024
#: How many places are tried for a cut before the bytes are held back.
_TRIES: Final = 4


class StreamRedactor:
    """Redacts chunks of one stream in order.  Secrets that the redactor learns meanwhile count as well."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """The part of the stream so far that no later byte can change, redacted."""
        data = self._rest + chunk if self._rest else chunk
        # Whatever starts before this limit and is a secret is in the data wholly.
        limit = len(data) - max(self._redactor.longest - 1, 0)
        if limit <= 0:
            self._rest = data
            return b""
        cut = _between_words(data, limit)
        clean = self._redactor.data(data)
        if clean is data or clean == data:
            self._rest = data[cut:]
            return data[:cut]
        return self._cut_around_secrets(data, clean, cut)

    def end(self) -> bytes:
        """What is left at the end of the stream, redacted."""
        rest, self._rest = self._rest, b""
        return self._redactor.data(rest)

    def _cut_around_secrets(self, data: bytes, clean: bytes, cut: int) -> bytes:
        """A cut is right when both sides redacted alone give the same as the whole."""
        for _ in range(_TRIES):
            if cut <= 0:
                break
            head = self._redactor.data(data[:cut])
            if clean.startswith(head) and head + self._redactor.data(data[cut:]) == clean:
                self._rest = data[cut:]
                return head
            cut = _between_words(data, cut - 1)
        if len(data) > _MOST:
            self._rest = b""
            return clean
        self._rest = data
        return b""


def _between_words(data: bytes, limit: int) -> int:
    """The last place not after the limit that follows a line feed or a blank.

    Within a longer word it is the limit; a shorter first word waits for its end.
    """
    start = max(limit - _WORD, 0)
    place = data.rfind(b"\n", start, limit)
    if place < 0:
        place = data.rfind(b" ", start, limit)
    if place >= 0:
        return place + 1
    return limit if start else 0
