"""The rows of a report page, held column by column: equal cells of a column are stored once."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

#: Rows that are turned into columns at a time.
_CHUNK: Final = 4096


class Column:
    """The cells of one column: distinct texts in order of appearance, and the number of each row's text."""

    __slots__ = ("index", "name", "values")

    def __init__(self, name: str, rows: int = 0) -> None:
        self.name = name
        self.values: dict[str, int] = {"": 0} if rows else {}
        self.index = array("I", [0]) * rows

    def extend(self, cells: Iterable[str]) -> None:
        """Adds cells at the end."""
        values = self.values
        self.index.extend([values.setdefault(cell, len(values)) for cell in cells])

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[str]:
        return map(list(self.values).__getitem__, self.index)

    def last(self, count: int) -> list[str]:
        """The last ``count`` cells."""
        texts = list(self.values)
        return [texts[number] for number in self.index[max(len(self.index) - count, 0) :]]

    def filled(self) -> bool:
        """True when any cell has text."""
        return any(self.values)


class Table:
    """Named columns of equal length.

    :param names: header names; they may repeat or be empty, as in the file they come from.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.columns = [Column(name) for name in names]
        self.rows = 0

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Adds rows.  A short row is filled with empty cells, a long one gets columns without a name."""
        source = iter(rows)
        while chunk := list(itertools.islice(source, _CHUNK)):
            self._widen(max(map(len, chunk)))
            width = len(self.columns)
            padded = [row if len(row) == width else [*row, *[""] * (width - len(row))] for row in chunk]
            for column, cells in zip(self.columns, zip(*padded, strict=True), strict=True):
                column.extend(cells)
            self.rows += len(chunk)

    def _widen(self, width: int) -> None:
        while len(self.columns) < width:
            self.columns.append(Column("", self.rows))

    def append(self, column: Column) -> Column:
        """Adds a complete column at the right."""
        if len(column) != self.rows:
            raise ValueError(f"column {column.name} has {len(column)} cells instead of {self.rows}")
        self.columns.append(column)
        return column

    def find(self, name: str) -> Column | None:
        """The first column of this name."""
        return next((column for column in self.columns if column.name == name), None)

    def cells(self, name: str) -> list[str]:
        """All cells of a column; empty ones when there is no such column."""
        column = self.find(name)
        return [""] * self.rows if column is None else list(column)

    def last(self, count: int) -> Iterator[tuple[str, ...]]:
        """The last ``count`` rows."""
        return zip(*(column.last(count) for column in self.columns), strict=True)
