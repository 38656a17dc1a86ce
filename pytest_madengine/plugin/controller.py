"""The controlling process: collects records, feeds the sinks, accounts for every selected item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_madengine.plugin.compat import add_suite_property
from pytest_madengine.plugin.interrupts import interrupt_workers
from pytest_madengine.plugin.itemids import item_ids
from pytest_madengine.plugin.junit import suite_properties
from pytest_madengine.plugin.runner import records_on
from pytest_madengine.results.cleaning import clean_record
from pytest_madengine.results.record import Outcome, RunRecord
from pytest_madengine.util.ends import held
from pytest_madengine.util.files import utc_now
from pytest_madengine.util.text import one_line

if TYPE_CHECKING:
    from pytest_madengine.pipeline.ahead import BuildsAhead
    from pytest_madengine.pipeline.record import Journal
    from pytest_madengine.session.session import MadSession

controller_key = pytest.StashKey["Controller"]()


class Controller:
    """Hooks of the process that writes results.  One record per item, whatever happens to workers."""

    def __init__(self, config: pytest.Config, session: MadSession) -> None:
        from pytest_madengine.pipeline.record import Journal

        self.config = config
        self.session = session
        self.journal: Journal = Journal(session.directory / "journal.jsonl")
        self.ids = item_ids(config)
        #: Records in the order in which they arrived, by node id.
        self.records: dict[str, list[RunRecord]] = {}
        #: Node ids of selected model items that have no record yet, in collection order.
        self.expected: dict[str, None] = {}
        self.running: dict[str, float] = {}
        self.sink_errors: list[str] = []
        self.stop_reason = ""
        self.ahead: BuildsAhead | None = None
        #: Lines about containers of dead sessions.
        self.reaped: list[str] = []

    @classmethod
    def register(cls, config: pytest.Config, session: MadSession) -> None:
        """Registers the controller, the sinks and the views."""
        from pytest_madengine.plugin.html import HtmlColumns
        from pytest_madengine.plugin.terminal import TerminalView
        from pytest_madengine.sinks.files import DatabaseSink, FileSinks
        from pytest_madengine.sinks.summaries import Summaries

        controller = cls(config, session)
        config.stash[controller_key] = controller
        manager = config.pluginmanager
        manager.register(controller, "madengine-controller")
        manager.register(TerminalView(config, session, controller), "madengine-terminal")
        if session.plan_only:
            return
        manager.register(FileSinks(session), "madengine-files")
        if session.settings.db:
            manager.register(DatabaseSink(session), "madengine-database")
        manager.register(Summaries(session), "madengine-summaries")
        if session.settings.report is not None:
            from pytest_madengine.reports.pages.site import SiteSink

            manager.register(SiteSink(session, session.settings.report), "madengine-report")
        if _wants_ci_outputs(session):
            from pytest_madengine.sinks.ci import CiOutputs

            manager.register(CiOutputs(session), "madengine-ci")
        if manager.hasplugin("html"):
            manager.register(HtmlColumns(session, controller), "madengine-html")

    # ---- start --------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Makes the session directory before any worker starts."""
        if self.session.selected and not self.session.plan_only:
            self.session.make_directory()
            for name, value in suite_properties(self.session):
                add_suite_property(self.config, name, value)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Gives an xdist worker this session's run id, facts and selection."""
        node.workerinput["mad"] = self.session.to_worker()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Notes the items that must end with a record (after ``-k``, ``-m``, ``--lf``)."""
        from pytest_madengine.plugin.items import MadItem

        models = [(item.nodeid, item.spec) for item in session.items if isinstance(item, MadItem)]
        self.ids.collected(models)
        self._expect([nodeid for nodeid, _ in models])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """The same under xdist, where only workers collect."""
        self._expect(list(ids))

    def _build_ahead(self) -> None:
        """Starts builds for the items that are left after selection, once."""
        session = self.session
        if self.ahead is not None or session.plan_only or self.config.option.collectonly or not self.expected:
            return
        from pytest_madengine.pipeline.ahead import BuildsAhead

        if "executor" not in vars(session):  # an executor of a conftest needs no engine
            self.reaped = session.reap()
        specs = list(filter(None, map(self.ids.spec, self.expected)))
        self.ahead = BuildsAhead(session, specs, {})
        if session.settings.build_jobs and len(specs) > 1:
            self.ahead.start()

    def _expect(self, nodeids: list[str]) -> None:
        for nodeid in nodeids:
            if nodeid not in self.records and self.ids.spec(nodeid) is not None:
                self.expected[nodeid] = None
        self._build_ahead()

    # ---- results ------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes the record off the teardown report; a worker that died left only the journal."""
        if report.when == "teardown":
            records = records_on(report)
            if records:
                self.accept(report.nodeid, records)
        elif report.when not in ("setup", "call") and report.nodeid in self.expected:
            self.accept(report.nodeid, [self._lost(report.nodeid, f"worker crashed: {report.longrepr}")])

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

    def _lost(self, nodeid: str, reason: str, outcome: Outcome = Outcome.FAILURE) -> RunRecord:
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

    # ---- end ----------------------------------------------------------------------------------------

    @pytest.hookimpl
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C, SIGTERM, SIGHUP or ``pytest.exit``."""
        self.stop_reason = "the session was interrupted"
        if not excinfo.errisinstance(pytest.exit.Exception):
            interrupt_workers(self.journal.entries())

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Accounts for items without a record, then lets the sinks finish."""
        if not self.session.plan_only:
            # However often somebody asks for the end: every selected model gets its row first.
            with held(patience=3):
                self._account(session)

    def _account(self, session: pytest.Session) -> None:
        if self.ahead is not None:
            self.ahead.stop()
            for error in self.ahead.errors:
                self.note_sink_error(error, "building ahead")
        started = {entry.get("nodeid") for entry in self.journal.entries() if entry.get("event") == "start"}
        why = self.stop_reason or str(session.shouldstop or session.shouldfail or "the session ended early")
        for nodeid in list(self.expected):
            if session.config.option.collectonly:
                break
            if nodeid in started:
                self.accept(nodeid, [self._lost(nodeid, "interrupted")])
            else:
                self.accept(nodeid, [self._lost(nodeid, f"not run: {why}", Outcome.SKIPPED)])
        everything = [record for records in self.records.values() for record in records]
        if everything:
            try:
                self.config.hook.pytest_mad_finish(config=self.config, records=everything)
            except Exception as error:  # noqa: BLE001 - as above
                self.note_sink_error(error, "end of the session")
        if self.sink_errors and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _wants_ci_outputs(session: MadSession) -> bool:
    settings = session.settings
    on_github = settings.github_summary and settings.environ.get("GITHUB_ACTIONS") == "true"
    summary = settings.github_summary and settings.environ.get("GITHUB_STEP_SUMMARY")
    return bool(on_github or summary or settings.openmetrics or settings.benchmark_json)
