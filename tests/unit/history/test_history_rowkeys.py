"""Keys that make uploads repeatable, and the reader of perf.csv."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from history_records import NASTY, write_csv
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError
from pytest_madengine.history.csvrows import parse_csv, read_entries, read_perf_csv
from pytest_madengine.history.rowkeys import digest, row_keys, upload_id
from pytest_madengine.results.columns import V1_COLUMNS, V2_COLUMNS

ROWS = st.lists(st.dictionaries(st.sampled_from(V2_COLUMNS), st.text(max_size=5), max_size=4), max_size=8)


@given(ROWS, ROWS)
def test_a_file_that_has_grown_keeps_its_keys(old: list[dict[str, str]], new: list[dict[str, str]]) -> None:
    keys = row_keys(old + new)
    assert keys[: len(old)] == row_keys(old)
    assert len(set(keys)) == len(keys)


def test_equal_rows_differ_by_what_precedes_them() -> None:
    first, second = row_keys([{"model": "a"}, {"model": "a"}])
    assert first != second


def test_empty_cells_and_order_do_not_count() -> None:
    assert row_keys([{"a": "1", "b": ""}]) == row_keys([{"b": None, "a": "1"}]) == row_keys([{"a": "1"}])


def test_other_files_have_other_keys() -> None:
    shared = {"model": "m", "status": "FAILURE"}
    a = row_keys([{"model": "m", "performance": "1"}, shared])
    b = row_keys([{"model": "m", "performance": "2"}, shared])
    assert not set(a) & set(b)
    assert upload_id(a[-1]) != upload_id(b[-1])


@given(st.lists(st.text()), st.lists(st.text()))
def test_a_digest_keeps_parts_apart(a: list[str], b: list[str]) -> None:
    assert (digest(*a) == digest(*b)) == (a == b)


@pytest.mark.parametrize("columns", [V1_COLUMNS, V2_COLUMNS], ids=["v1", "v2"])
def test_both_dialects(columns: tuple[str, ...], tmp_path: Path) -> None:
    """12.4: v1 and v2 headers."""
    rows = [{"model": NASTY, "performance": "1", "status": "SUCCESS"}]
    found = read_perf_csv(write_csv(tmp_path / "perf.csv", rows, columns))
    assert found.columns == columns
    assert list(found.rows) == rows
    assert not found.unknown


def test_a_header_with_blanks() -> None:
    found = parse_csv(b'model, performance, status\nm,1,"SUCCESS"\nn, 2, "SUC,CESS"\n', "f")
    assert [row["status"] for row in found.rows] == ["SUCCESS", "SUC,CESS"]


def test_a_leading_blank_of_a_value_stays() -> None:
    """12.4: `additional_docker_run_options` may begin with one."""
    found = parse_csv(b"model,additional_docker_run_options\nm, --shm-size=16G\n", "f")
    assert found.rows[0]["additional_docker_run_options"] == " --shm-size=16G"


@pytest.mark.parametrize("cell", ["", " ", "NaN", "nan", " NAN "])
def test_empty_cells(cell: str) -> None:
    """18.1: empty and NaN -> NULL."""
    assert parse_csv(f"model,metric\nm,{cell}\n".encode(), "f").rows == ({"model": "m"},)


def test_blank_lines_byte_order_mark_and_line_ends() -> None:
    data = "\ufeffmodel,metric\r\n\r\nm,😀\r\n ,\r\n".encode()
    assert parse_csv(data, "f").rows == ({"model": "m", "metric": "😀"},)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"model,model\n", "more than once"),
        (b"model\na,b\n", "data row 1 has 2 cells"),
        (b'model\n"a\n', None),
    ],
)
def test_what_is_no_table(data: bytes, message: str | None) -> None:
    if message is None:
        assert len(parse_csv(data, "f").rows) == 1
        return
    with pytest.raises(ConfigError, match=message):
        parse_csv(data, "f")


def test_trailing_commas_are_no_cells() -> None:
    assert parse_csv(b"model,\na,,,\n", "f").rows == ({"model": "a"},)


def test_a_cell_beyond_all_limits() -> None:
    with pytest.raises(ConfigError, match="no CSV"):
        parse_csv(b"model\n" + b"x" * (17 * 1024 * 1024), "f")
    assert csv.field_size_limit() < 16 * 1024 * 1024


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_an_error(data: bytes) -> None:
    try:
        found = parse_csv(data, "f")
    except ConfigError:
        return
    assert all(set(row) <= set(found.columns) for row in found.rows)


@given(st.lists(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0")), max_size=4))
def test_cells_come_back_as_written(cells: list[str]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["model"], *([cell] for cell in cells)])
    kept = [cell for cell in cells if cell.strip() and cell.strip().lower() != "nan"]
    found = parse_csv(buffer.getvalue().encode(), "f")
    assert [row["model"] for row in found.rows if row] == kept


def test_no_perf_csv(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x.csv", [], ["model"])
    with pytest.raises(ConfigError, match="no column performance, status"):
        read_perf_csv(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_perf_csv(tmp_path / "absent.csv")


def test_unknown_columns() -> None:
    assert parse_csv(b"model,run_id,temperature\n", "f").unknown == ("temperature",)


def test_entries(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_text(
        json.dumps([{"name": "m", "n_gpus": -1, "tags": ["a", "b"], "args": ""}, {"name": ""}]), "utf-8"
    )
    assert read_entries(path) == {"m": {"n_gpus": "-1", "tags": "a,b"}}
    path.write_text('{"name": "m", "args": "--x"}', "utf-8")
    assert read_entries(path) == {"m": {"args": "--x"}}


@pytest.mark.parametrize(("text", "message"), [("{", "no JSON"), ("[1]", "no model entries")])
def test_wrong_entries(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=message):
        read_entries(path)
