"""Files with several result rows: the ``multiple_results`` field (contract 12.3)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Final

from pytest_madengine.errors import ResultError
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.record import Metric, Outcome

#: Columns without which the file has no meaning.
NEEDED: Final = ("model", "performance", "metric")
#: Columns of perf.csv that a row may replace; its outcome is ours to decide.
_REPLACEABLE: Final = frozenset(V2_COLUMNS) - {*NEEDED, "status"}
#: Texts that mean "no value" (compared in lower case).
_NO_VALUE: Final = frozenset({"", "nan", "+nan", "-nan", "n/a"})
_END: Final = "\x02end\x02"


def parse_multiple_results(text: str, file_name: str) -> tuple[Metric, ...]:
    """The rows of a results CSV, in file order.

    ``Metric.row`` is the text of the ``model`` cell; the projection makes ``<model>_<row>`` of it.  Values
    are kept as written.  A row without a value, or with ``status`` FAILURE, is a FAILURE.

    :raises ResultError: no rows, a missing column, or text that is no CSV (texts of contract 12.3).
    """
    header, rows = _read(text, file_name)
    if not header:
        raise ResultError(f"multiple_results file {file_name} has no rows")
    for name in NEEDED:
        if name not in header:
            raise ResultError(
                f"Multiple Results CSV file is missing the {name} column",
                hint=f"{file_name} has the columns {', '.join(header)}",
            )
        if header.count(name) > 1:
            raise ResultError(f"multiple_results file {file_name} has the {name} column more than once")
    if not rows:
        raise ResultError(f"multiple_results file {file_name} has no rows")
    return tuple(_metric(_cells(header, row, line, file_name)) for line, row in rows)


def _read(text: str, file_name: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The stripped header and the non-blank rows with the number of their last line."""
    # The appended line comes back as a row of its own unless a quote was left open before it; without
    # that check an open quote would silently swallow all rows after it.
    source = io.StringIO(f"{text.removeprefix(chr(0xFEFF))}\n{_END}\n", newline="")
    reader = csv.reader(source, skipinitialspace=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if cells not in ([], [""]):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise ResultError(
            f"multiple_results file {file_name}, line {reader.line_num}: {error}",
            hint="write it with a CSV library",
        ) from error
    if not rows or rows.pop()[1] != [_END]:
        raise ResultError(f"multiple_results file {file_name} ends inside a quoted cell")
    return (rows[0][1], rows[1:]) if rows else ([], [])


def _cells(header: Sequence[str], row: Sequence[str], line: int, file_name: str) -> dict[str, str]:
    if any(row[len(header) :]):
        raise ResultError(
            f"multiple_results file {file_name}, line {line}: {len(row)} cells, but {len(header)} columns",
            hint="quote cells that contain a comma",
        )
    cells: dict[str, str] = {}
    for index, name in enumerate(header):
        if name:
            cells.setdefault(name, row[index] if index < len(row) else "")
    return cells


def _metric(cells: Mapping[str, str]) -> Metric:
    failed = not has_value(cells["performance"]) or cells.get("status") == Outcome.FAILURE.value
    return Metric(
        value=cells["performance"],
        name=cells["metric"],
        row=cells["model"],
        outcome=Outcome.FAILURE if failed else Outcome.SUCCESS,
        overrides={name: cell for name, cell in cells.items() if name in _REPLACEABLE and cell},
        extra={name: cell for name, cell in cells.items() if name not in V2_COLUMNS},
    )


def has_value(performance: str) -> bool:
    """True when a ``performance`` cell says something: not empty, ``nan`` or ``N/A`` (``0`` does)."""
    return performance.lower() not in _NO_VALUE
