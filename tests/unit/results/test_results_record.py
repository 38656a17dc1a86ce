"""The record survives its way through the test report and the journal."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_madengine.results.record import Attempt, Metric, Outcome, RunRecord


def test_record_survives_json() -> None:
    record = RunRecord(
        run_id="r",
        item_id="i",
        model="m",
        outcome=Outcome.FAILURE,
        metrics=(Metric("1", "a", row="x", outcome=Outcome.FAILURE, extra={"t": "5"}),),
        attempts=(Attempt(Outcome.FAILURE, "why", "run", "2026-01-01T00:00:00Z", 1.5),),
        columns={"args": "--a"},
        data=({"name": "d"},),
        warnings=("w",),
        artifacts=("a.log",),
        has_row=False,
    )
    text = json.dumps({**record.to_dict(), "key_of_a_newer_version": 1})
    assert RunRecord.from_dict(json.loads(text)) == record


def test_foreign_types_become_text() -> None:
    record = RunRecord("r", "i", "m", Outcome.SUCCESS, host={"path": Path("/x")})
    assert record.to_dict()["host"] == {"path": "/x"}
    assert str(record.outcome) == "SUCCESS"


def test_metric_number() -> None:
    assert Metric("1.5e3", "a").number == 1500.0
    assert Metric("14-18|32", "a").number is None
