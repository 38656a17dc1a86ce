"""``report update-perf``: results of other programs in perf.csv (contract 12.3, 12.4, 17)."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.errors import ConfigError, ResultError
from pytest_madengine.perfcsv.sidefiles import SideFiles
from pytest_madengine.perfcsv.table import PerfCsv
from pytest_madengine.perfcsv.update import Added, Kind, add_entry, add_multiple
from pytest_madengine.results.columns import V1_COLUMNS, V2_COLUMNS, build_columns
from pytest_madengine.results.record import Metric, Outcome, RunRecord

ENTRY = {"model": "m", "n_gpus": "8", "performance": "14164", "metric": "sps", "status": "SUCCESS"}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def add(tmp_path: Path, content: Any, kind: Kind = Kind.SINGLE) -> Added:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "entry.json").write_text(text)
    return add_entry(tmp_path / "perf.csv", tmp_path / "entry.json", kind)


def multiple(tmp_path: Path, text: str | None, common: Any = None) -> Added:
    if text is not None:
        (tmp_path / "r.csv").write_text(text.replace(" / ", "\n"))
    (tmp_path / "common.json").write_text(json.dumps({"n_gpus": "8", **(common or {})}))
    return add_multiple(tmp_path / "perf.csv", tmp_path / "r.csv", tmp_path / "common.json", "m")


# ---- one result -----------------------------------------------------------------------------------------


def test_a_new_file_has_the_v2_header(tmp_path: Path) -> None:
    added = add(tmp_path, ENTRY)
    (row,) = rows(tmp_path / "perf.csv")
    assert list(row) == list(V2_COLUMNS)
    assert {name: text for name, text in row.items() if text} == ENTRY
    assert added.rows == (row,)
    assert json.loads((tmp_path / "perf_entry.json").read_text()) == row
    (super_record,) = json.loads((tmp_path / "perf_super.json").read_text())
    assert super_record == {**row, "configs": None, "multi_results": None}
    for name in (
        "perf_entry.csv",
        "perf_entry_super.json",
        "perf_entry_super.csv",
        "perf_super.csv",
    ):
        assert (tmp_path / name).exists(), name
    assert not (tmp_path / "common_info.json").exists()


@pytest.mark.parametrize(
    ("written", "cell"),
    [
        ("21750", "21750"),
        ("21750.0", "21750.0"),
        ("1e5", "1e5"),
        ("12345678901234567890.5", "12345678901234567890.5"),
        ('"14-18|32"', "14-18|32"),
        ("0", "0"),
    ],
)
def test_values_never_pass_a_float(tmp_path: Path, written: str, cell: str) -> None:
    add(tmp_path, f'{{"model": "m", "performance": {written}, "metric": "x"}}')
    (row,) = rows(tmp_path / "perf.csv")
    assert (row["performance"], row["status"]) == (cell, "SUCCESS")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (["a", "b"], "a,b"),
        ("a,b", "a,b"),
        ([], ""),
        (None, ""),
        ([1, 2.50, None], "1,2.5,"),
        ({"a": [1]}, '{"a": ["1"]}'),
        (True, "true"),
    ],
)
def test_tags_as_madengine_has_them(tmp_path: Path, value: Any, cell: str) -> None:
    add(tmp_path, {**ENTRY, "tags": value})
    assert rows(tmp_path / "perf.csv")[0]["tags"] == cell


@pytest.mark.parametrize(
    ("cells", "kind", "status"),
    [
        ({}, Kind.SINGLE, "SUCCESS"),
        ({"status": ""}, Kind.SINGLE, "SUCCESS"),
        ({"status": "FAILURE"}, Kind.SINGLE, "FAILURE"),
        ({"status": "SKIPPED", "performance": ""}, Kind.SINGLE, "SKIPPED"),
        ({"performance": ""}, Kind.SINGLE, "FAILURE"),
        ({"performance": "nan"}, Kind.SINGLE, "FAILURE"),
        ({"performance": "N/A", "status": "SUCCESS"}, Kind.SINGLE, "FAILURE"),
        ({"performance": None}, Kind.SINGLE, "FAILURE"),
        ({}, Kind.EXCEPTION, "FAILURE"),
        ({"performance": "", "status": ""}, Kind.EXCEPTION, "FAILURE"),
        ({}, Kind.FAILED, "FAILURE"),
    ],
)
def test_the_status_is_true(tmp_path: Path, cells: dict[str, Any], kind: Kind, status: str) -> None:
    """Contract 12.3: a value is needed; what broke off or failed is no success."""
    added = add(tmp_path, {**ENTRY, **cells}, kind)
    assert rows(tmp_path / "perf.csv")[0]["status"] == status
    assert added.record.outcome == status


def test_nan_of_json_is_no_value(tmp_path: Path) -> None:
    add(tmp_path, '{"model": "m", "performance": NaN, "metric": "x", "status": "SUCCESS"}')
    (row,) = rows(tmp_path / "perf.csv")
    assert (row["performance"], row["status"]) == ("", "FAILURE")


def test_an_existing_header_decides(tmp_path: Path) -> None:
    """Its bytes stay; further keys go to its columns, and to multi_results."""
    header = "model, performance, temperature, status"
    (tmp_path / "perf.csv").write_text(f"{header}\nold,1,,SUCCESS")
    add(tmp_path, {**ENTRY, "temperature": 55, "pressure": "low"})
    assert (tmp_path / "perf.csv").read_text() == f"{header}\nold,1,,SUCCESS\nm,14164,55,SUCCESS\n"
    (entry,) = json.loads((tmp_path / "perf_super.json").read_text())
    assert entry["multi_results"] == {"temperature": "55", "pressure": "low"}


def test_v1_header(tmp_path: Path) -> None:
    (tmp_path / "perf.csv").write_text(", ".join(V1_COLUMNS) + "\n")
    add(tmp_path, {**ENTRY, "n_gpus": "-1", "nnodes": "2"})
    (row,) = csv_lines(tmp_path)
    assert row[:2] == ["m", "-1"]
    assert len(row) == len(V1_COLUMNS)


def csv_lines(tmp_path: Path) -> list[list[str]]:
    with (tmp_path / "perf.csv").open(newline="") as stream:
        return list(csv.reader(stream))[1:]


def test_a_list_of_rows_is_one_item(tmp_path: Path) -> None:
    """What perf_entry.json has after an item with several rows comes back as the same rows."""
    entries = [
        {**ENTRY, "model": "pyt_m_1", "n_gpus": "4", "test_duration": "9"},
        {**ENTRY, "model": "pyt_m_2", "performance": "", "status": "FAILURE", "test_duration": "9"},
    ]
    added = add(tmp_path, entries)
    table = rows(tmp_path / "perf.csv")
    assert [(row["model"], row["n_gpus"], row["status"]) for row in table] == [
        ("pyt_m_1", "4", "SUCCESS"),
        ("pyt_m_2", "8", "FAILURE"),
    ]
    assert (added.record.model, added.record.outcome) == ("pyt_m", Outcome.FAILURE)
    common = json.loads((tmp_path / "common_info.json").read_text())
    assert (common["test_duration"], common["n_gpus"]) == ("9", "")


def test_several_metrics_of_one_model(tmp_path: Path) -> None:
    add(tmp_path, [{**ENTRY, "metric": "a"}, {**ENTRY, "metric": "b"}])
    assert [(row["model"], row["metric"]) for row in rows(tmp_path / "perf.csv")] == [("m", "a"), ("m", "b")]
    assert not (tmp_path / "common_info.json").exists()


def test_what_a_session_wrote_comes_back(tmp_path: Path) -> None:
    """perf_entry.json and perf_entry_super.json of the plugin itself, into another perf.csv."""
    columns = build_columns(n_gpus=8, tags=["p", "q"], test_duration=10.0, machine_name="h")
    metrics = (
        Metric("1", "a", row="x", extra={"t": "5"}),
        Metric("2", "a", row="y", overrides={"n_gpus": "4"}),
    )
    record = RunRecord("r", "i", "m", Outcome.SUCCESS, metrics=metrics, columns=columns)
    source = tmp_path / "source"
    SideFiles(source).write_item(record, PerfCsv(source / "perf.csv").append(record))
    for name in ("perf_entry.json", "perf_entry_super.json"):
        target = tmp_path / name / "perf.csv"
        add_entry(target, source / name)
        assert target.read_bytes() == (source / "perf.csv").read_bytes()
    (first, _) = json.loads((target.parent / "perf_super.json").read_text())
    assert first["multi_results"] == {"t": "5"}


# ---- multiple results -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected", "outcome"),
    [
        (
            "model,performance,metric / 1,10,sps / 2,20,sps",
            [("m_1", "10", "SUCCESS"), ("m_2", "20", "SUCCESS")],
            "SUCCESS",
        ),
        ("model, temperature, performance, metric / 1, 55, 10, sps", [("m_1", "10", "SUCCESS")], "SUCCESS"),
        ("model,performance,metric / cpu,14-18|32,cpu_bound", [("m_cpu", "14-18|32", "SUCCESS")], "SUCCESS"),
        (
            "model,performance,metric / 1,10,sps / 2,,sps",
            [("m_1", "10", "SUCCESS"), ("m_2", "", "FAILURE")],
            "FAILURE",
        ),
        ("model,performance / 1,10", [("m", "", "FAILURE")], "FAILURE"),
        ("", [("m", "", "FAILURE")], "FAILURE"),
        (None, [("m", "", "FAILURE")], "FAILURE"),
    ],
)
def test_the_table_of_the_contract(
    tmp_path: Path, text: str | None, expected: list[tuple[str, str, str]], outcome: str
) -> None:
    added = multiple(tmp_path, text)
    table = rows(tmp_path / "perf.csv")
    assert [(row["model"], row["performance"], row["status"]) for row in table] == expected
    assert {row["n_gpus"] for row in table} == {"8"}
    assert added.record.outcome == outcome
    assert bool(added.record.reason) == (outcome == "FAILURE")


def test_side_files_of_multiple_results(tmp_path: Path) -> None:
    """Defect 15: test_duration is in every record."""
    common = {"test_duration": 12.50, "tags": ["a", "b"], "model": "ignored", "status": "ignored"}
    multiple(tmp_path, "model,performance,metric,n_gpus,t / 1,10,sps,4,55 / 2,20,sps,,56", common)
    shared = json.loads((tmp_path / "common_info.json").read_text())
    assert (shared["n_gpus"], shared["tags"], shared["test_duration"]) == ("8", "a,b", "12.5")
    entries = json.loads((tmp_path / "perf_super.json").read_text())
    assert [(e["n_gpus"], e["test_duration"], e["multi_results"]) for e in entries] == [
        ("4", "12.5", {"t": "55"}),
        ("8", "12.5", {"t": "56"}),
    ]


# ---- what is wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "1",
        "null",
        '["m"]',
        "[" * 100_000,
        '{"performance": 1}',
        '{"model": ""}',
        '[{"model": null}]',
    ],
    ids=range(10),
)
def test_no_entry(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError, match=r"entry\.json"):
        add(tmp_path, content)
    assert not (tmp_path / "perf.csv").exists()


@pytest.mark.parametrize("names", [("a", "b"), ("m", "m_1"), ("_1", "_2"), ("a_1", "b_1"), ("m_", "m_1")])
def test_entries_of_different_models(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="entries of different models"):
        add(tmp_path, [{**ENTRY, "model": name} for name in names])


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"x\.json cannot be read: No such file"):
        add_entry(tmp_path / "perf.csv", tmp_path / "x.json")
    with pytest.raises(ResultError, match=r"c\.json cannot be read"):
        add_multiple(tmp_path / "perf.csv", tmp_path / "r.csv", tmp_path / "c.json", "m")
    (tmp_path / "c.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"c\.json is no JSON object"):
        add_multiple(tmp_path / "perf.csv", tmp_path / "r.csv", tmp_path / "c.json", "m")


def test_a_file_that_is_no_perf_csv(tmp_path: Path) -> None:
    (tmp_path / "perf.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match=r"no perf\.csv") as caught:
        add(tmp_path, ENTRY)
    assert "--perf-csv" in caught.value.hint
    assert (tmp_path / "perf.csv").read_text() == "a,b\n"
