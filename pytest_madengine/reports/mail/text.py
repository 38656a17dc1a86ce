"""The text part of an e-mail: what the page says, for readers without HTML and for chat bridges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pytest_madengine.reports.mail.page import MESSAGE, Mail, cut
from pytest_madengine.reports.mail.table import Table

#: Rows of each table, and tables.
ROWS: Final = 50
TABLES: Final = 10
_COLUMNS: Final = ("model", "performance", "metric", "status")
#: Characters of a column.
_WIDEST: Final = 48


def mail_text(mail: Mail) -> str:
    """Counts, failures with reasons, the newest values, a short table of each file; a line each."""
    return "\n".join(line.rstrip() for line in _lines(mail)) + "\n"


def _lines(mail: Mail) -> Iterator[str]:
    yield mail.subject
    if mail.when:
        yield mail.when
    failures = mail.failures(MESSAGE.failures)
    if failures:
        yield from ("", "Failures")
    for failure in failures:
        facts = ", ".join(filter(None, (_one(failure.facts), failure.times)))
        since = ", has succeeded since" if failure.recovered else ""
        yield f"  {_one(failure.model)}{f' ({facts})' if facts else ''}{since}"
        yield from (f"      {_one(text)}" for text in (failure.reason, failure.hint) if text)
    left = mail.failed_models - len(failures)
    if left:
        yield f"  and {left} more"
    for chart in mail.charts()[0]:
        yield from ("", _one(chart.metric) or "(metric without a name)")
        rows = [(_one(bar.label), _one(bar.value), bar.change) for bar in chart.bars]
        yield from _columns(rows, right=(1, 2))
    for table in mail.tables[:TABLES]:
        yield from _table(table)
    if len(mail.tables) > TABLES:
        yield from ("", f"{len(mail.tables) - TABLES} more tables are not shown.")


def _table(table: Table) -> Iterator[str]:
    yield from ("", _one(table.name), "-" * len(_one(table.name)))
    header: list[str] = [name for name in _COLUMNS if name in table.header] or list(
        table.header[: len(_COLUMNS)]
    )
    rows = table.failing_first[:ROWS]
    yield from _columns([header, *([_one(row[name]) for name in header] for row in rows)])
    if len(table.rows) > len(rows):
        yield f"  {len(table.rows) - len(rows)} more rows are in {_one(table.name)}.csv"


def _columns(rows: Sequence[Sequence[str]], right: tuple[int, ...] = ()) -> Iterator[str]:
    """Rows with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  " + "  ".join(cells)


def _one(text: str) -> str:
    """One line."""
    return cut(" ".join(text.split()), _WIDEST * 4)
