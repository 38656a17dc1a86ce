"""pytest-html: columns for model results, links to logs, environment table."""

from __future__ import annotations

import os
import struct
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from pytest_madengine.plugin.ledger import Ledger
    from pytest_madengine.results.record import RunRecord
    from pytest_madengine.session.session import MadSession

_COLUMNS = ("Performance", "Metric", "GPUs", "Reason", "Log")


class HtmlColumns:
    """Hooks of pytest-html, in the controlling process."""

    def __init__(self, session: MadSession, ledger: Ledger) -> None:
        self.session = session
        self.ledger = ledger

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Adds the session's facts to the environment table (pytest-metadata)."""
        from pytest_metadata.plugin import metadata_key

        from pytest_madengine.plugin.junit import suite_properties

        table = session.config.stash.get(metadata_key, None)
        if table is not None:
            table.update({name: value for name, value in suite_properties(self.session) if value})

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
        records = self.ledger.records.get(report.nodeid, ())
        texts = self._cells(records[0]) if records else [""] * len(_COLUMNS)
        for offset, (name, text) in enumerate(zip(_COLUMNS, texts, strict=True)):
            cells.insert(2 + offset, f'<td class="col-{name.lower()}">{text}</td>')

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_html(self, report: Any, data: list[str]) -> None:
        """Shows why a model was skipped in place of the tuple that pytest keeps for it."""
        records = self.ledger.records.get(report.nodeid, ())
        if records and report.skipped:
            data[:] = [escape(records[0].reason)]

    def _cells(self, record: RunRecord) -> list[str]:
        metrics = record.metrics
        gpus = record.columns.get("n_gpus", "")
        return [
            _sortable([metric.value for metric in metrics]),
            "<br>".join(escape(" ".join(filter(None, (metric.row, metric.name)))) for metric in metrics),
            _sortable([gpus] if gpus else []),
            escape(record.reason),
            self._link(record),
        ]

    def _link(self, record: RunRecord) -> str:
        """Relative to the page: both are archived together, and the page is often read elsewhere."""
        if not record.log_file:
            return ""
        path = (self.session.directory / record.log_file).absolute()
        page = Path(os.path.expandvars(self.ledger.config.option.htmlpath)).expanduser().absolute()
        href = quote(os.path.relpath(path, page.parent))
        return f'<a href="{escape(href)}" title="{escape(path.name)}">log</a>'


def _sortable(values: list[str]) -> str:
    """A cell that pytest-html's script, which compares the source of cells as text, sorts by its first
    number."""
    from pytest_madengine.results.readings import number

    text = "<br>".join(escape(value) for value in values)
    value = number(values[0]) if values else None
    if value is None:
        return text
    # The bits of a float in the order of the numbers: negative ones reversed and below all others.
    (bits,) = struct.unpack(">Q", struct.pack(">d", value))
    bits = bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63)
    return f'<span data-order="{bits:016x}">{text}</span>'
