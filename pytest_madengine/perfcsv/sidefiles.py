"""The files beside perf.csv: the last item and the cumulative records (contract 12.5)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import ResultError
from pytest_madengine.perfcsv.table import csv_bytes, locked_file
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.record import RunRecord
from pytest_madengine.results.rows import file_rows, super_records
from pytest_madengine.util import jsontext
from pytest_madengine.util.files import write_atomic

#: The files about the last item (contract 12.5).
LAST_ITEM: Final = (
    *("perf_entry.json", "perf_entry.csv", "common_info.json"),
    *("perf_entry_super.json", "perf_entry_super.csv"),
)
#: Columns of perf_super.csv.
SUPER_COLUMNS: Final = (*V2_COLUMNS, "configs", "multi_results")
#: What common_info.json leaves out: it differs from row to row.
_PER_ROW: Final = frozenset({"model", "performance", "metric", "status"})


class SideFiles:
    """Writes the side files of one perf.csv; every file is replaced as a whole, under the lock of perf.csv.

    :param directory: where the side files go: the directory of perf.csv.
    :param perf_csv: default: ``perf.csv`` in that directory.
    """

    def __init__(self, directory: Path, perf_csv: Path | None = None) -> None:
        self._directory = directory
        self._perf_csv = perf_csv or directory / "perf.csv"

    def write_item(self, record: RunRecord, rows: Sequence[Mapping[str, str]]) -> None:
        """Replaces the files about the last item.

        :param rows: what ``PerfCsv.append`` returned for the record; nothing is written without rows.
        :raises ResultError: a file cannot be written.
        """
        if not rows:
            return
        entries, _ = super_records(record)
        header = list(rows[0])
        with self._writing():
            self._json("perf_entry.json", rows[0] if len(rows) == 1 else list(rows))
            self._csv("perf_entry.csv", header, rows)
            if any(metric.row for metric in record.metrics):
                shared = file_rows(replace(record, metrics=()), header)[0]
                self._json(
                    "common_info.json", {name: shared[name] for name in header if name not in _PER_ROW}
                )
            self._json("perf_entry_super.json", entries)
            self._csv("perf_entry_super.csv", SUPER_COLUMNS, map(_super_cells, entries))

    def remove_last_item(self) -> None:
        """Removes the files about the last item (``--mad-cleanup-perf``).

        :raises ResultError: one of them cannot be removed.
        """
        with self._writing():
            for name in LAST_ITEM:
                (self._directory / name).unlink(missing_ok=True)

    def finish(self, records: Iterable[RunRecord]) -> tuple[str, ...]:
        """Adds the records of a run to perf_super.*: once, at the end of the run.

        :returns: lines for the user: configurations that fit no row, files set aside.
        :raises ResultError: a file cannot be written.
        """
        messages: dict[str, None] = {}
        entries: list[dict[str, Any]] = []
        for record in records:
            added, warnings = super_records(record)
            entries += added
            messages |= dict.fromkeys(warnings)
        if not entries:
            return ()
        with self._writing():
            earlier, notes = self._earlier()
            merged = [*earlier, *entries]
            self._json("perf_super.json", merged)
            self._csv(
                "perf_super.csv", SUPER_COLUMNS, (_super_cells(e) for e in merged if isinstance(e, dict))
            )
            messages |= dict.fromkeys(notes)
        return tuple(messages)

    def _earlier(self) -> tuple[list[Any], list[str]]:
        """The records of earlier runs; what cannot be read is set aside, never overwritten."""
        path = self._directory / "perf_super.json"
        try:
            content = jsontext.read(path, constants=True)
            if isinstance(content, list):
                return content, []
        except FileNotFoundError:
            table = path.with_suffix(".csv")
            return [], [_set_aside(table, "it has no perf_super.json beside it")] if table.exists() else []
        except jsontext.JsonTextError:
            pass  # Not JSON: it is set aside below.
        return [], [_set_aside(path, "it is not a JSON list")]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with locked_file(self._perf_csv):
                yield
        except OSError as error:
            name = error.filename or self._directory
            raise ResultError(
                f"side file {name} cannot be written: {error.strerror}",
                hint="perf.csv is complete; free some space or check the directory",
            ) from error

    def _json(self, name: str, value: Any) -> None:
        write_atomic(self._directory / name, json.dumps(value, indent=2) + "\n")

    def _csv(self, name: str, header: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
        lines = [header, *([row.get(column, "") for column in header] for row in rows)]
        write_atomic(self._directory / name, csv_bytes(lines).decode())


def _super_cells(entry: Mapping[str, Any]) -> dict[str, str]:
    """One perf_super record as CSV cells: values that are no text become JSON text."""
    cells = {name: value if isinstance(value, str) else json.dumps(value) for name, value in entry.items()}
    for name in ("configs", "multi_results"):
        cells[name] = json.dumps(entry.get(name))
    return cells


def _set_aside(path: Path, why: str) -> str:
    number = 1
    while (kept := path.with_name(f"{path.name}.kept-{number}")).exists():
        number += 1
    path.rename(kept)
    return f"{path} was renamed to {kept.name}, because {why}"
