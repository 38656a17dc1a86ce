"""What is wrong with the entries of a file, in one error (contract section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from pytest_madengine.errors import CatalogError

#: Problems listed with an error; a file with ten thousand wrong entries has one error all the same.
_SHOWN: Final = 20


class Problem(NamedTuple):
    """One thing that is wrong with one entry."""

    #: Position in the file, from 0; ``None`` for the file as a whole.
    position: int | None
    text: str
    #: The field it is about; empty: the entry.
    field: str = ""
    #: The kind of mistake: ``type``, ``missing``, ``reserved``, ``duplicate``, ``path``, ``gpus`` or
    #: ``variable``.
    kind: str = "type"


class JsonError(CatalogError):
    """A file that is no JSON, with the place of the mistake."""

    def __init__(self, message: str, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        #: What is wrong, without file and place.
        self.reason = reason
        #: From 1, in characters; 0 when it is the file as a whole.
        self.line, self.column = line, column


def catalog_error(source: str, problems: Iterable[Problem], entries: object) -> CatalogError:
    """One error for all problems of a file: ``<source>: entry 3 ('model3'): <text>``.

    Entries are counted from 1, as people count them.
    """
    found = list(problems)
    lines = [f"{source}: {_place(problem.position, entries)}{problem.text}" for problem in found[:_SHOWN]]
    if len(found) == 1:
        return CatalogError(lines[0])
    rest = len(found) - _SHOWN
    tail = [*lines[1:], *([f"... and {rest} more"] if rest > 0 else [])]
    return CatalogError(f"{lines[0]} (and {len(found) - 1} more in this file)", log_tail=tuple(tail))


def entry_place(index: int, name: object) -> str:
    """``entry 3 ('model3')``: how an entry is called in messages."""
    if not isinstance(name, str) or not name:
        return f"entry {index + 1}"
    return f"entry {index + 1} ({short(name)})"


def _place(index: int | None, entries: object) -> str:
    if index is None:
        return ""
    entry = entries[index] if isinstance(entries, Sequence) else None
    return f"{entry_place(index, entry.get('name') if isinstance(entry, Mapping) else None)}: "


def short(value: object) -> str:
    """A value as Python writes it, cut to a length that fits into a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
