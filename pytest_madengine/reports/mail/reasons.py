"""Why rows of a perf.csv failed: the records of the sessions that wrote them know it, the table does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_madengine.reports.pages.records import read_records
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.record import Outcome, RunRecord
from pytest_madengine.results.rows import file_rows


@dataclass(frozen=True)
class Reason:
    """Why an item failed or was skipped."""

    text: str
    hint: str = ""
    log_file: str = ""


class Reasons:
    """Reasons by the cells of a row.  Exact: a row of another session is never explained by this one.

    :param results_dir: ``mad-results``; absent or ``None``: no row has a reason.
    :raises ResultError: from :meth:`of`, when records are there and cannot be read.
    """

    def __init__(self, results_dir: Path | None) -> None:
        self._results_dir = results_dir
        self._records: list[RunRecord] | None = None
        self._by_header: dict[tuple[str, ...], dict[tuple[str, ...], Reason]] = {}

    def of(self, header: tuple[str, ...], cells: Mapping[str, str]) -> Reason | None:
        """The reason of a row, or ``None`` when no record wrote it.

        :param header: columns of the file.
        """
        columns = tuple(name for name in V2_COLUMNS if name in header)
        if columns not in self._by_header:
            self._by_header[columns] = self._index(columns, header)
        return self._by_header[columns].get(tuple(cells.get(name, "").strip() for name in columns))

    def _index(self, columns: tuple[str, ...], header: tuple[str, ...]) -> dict[tuple[str, ...], Reason]:
        if self._records is None:
            self._records = list(_records(self._results_dir)) if self._results_dir else []
        found: dict[tuple[str, ...], Reason] = {}
        for record in self._records:
            reason = Reason(
                record.reason, record.hint, f"{record.run_id}/{record.log_file}" if record.log_file else ""
            )
            for row in file_rows(record, header):
                found[tuple(row[name].strip() for name in columns)] = reason
        return found


def _records(results_dir: Path) -> Iterator[RunRecord]:
    """Records that have a reason, oldest first."""
    if not results_dir.is_dir():
        return
    for entry in read_records(results_dir).records:
        if entry["outcome"] != Outcome.SUCCESS.value and entry.get("reason"):
            yield RunRecord.from_dict(entry)
