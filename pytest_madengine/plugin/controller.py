"""The controlling process: collects records, feeds the sinks, accounts for every selected item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_madengine.errors import MadError
from pytest_madengine.plugin.compat import add_suite_property
from pytest_madengine.plugin.interrupts import interrupt_workers
from pytest_madengine.plugin.junit import suite_properties
from pytest_madengine.plugin.ledger import Ledger
from pytest_madengine.plugin.verdicts import exit_status
from pytest_madengine.plugin.wire import records_on
from pytest_madengine.results.record import Outcome
from pytest_madengine.util.ends import held

if TYPE_CHECKING:
    from pytest_madengine.pipeline.ahead import BuildsAhead
    from pytest_madengine.session.session import MadSession


class Controller:
    """Hooks of the process that writes results.  One record per item, whatever happens to workers."""

    def __init__(self, config: pytest.Config, session: MadSession, ledger: Ledger) -> None:
        self.config = config
        self.session = session
        self.ledger = ledger
        self.stop_reason = ""
        self.ahead: BuildsAhead | None = None

    # ---- start --------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Describes the session in the JUnit file."""
        if self.session.selected and not self.session.plan_only:
            for name, value in suite_properties(self.session):
                add_suite_property(self.config, name, value)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Gives an xdist worker this session's run id, facts and selection."""
        from pytest_madengine.session.worker import to_worker

        node.workerinput["mad"] = to_worker(self.session)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Notes the items that must end with a record (after ``-k``, ``-m``, ``--lf``)."""
        from pytest_madengine.plugin.items import MadItem

        models = [(item.nodeid, item.spec) for item in session.items if isinstance(item, MadItem)]
        self.ledger.ids.collected(models)
        self._expect([nodeid for nodeid, _ in models])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """The same under xdist, where only workers collect."""
        self._expect(list(ids))

    def _build_ahead(self) -> None:
        """Starts builds for the items that are left after selection, once."""
        session = self.session
        if self.ahead is not None or session.plan_only or not self.ledger.expected:
            return
        from pytest_madengine.pipeline.ahead import BuildsAhead

        if "executor" not in vars(session):  # an executor of a conftest needs no engine
            self.ledger.reaped = session.reap()
        specs = list(filter(None, map(self.ledger.ids.spec, self.ledger.expected)))
        self.ahead = BuildsAhead(session, specs, {})
        if session.settings.build_jobs and len(specs) > 1:
            self.ahead.start()

    def _expect(self, nodeids: list[str]) -> None:
        for nodeid in nodeids:
            if nodeid not in self.ledger.records and self.ledger.ids.spec(nodeid) is not None:
                self.ledger.expected[nodeid] = None
        if self.ledger.expected and not self.session.plan_only:
            # Now something will be written; workers run nothing before this.
            try:
                self.session.make_directory()
            except MadError as error:
                raise pytest.UsageError(f"{error.message}\n{error.hint}") from None
        self._build_ahead()

    # ---- results ------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes the record off the teardown report; a worker that died left only the journal."""
        if report.when == "teardown":
            records = records_on(report)
            if records:
                self.ledger.accept(report.nodeid, records)
        elif report.when not in ("setup", "call") and report.nodeid in self.ledger.expected:
            self.ledger.accept(
                report.nodeid, [self.ledger.lost(report.nodeid, f"worker crashed: {report.longrepr}")]
            )

    # ---- end ----------------------------------------------------------------------------------------

    @pytest.hookimpl
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C, SIGTERM, SIGHUP or ``pytest.exit``."""
        self.stop_reason = "the session was interrupted"
        if not excinfo.errisinstance(pytest.exit.Exception):
            interrupt_workers(self.ledger.journal.entries())
            if self.ahead is not None:
                self.ahead.interrupt()  # while the workers end

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
                self.ledger.note_sink_error(error, "building ahead")
        self._account_rest(session)
        self.ledger.finish()
        session.exitstatus = exit_status(
            session.exitstatus,
            self.ledger.of_items(),
            sink_failed=bool(self.ledger.sink_errors),
            skipped_is_fine=self.session.settings.allow_no_hardware,
        )

    def _account_rest(self, session: pytest.Session) -> None:
        """Gives every selected item without a record one that says why.  The journal is read once."""
        if not self.ledger.expected:
            return
        started = self.ledger.journal.started()
        kept = self.ledger.journal.finished()
        why = self.stop_reason or str(session.shouldstop or session.shouldfail or "the session ended early")
        rest = {}
        for nodeid in self.ledger.expected:
            if nodeid in started:
                rest[nodeid] = self.ledger.lost(nodeid, "interrupted", kept=kept)
            else:
                rest[nodeid] = self.ledger.lost(nodeid, f"not run: {why}", Outcome.SKIPPED, kept)
        self.ledger.accept_rest(rest)
