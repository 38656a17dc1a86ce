"""The CONTEXT line of a Dockerfile: ``# CONTEXT {'gpu_vendor': 'AMD'}`` (contract 8.1)."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, NoReturn

from pytest_madengine.errors import DockerfileError
from pytest_madengine.util import jsontext

#: What marks the line, with the blank.
MARK: Final = "# CONTEXT "
#: The line is looked for among this many first lines.
FIRST_LINES: Final = 5
#: Longest literal in characters.
MAX_LENGTH: Final = 4096
#: Deepest nesting of brackets; the outermost braces count as one.
MAX_NESTING: Final = 20

#: Lines that look as if somebody meant a CONTEXT line.
_LOOKS_LIKE: Final = re.compile(r"^\s*#+\s*CONTEXT\b.*[{\[]", re.IGNORECASE)
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_HINT: Final = "write it as: # CONTEXT {'gpu_vendor': 'AMD', 'guest_os': 'UBUNTU'}"


class ContextLineError(DockerfileError):
    """A CONTEXT line that is wrong, with its place."""

    def __init__(self, message: str, reason: str, line: int, column: int = 0, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        #: What is wrong, without file and place.
        self.reason = reason
        #: From 1; column 0: the line as a whole.
        self.line, self.column = line, column


class Unread(NamedTuple):
    """A line that looks like a CONTEXT line and is none."""

    #: From 1.
    line: int
    reason: str


@dataclass(frozen=True)
class ContextLine:
    """What a Dockerfile says about where it is meant for."""

    #: Empty when the file has no CONTEXT line.
    values: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    #: Number of the line, from 1; 0 without one.
    line: int = 0
    #: Lines that somebody may have meant.
    unread: tuple[Unread, ...] = ()


def read_context_line(text: str, file: str) -> ContextLine:
    """Finds and reads the CONTEXT line of a Dockerfile.

    :param file: how messages name the file.
    :raises ContextLineError: the line is there but is no object literal, is too long or nested too deeply,
        or there are two of them; the message names file, line and column.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found = [number for number, line in enumerate(lines[:FIRST_LINES]) if MARK in line]
    if len(found) > 1:
        reason = f"a second CONTEXT line; the first is on line {found[0] + 1}"
        message = f"{file}: line {found[1] + 1}: {reason}"
        raise ContextLineError(message, reason, found[1] + 1, hint="keep one of them")
    unread = _unread_lines(lines)
    texts = tuple(f"{file}: the CONTEXT line on line {line} is not read: {why}" for line, why in unread)
    if not found:
        return ContextLine(warnings=texts or (f"{file} has no CONTEXT line",), unread=unread)
    line = lines[found[0]]
    start = line.index(MARK) + len(MARK)
    number = found[0] + 1
    return ContextLine(_Literal(file, number, line, start).read(), texts, number, unread)


def _unread_lines(lines: list[str]) -> tuple[Unread, ...]:
    unread = []
    for number, line in enumerate(lines, start=1):
        if not _LOOKS_LIKE.match(line):
            continue
        if number > FIRST_LINES:
            why = f"it must be among the first {FIRST_LINES} lines"
        elif MARK not in line:
            why = f"it must contain {MARK!r}, with one blank each"
        else:
            continue
        unread.append(Unread(number, why))
    return tuple(unread)


@dataclass(frozen=True)
class _Literal:
    """The rest of a CONTEXT line, with its place for messages."""

    file: str
    number: int
    line: str
    start: int

    def read(self) -> dict[str, object]:
        text = self.line[self.start :].strip()
        if len(text) > MAX_LENGTH:
            raise self._error(0, f"longer than {MAX_LENGTH} characters")
        self._check_nesting(text)
        value = self._parse(text)
        if not isinstance(value, dict):
            raise self._error(0, f"must be an object, not {type(value).__name__}")
        return {self._key(key): self._plain(part, 2) for key, part in value.items()}

    def _check_nesting(self, text: str) -> None:
        # Before any parser sees it: parsers recurse.  Brackets inside quotes do not count; where the quotes
        # themselves are broken, the parser complains afterwards.
        depth = 0
        for position, character in enumerate(_QUOTED.sub(lambda match: "_" * len(match[0]), text)):
            if character in "[{(":
                depth += 1
                if depth > MAX_NESTING:
                    raise self._error(position, f"nested deeper than {MAX_NESTING} levels")
            elif character in ")}]":
                depth -= 1

    def _parse(self, text: str) -> Any:
        try:
            return jsontext.parse(text)
        except jsontext.JsonTextError:
            pass  # then it has to be a Python literal, whose error is the one to show
        try:
            with warnings.catch_warnings():
                # "\d" in a text is a mistake of the Dockerfile, not a warning about our code.
                warnings.simplefilter("ignore")
                return ast.literal_eval(text)
        except SyntaxError as error:
            position = max((error.offset or 1) - 1, 0)
            raise self._error(position, f"not a Python or JSON object: {error.msg}") from None
        except (ValueError, TypeError, MemoryError, RecursionError):
            raise self._error(0, "not a Python or JSON object: only literals are allowed") from None

    def _key(self, key: object) -> str:
        if not isinstance(key, str):
            raise self._error(0, f"the key {key!r} must be text")
        return key

    def _plain(self, value: object, depth: int) -> object:
        """JSON types only: the value is recorded and compared with the context."""
        if value is None or isinstance(value, (str, bool, int, float)):
            return value
        # Unusual quoting can hide brackets from the check of the text.
        if depth > MAX_NESTING:
            raise self._error(0, f"nested deeper than {MAX_NESTING} levels")
        if isinstance(value, (list, tuple)):
            return [self._plain(part, depth + 1) for part in value]
        if isinstance(value, dict):
            return {self._key(key): self._plain(part, depth + 1) for key, part in value.items()}
        raise self._error(0, f"a value of type {type(value).__name__} is not allowed")

    def _error(self, position: int, what: str) -> ContextLineError:
        offset = len(self.line[self.start :]) - len(self.line[self.start :].lstrip())
        column = self.start + offset + position + 1
        reason = f"the CONTEXT line is wrong: {what}"
        message = f"{self.file}: line {self.number}, column {column}: {reason}"
        return ContextLineError(message, reason, self.number, column, hint=_HINT)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def same(left: object, right: object) -> bool:
    """Equality where the type matters: ``1``, ``1.0``, ``True`` and ``'1'`` all differ."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right
