"""What the controlling process knows of its items: records, who still owes one, sinks that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from pytest_madengine.plugin.itemids import item_ids
from pytest_madengine.plugin.sinkcalls import call_each, described
from pytest_madengine.results.cleaning import clean_record
from pytest_madengine.results.journal import Journal
from pytest_madengine.results.record import Outcome, RunRecord
from pytest_madengine.session.session import MadSession
from pytest_madengine.util.clock import utc_now
from pytest_madengine.util.ends import held

#: Sinks that take many records at once (``write_all``).
BULK_SINKS: Final = ("madengine-files", "madengine-database")


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

    def of_items(self) -> list[RunRecord]:
        """Records of model items; those of ``mad_run`` belong to the test that asked for them."""
        items = (records for nodeid, records in self.records.items() if self.ids.spec(nodeid) is not None)
        return [record for records in items for record in records]

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

    def accept_rest(self, rest: Mapping[str, RunRecord]) -> None:
        """Takes the records of all items that have none, in one go: there may be thousands.

        What is costly for one record costs the built-in sinks as much for all of them.
        """
        with held():
            for nodeid, record in rest.items():
                self.records[nodeid] = [record]
                self.expected.pop(nodeid, None)
            manager = self.config.pluginmanager
            bulk = [sink for sink in map(manager.getplugin, BULK_SINKS) if sink is not None]
            records = list(rest.values())
            for sink in bulk:
                try:
                    sink.write_all(records)
                except Exception as error:  # noqa: BLE001 - as that of any sink: recorded as an error
                    self.note_sink_error(error, f"records of {len(records)} items")
            for record in records:
                self._emit(record, bulk)

    def finish(self) -> None:
        """Tells the sinks that no more records come."""
        everything = [record for records in self.records.values() for record in records]
        if everything:
            call_each(
                self.config,
                "pytest_mad_finish",
                lambda error, sink: self.note_sink_error(error, "end of the session", sink),
                config=self.config,
                records=everything,
            )

    def _emit(self, record: RunRecord, without: Sequence[object] = ()) -> None:
        def note(error: BaseException, sink: str) -> None:
            self.note_sink_error(error, f"record of {record.item_id}", sink)

        call_each(self.config, "pytest_mad_result", note, without, config=self.config, record=record)

    def note_sink_error(self, error: BaseException, what: str, sink: str = "") -> None:
        """A sink failed: shown at the end, and the session is not a success."""
        text = self.session.redactor.text(described(error))
        place = f" (in {sink})" if sink and not sink.startswith("madengine-") else ""
        self.sink_errors.append(f"{what}: {text}{place}")

    def lost(
        self,
        nodeid: str,
        reason: str,
        outcome: Outcome = Outcome.FAILURE,
        kept: Mapping[str, RunRecord] | None = None,
    ) -> RunRecord:
        """A record for an item whose process could not make one.

        :param kept: what the journal has, when it has been read already.
        """
        found = (self.journal.finished() if kept is None else kept).get(nodeid)
        if found is not None:
            return found
        from pytest_madengine.pipeline.run import ItemRun

        spec = self.ids.spec(nodeid)
        if spec is None:
            record = RunRecord(self.session.run_id, nodeid, nodeid, outcome, reason, started=utc_now())
            return clean_record(record, self.session.redactor)
        run = ItemRun(self.session, spec, nodeid)
        run.decide(outcome, reason, "run")
        return run.record()


ledger_key = pytest.StashKey[Ledger]()
