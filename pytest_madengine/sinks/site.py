"""The results site of --mad-report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_madengine.errors import MadError

if TYPE_CHECKING:
    from pytest_madengine.history.urls import DatabaseUrl
    from pytest_madengine.reports.pages.records import Found
    from pytest_madengine.results.record import RunRecord
    from pytest_madengine.session.session import MadSession
from pytest_madengine.reports.pages.site import site_report

#: Records that are read from a history database: the newest.
HISTORY_LIMIT: Final = 20_000


def history_records(url: DatabaseUrl | str, limit: int = HISTORY_LIMIT) -> Found:
    """The newest records of a history database, as objects; whole sessions.

    :raises ConfigError: no database URL, a missing driver, a store of a newer release.
    :raises HistoryError: the database is down or refuses.
    """
    from pytest_madengine.history.store import HistoryStore
    from pytest_madengine.reports.pages.records import Found

    found = Found()
    # No repetition: the end of a session must not hang on a server that is down.
    with HistoryStore(url, retries=0) as store:
        runs = store.runs(limit=limit)
        for run_id in reversed(dict.fromkeys(run.run_id for run in runs)):
            found.records += [record.to_dict() for record in store.records(run_id)]
    if len(runs) == limit:
        found.notes.append(f"The newest {limit:,} results of the history database are shown.")
    return found


class SiteSink:
    """``--mad-report DIR``: the results site, made once at the end of a session.

    It shows the history database of ``--mad-db``, else all sessions below the results directory; and this
    session in any case.
    """

    def __init__(self, session: MadSession, directory: Path) -> None:
        self.session = session
        self.directory = directory
        self.page: Path | None = None
        #: What readers of the terminal should know.
        self.trouble = ""

    @pytest.hookimpl(trylast=True)
    def pytest_mad_finish(self, records: list[RunRecord]) -> None:
        """Writes the page, after all other sinks.

        :raises ResultError: it cannot be written.
        """
        settings = self.session.settings
        earlier = self._earlier()
        self.page = site_report(
            self.directory,
            [*earlier.records, *(record.to_dict() for record in records)],
            results_dir=settings.results_dir,
            title=f"{settings.root.name} benchmarks",
            source=f"{settings.root.name}, session {self.session.run_id} and earlier ones",
            notes=earlier.notes,
        )

    def _earlier(self) -> Found:
        from pytest_madengine.reports.pages.records import read_records

        settings = self.session.settings
        if settings.db:
            from pytest_madengine.history.urls import database_url

            try:
                return history_records(database_url(settings.db, settings.environ, settings.known_hosts))
            except MadError as error:
                # Recorded: on the terminal and on the page.
                self.trouble = self.session.redactor.text(
                    f"results site: {error.message}; made from {settings.results_dir} instead"
                )
        found = read_records(settings.results_dir)
        if self.trouble:
            found.notes.append(
                "The history database was down: the sessions of the results directory are shown."
            )
        return found

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Says where the page is, and what it was made from when not as asked."""
        if self.trouble:
            terminalreporter.write_line(self.trouble, yellow=True)
        if self.page is not None:
            terminalreporter.write_line(f"results site: {self.page}")
