"""Exports of the history."""

from __future__ import annotations

import builtins
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from history_records import NASTY, make_record
from pytest_madengine.errors import ConfigError, HistoryError
from pytest_madengine.history.export import harmless, write_export
from pytest_madengine.history.queries import EXPORTED
from pytest_madengine.history.store import HistoryStore
from pytest_madengine.results.record import Outcome


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    with HistoryStore(f"sqlite:///{tmp_path}/h.db") as store:
        store.add(
            [
                make_record("a", "1.5", "text", run="one"),
                make_record("b", run="one", outcome=Outcome.FAILURE, reason=NASTY),
                make_record("c", "2", run="two", finished="2026-11-22T00:00:00Z"),
            ]
        )
        yield store


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
def test_formats(store: HistoryStore, tmp_path: Path, format: str) -> None:
    path = tmp_path / "deep" / f"out.{format}"
    assert store.export(path) == 4
    rows: list[dict[str, Any]]
    if format == "csv":
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [dict(row) for row in csv.DictReader(stream)]
    elif format == "json":
        rows = json.loads(path.read_text(encoding="utf-8"))
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(path).to_pylist()
    assert list(rows[0]) == list(EXPORTED)
    assert [row["item_id"] for row in rows] == ["c", "a", "a", "b"]
    assert [row["performance"] for row in rows] == ["2", "1.5", "text", ""]
    assert rows[3]["reason"] == NASTY
    assert rows[3]["outcome"] == "FAILURE"
    numbers = [row["number"] for row in rows]
    assert numbers == (["2.0", "1.5", "", ""] if format == "csv" else [2.0, 1.5, None, None])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_part_of_it(store: HistoryStore, tmp_path: Path) -> None:
    assert store.export(tmp_path / "x", "CSV", run_id="two") == 1
    assert store.export(tmp_path / "x.json", model="a") == 2
    assert store.export(tmp_path / "x.json", model="none") == 0
    assert json.loads((tmp_path / "x.json").read_text()) == []
    assert store.export(tmp_path / "x.parquet", model="none") == 0


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd", "'+cmd"),
        ("-x", "'-x"),
        ("\t=1", "'\t=1"),
        ("-1.5", "-1.5"),
        ("+2", "+2"),
        ("plain", "plain"),
        (None, None),
        (1.5, 1.5),
    ],
)
def test_spreadsheets_run_nothing(cell: Any, written: Any) -> None:
    assert harmless(cell) == written


def test_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown export format 'xls'"):
        write_export(tmp_path / "x.xls", "", ["a"], [])


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(HistoryError, match="cannot be written"):
        write_export(tmp_path / "file" / "x.csv", "", ["a"], [])


def test_an_old_file_survives_a_failure(tmp_path: Path) -> None:
    def rows() -> Iterator[tuple[str]]:
        yield ("1",)
        raise HistoryError("gone")

    path = tmp_path / "x.csv"
    path.write_text("old")
    with pytest.raises(HistoryError, match="gone"):
        write_export(path, "", ["a"], rows())
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.csv"]


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="needs pyarrow"):
        write_export(tmp_path / "x.parquet", "", ["a"], [])
