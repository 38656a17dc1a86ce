"""CSV files as tables of an e-mail, and the reasons of failed rows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError, ResultError
from pytest_madengine.perfcsv.table import PerfCsv, csv_bytes
from pytest_madengine.reports.mail.reasons import Reasons
from pytest_madengine.reports.mail.table import Table, find_tables, read_table, results
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.results.rows import build_columns
from pytest_madengine.util.text import is_safe


def read(tmp_path: Path, text: str, name: str = "perf.csv") -> Table:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_table(tmp_path / name)


# ---- files ----------------------------------------------------------------------------------------------


def test_a_file_or_a_directory(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).write_text("model\n")
    (tmp_path / "d.csv").mkdir()
    assert [path.name for path in find_tables(tmp_path)] == ["a.csv", "b.csv"]
    assert find_tables(tmp_path / "b.csv") == [tmp_path / "b.csv"]


def test_a_link_out_of_the_directory_is_not_mailed(tmp_path: Path) -> None:
    """faults 1.20: given a table that is a link to a file elsewhere, when tables are looked for, then it is
    none; a link to a table beside it is one.
    """
    (tmp_path / "secret.csv").write_text("model\n")
    place = tmp_path / "results"
    place.mkdir()
    (place / "a.csv").write_text("model\n")
    (place / "b.csv").symlink_to("../secret.csv")
    (place / "c.csv").symlink_to("a.csv")
    assert [path.name for path in find_tables(place)] == ["a.csv", "c.csv"]


def test_what_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="has no CSV files"):
        find_tables(tmp_path)
    with pytest.raises(ResultError, match=r"x\.csv does not exist"):
        find_tables(tmp_path / "x.csv")
    (tmp_path / "x.txt").write_text("model\n")
    with pytest.raises(ConfigError, match=r"no \.csv file"):
        find_tables(tmp_path / "x.txt")


# ---- cells ----------------------------------------------------------------------------------------------


def test_cells_are_text(tmp_path: Path) -> None:
    """Stripped names, filled up rows, no ``NaN``, nothing that cannot be shown."""
    table = read(
        tmp_path, "\ufeffmodel, performance , status\n\nm,21750,SUCCESS\nn\no,NaN,nan\np\x00\x1b[0m,1,x,9\n"
    )
    assert table.header == ("model", "performance", "status")
    assert [row.cells for row in table.rows] == [
        ("m", "21750", "SUCCESS"),
        ("n", "", ""),
        ("o", "", ""),
        ("p", "1", "x", "9"),
    ]
    assert table.rows[0]["performance"] == "21750"
    assert table.rows[0]["absent"] == ""


def test_empty_file(tmp_path: Path) -> None:
    table = read(tmp_path, "")
    assert (table.header, table.rows, table.shared, table.filled) == ((), (), {}, [])


def test_broken_file(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no readable CSV"):
        read(tmp_path, 'model\n"' + "x" * 200_000)
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ResultError, match="cannot be read"):
        read_table(tmp_path / "d.csv")


@settings(deadline=None)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8).filter(is_safe),
            min_size=3,
            max_size=3,
        )
    )
)
def test_any_table_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes(csv_bytes([["a", "b", "c"], *rows]))
    wanted = [
        tuple("" if cell.strip() in ("nan", "NaN", "NAN") else cell.strip() for cell in row) for row in rows
    ]
    got = [row.cells for row in read_table(path).rows]
    assert got == wanted


# ---- results --------------------------------------------------------------------------------------------


def test_a_row_of_several_files_counts_once(tmp_path: Path) -> None:
    """perf.csv, perf_entry.csv and perf_super.csv have the same rows; two equal rows of one file are two."""
    perf = read(tmp_path, "model,performance,status\na,1,SUCCESS\na,1,SUCCESS\nb,,FAILURE\n")
    entry = read(tmp_path, "model,performance,status\nb,,FAILURE\n", "perf_entry.csv")
    other = read(tmp_path, "status,model\nSKIPPED,c\n", "z.csv")
    facts = read(tmp_path, "name,version\nrocm,6\n", "env.csv")
    found = results([facts, entry, perf, other])
    assert sorted((row["model"], row.status) for row in found) == [
        ("a", "SUCCESS"),
        ("a", "SUCCESS"),
        ("b", "FAILURE"),
        ("c", "SKIPPED"),
    ]


def test_failures_first_then_the_newest(tmp_path: Path) -> None:
    table = read(tmp_path, "model,status\na,FAILURE\nb,SUCCESS\nc,FAILURE\nd,SUCCESS\n")
    assert [row["model"] for row in table.failing_first] == ["c", "a", "d", "b"]


def test_columns_that_never_change(tmp_path: Path) -> None:
    table = read(tmp_path, "model,host,empty\na,h,\nb,h,\n")
    assert table.shared == {"host": "h"}
    assert table.filled == ["model", "host"]
    assert read(tmp_path, "model\na\n").shared == {}


# ---- reasons --------------------------------------------------------------------------------------------


def record(
    model: str, outcome: Outcome = Outcome.FAILURE, run_id: str = "20261127T000000.000Z-1", **more: object
) -> RunRecord:
    columns = build_columns(n_gpus=8, test_duration=10.0, machine_name=run_id)
    return RunRecord(run_id, model, model, outcome, columns=columns, **more)  # type: ignore[arg-type]


def save(results_dir: Path, *records: RunRecord, tail: str = "") -> None:
    for one in records:
        path = results_dir / one.run_id / "records.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            stream.write(json.dumps(one.to_dict()) + "\n" + tail)


@pytest.mark.parametrize("schema", ["v1", "v2"])
def test_a_row_finds_the_record_that_wrote_it(tmp_path: Path, schema: str) -> None:
    failed = record("bad", reason="why", hint="do this", log_file="bad/x.log")
    other = record("bad", reason="another night", run_id="20261126T000000.000Z-2")
    rows = record("rows", reason="2 of 2", metrics=(Metric("", "x", row="1", outcome=Outcome.FAILURE),))
    save(tmp_path / "r", failed, other, rows, record("good", Outcome.SUCCESS), tail="torn {\n[1]\n{}\n")
    perf = PerfCsv(tmp_path / "perf.csv", schema)
    for one in (failed, other, rows):
        perf.append(one)
    table = read_table(tmp_path / "perf.csv")
    reasons = Reasons(tmp_path / "r")
    found = [reasons.of(table.header, row.values) for row in table.rows]
    assert [one and one.text for one in found] == ["why", "another night", "2 of 2"]
    assert found[0] is not None
    assert (found[0].hint, found[0].log_file) == ("do this", f"{failed.run_id}/bad/x.log")
    assert found[1] is not None
    assert found[1].log_file == ""
    assert reasons.of(table.header, {**table.rows[0].values, "test_duration": "11"}) is None


@pytest.mark.parametrize("directory", [None, "absent"])
def test_no_records_no_reasons(tmp_path: Path, directory: str | None) -> None:
    reasons = Reasons(tmp_path / directory if directory else None)
    assert reasons.of(("model", "status"), {"model": "m", "status": "FAILURE"}) is None
