"""pytest-html: columns for model results, links to logs, environment table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_madengine.controller import Controller
    from pytest_madengine.results.record import RunRecord
    from pytest_madengine.session import MadSession

_COLUMNS = ("Performance", "Metric", "GPUs", "Reason", "Log")


class HtmlColumns:
    """Hooks of pytest-html, in the controlling process."""

    def __init__(self, session: MadSession, controller: Controller) -> None:
        self.session = session
        self.controller = controller

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Adds the session's facts to the environment table (pytest-metadata)."""
        from pytest_metadata.plugin import metadata_key

        from pytest_madengine.junit import suite_properties

        table = session.config.stash.get(metadata_key, None)
        if table is not None:
            table.update(dict(suite_properties(self.session)))

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        """Title of the page."""
        report.title = f"MAD models, session {self.session.run_id}"

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Adds our columns before the links."""
        for offset, name in enumerate(_COLUMNS):
            sortable = 'class="sortable" ' if name in ("Performance", "Metric", "GPUs") else ""
            cells.insert(2 + offset, f'<th {sortable}data-column-type="{name.lower()}">{name}</th>')

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: Any, cells: list[str]) -> None:
        """Fills our columns; a test that is no model has empty cells."""
        if not cells:
            return
        records = self.controller.records.get(report.nodeid, ())
        texts = self._cells(records[0]) if records else [""] * len(_COLUMNS)
        for offset, (name, text) in enumerate(zip(_COLUMNS, texts, strict=True)):
            cells.insert(2 + offset, f'<td class="col-{name.lower()}">{text}</td>')

    def _cells(self, record: RunRecord) -> list[str]:
        metrics = record.metrics
        return [
            "<br>".join(escape(metric.value) for metric in metrics),
            "<br>".join(escape(" ".join(filter(None, (metric.row, metric.name)))) for metric in metrics),
            escape(record.columns.get("n_gpus", "")),
            escape(record.reason),
            self._link(record),
        ]

    def _link(self, record: RunRecord) -> str:
        if not record.log_file:
            return ""
        path = self.session.directory / record.log_file
        name = escape(path.name)
        return f'<a href="{escape(path.absolute().as_uri())}" title="{name}">log</a>'
