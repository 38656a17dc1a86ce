"""``--mad-db``: results go to the history store as they arrive, and no database fails a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_madengine.errors import HistoryError, MadError
from pytest_madengine.history.replay import replay_command
from pytest_madengine.history.urls import DatabaseUrl

if TYPE_CHECKING:
    from pytest_madengine.history.store import HistoryStore
    from pytest_madengine.results.record import RunRecord

#: Seconds without a try after a failure: a dead server must not hold up every result.
PAUSE: Final = 60.0


class HistorySink:
    """Stores every record as it arrives.  No method raises because of the database.

    Records that cannot be stored wait; each later one is another chance, after :data:`PAUSE`, and the end
    of the session the last.  What then remains is in the session's ``records.jsonl`` already; the notes say
    how to store it.

    :param target: the database, from ``urls.database_url``.
    :param records_path: file to which the session writes every record; the replay command names it.
    :param clock: seconds of a clock that only runs forward.
    :raises ConfigError: the URL is none, or its driver is missing: said before anything runs.
    """

    def __init__(
        self, target: DatabaseUrl, records_path: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from pytest_madengine.history.store import HistoryStore

        self.target = target
        self.records_path = records_path
        self._clock = clock
        self._waiting: list[RunRecord] = []
        self._failed_at: float | None = None
        self._error: MadError | None = None
        self._stored = 0
        # One repetition: a result that waits costs less than a session that does.
        self._store: HistoryStore = HistoryStore(target, retries=1)

    def write(self, record: RunRecord) -> str:
        """Takes one record.  Returns one line when the database begins to fail, else an empty text."""
        return self.write_all([record])

    def write_all(self, records: Iterable[RunRecord]) -> str:
        """As :meth:`write` for many records, at once."""
        rows = [record for record in records if record.has_row]
        if not rows:
            return ""
        self._waiting += rows
        if self._failed_at is not None and self._clock() - self._failed_at < PAUSE:
            return ""
        healthy = self._error is None
        self._flush()
        if self._error is None or not healthy:
            return ""
        return f"{self._error.message}; results are kept and will be stored later"

    def finish(self) -> list[str]:
        """The last try, then closes.  Returns lines for the end of the terminal; none: all is well."""
        if self._waiting:
            self._flush()
        self._store.close()
        if self._error is None:
            return []
        return [
            f"history: {len(self._waiting)} of {self._stored + len(self._waiting)} results are not stored: "
            f"{self._error.message}",
            f"history: store them later with: {replay_command(self.target, self.records_path)}",
        ]

    @property
    def waiting(self) -> Sequence[RunRecord]:
        """Records that are not stored yet."""
        return tuple(self._waiting)

    def _flush(self) -> None:
        try:
            self._store.add(self._waiting)
        except MadError as error:
            # Recorded: finish() reports it.  A store of a newer release is no reason to fail a run either.
            self._error = error
            self._failed_at = self._clock()
            return
        except Exception as error:  # noqa: BLE001 - recorded as well: no database fails a run
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self._error = HistoryError(f"{self.target}: {text}")
            self._failed_at = self._clock()
            return
        self._stored += len(self._waiting)
        self._waiting.clear()
        self._error, self._failed_at = None, None
