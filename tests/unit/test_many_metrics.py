"""Twice the metrics are twice the work, counted in steps of the interpreter, not in seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from pytest_madengine.history.store import HistoryStore
from pytest_madengine.history.urls import DatabaseUrl
from pytest_madengine.perfcsv.table import PerfCsv
from pytest_madengine.plugin.junit import case_properties
from pytest_madengine.results.cleaning import clean_record
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.secrets import Redactor, Secret

Work = Callable[[Path, RunRecord], object]


def record_of(count: int) -> RunRecord:
    metrics = tuple(Metric(f"metric_{one}", f"{one}.5") for one in range(count))
    return RunRecord(
        "20260101T000000Z-0000",
        "models.json::m",
        "m",
        Outcome.SUCCESS,
        metrics=metrics,
        columns={"model": "m"},
    )


def steps(work: Callable[[], object]) -> int:
    """Instructions of Python that a piece of work takes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def redactor() -> Redactor:
    made = Redactor()
    made.add(*(Secret(f"a-secret-value-{one}") for one in range(20)))
    return made


def store(place: Path, record: RunRecord) -> None:
    with HistoryStore(DatabaseUrl(Secret(f"sqlite:///{place}/h.db"))) as history:
        assert history.add([record]) == 1


WORKS: dict[str, Work] = {
    "masking": lambda place, record: clean_record(record, redactor()),
    "a record as JSON types and back": lambda place, record: RunRecord.from_dict(record.to_dict()),
    "JUnit": lambda place, record: case_properties(record, ""),
    "perf.csv": lambda place, record: PerfCsv(place / "perf.csv").append(record),
    "the database": store,
}


@pytest.mark.parametrize("name", WORKS)
def test_twice_the_metrics_are_twice_the_work(name: str, tmp_path: Path) -> None:
    """faults 2.8: given twice and four times the metrics, when they go to an output, then the second half
    costs what the first one did.
    """
    taken = []
    for count in (50, 100, 200):
        place = tmp_path / str(count)
        place.mkdir()
        record = record_of(count)
        if count == 50:  # imports, and what is made once
            warm = tmp_path / "warm"
            warm.mkdir()
            WORKS[name](warm, record)
        taken.append(steps(lambda record=record, place=place: WORKS[name](place, record)))  # type: ignore[misc]
    first, second, fourth = taken
    assert second > first
    assert fourth - second <= 2.3 * (second - first)
