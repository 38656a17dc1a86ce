"""Records on test reports: how they reach the controlling process."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_madengine.results.record import RunRecord


def attach(report: pytest.TestReport, records: list[RunRecord]) -> None:
    """Puts records on a report in a form that xdist carries to the controlling process."""
    report.mad_records = [record.to_dict() for record in records]  # type: ignore[attr-defined]


def records_on(report: Any) -> list[RunRecord]:
    """The records a report carries."""
    return [RunRecord.from_dict(entry) for entry in getattr(report, "mad_records", ())]
