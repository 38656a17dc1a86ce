"""Where in a JSON text a value stands.

The parser of the standard library does not say.  This walks only the containers on the way to a value that
somebody asks for, and leaps over everything else at the speed of that parser, so that ten thousand entries
cost nothing until one of them has a problem.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()

Step = str | int


class Member(NamedTuple):
    """A key of an object with the offsets of key and value."""

    name: str
    key: int
    value: int


class Positions:
    """Lines and columns of a text, from 1; columns count characters."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of a character."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


class JsonPositions(Positions):
    """Positions of the values of a valid JSON text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._arrays: dict[int, list[int]] = {}
        self._objects: dict[int, list[Member]] = {}

    def of(self, path: Sequence[Step], *, key: bool = False) -> tuple[int, int]:
        """Line and column of the value at a path of keys and indices.

        What the text does not have is where the nearest thing around it stands.

        :param key: that of the key instead of the value, for a member of an object.
        """
        return self.at(self.offset(path, key=key))

    def offset(self, path: Sequence[Step], *, key: bool = False) -> int:
        """Offset of the value at a path; see :meth:`of`."""
        here = self._skip(0)
        for number, step in enumerate(path):
            found = self._child(here, step)
            if found is None:
                break
            here = found.key if key and number == len(path) - 1 else found.value
        return here

    def duplicates(self) -> Iterator[Member]:
        """Keys that their object has already had, in the order of the text."""
        waiting = [self._skip(0)]
        while waiting:
            here = waiting.pop()
            if self.text.startswith("[", here):
                waiting += reversed(self._array(here))
            elif self.text.startswith("{", here):
                seen: set[str] = set()
                for member in self._object(here):
                    if member.name in seen:
                        yield member
                    seen.add(member.name)
                waiting += [member.value for member in reversed(self._object(here))]

    def _child(self, start: int, step: Step) -> Member | None:
        if isinstance(step, int):
            items = self._array(start) if self.text.startswith("[", start) else []
            return Member("", items[step], items[step]) if 0 <= step < len(items) else None
        members = self._object(start) if self.text.startswith("{", start) else []
        # The last one of several counts, as it does for the parser.
        return next((member for member in reversed(members) if member.name == step), None)

    def _array(self, start: int) -> list[int]:
        if start not in self._arrays:
            self._arrays[start] = list(self._items(start))
        return self._arrays[start]

    def _items(self, start: int) -> Iterator[int]:
        here = self._skip(start + 1)
        while self.text[here] != "]":
            yield here
            here = self._skip(self._end(here))
            if self.text[here] == ",":
                here = self._skip(here + 1)

    def _object(self, start: int) -> list[Member]:
        if start not in self._objects:
            self._objects[start] = list(self._members(start))
        return self._objects[start]

    def _members(self, start: int) -> Iterator[Member]:
        here = self._skip(start + 1)
        while self.text[here] != "}":
            name, end = _DECODER.raw_decode(self.text, here)
            value = self._skip(self._skip(end) + 1)
            yield Member(name, here, value)
            here = self._skip(self._end(value))
            if self.text[here] == ",":
                here = self._skip(here + 1)

    def _end(self, start: int) -> int:
        return _DECODER.raw_decode(self.text, start)[1]

    def _skip(self, offset: int) -> int:
        match = _BLANK.match(self.text, offset)
        assert match is not None  # it matches nothing as well
        return match.end()
