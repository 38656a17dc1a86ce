"""Rows for people and programs: a table in a terminal, plain columns in a pipe, JSON, CSV."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from pytest_madengine.util.text import visible

#: Columns of a terminal from which on tables have everything.
_WIDE: Final = 120


class Format(str, Enum):
    """Forms of a list."""

    table = "table"
    json = "json"
    csv = "csv"


def show_rows(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    wide: Sequence[str] = (),
    styles: Mapping[str, str] | None = None,
) -> None:
    """A table: as wide as the terminal, or complete and unwrapped in a pipe.

    :param right: columns of numbers.
    :param whole: columns whose cells are not wrapped.
    :param wide: columns that a narrow terminal does without.
    :param styles: style of a cell by its text.
    """
    if not sys.stdout.isatty():
        sys.stdout.write((f"{title}\n" if title else "") + plain(columns, rows, right))
        return
    from pytest_madengine.cli.tables import cell, new_table, render

    narrow = shutil.get_terminal_size().columns < _WIDE
    names = [name for name in columns if not (narrow and name in wide)]
    table = new_table(title, *names, right=right)
    for column, name in zip(table.columns, names, strict=True):
        column.no_wrap = name in whole
    known = styles or {}
    for row in rows:
        texts = [one_line(row.get(name)) for name in names]
        table.add_row(*(cell(text, known.get(text, "")) for text in texts))
    sys.stdout.write(render(table, True))


def plain(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], right: Sequence[str] = ()) -> str:
    """Columns side by side, two blanks between them, every cell on one line and complete."""
    cells = [list(columns), *([one_line(row.get(name)) or "-" for name in columns] for row in rows)]
    widths = [max(len(line[number]) for line in cells) for number in range(len(columns))]
    lines = []
    for line in cells:
        padded = (
            text.rjust(width) if name in right else text.ljust(width)
            for name, text, width in zip(columns, line, widths, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def write_json(value: Any) -> None:
    """One JSON value (indent 2) on stdout."""
    import json

    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """CSV with a header on stdout; no cell is a formula of a spreadsheet."""
    import csv

    from pytest_madengine.history.export import harmless

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if row.get(name) is None else harmless(row[name]) for name in columns])


def one_line(value: object) -> str:
    """A value as one line without control characters."""
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return visible(" ".join(text.split()))
