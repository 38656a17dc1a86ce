"""perf.html: a results CSV as one self-contained page (contract 17)."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

from pytest_madengine.errors import ResultError
from pytest_madengine.reports.pages.data import PageData, builds_as_sessions, read_csv
from pytest_madengine.util.clock import utc_now
from pytest_madengine.util.files import write_atomic


def to_html(csv_path: Path, html_path: Path) -> None:
    """Writes a complete page from the CSV alone.

    Header names are stripped, cells escaped, empty cells empty, rows with status FAILURE marked.  The page
    replaces an older one only when it is complete.

    :raises ResultError: the CSV cannot be read or the page cannot be written.
    """
    table = read_csv(csv_path)
    builds = builds_as_sessions(table)
    facts = {} if builds is None else {"session": builds}
    write_page(html_path, PageData(csv_path.stem, csv_path.name, table, facts, made=utc_now()))


def write_page(path: Path, data: PageData) -> None:
    """Writes a page as a whole.

    :raises ResultError: it cannot be written; an older page is then as it was.
    """
    from pytest_madengine.reports.pages.page import render

    try:
        write_atomic(path, render(data))
    except OSError as error:
        raise ResultError(
            f"{path} cannot be written: {error.strerror}", hint="free some space or check the directory"
        ) from error


def count_rows(csv_path: Path, limit: int) -> int:
    """Data rows of a CSV; stops counting at ``limit + 1``.

    :raises ResultError: the CSV cannot be read.
    """
    try:
        with csv_path.open(encoding="utf-8-sig", errors="replace", newline="") as source:
            rows = filter(None, csv.reader(source))
            return max(0, sum(1 for _ in itertools.islice(rows, limit + 2)) - 1)
    except (OSError, csv.Error) as error:
        raise ResultError(f"{csv_path} cannot be read: {error}", hint="repair or move the file") from error
