"""Contract 12.3: files with several result rows."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import ResultError
from pytest_madengine.results.lines import read_cell
from pytest_madengine.results.multiple import parse_multiple_results
from pytest_madengine.results.record import Metric
from pytest_madengine.util.text import unstyled


def parse(text: str) -> tuple[Metric, ...]:
    return parse_multiple_results(text, "f.csv")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "model,performance,metric\n1,10,sps\n2,20,sps",
            [("1", "10", "sps", "SUCCESS", {}), ("2", "20", "sps", "SUCCESS", {})],
        ),
        (
            "model, temperature, performance, metric\n1, 55, 10, sps",
            [("1", "10", "sps", "SUCCESS", {"temperature": "55"})],
        ),
        (
            "model,performance,metric\ncpu,14-18|32,cpu_bound",
            [("cpu", "14-18|32", "cpu_bound", "SUCCESS", {})],
        ),
        (
            "model,performance,metric\n1,10,sps\n2,,sps",
            [("1", "10", "sps", "SUCCESS", {}), ("2", "", "sps", "FAILURE", {})],
        ),
    ],
)
def test_file_vectors(text: str, expected: list[tuple[object, ...]]) -> None:
    """Contract 12.3."""
    assert [(m.row, m.value, m.name, str(m.outcome), dict(m.extra)) for m in parse(text)] == expected


@pytest.mark.parametrize(
    ("cell", "outcome"),
    [
        ("0", "SUCCESS"),
        ("10", "SUCCESS"),
        ("", "FAILURE"),
        ("nan", "FAILURE"),
        ("NaN", "FAILURE"),
        ("N/A", "FAILURE"),
        ("14-18|32", "SUCCESS"),
        ("12 ms", "SUCCESS"),
        *(
            (cell, "FAILURE")
            for cell in (
                *(
                    "None",
                    "null",
                    "NULL",
                    "NA",
                    "#N/A",
                    "-",
                    "--",
                    "inf",
                    "-inf",
                    "Infinity",
                    "+nan",
                    "unknown",
                ),
                *("ERROR: OOM", "error", "RuntimeError: no GPU", "Timed out", "out of memory", "FAILED"),
                *("12,3", "1.2.3", "0x10", "5 6", "1_000", "1e999", "1" * 5000, "１２", "−5", "2.06B", "1e"),
                *("1 234 x", "1/2 x", "5 ± x"),
            )
        ),
    ],
)
def test_what_counts_as_a_value(cell: str, outcome: str) -> None:
    """faults 1.11: given a cell without a number of the run, then its row is a FAILURE and keeps the text."""
    metric = parse(f'model,performance,metric\nm,"{cell}",x\n')[0]
    assert (metric.value, str(metric.outcome)) == (cell, outcome)


@pytest.mark.parametrize(
    ("cell", "value"), [("1,234.5", "1234.5"), ("1.234,5", "1234.5"), ("2.06M", "2060000")]
)
def test_numbers_are_stored_without_separators(cell: str, value: str) -> None:
    metric = parse(f'model,performance,metric\nm,"{cell}",x\n')[0]
    assert (metric.value, str(metric.outcome)) == (value, "SUCCESS")


def test_a_control_character_in_a_number_is_no_value() -> None:
    """faults 1.11: given a NUL in a number, then no row of it is a SUCCESS."""
    with contextlib.suppress(ResultError):  # what Python before 3.11 says of a NUL
        assert str(parse("model,performance,metric\nm,1\0002,x\n")[0].outcome) == "FAILURE"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((word, "SUCCESS") for word in ("SUCCESS", "", "ok", "Passed", "PASS", "completed", "True")),
        *(
            (word, "FAILURE")
            for word in ("FAILURE", "Fail", "failed", "f", "Err", "ERROR: OOM", "timeout", "no")
        ),
        *((word, "FAILURE") for word in ("0", "running", "SKIPPED", "N/A", "ＦＡＩＬ")),
    ],
)
def test_explicit_failure_is_kept(status: str, outcome: str) -> None:
    """faults 1.11: given a status that is no word for success, then the row is a FAILURE."""
    assert str(parse(f"model,performance,metric,status\nm,1,x,{status}\n")[0].outcome) == outcome


def test_perf_csv_columns_replace_and_others_are_extra() -> None:
    metric = parse(
        "model,performance,metric,n_gpus,gpu_architecture,benchmark,status,\nm,1,x,4,,serve,SUCCESS,7\n"
    )[0]
    assert metric.overrides == {"n_gpus": "4"}
    assert metric.extra == {"benchmark": "serve"}


@pytest.mark.parametrize("column", ["model", "performance", "metric"])
def test_missing_column(column: str) -> None:
    """Contract 12.3: exact text."""
    header = [name for name in ("model", "performance", "metric", "other") if name != column]
    with pytest.raises(ResultError) as error:
        parse(",".join(header) + "\n1,2,3\n")
    assert error.value.message == f"Multiple Results CSV file is missing the {column} column"
    assert "other" in error.value.hint


@pytest.mark.parametrize(
    "text", ["", "\n\n", "model,performance,metric\n", "model,performance,metric\n \n\n"]
)
def test_no_rows(text: str) -> None:
    """Contract 12.3: exact text."""
    with pytest.raises(ResultError, match=r"^multiple_results file f\.csv has no rows$"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('model,performance,metric\n1,"10,sps\n2,20,sps\n', "ends inside a quoted cell"),
        ("model,performance,metric\n1,1,234,sps\n", "line 2: 4 cells, but 3 columns"),
        ("model,performance,performance,metric\n1,1,2,sps\n", "has the performance column more than once"),
        (f"model,performance,metric\n1,{'1' * 140_000},sps\n", "line 2: field larger than field limit"),
    ],
)
def test_broken_files_are_refused(text: str, message: str) -> None:
    """A wrong value must not be read out of a broken line."""
    with pytest.raises(ResultError) as error:
        parse(text)
    assert message in error.value.message


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_bom_quotes_and_short_rows(end: str) -> None:
    text = end.join(["\ufeffmodel,performance,metric,note", '"a,b", "1,5" ,x', "c,2,y,z,,"])
    assert [(m.row, m.value, m.extra["note"]) for m in parse(text)] == [("a,b", "1,5", ""), ("c", "2", "z")]


@given(st.text(alphabet=st.sampled_from(list('model,performance,metric\n\r" 1a\x00\x02é')), max_size=80))
def test_any_text_gives_rows_or_a_result_error(text: str) -> None:
    for candidate in (text, f"model,performance,metric\n{text}"):
        with contextlib.suppress(ResultError):
            assert parse(candidate)


CELLS = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0\x02"), max_size=12
).map(lambda text: unstyled(text).strip())


@given(st.lists(st.tuples(CELLS.filter(bool), CELLS, CELLS), min_size=1, max_size=5))
def test_what_a_csv_writer_wrote_is_read_back(rows: list[tuple[str, str, str]]) -> None:
    import csv
    import io

    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerow(["model", "performance", "metric"])
    writer.writerows(rows)
    found = [(m.row, m.value, m.name) for m in parse(buffer.getvalue())]
    assert found == [(row, read_cell(value).value, name) for row, value, name in rows]


def test_coloured_cells_are_read_as_a_terminal_shows_them() -> None:
    """faults 1.14: given cells and a header in colour / then names and values are clean."""
    csv_text = (
        "\x1b[1mmodel\x1b[0m,performance,metric\x1b(B\n\x1b[31ma\x1b[0m,\x1b[32m5\x1b(B\x1b[m,tok/s\x0f\n"
    )
    assert [(m.row, m.value, m.name) for m in parse(csv_text)] == [("a", "5", "tok/s")]
