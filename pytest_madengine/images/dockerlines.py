"""The instructions of a Dockerfile, as BuildKit finds them in its lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pytest_madengine.images.shellwords import WordError, words

_DIRECTIVE: Final = re.compile(r"^#\s*(?P<name>[A-Za-z][A-Za-z0-9]*)\s*=\s*(?P<value>.+?)\s*$")
_DIRECTIVES: Final = frozenset({"syntax", "escape", "check"})
#: A whole word: ``<<EOF``, ``<< EOF``, ``3<<-"END OF FILE"``.
_HEREDOC: Final = re.compile(r"[0-9]*<<(?P<dash>-?)\s*(?P<word>[^<]*)")
_FLAG: Final = re.compile(r"--(?P<name>[a-z-]+)(?:=(?P<value>\S*))?(?:\s+|$)")
_WITH_HEREDOCS: Final = frozenset({"RUN", "COPY", "ADD"})


@dataclass(frozen=True)
class Directives:
    """The parser directives at the top of a Dockerfile."""

    #: Number of their lines.
    count: int = 0
    escape: str = "\\"
    #: Image of the frontend; empty for the engine's own.
    syntax: str = ""


@dataclass(frozen=True)
class Instruction:
    """One instruction with its continuation lines joined."""

    #: Upper case, e.g. ``FROM``.
    keyword: str
    #: Text after keyword and flags.
    rest: str
    #: ``--name=value`` flags in order of appearance.
    flags: tuple[tuple[str, str], ...] = ()
    #: The file ends within it: after a continued line, or within a here-document.
    unfinished: bool = False


@dataclass(frozen=True)
class _Delimiter:
    word: str
    #: Tabs in front of it do not count.
    dash: bool


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions of a Dockerfile in order, without comments and bodies of here-documents."""
    lines = _lines(text)
    known = _directives(lines)
    ends = _Ends(lines)
    position = known.count
    while position < len(lines):
        logical, position, continued = _logical_line(lines, position, known.escape)
        if not logical.strip():
            continue
        instruction = _instruction(logical)
        closed = True
        for delimiter in _delimiters(logical, instruction):
            position, closed = ends.after(delimiter, position)
            if not closed:
                break
        unfinished = continued or not closed
        yield Instruction(instruction.keyword, instruction.rest, instruction.flags, unfinished)


def directives(text: str) -> Directives:
    """The parser directives of a Dockerfile."""
    return _directives(_lines(text))


def _lines(text: str) -> list[str]:
    return [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]


def _directives(lines: list[str]) -> Directives:
    escape, syntax = "\\", ""
    count = 0
    for line in lines:
        match = _DIRECTIVE.match(line.strip())
        if match is None or match["name"].lower() not in _DIRECTIVES:
            break
        count += 1
        name, value = match["name"].lower(), match["value"]
        if name == "escape" and value in {"\\", "`"}:
            escape = value
        elif name == "syntax":
            syntax = value.split()[0]
    return Directives(count, escape, syntax)


def _logical_line(lines: list[str], position: int, escape: str) -> tuple[str, int, bool]:
    """The next line with those that continue it, the position after it, and whether the file ended in it."""
    parts: list[str] = []
    while position < len(lines):
        line = lines[position]
        position += 1
        stripped = line.strip()
        # Comments and, as the engine still allows, empty lines may stand between continued lines.
        if not stripped or stripped.startswith("#"):
            if parts:
                continue
            return "", position, False
        body = line.rstrip(" \t")
        # Two escapes at the end are an escaped one.
        if not body.endswith(escape) or body[:-1].endswith(escape):
            parts.append(line)
            return "".join(parts), position, False
        parts.append(body[:-1])
    return "".join(parts), position, True


def _instruction(line: str) -> Instruction:
    keyword, *others = line.strip().split(None, 1)
    rest = others[0] if others else ""
    flags = []
    start = 0
    while match := _FLAG.match(rest, start):
        flags.append((match["name"], match["value"] or ""))
        start = match.end()
    return Instruction(keyword.upper(), rest[start:], tuple(flags))


def _delimiters(line: str, instruction: Instruction) -> Iterator[_Delimiter]:
    """The here-documents that an instruction begins."""
    if "<<" not in line:
        return
    if instruction.keyword == "ONBUILD" and instruction.rest:
        instruction = _instruction(instruction.rest)
    if instruction.keyword not in _WITH_HEREDOCS or _is_json(instruction.rest):
        return
    try:
        found = words(line, raw=True)
    except WordError:  # e.g. a quote of the shell's that is not closed on this line
        return
    for word in found:
        match = _HEREDOC.fullmatch(word)
        name = _delimiter(match["word"]) if match else ""
        if match and name:
            yield _Delimiter(name, bool(match["dash"]))


def _delimiter(word: str) -> str:
    """A delimiter without quotes and escapes; empty when it is not one word."""
    try:
        found = words(word)
    except WordError:
        return ""
    return found[0] if len(found) == 1 else ""


def _is_json(rest: str) -> bool:
    """True for the exec form, ``["program", "argument"]``."""
    if not rest.startswith("["):
        return False
    try:
        value = json.loads(rest)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


class _Ends:
    """Where bodies of here-documents end."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        #: Last place of every line, as it is and without tabs: none is looked for in vain, which would take
        #: quadratic time.
        self._last: tuple[dict[str, int], dict[str, int]] | None = None

    def after(self, delimiter: _Delimiter, position: int) -> tuple[int, bool]:
        """Position of the line after a body and true; unchanged and false when the delimiter never comes."""
        if self._last is None:
            plain = {line: number for number, line in enumerate(self._lines)}
            self._last = plain, {line.lstrip("\t"): number for number, line in enumerate(self._lines)}
        if self._last[delimiter.dash].get(delimiter.word, -1) < position:
            return position, False
        while True:
            line = self._lines[position]
            position += 1
            if (line.lstrip("\t") if delimiter.dash else line) == delimiter.word:
                return position, True
