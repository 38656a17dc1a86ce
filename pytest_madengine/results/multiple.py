"""Files with several result rows: the ``multiple_results`` field (contract 12.3)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Final

from pytest_madengine.errors import ResultError
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.limits import METRICS
from pytest_madengine.results.lines import read_cell
from pytest_madengine.results.readings import Kind, means_success
from pytest_madengine.results.record import Metric, Outcome
from pytest_madengine.util.text import unstyled

#: Columns without which the file has no meaning.
NEEDED: Final = ("model", "performance", "metric")
#: Columns of perf.csv that a row may replace; its outcome is ours to decide.
_REPLACEABLE: Final = frozenset(V2_COLUMNS) - {*NEEDED, "status"}
#: Names of failing rows that a reason lists.
_NAMES_SHOWN: Final = 10
_END: Final = "\x02end\x02"


def parse_multiple_results(text: str, file_name: str) -> tuple[Metric, ...]:
    """The rows of a results CSV, in file order.

    ``Metric.row`` is the text of the ``model`` cell; the projection makes ``<model>_<row>`` of it.  Values
    are kept as written, numbers without thousands separators.  A row without a value, with an ambiguous
    one, or with a ``status`` that is not a success, is a FAILURE.

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
            cells = row if row == [_END] else [unstyled(cell).strip() for cell in row]
            if len(rows) > METRICS + 1:  # the header and the appended line are no rows
                raise ResultError(
                    f"multiple_results file {file_name} has more than {METRICS} rows",
                    hint="write a summary to it and the rest to another file",
                )
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
    reading = read_cell(cells["performance"])
    good = reading.is_value and means_success(cells.get("status", ""))
    return Metric(
        value=reading.value,
        name=cells["metric"],
        row=cells["model"],
        outcome=Outcome.SUCCESS if good else Outcome.FAILURE,
        overrides={name: cell for name, cell in cells.items() if name in _REPLACEABLE and cell},
        extra={name: cell for name, cell in cells.items() if name not in V2_COLUMNS},
    )


def failing_part(metric: Metric) -> str:
    """What a row without success has: ``no performance``, ``an ambiguous number``, ``status FAILURE``."""
    kind = read_cell(metric.value).kind
    return {Kind.NOTHING: "no performance", Kind.AMBIGUOUS: "an ambiguous number"}.get(kind, "status FAILURE")


def rows_reason(metrics: Sequence[Metric], noun: str = "rows") -> str:
    """Why rows are no success: the reason of their item; empty when all are.

    :param noun: what they are called; ``rows`` are known by their row, others by their metric.
    """
    failing = [(metric, failing_part(metric)) for metric in metrics if metric.outcome is not Outcome.SUCCESS]
    parts = []
    for text in ("no performance", "an ambiguous number", "status FAILURE"):
        found = [metric for metric, part in failing if part == text]
        if found:
            names = [
                (m.row if noun == "rows" else m.row or m.name) or "(no name)" for m in found[:_NAMES_SHOWN]
            ]
            more = f" and {len(found) - len(names)} more" if len(found) > len(names) else ""
            parts.append(f"{len(found)} of {len(metrics)} {noun} have {text}: {', '.join(names)}{more}")
    return "; ".join(parts)
