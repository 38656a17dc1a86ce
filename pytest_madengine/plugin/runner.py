"""Running items: from pytest's phases to one record per item, in the process that runs them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import pytest

from pytest_madengine.catalog.files import MODEL_FILES
from pytest_madengine.plugin.itemids import item_ids
from pytest_madengine.plugin.items import MadFile, MadItem
from pytest_madengine.plugin.keys import run_key
from pytest_madengine.plugin.messages import clean_report
from pytest_madengine.plugin.wire import attach
from pytest_madengine.results.cleaning import Gate
from pytest_madengine.results.record import Outcome, RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_madengine.pipeline.run import ItemRun
    from pytest_madengine.results.journal import Journal
    from pytest_madengine.session.items import ItemSpec
    from pytest_madengine.session.session import MadSession

#: Records of plain tests that used ``mad_run``.
records_key = pytest.StashKey[list[RunRecord]]()


class RunningPlugin:
    """Hooks of the process that collects and runs items (a worker, or the only process)."""

    def __init__(self, config: pytest.Config, session: MadSession) -> None:
        from pytest_madengine.results.journal import Journal

        self.config = config
        self.session = session
        self.journal: Journal = Journal(session.directory / "journal.jsonl")
        self.worker = getattr(config, "workerinput", {}).get("workerid", "")
        #: The item between setup and its teardown report.
        self.current: tuple[MadItem, ItemRun] | None = None

    # ---- collection ---------------------------------------------------------------------------------

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """``models.json`` of the MAD root and of its ``scripts`` directories, or a build manifest."""
        if file_path.name not in self.session.model_files or not self._has_items(file_path):
            return None
        if file_path.suffix == ".py" and self._is_test_module(file_path, parent):
            return None  # pytest asks pytest_pycollect_makemodule
        return self._file(file_path, parent)

    def _is_test_module(self, path: Path, parent: pytest.Collector) -> bool:
        patterns = self.config.getini("python_files")
        return parent.session.isinitpath(path) or any(map(path.match, patterns))

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(
        self, module_path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        """``get_models_json.py``: in place of the module that pytest would import."""
        if module_path.name not in MODEL_FILES or not self._has_items(module_path):
            return None
        return self._file(module_path, parent)

    def _file(self, path: Path, parent: pytest.Collector) -> MadFile:
        nodeid = item_ids(self.config).of_source(self.session.source_of(path))
        return MadFile.from_parent(parent, path=path, nodeid=nodeid)

    def _has_items(self, path: Path) -> bool:
        return self.session.source_of(path) in self.session.items_by_file

    # ---- one item -----------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Gives a model item its state before any fixture asks for it."""
        if isinstance(item, MadItem):
            run = self.make_run(item.spec, item.nodeid)
            item.stash[run_key] = run
            self.current = (item, run)
            if not self.session.plan_only:
                self.begin(item.nodeid, item.spec)
        return (yield)

    def begin(self, nodeid: str, spec: ItemSpec) -> None:
        """Notes in the journal that an item starts in this process."""
        self.journal.start(
            nodeid,
            item=spec.name,
            model=spec.selected.model.name,
            directory=spec.directory,
            worker=self.worker,
        )

    def make_run(self, spec: ItemSpec, item_id: str) -> ItemRun:
        """The state of an item, wired to the user's hooks."""
        from pytest_madengine.pipeline.run import ItemRun

        hooks = self.config.hook
        return ItemRun(
            self.session,
            spec,
            item_id,
            change_plan=lambda plan: hooks.pytest_mad_plan(config=self.config, plan=plan),
            parse_metrics=lambda plan, log: hooks.pytest_mad_parse_metrics(
                config=self.config, plan=plan, log=log
            ),
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keeps what happened; the teardown report carries the record."""
        report = yield
        if isinstance(item, MadItem) and item.stash[run_key].in_subtest:
            if call.excinfo is not None and isinstance(call.excinfo.value, pytest.fail.Exception):
                # Only the message: there are no frames of the user to show.
                report.longrepr = str(call.excinfo.value)
        elif isinstance(item, MadItem):
            self._observe(item.stash[run_key], call, report)
            self._agree(item.stash[run_key], report)
            if call.when == "teardown":
                self._finish(item, report)
        elif call.when == "teardown" and records_key in item.stash:
            attach(report, item.stash[records_key])
        clean_report(report, self.session.redactor, of_model=isinstance(item, MadItem))
        return report

    def _observe(self, run: ItemRun, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        from pytest_madengine.errors import GateError, MadError

        error = call.excinfo.value if call.excinfo is not None else None
        known = run.gate.expected and isinstance(error, pytest.xfail.Exception)
        if run.verdict is not None and call.when == "call" and (known or isinstance(error, GateError)):
            # About the performance of a run that is what its verdict says.
            run.decide(run.verdict.outcome, run.verdict.reason, run.verdict.phase)
            if isinstance(error, GateError):
                report.longrepr = "\n".join(run.gate.failures)
        elif error is None:
            # A failed subtest fails the test without an exception of its own.
            if call.when == "call" and report.failed:
                run.decide(Outcome.FAILURE, str(report.longrepr))
            elif call.when == "call" and run.verdict is not None and run.decided is None:
                run.decide(run.verdict.outcome, run.verdict.reason, run.verdict.phase)
        elif isinstance(error, pytest.skip.Exception) and call.when != "teardown":
            reason = Gate(self.session.redactor).message(str(error.msg))
            run.decide(Outcome.SKIPPED, reason)
            # The summary names the place of a skip: that is the model's file, not a line of this package.
            report.longrepr = (report.location[0], 1, f"Skipped: {reason}")
        else:
            if call.when == "teardown":
                self._observe_teardown(run, error)
            else:
                run.fail(error)
            if isinstance(error, MadError):
                report.longrepr = "\n".join(run.failure_lines(error))

    def _observe_teardown(self, run: ItemRun, error: BaseException) -> None:
        """An error after the run fails the item: the record says what the run itself came to as well."""
        before, reason = run.decided, run.reason_of(error)
        if before is None:
            run.decide(Outcome.FAILURE, reason, "teardown")
        elif before[0] is Outcome.FAILURE:
            run.warnings.append(f"the teardown failed as well: {reason}")
        else:
            after = ": ".join(filter(None, (str(before[0]), before[1])))
            run.decide(Outcome.FAILURE, f"{reason} (the run before: {after})", "teardown")

    def _agree(self, run: ItemRun, report: pytest.TestReport) -> None:
        """What pytest makes of a phase because of an ``xfail`` mark is what the record says, with the why."""
        why = getattr(report, "wasxfail", None)
        expected = "expected to fail (xfail" + (f": {why})" if why else ")")
        if why is not None and report.skipped and run.decided and run.decided[0] is Outcome.FAILURE:
            run.decided = (Outcome.SKIPPED, f"{expected}, and did: {run.decided[1]}", run.decided[2])
        elif why is not None and report.passed:
            run.warnings.append(f"{expected}, but passed")
        elif report.when == "call" and run.gate.failures:
            return  # the test fails for its performance; the run is what its verdict says
        elif report.failed and run.decided is not None and run.decided[0] is not Outcome.FAILURE:
            run.decide(Outcome.FAILURE, str(report.longrepr))  # strict xfail, or a hook of somebody else

    def _finish(self, item: MadItem, report: pytest.TestReport) -> None:
        run = item.stash[run_key]
        self.current = None
        if self.session.plan_only:
            return
        record = self.keep(run, item.nodeid)
        attach(report, [record])
        from pytest_madengine.plugin.junit import case_properties

        if self.config.getini("mad_junit_properties"):
            report.user_properties.extend(case_properties(record, str(run.artifacts)))

    def keep(self, run: ItemRun, nodeid: str) -> RunRecord:
        """Makes the record and saves it beside the artifacts and in the journal."""
        from pytest_madengine.results.journal import save_record

        record = self._record_of(run)
        try:
            save_record(run.artifacts / "record.json", record)
            self.journal.finish(nodeid, record)
        except OSError as error:
            # The record still travels on the report; the controlling process says what was not written.
            run.warnings.append(f"record not saved: {error.strerror}")
            record = self._record_of(run)
        return record

    def _record_of(self, run: ItemRun) -> RunRecord:
        """The record; one that says why when values of a user's fixture or hook fit none."""
        try:
            record = run.record()
            return RunRecord.from_dict(record.to_dict())
        except Exception as error:  # noqa: BLE001 - recorded: the item fails with it, the others run
            gate = Gate(self.session.redactor)
            why = f"{type(error).__name__}: {error}"
            return RunRecord(
                self.session.run_id,
                run.spec.name,
                run.model_name,
                Outcome.FAILURE,
                gate.message(f"what fixtures or hooks gave fits no record: {why}"),
                run.phase,
                started=run.started,
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Records the item that an interrupt cut short; a worker without one gives its services back."""
        if self.current is None and self.worker:
            # Not left to the end of the configuration: xdist interrupts a worker that needs more than five
            # seconds to end, which plugins that come after us may well need on a busy host.
            try:
                self.session.close()
            except OSError as error:  # the results are safe: never a reason to lose the worker's last words
                sys.stderr.write(f"pytest-madengine: {error}\n")
        if self.current is None or self.session.plan_only:
            return
        item, run = self.current
        self.current = None
        run.decide(Outcome.FAILURE, "interrupted")
        record = self.keep(run, item.nodeid)
        from pytest_madengine.plugin.ledger import ledger_key

        ledger = self.config.stash.get(ledger_key, None)
        if ledger is not None:
            ledger.accept(item.nodeid, [record])


def run_selector(
    request: pytest.FixtureRequest,
    session: MadSession,
    selector: str,
    use: Callable[[ItemRun], None],
) -> RunRecord:
    """Runs what one selector picks, inside a plain test (fixture ``mad_run``).

    :raises SelectorError: the selector picks nothing, or more than one item.
    """
    from dataclasses import replace

    from pytest_madengine.catalog.service import select_models
    from pytest_madengine.errors import SelectorError
    from pytest_madengine.util.names import safe_name

    settings = session.settings
    chosen = select_models(
        settings.root, [selector], no_dynamic=settings.no_dynamic, environ=settings.environ
    )
    specs = session.specs_of(chosen.items)
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise SelectorError(f"mad_run({selector!r}) picks {len(specs)} items: {names}")
    plugin: RunningPlugin = request.config.pluginmanager.getplugin("madengine-running")
    records = request.node.stash.setdefault(records_key, [])
    directory = f"{safe_name(request.node.nodeid)}.{len(records) + 1}"
    spec = replace(specs[0], directory=directory)
    run = plugin.make_run(spec, f"{request.node.nodeid}::{spec.name}")
    use(run)
    record = _drive(plugin, run)
    records.append(record)
    return record


def _drive(plugin: RunningPlugin, run: ItemRun) -> RunRecord:
    """The steps that the fixtures of a model item perform, for ``mad_run``."""
    from pytest_madengine.errors import MadError
    from pytest_madengine.pipeline.begin import check_credential, skip_reason

    run.session.make_directory()
    plugin.begin(run.item_id, run.spec)
    held = None
    try:
        reason = skip_reason(run)
        if reason:
            run.decide(Outcome.SKIPPED, reason)
        else:
            check_credential(run)
            run.prepare_image()
            run.push_image()
            run.prepare_data()
            run.artifacts.mkdir(parents=True, exist_ok=True)
            held = run.acquire_gpus()
            verdict = run.execute()
            run.decide(verdict.outcome, verdict.reason, verdict.phase)
    except MadError as error:
        run.fail(error)
    except KeyboardInterrupt:
        run.decide(Outcome.FAILURE, "interrupted")
        raise
    finally:
        run.release_gpus(held)
        run.release_data()
        record = plugin.keep(run, run.item_id)
    return record
