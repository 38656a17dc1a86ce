"""Contract 12.5: the files beside perf.csv."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.errors import ResultError
from pytest_madengine.perfcsv.sidefiles import SUPER_COLUMNS, SideFiles
from pytest_madengine.perfcsv.table import PerfCsv
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.results.rows import V2_COLUMNS, build_columns

MULTIPLE = (
    Metric("1", "a", row="x", extra={"t": "55"}, overrides={"n_gpus": "4"}),
    Metric("", "b", row="y", outcome=Outcome.FAILURE),
)


def record(model: str, *metrics: Metric, **fields: Any) -> RunRecord:
    columns = build_columns(n_gpus=8, tags=["p", "q"], test_duration=10.0)
    values = {"outcome": Outcome.SUCCESS, "columns": columns, "metrics": metrics, **fields}
    return RunRecord("r", "i", model, **values)


def item(directory: Path, entry: RunRecord) -> None:
    SideFiles(directory).write_item(entry, PerfCsv(directory / "perf.csv").append(entry))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_files_of_a_single_result(tmp_path: Path) -> None:
    """Contract 12.5: the row as object in header order, `tags` as text; no common_info.json."""
    item(tmp_path, record("m", Metric("5", "x")))
    entry = load(tmp_path / "perf_entry.json")
    assert list(entry) == list(V2_COLUMNS)
    assert (entry["model"], entry["tags"], entry["performance"]) == ("m", "p,q", "5")
    assert table(tmp_path / "perf_entry.csv") == [entry]
    assert load(tmp_path / "perf_entry_super.json") == [{**entry, "configs": None, "multi_results": None}]
    assert {path.name for path in tmp_path.iterdir()} == {
        "perf.csv",
        "perf_entry.json",
        "perf_entry.csv",
        "perf_entry_super.json",
        "perf_entry_super.csv",
    }


def test_files_of_multiple_results(tmp_path: Path) -> None:
    """Contract 12.5, and defect 15: `test_duration` is in every record."""
    item(tmp_path, record("m", *MULTIPLE, outcome=Outcome.FAILURE))
    entries = load(tmp_path / "perf_entry.json")
    assert [(entry["model"], entry["n_gpus"], entry["status"]) for entry in entries] == [
        ("m_x", "4", "SUCCESS"),
        ("m_y", "8", "FAILURE"),
    ]
    common = load(tmp_path / "common_info.json")
    assert list(common) == [n for n in V2_COLUMNS if n not in ("model", "performance", "metric", "status")]
    assert common["n_gpus"] == "8"
    entries = load(tmp_path / "perf_entry_super.json")
    assert [entry["multi_results"] for entry in entries] == [{"t": "55"}, None]
    assert [entry["test_duration"] for entry in entries] == ["10", "10"]
    cells = table(tmp_path / "perf_entry_super.csv")
    assert list(cells[0]) == list(SUPER_COLUMNS)
    assert [json.loads(row["multi_results"]) for row in cells] == [{"t": "55"}, None]


def test_next_item_replaces_the_last_one(tmp_path: Path) -> None:
    item(tmp_path, record("m", *MULTIPLE))
    item(tmp_path, record("n", Metric("5", "x")))
    assert load(tmp_path / "perf_entry.json")["model"] == "n"
    assert len(load(tmp_path / "perf_entry_super.json")) == 1
    assert not list(tmp_path.glob("*.tmp"))


def test_entries_follow_the_header_of_perf_csv(tmp_path: Path) -> None:
    (tmp_path / "perf.csv").write_text("status,performance,metric,model\n")
    item(tmp_path, record("m", Metric("5", "x")))
    assert (tmp_path / "perf_entry.csv").read_text() == ("status,performance,metric,model\nSUCCESS,5,x,m\n")
    assert list(load(tmp_path / "perf_entry_super.json")[0]) == list(SUPER_COLUMNS)


def test_worker_nodes_write_nothing(tmp_path: Path) -> None:
    worker = record("m", has_row=False)
    item(tmp_path, worker)
    assert SideFiles(tmp_path).finish([worker]) == ()
    assert list(tmp_path.iterdir()) == []


def test_perf_super_is_cumulative(tmp_path: Path) -> None:
    """Contract 12.5: once at the end, from the records of the run and what was there, indent 2."""
    for model in ("a", "b"):
        entry = record(model, Metric("1", "x"), configs={"k": 1})
        item(tmp_path, entry)
        assert not (tmp_path / "perf_super.json").exists() or model == "b"
        assert SideFiles(tmp_path).finish([entry]) == ()
    text = (tmp_path / "perf_super.json").read_text()
    assert text.startswith('[\n  {\n    "model": "a",')
    entries = json.loads(text)
    assert [entry["model"] for entry in entries] == ["a", "b"]
    assert list(entries[0]) == list(SUPER_COLUMNS)
    cells = table(tmp_path / "perf_super.csv")
    assert [json.loads(row["configs"]) for row in cells] == [{"k": 1}, {"k": 1}]
    assert cells[0]["multi_results"] == "null"


def test_records_of_another_program_are_kept(tmp_path: Path) -> None:
    old = [{"model": "old", "performance": 5, "foreign": "kept"}, "odd"]
    (tmp_path / "perf_super.json").write_text(json.dumps(old))
    entry = record("m", Metric("1", "x"))
    item(tmp_path, entry)
    SideFiles(tmp_path).finish([entry])
    assert load(tmp_path / "perf_super.json")[:2] == old
    cells = table(tmp_path / "perf_super.csv")
    assert [(row["model"], row["performance"], row["test_duration"]) for row in cells] == [
        ("old", "5", ""),
        ("m", "1", "10"),
    ]


@pytest.mark.parametrize("text", ["{broken", '{"a": 1}', "[" * 100_000], ids=range(3))
def test_unreadable_perf_super_is_set_aside(tmp_path: Path, text: str) -> None:
    """A file of the user's is never destroyed."""
    entry = record("m", Metric("1", "x"))
    item(tmp_path, entry)
    for number in (1, 2):
        (tmp_path / "perf_super.json").write_text(text)
        (message,) = SideFiles(tmp_path).finish([entry])
        assert f"perf_super.json.kept-{number}" in message
        assert (tmp_path / f"perf_super.json.kept-{number}").read_text() == text
    assert len(load(tmp_path / "perf_super.json")) == 1


def test_table_without_its_json_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "perf_super.csv").write_text("model\nold\n")
    entry = record("m", Metric("1", "x"))
    item(tmp_path, entry)
    assert len(SideFiles(tmp_path).finish([entry])) == 1
    assert (tmp_path / "perf_super.csv.kept-1").read_text() == "model\nold\n"


def test_configuration_warnings_are_returned_once(tmp_path: Path) -> None:
    configs = [{"model": "x"}, {"model": "y"}]
    entry = record("q", Metric("1", "x"), columns={"args": "--config c.csv"}, configs=configs)
    messages = SideFiles(tmp_path).finish([entry, entry])
    assert len(messages) == 1
    assert messages[0].startswith("q: no row of the configuration file matches")


def test_directory_that_cannot_be_written(tmp_path: Path) -> None:
    entry = record("m", Metric("1", "x"))
    rows = PerfCsv(tmp_path / "perf.csv").append(entry)
    (tmp_path / "perf_entry.json").mkdir()
    with pytest.raises(ResultError, match=r"side file .* cannot be written"):
        SideFiles(tmp_path).write_item(entry, rows)
