"""Why rows of a perf.csv failed: the records of the sessions that wrote them know it, the table does not."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.record import Outcome, RunRecord
from pytest_madengine.results.rows import file_rows

#: Sessions that are looked into, the newest.
SESSIONS: Final = 50
#: Bytes of one line of records.jsonl above which it is not read.
_LONGEST: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class Reason:
    """Why an item failed or was skipped."""

    text: str
    hint: str = ""
    log_file: str = ""


class Reasons:
    """Reasons by the cells of a row.  Exact: a row of another session is never explained by this one.

    :param results_dir: ``mad-results``; absent or ``None``: no row has a reason.
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
    """Records that have a reason, oldest first.  What is torn or of another program is passed over."""
    files = heapq.nlargest(SESSIONS, results_dir.glob("*/records.jsonl"), key=lambda path: path.parent.name)
    for path in reversed(files):
        try:
            with path.open(encoding="utf-8", errors="replace") as stream:
                lines = [line for line in stream if len(line) < _LONGEST]
        except OSError:
            continue  # Removed meanwhile, or not ours to read: rows without a reason are shown all the same.
        for line in lines:
            try:
                record = RunRecord.from_dict(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue  # A torn last line, or a record of a newer release.
            if record.outcome is not Outcome.SUCCESS and record.reason:
                yield record
