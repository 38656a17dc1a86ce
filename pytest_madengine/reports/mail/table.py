"""Result CSV files as tables for an e-mail: read once, cells as text."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from pytest_madengine.errors import ConfigError, ResultError
from pytest_madengine.util.text import plain

#: Columns without which a table says nothing about models: it is shown, but not summed up.
RESULT_COLUMNS: Final = ("model", "status")
#: What makes two rows of different files the same result (perf.csv and perf_entry.csv share rows).
_IDENTITY: Final = (
    *("model", "performance", "metric", "status", "gpu_architecture", "machine_name", "git_commit"),
    *("build_number", "build_duration", "test_duration", "docker_image"),
)
#: Texts that stand for an empty cell, as pandas and its users write it.
_NO_VALUE: Final = frozenset({"nan", "NaN", "NAN"})


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    cells: tuple[str, ...]
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")

    @property
    def status(self) -> str:
        """``SUCCESS``, ``FAILURE``, ``SKIPPED``, or whatever else the file says."""
        return self["status"]

    @property
    def failed(self) -> bool:
        """True for a FAILURE."""
        return self.status == "FAILURE"

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes two rows of different files the same result."""
        return tuple(self[name] for name in _IDENTITY)


@dataclass(frozen=True)
class Table:
    """One CSV file.  ``rows`` are in the order of the file, oldest first."""

    name: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def has_results(self) -> bool:
        """True when its rows are results of models."""
        return all(name in self.header for name in RESULT_COLUMNS)

    @cached_property
    def shared(self) -> dict[str, str]:
        """Columns with the same text in every one of several rows, empty ones left out."""
        if len(self.rows) < 2:
            return {}
        first = self.rows[0]
        kept = {
            name for name in self.header if first[name] and all(r[name] == first[name] for r in self.rows)
        }
        return {name: first[name] for name in self.header if name in kept}

    @cached_property
    def failing_first(self) -> list[Row]:
        """Failures, newest first, then the others, newest first."""
        newest = self.rows[::-1]
        return [*(row for row in newest if row.failed), *(row for row in newest if not row.failed)]

    @cached_property
    def filled(self) -> list[str]:
        """Columns that have a text in some row."""
        return [name for name in self.header if any(row[name] for row in self.rows)]


def find_tables(path: Path) -> list[Path]:
    """The CSV files that a path means: itself, or those of a directory, sorted by name.

    :raises ConfigError: a file that is no ``.csv``.
    :raises ResultError: nothing there, or a directory without CSV files.
    """
    if path.is_dir():
        # A model may have left a link to a file of the host: what leads out of the directory is not mailed.
        top = path.resolve()
        files = (entry for entry in path.glob("*.csv") if entry.is_file())
        found = sorted(entry for entry in files if entry.resolve().is_relative_to(top))
        if not found:
            raise ResultError(
                f"{path} has no CSV files", hint="name the directory of perf.csv with --directory"
            )
        return found
    # Not .is_file(): a pipe (/dev/fd/63) is readable as well.
    if not path.exists():
        raise ResultError(f"{path} does not exist", hint="name a results CSV, or a directory that has some")
    if path.suffix.lower() != ".csv":
        raise ConfigError(f"{path} is no .csv file", hint="name a results CSV, or a directory that has some")
    return [path]


def read_table(path: Path) -> Table:
    """Reads a CSV file: header names stripped, short rows filled up, unprintable characters dropped.

    :raises ResultError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as source:
            # A file that another program cut short may have NULs, which Python 3.10 refuses.
            lines = (line.replace("\0", "") for line in source)
            rows = filter(None, csv.reader(lines, skipinitialspace=True))
            header = tuple(plain(name).strip() for name in next(rows, ()))
            return Table(plain(path.stem), header, tuple(_row(header, cells) for cells in rows))
    except csv.Error as error:
        raise ResultError(f"{path} is no readable CSV: {error}", hint="repair or move the file") from error
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from error


def _row(header: Sequence[str], row: Sequence[str]) -> Row:
    cells = tuple(_cell(cell) for cell in row)
    cells += ("",) * (len(header) - len(cells))
    return Row(cells, dict(zip(header, cells, strict=False)))


def _cell(text: str) -> str:
    clean = plain(text).strip()
    return "" if clean in _NO_VALUE else clean


def results(tables: Sequence[Table]) -> list[Row]:
    """All results, each once: a row that several files have (perf.csv, perf_entry.csv, perf_super.csv)
    counts as often as the file that has it most often.  Order of the first file that has it."""
    found: list[Row] = []
    counted: Counter[tuple[str, ...]] = Counter()
    for table in tables:
        if not table.has_results:
            continue
        here: Counter[tuple[str, ...]] = Counter()
        for row in table.rows:
            here[row.identity] += 1
            if here[row.identity] > counted[row.identity]:
                counted[row.identity] += 1
                found.append(row)
    return found
