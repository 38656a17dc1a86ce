"""Earlier values out of records.jsonl and perf.csv."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from pathlib import Path

import pytest
from history_records import make_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_madengine.errors import HistoryError
from pytest_madengine.gate.facts import values_of
from pytest_madengine.history.filevalues import FileValues
from pytest_madengine.perfcsv.table import PerfCsv

NOW = datetime(2026, 12, 1)


def test_records(tmp_path: Path) -> None:
    """Given records of two sessions and a torn last line, then the values of their key are there."""
    path = tmp_path / "records.jsonl"
    records = [make_record("m", str(n), run=f"r{n}") for n in (1, 2)]
    path.write_text("".join(json.dumps(one.to_dict()) + "\n" for one in records) + '{"run_id": "r3", "it')
    (value,) = values_of(records[0])
    found = FileValues(path, NOW).earlier(value.facts)
    assert [(one.session, one.number, one.finished) for one in found] == [
        *(("r1", 1.0, datetime(2026, 11, 23, 21, 10)), ("r2", 2.0, datetime(2026, 11, 23, 21, 10)))
    ]
    assert FileValues(path, NOW).earlier({**value.facts, "n_gpus": "4"}) == ()


def test_a_perf_csv_knows_the_gpu_by_its_architecture(tmp_path: Path) -> None:
    """Given a table that runs wrote, then a run on a GPU of that architecture finds its rows, in order."""
    columns = {"n_gpus": "8", "gpu_architecture": "gfx942", "docker_file": "docker/m.Dockerfile"}
    record = make_record("m", "5", columns=columns)
    table = PerfCsv(tmp_path / "perf.csv", "v2")
    table.append(record)
    table.append(make_record("m", "6", columns=columns))
    (value,) = values_of(record)
    assert value.facts["gpu"] == "MI300X"
    found = FileValues(tmp_path / "perf.csv", NOW).earlier(value.facts)
    assert [one.number for one in found] == [5.0, 6.0]
    assert found[0].finished < found[1].finished < NOW
    other = {**value.facts, "gpu_architecture": "gfx90a"}
    assert FileValues(tmp_path / "perf.csv", NOW).earlier(other) == ()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("gone.jsonl", None, "cannot be read: No such file or directory"),
        ("bad.jsonl", "{}\n{}\n", "line 1 is not a record"),
        ("bad.jsonl", "\n[1]\n", "line 2 is not a record"),
        ("bad.csv", "a,a\n1,2\n", "column a more than once"),
        ("empty.csv", "", "has no header"),
    ],
)
def test_files_that_cannot_be_read(name: str, text: str | None, says: str, tmp_path: Path) -> None:
    """One line with the file and the place."""
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(HistoryError, match=says):
        FileValues(tmp_path / name, NOW)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), suffix=st.sampled_from([".jsonl", ".csv"]))
def test_any_bytes_are_read_or_refused(data: bytes, suffix: str, tmp_path: Path) -> None:
    """Whatever the file holds: values, or one error of the history."""
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data)
    with contextlib.suppress(HistoryError):
        assert FileValues(path, NOW).earlier({"model": "m"}) == ()
