"""What CI systems read of a session: GitHub's summary and annotations, OpenMetrics, benchmark JSON."""

from __future__ import annotations

import contextlib
import os
import secrets as random_source
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_madengine.results.record import Outcome, RunRecord
from pytest_madengine.util.files import append_line, write_atomic

if TYPE_CHECKING:
    from pytest_madengine.reports.ci.github import Place
    from pytest_madengine.session.session import MadSession


@contextlib.contextmanager
def commands_off(environ: Mapping[str, str], write: Callable[[str], None]) -> Iterator[None]:
    """What is printed meanwhile holds no command for GitHub's runner, whatever a model put in it.

    :param write: prints one line; the same stream as that of the untrusted text.
    """
    if environ.get("GITHUB_ACTIONS") != "true":
        yield
        return
    token = _new_token()
    write(f"::stop-commands::{token}")
    try:
        yield
    finally:
        write(f"::{token}::")


class CiOutputs:
    """Hooks of the controlling process.  An output that cannot be written disturbs no other sink.

    :param on_error: told what failed, and at what.
    """

    def __init__(self, session: MadSession, on_error: Callable[[Exception, str], None]) -> None:
        self.session = session
        self._on_error = on_error
        settings = session.settings
        self._on_github = settings.github_summary and settings.environ.get("GITHUB_ACTIONS") == "true"
        summary = settings.environ.get("GITHUB_STEP_SUMMARY") if settings.github_summary else ""
        self._summary = Path(summary) if summary else None
        #: Lines for the end of the terminal output.
        self.notes: list[str] = []
        self._annotations: list[str] = []
        self._token = ""

    # ---- workflow commands --------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Tells GitHub's runner to take nothing for a command until the session is over.

        Models print what they like, and pytest shows the ends of their logs: ``::set-output ...`` there must
        do nothing.  Not even ``##[...]`` in the middle of a line.
        """
        if self._on_github and not session.config.option.collectonly:
            self._token = _new_token()
            _write_lines(session.config, [f"::stop-commands::{self._token}"])

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Outermost: nothing of a model is printed after it."""
        try:
            yield
        finally:
            if self._token:
                _write_lines(session.config, [f"::{self._token}::", *self._annotations])

    # ---- files --------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_mad_finish(self, config: pytest.Config, records: Sequence[RunRecord]) -> None:
        """Writes every output that was asked for."""
        settings = self.session.settings
        ordered = self._ordered(records)
        if self._on_github:
            self._try(config, "annotations", lambda: self._annotate(ordered))
        if self._summary is not None:
            self._try(config, "GITHUB_STEP_SUMMARY", lambda: self._append_summary(ordered))
        if settings.openmetrics is not None:
            self._try(config, "--mad-openmetrics", lambda: self._write_openmetrics(ordered))
        if settings.benchmark_json is not None:
            self._try(config, "--mad-benchmark-json", lambda: self._write_benchmarks(ordered))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Says where the files are."""
        for note in self.notes:
            terminalreporter.write_line(note)

    def _try(self, config: pytest.Config, what: str, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001 - recorded: shown at the end, and the session fails
            self._on_error(error, what)

    def _append_summary(self, records: Sequence[RunRecord]) -> None:
        from pytest_madengine.reports.ci.github import SUMMARY_LIMIT, step_summary

        assert self._summary is not None
        there = self._summary.stat().st_size if self._summary.exists() else 0
        text = step_summary(records, self._facts(), SUMMARY_LIMIT - there)
        if text:
            append_line(self._summary, text)
        else:
            self.notes.append("the step summary of GitHub is full: nothing was added to it")

    def _annotate(self, records: Sequence[RunRecord]) -> None:
        from pytest_madengine.reports.ci.github import workflow_commands

        self._annotations = workflow_commands(records, self._places(records))

    def _write_openmetrics(self, records: Sequence[RunRecord]) -> None:
        from pytest_madengine.reports.ci.openmetrics import openmetrics

        path = self.session.settings.openmetrics
        assert path is not None
        write_atomic(path, openmetrics(records))
        self.notes.append(f"OpenMetrics: {path}")

    def _write_benchmarks(self, records: Sequence[RunRecord]) -> None:
        from pytest_madengine.reports.ci.benchjson import write_benchmarks

        path = self.session.settings.benchmark_json
        assert path is not None
        written = write_benchmarks(path, records)
        self.notes.append(f"benchmark JSON: {', '.join(map(str, written))}")

    # ---- what they say ------------------------------------------------------------------------------

    def _ordered(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """The records in the order of the selection: workers finish in any."""
        names = [spec.name for specs in self.session.items_by_file.values() for spec in specs]
        place = {name: number for number, name in enumerate(names)}
        return sorted(records, key=lambda record: place.get(record.item_id, len(place)))

    def _facts(self) -> list[str]:
        session = self.session
        facts = session.host_facts
        gpus = f"{facts.gpu_count} x {facts.gpu_architecture or session.context.gpu_vendor}"
        texts = [
            f"session {session.run_id}",
            facts.hostname,
            gpus if facts.gpu_count else "no GPU",
            "simulated" if facts.simulated and facts.gpu_count else "",
        ]
        return [session.redactor.text(text) for text in texts if text]

    def _places(self, records: Sequence[RunRecord]) -> dict[str, Place]:
        """Where the items that are annotated are defined."""
        wanted = {r.item_id for r in records if r.outcome is Outcome.FAILURE or r.warnings or r.gate}
        lines: dict[str, list[int]] = {}
        found: dict[str, Place] = {}
        for source, specs in self.session.items_by_file.items():
            for spec in specs:
                if spec.name in wanted:
                    if source not in lines:
                        lines[source] = self._lines(source)
                    found[spec.name] = self._place(source, lines[source], spec.selected.model.index)
        return found

    def _lines(self, source: str) -> list[int]:
        from pytest_madengine.reports.ci.github import entry_lines

        path = self.session.settings.root / source
        if path.name != "models.json":
            return []
        try:
            return entry_lines(path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError):
            return []  # It was read before; a place without a line is still a place.

    def _place(self, source: str, lines: Sequence[int], index: int) -> Place:
        from pytest_madengine.reports.ci.github import Place

        path = self.session.settings.root / source
        workspace = self.session.settings.environ.get("GITHUB_WORKSPACE") or str(Path.cwd())
        name = os.path.relpath(path, workspace)
        return Place(str(path) if name.startswith("..") else name, lines[index] if index < len(lines) else 1)


def _new_token() -> str:
    """A name for the command that ends a stop, which no model can know."""
    return f"mad-{random_source.token_hex(16)}"


def _write_lines(config: pytest.Config, lines: Sequence[str]) -> None:
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        for line in lines:
            reporter.write_line(line)
