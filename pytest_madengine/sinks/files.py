"""The built-in file sinks: perf.csv with its side files, and ``records.jsonl`` of the session."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from pytest_madengine.util.files import append_line

if TYPE_CHECKING:
    from pytest_madengine.perfcsv.sidefiles import SideFiles
    from pytest_madengine.perfcsv.table import PerfCsv
    from pytest_madengine.results.record import RunRecord
    from pytest_madengine.session.session import MadSession


class FileSinks:
    """Writes every record as soon as it arrives; runs before any sink of the user."""

    def __init__(self, session: MadSession) -> None:
        from pytest_madengine.perfcsv.sidefiles import SideFiles
        from pytest_madengine.perfcsv.table import PerfCsv

        self.session = session
        self.table: PerfCsv = PerfCsv(session.settings.output, session.settings.perf_csv_schema)
        #: Lines for the end of the terminal output.
        self.notes: list[str] = []
        self.side: SideFiles = SideFiles(session.settings.output.parent, session.settings.output)

    @pytest.hookimpl(tryfirst=True)
    def pytest_mad_result(self, record: RunRecord) -> None:
        """Appends to records.jsonl and to perf.csv: each also when the other cannot be written."""
        try:
            append_line(self.session.directory / "records.jsonl", json.dumps(record.to_dict()))
        finally:
            if record.has_row:
                rows = self.table.append(record)
                self.side.write_item(record, rows)

    def write_all(self, records: Sequence[RunRecord]) -> None:
        """The same for many records: each file is written once."""
        try:
            lines = [json.dumps(record.to_dict()) for record in records]
            append_line(self.session.directory / "records.jsonl", "\n".join(lines))
        finally:
            written = [record for record in records if record.has_row]
            if written:
                rows = self.table.append_all(written)
                self.side.write_item(written[-1], rows[-1])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Says what was left out of the files."""
        for note in self.notes:
            terminalreporter.write_line(note)

    @pytest.hookimpl(tryfirst=True)
    def pytest_mad_finish(self, records: list[RunRecord]) -> None:
        """Writes the cumulative files once; takes away those of the last item, if asked to."""
        from pytest_madengine.reports.pages.records import page_after_run

        settings = self.session.settings
        written = [record for record in records if record.has_row]
        self.notes += self.side.finish(written)
        if written:
            self.notes += page_after_run(settings.output, settings.results_dir)
        if settings.cleanup_perf:
            self.side.remove_last_item()


class DatabaseSink:
    """``--mad-db``: every record goes to the history database as well; no database fails a run."""

    def __init__(self, session: MadSession) -> None:
        from pytest_madengine.history.sink import HistorySink
        from pytest_madengine.history.urls import database_url

        settings = session.settings
        target = database_url(settings.db, settings.environ, settings.known_hosts)
        password = urlsplit(target.url.reveal()).password
        session.redactor.add(*filter(None, (password, unquote(password or ""))))
        self.sink = HistorySink(target, session.directory / "records.jsonl")
        #: Lines for the end of the terminal output.
        self.notes: list[str] = []

    def pytest_mad_result(self, record: RunRecord) -> None:
        """Stores a record, or keeps it for later."""
        trouble = self.sink.write(record)
        if trouble:
            self.notes.append(trouble)

    def write_all(self, records: Sequence[RunRecord]) -> None:
        """The same for many records, in as few transactions as possible."""
        self.notes += filter(None, [self.sink.write_all(records)])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """The last try."""
        self.notes += self.sink.finish()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Says what was not stored, and the command that does it later."""
        for note in self.notes:
            terminalreporter.write_line(note, yellow=True)
