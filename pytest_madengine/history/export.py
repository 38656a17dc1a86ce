"""Rows of the history as CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import ConfigError, HistoryError
from pytest_madengine.results.readings import number
from pytest_madengine.util.files import replacing

#: What a spreadsheet takes for the beginning of a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
#: Rows of one Parquet row group.
_GROUP: Final = 50_000


def write_export(path: Path, format: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Writes the rows as they come, then puts the whole file in its place; returns their number.

    ``None`` is an empty cell in CSV and null elsewhere.  CSV cells that a spreadsheet would run as a
    formula begin with an apostrophe.

    :param format: ``csv``, ``json`` (a list of objects) or ``parquet``; empty: the suffix of the path.
    :raises ConfigError: an unknown format, or Parquet without pyarrow.
    :raises HistoryError: the file cannot be written; an old one stays as it was.
    """
    kind = (format or path.suffix.removeprefix(".")).lower()
    writers: dict[str, _Writer] = {"csv": _csv, "json": _json, "parquet": _parquet}
    if kind not in writers:
        raise ConfigError(f"{path}: unknown export format '{kind}'", hint="use csv, json or parquet")
    try:
        with replacing(path) as temporary:
            count = writers[kind](temporary, columns, rows)
    except OSError as error:
        raise HistoryError(f"{path} cannot be written: {error.strerror or error}") from None
    return count


_Writer = Callable[[Path, Sequence[str], Iterable[Sequence[Any]]], int]


def _csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    count = 0
    with path.open("x", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([harmless(cell) for cell in row])
            count += 1
    return count


def harmless(cell: Any) -> Any:
    """A cell that no spreadsheet runs; numbers stay numbers."""
    if not isinstance(cell, str) or not cell.startswith(_FORMULA) or number(cell) is not None:
        return cell
    return f"'{cell}"


def _json(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    count = 0
    with path.open("x", encoding="utf-8") as stream:
        stream.write("[")
        for row in rows:
            entry = dict(zip(columns, row, strict=True))
            stream.write(("," if count else "") + "\n  " + json.dumps(entry, ensure_ascii=False))
            count += 1
        stream.write("\n]\n" if count else "]\n")
    return count


def _parquet(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            "Parquet needs pyarrow", hint="pip install pyarrow, or export csv or json"
        ) from None
    types = {"number": pyarrow.float64()}
    form = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in columns])
    count = 0
    group: list[Sequence[Any]] = []
    with parquet.ParquetWriter(path, form) as writer:
        for row in rows:
            group.append(row)
            count += 1
            if len(group) == _GROUP:
                writer.write_table(_table(pyarrow, form, group))
                group.clear()
        writer.write_table(_table(pyarrow, form, group))
    return count


def _table(pyarrow: Any, form: Any, rows: Sequence[Sequence[Any]]) -> Any:
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(form)
    return pyarrow.table(
        [pyarrow.array(cell, field.type) for cell, field in zip(cells, form, strict=True)], form
    )
