"""Everything a report page is made from."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_madengine.errors import ResultError
from pytest_madengine.reports.pages.details import Details
from pytest_madengine.reports.pages.table import Column, Table


@dataclass
class PageData:
    """Rows with what is known about their runs; rows stand from old to new.

    :param facts: hidden columns of the table's length: ``session`` (its id, or the name of a build),
        ``item``, ``fingerprint``, ``finished`` (UTC ISO-8601), ``reason``.  Any may be missing.
    :param record_of: position of each row's run in ``details`` plus one; 0: nothing is known.
    :param notes: lines for readers, e.g. what is left out.
    :param made: when the page was made, as UTC ISO-8601; may be empty.
    """

    title: str
    source: str
    table: Table
    facts: dict[str, Column] = field(default_factory=dict)
    record_of: Sequence[int] = ()
    details: Details = field(default_factory=Details)
    notes: list[str] = field(default_factory=list)
    made: str = ""

    def fact(self, name: str) -> list[str]:
        """A hidden column; empty cells when it is missing."""
        column = self.facts.get(name)
        return [""] * self.table.rows if column is None else list(column)


def read_csv(path: Path) -> Table:
    """The rows of a results CSV: header names stripped, blank lines left out.

    :raises ResultError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as source:
            rows = filter(None, csv.reader(source, skipinitialspace=True))
            table = Table(name.strip() for name in next(rows, []))
            table.add(rows)
            return table
    except csv.Error as error:
        raise ResultError(f"{path} is no readable CSV: {error}", hint="repair or move the file") from error
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from error


def builds_as_sessions(table: Table, sessions: Iterable[str] | None = None) -> Column | None:
    """The hidden column ``session`` where run ids are unknown: build numbers, when there are several.

    :param sessions: run ids as far as they are known.
    """
    known = list(sessions) if sessions is not None else [""] * table.rows
    builds = [text.strip() for text in table.cells("build_number")]
    several = len(set(builds)) > 1
    if not any(known) and not several:
        return None
    column = Column("session")
    column.extend(
        run or (f"build {build}" if several and build else "")
        for run, build in zip(known, builds, strict=True)
    )
    return column


def column_of(name: str, cells: Iterable[str]) -> Column:
    """A column from its cells."""
    column = Column(name)
    column.extend(cells)
    return column
