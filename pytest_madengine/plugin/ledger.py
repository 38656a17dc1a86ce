"""What the controlling process knows of its items: records, who still owes one, sinks that failed."""

from __future__ import annotations

import pytest

from pytest_madengine.plugin.itemids import item_ids
from pytest_madengine.results.cleaning import clean_record
from pytest_madengine.results.journal import Journal
from pytest_madengine.results.record import Outcome, RunRecord
from pytest_madengine.session.session import MadSession
from pytest_madengine.util.ends import held
from pytest_madengine.util.files import utc_now
from pytest_madengine.util.text import one_line


class Ledger:
    """One record per item, whatever happens to workers; what the controller writes and the views read."""

    def __init__(self, config: pytest.Config, session: MadSession) -> None:
        self.config = config
        self.session = session
        self.journal = Journal(session.directory / "journal.jsonl")
        self.ids = item_ids(config)
        #: Records in the order in which they arrived, by node id.
        self.records: dict[str, list[RunRecord]] = {}
        #: Node ids of selected model items that have no record yet, in collection order.
        self.expected: dict[str, None] = {}
        self.sink_errors: list[str] = []
        #: Lines about containers of dead sessions.
        self.reaped: list[str] = []

    def accept(self, nodeid: str, records: list[RunRecord]) -> None:
        """Takes the records of an item, once, and hands them to every sink."""
        if nodeid in self.records:
            return
        # An interrupt in the middle would leave a record that some sinks have and others never get.
        with held():
            self.records[nodeid] = records
            self.expected.pop(nodeid, None)
            for record in records:
                self._emit(record)

    def _emit(self, record: RunRecord) -> None:
        try:
            self.config.hook.pytest_mad_result(config=self.config, record=record)
        except Exception as error:  # noqa: BLE001 - a user's sink may raise anything; recorded as an error
            self.note_sink_error(error, f"record of {record.item_id}")

    def note_sink_error(self, error: Exception, what: str) -> None:
        """A sink failed: shown at the end, and the session is not a success."""
        text = self.session.redactor.text(one_line(str(error)))
        self.sink_errors.append(f"{what}: {text or type(error).__name__}")

    def lost(self, nodeid: str, reason: str, outcome: Outcome = Outcome.FAILURE) -> RunRecord:
        """A record for an item whose process could not make one."""
        for entry in self.journal.entries():
            if entry.get("event") == "finish" and entry.get("nodeid") == nodeid:
                return RunRecord.from_dict(entry["record"])
        from pytest_madengine.pipeline.run import ItemRun

        spec = self.ids.spec(nodeid)
        if spec is None:
            record = RunRecord(self.session.run_id, nodeid, nodeid, outcome, reason, started=utc_now())
            return clean_record(record, self.session.redactor)
        run = ItemRun(self.session, spec, nodeid)
        run.decide(outcome, reason, "run")
        return run.record()


ledger_key = pytest.StashKey[Ledger]()
