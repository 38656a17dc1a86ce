"""What the terminal shows: header, warnings, the table at the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from pytest_madengine.plugin import options
from pytest_madengine.plugin.progress import Progress
from pytest_madengine.results.record import Outcome, RunRecord

if TYPE_CHECKING:
    from pytest_madengine.plugin.ledger import Ledger
    from pytest_madengine.session.session import MadSession

_STYLE = {Outcome.SUCCESS: "green", Outcome.FAILURE: "red", Outcome.SKIPPED: "yellow"}
#: The plugin of ``cli.recorder``: a command line shows tables of its own.
COMMAND_LINE = "madengine-cli"
#: Rows of the table above which successful models are only counted.
MANY = 200
#: Sentences about performance, and the verdicts that get one, the worst first.
SENTENCES = 20
_VERDICTS = ("regression", "inconclusive", "improved")
_VERDICT_STYLE: tuple[dict[str, bool], ...] = ({"red": True}, {"yellow": True}, {"green": True})
#: Distinct warnings shown at the end.
WARNINGS = 20


class TerminalView:
    """Hooks of the terminal, in the controlling process."""

    def __init__(self, config: pytest.Config, session: MadSession, ledger: Ledger) -> None:
        self.config = config
        self.session = session
        self.ledger = ledger
        heartbeat = options.seconds(config, "heartbeat", session.settings.environ)
        self.progress = Progress(session, ledger, None, heartbeat)
        self._started = False

    def pytest_report_header(self) -> list[str]:
        """One line about the repository and the host."""
        session = self.session
        lines = [f"mad: {len(session.selected)} models of {session.settings.root}"]
        if session.selected:
            facts = session.host_facts
            gpus = f"{facts.gpu_count} x {facts.gpu_architecture or session.context.gpu_vendor}"
            host = gpus if facts.gpu_count else "no GPU"
            lines[0] += f", {host}{' (simulated)' if facts.simulated else ''}"
            if not session.plan_only:
                lines.append(f"mad: session {session.run_id}, results in {session.directory}")
        return lines

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Shows what looked wrong in the repository, as pytest warnings."""
        from pytest_madengine.plugin.messages import MadWarning

        for warned in dict.fromkeys(self.session.warnings):
            text = f"{warned.file}: {warned.message}" if warned.file else warned.message
            text = self.session.redactor.text(text)
            try:
                session.config.issue_config_time_warning(MadWarning(text), stacklevel=2)
            except MadWarning as warning:  # -W error
                raise pytest.UsageError(str(warning)) from None

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """An item starts (under xdist: on a worker)."""
        if nodeid in self.ledger.expected:
            if not self._started:
                self._started = True
                self.progress.start()
            self.progress.started(nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """An item ended."""
        if self._started:
            self.progress.finished(nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Stops the live line before the summary is written."""
        self.progress.stop()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Finds the terminal while nothing is captured."""
        self.progress.reporter = self.config.pluginmanager.getplugin("terminalreporter")
        self.progress.open()

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """A table of all models, then where the results are and what could not be written."""
        records = [record for records in self.ledger.records.values() for record in records]
        if records and not self.config.pluginmanager.hasplugin(COMMAND_LINE):
            terminalreporter.write_sep("=", "MAD models")
            self._table(terminalreporter, records)
            self._performance(terminalreporter, records)
            self._places(terminalreporter, records)
        self._warnings(terminalreporter, records)
        for text in self.ledger.reaped:
            terminalreporter.write_line(f"mad: {text}")
        for text in self.ledger.sink_errors:
            terminalreporter.write_line(f"ERROR results: {text}", red=True, bold=True)

    def _table(self, reporter: Any, records: list[RunRecord]) -> None:
        shown = records
        if len(records) > MANY:
            shown = [record for record in records if record.outcome is not Outcome.SUCCESS]
            count = len(records) - len(shown)
            reporter.write_line(f"{count} models succeeded; the others:")
        rows = [_cells(record) for record in shown]
        heads = ["model", "status", "performance", "change", "seconds"]
        if not any(row[3] for row in rows):
            rows, heads = [[*row[:3], row[4]] for row in rows], [*heads[:3], heads[4]]
        widths = (
            [max(len(head), *(len(row[i]) for row in rows)) for i, head in enumerate(heads)] if rows else []
        )
        if rows:
            line = "  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True))
            reporter.write_line(f"{line}  reason", bold=True)
        columns = int(reporter._tw.fullwidth)
        for record, row in zip(shown, rows, strict=True):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            cells[-1] = row[-1].rjust(widths[-1])
            reporter.write(cells[0] + "  ")
            reporter.write(cells[1], **{_STYLE[record.outcome]: True})
            text = "  " + "  ".join(cells[2:]) + "  "
            reason = " ".join(record.reason.split())
            if len(cells[0]) + 2 + len(cells[1]) + len(text) + len(reason) > columns:
                # A cut reason helps nobody: it gets a line of its own.
                text = text.rstrip() + "\n    "
            reporter.write_line((text + reason).rstrip())

    def _performance(self, reporter: Any, records: list[RunRecord]) -> None:
        """What the performance gate says: counts, and a sentence for each metric that is not as it was."""
        verdicts = [(str(record.gate["verdict"]), record) for record in records if record.gate]
        if not verdicts:
            return
        counts = Counter(word for word, _ in verdicts)
        said = sorted(
            (_VERDICTS.index(entry["verdict"]), record.item_id, entry["message"])
            for _, record in verdicts
            for entry in record.gate.get("metrics", ())
            if entry["verdict"] in _VERDICTS
        )
        reporter.write_line(
            "performance: " + ", ".join(f"{number} {word}" for word, number in counts.most_common())
        )
        for rank, item, sentence in said[:SENTENCES]:
            reporter.write_line(f"  {_VERDICTS[rank]}: {item}: {sentence}", **_VERDICT_STYLE[rank])
        if len(said) > SENTENCES:
            reporter.write_line(f"  {len(said) - SENTENCES} more are in the records")

    def _warnings(self, reporter: Any, records: list[RunRecord]) -> None:
        """What looked wrong in runs that went on: once, with the items it is about."""
        items: dict[str, list[str]] = {}
        for record in records:
            judged = {entry["message"] for entry in record.gate.get("metrics", ())}
            for text in record.warnings:
                if text in judged:
                    continue  # said among the performance
                items.setdefault(" ".join(text.split()), []).append(record.item_id)
        for text, names in list(items.items())[:WARNINGS]:
            about = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
            reporter.write_line(f"warning: {about}: {text}", yellow=True)
        if len(items) > WARNINGS:
            reporter.write_line(f"{len(items) - WARNINGS} more warnings are in the records", yellow=True)

    def _places(self, reporter: Any, records: list[RunRecord]) -> None:
        counts = dict.fromkeys(Outcome, 0)
        for record in records:
            counts[record.outcome] += 1
        total = ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number)
        settings = self.session.settings
        reporter.write_line(f"{len(records)} models: {total}")
        reporter.write_line(f"table: {settings.output}   logs and artifacts: {self.session.directory}")


def _cells(record: RunRecord) -> list[str]:
    metrics = [f"{metric.value} {metric.name}".strip() for metric in record.metrics]
    performance = ", ".join(metrics[:2]) + (f", +{len(metrics) - 2}" if len(metrics) > 2 else "")
    duration = record.durations.get("run")
    change = str(record.gate.get("change", ""))
    seconds = f"{duration:.1f}" if duration is not None else ""
    return [record.item_id, str(record.outcome), performance, change, seconds]
