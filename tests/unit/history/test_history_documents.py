"""MongoDB documents (contract 18.2)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from history_records import write_csv
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError
from pytest_madengine.history import documents
from pytest_madengine.history.documents import (
    parse_environment,
    read_results,
    run_documents,
    typed,
    typed_row,
)
from pytest_madengine.results.columns import V2_COLUMNS

ENVIRONMENT = """sep=|
------- Section: os_information ----------
Distribution|Linux
Kernel version| 5.10

------- Section: pip_list ----------
numpy.x|1.0
Log|a
Log|b
Log|c
bare line
$odd|1
"""


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("performance", "10", 10),
        ("performance", "10.50", 10.5),
        ("performance", "14-18|32", "14-18|32"),
        ("performance", "", None),
        ("performance", " NaN ", None),
        ("performance", "-1.5e3", -1500.0),
        ("performance", "1e999", None),
        ("performance", "inf", "inf"),
        ("build_number", "7", 7),
        ("git_commit", "0123456", "0123456"),
        ("git_commit", "1234567", "1234567"),
        ("args", '{"a": 1}', '{"a": 1}'),
        ("configs", '{"a": [1, NaN], "b.c": {"$d": null}}', {"a": [1, None], "b_c": {"_d": None}}),
        ("configs", "[1, 2]", [1, 2]),
        ("configs", "[1, 2", "[1, 2"),
        ("configs", "[" * 5000, "[" * 5000),
        ("temperature", "007", "007"),
        ("temperature", "00.7", "00.7"),
        ("temperature", "0.7", 0.7),
        ("temperature", "+5", 5),
        ("temperature", "9223372036854775807", 2**63 - 1),
        ("temperature", "9223372036854775808", "9223372036854775808"),
        ("temperature", "9" * 5000, "9" * 5000),
        ("temperature", "1_000", "1_000"),
        ("temperature", 2**64, str(2**64)),
        ("temperature", True, True),
        ("temperature", float("inf"), None),
        ("tags", ["a", {"b": 1}], ["a", {"b": 1}]),
    ],
)
def test_typed_values(name: str, cell: Any, value: Any) -> None:
    """18.2: typed values, empty -> null, JSON text cells become objects, lists and objects allowed."""
    found = typed(name, cell)
    assert found == value
    assert type(found) is type(value)


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.floats(), st.lists(st.text()))))
def test_any_row_is_a_document(row: dict[str, Any]) -> None:
    """Every row can be encoded, and every field be named in a query."""
    bson = pytest.importorskip("bson")
    document = typed_row(row)
    assert not any(name.startswith("$") or "." in name or "\0" in name or not name for name in document)
    try:
        bson.encode(document)
    except UnicodeEncodeError:
        assert any("\ud800" <= character <= "\udfff" for character in json.dumps(row, ensure_ascii=False))


def test_environment() -> None:
    """11.3: the CSV of the collector."""
    assert parse_environment(ENVIRONMENT.encode()) == {
        "os_information": {"Distribution": "Linux", "Kernel version": "5.10"},
        "pip_list": {"numpy_x": "1.0", "Log": ["a", "b", "c"], "lines": ["bare line"], "_odd": "1"},
    }


@given(st.binary())
def test_any_environment_is_parsed(data: bytes) -> None:
    json.dumps(parse_environment(data))


def test_sections_without_a_heading() -> None:
    assert parse_environment(b"lines|1\nlines|2\nx\ny\n") == {"lines": ["1", "2", "x", "y"]}


def result_directory(path: Path) -> Path:
    write_csv(path / "perf_entry.csv", [{"model": "m", "performance": "1"}], V2_COLUMNS)
    (path / "m_env.csv").write_text(ENVIRONMENT, "utf-8")
    (path / "m.run.live.log").write_bytes(b"hello \xff")
    (path / "notes.txt").write_text("no")
    return path


def test_a_directory(tmp_path: Path) -> None:
    """18.2: perf_entry.csv, *env.csv and *.log of a directory."""
    found = read_results(result_directory(tmp_path))
    assert found.rows == ({**dict.fromkeys(V2_COLUMNS), "model": "m", "performance": 1},)
    assert found.system_env["os_information"]["Distribution"] == "Linux"
    assert found.logs == {"m_run_live_log": "hello \ufffd"}
    assert found.source == str(tmp_path)
    (tmp_path / "n_env.csv").write_text("a|1\n")
    assert sorted(read_results(tmp_path).system_env) == ["m_env", "n_env"]


def test_what_a_model_left_in_a_directory(tmp_path: Path) -> None:
    """faults 1.20: given pipes and links under the names of logs and environments, when the directory is
    read, then nothing waits, no file from elsewhere is taken, and each is named.
    """
    secret = tmp_path / "secret"
    secret.write_text("password|x\n")
    place = tmp_path / "results"
    place.mkdir()
    result_directory(place)
    os.mkfifo(place / "p.log")
    os.mkfifo(place / "p_env.csv")
    (place / "l.log").symlink_to(secret)
    (place / "l_env.csv").symlink_to(secret)
    found = read_results(place)
    assert list(found.logs) == ["m_run_live_log"]
    assert "os_information" in found.system_env
    assert sorted(Path(warning.split(" ")[0]).name for warning in found.warnings) == [
        "l.log", "l_env.csv", "p.log", "p_env.csv",
    ]  # fmt: skip


def test_long_logs_are_cut_at_their_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document may have 16 MiB."""
    monkeypatch.setattr(documents, "LOG_LIMIT", 6)
    monkeypatch.setattr(documents, "_LOGS_LIMIT", 10)
    result_directory(tmp_path)
    (tmp_path / "n.log").write_bytes(b"0123456789")
    found = read_results(tmp_path)
    assert found.logs == {"m_run_live_log": "ello \ufffd", "n_log": "6789"}
    assert found.warnings == (
        f"{tmp_path}/m.run.live.log: only its last 6 bytes are uploaded",
        f"{tmp_path}/n.log: only its last 4 bytes are uploaded",
    )


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("x.json", '[{"model": "a", "performance": "1"}, {"model": "b"}]', 2),
        ("x.json", '{"model": "a", "performance": 1}', 1),
        ("x.txt", ' \n {"model": "a", "performance": "1"}', 1),
        ("x", "model,performance\na,1\n", 1),
        ("x.csv", "model,performance\na,1\n", 1),
    ],
)
def test_files_by_suffix_then_content(name: str, text: str, rows: int, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    found = read_results(path)
    assert len(found.rows) == len(found.keys) == rows
    assert found.rows[0] == {"model": "a", "performance": 1}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", "model,performance\n", "is no JSON"),
        ("x.json", "[" * 100_000, "is no JSON"),
        ("x.json", "[1]", "no result rows"),
        ("x.csv", "", "is empty"),
    ],
)
def test_wrong_files(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=message):
        read_results(path)
    with pytest.raises(ConfigError, match=r"perf_entry\.csv cannot be read"):
        read_results(tmp_path)


def test_run_index_counts_rows_of_a_metric(tmp_path: Path) -> None:
    """18.2: run_index = number of the row within (run id, model, metric)."""
    rows = [{"model": name, "metric": "x"} for name in ("a", "b", "a", "a")]
    files = read_results(write_csv(tmp_path / "x.csv", rows, ["model", "metric"]))
    found = run_documents(files, "", ["r"] * 4, "s")
    assert [(entry["run_id"], entry["run_index"]) for entry in found] == [
        ("r", 0),
        ("r", 0),
        ("r", 1),
        ("r", 2),
    ]
    assert [entry["run_index"] for entry in run_documents(files, "a", ["r"] * 4, "s")] == [0, 1, 2]
