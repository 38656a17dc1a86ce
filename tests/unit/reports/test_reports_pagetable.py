"""The table of a page, its encoding, and the band around values."""

from __future__ import annotations

import base64
import json
import random
import statistics
import zlib
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.gate.direction import direction
from pytest_madengine.reports.pages import trends as bands
from pytest_madengine.reports.pages.encode import encode_json, encode_table
from pytest_madengine.reports.pages.table import Column, Table
from pytest_madengine.reports.pages.trends import BETTER, INSIDE, NONE, OUTSIDE, WEAK, WORSE, trends
from pytest_madengine.results.readings import number

HEADER = ("model", "metric", "gpu_architecture", "performance", "status")


def decode(text: str) -> tuple[dict[str, Any], list[list[str]], dict[str, list[float]]]:
    """What ``js/data.js`` does: facts, columns of cells, arrays of numbers."""
    data = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + length])
    place = 4 + length + -length % 4

    def take(code: str) -> list[Any]:
        nonlocal place
        values = array(code)
        values.frombytes(data[place : place + values.itemsize * head["rows"]])
        place += len(values) * values.itemsize + -(len(values) * values.itemsize) % 4
        return list(values)

    columns = []
    for column in head["columns"]:
        values, bits = column["values"], column["bits"]
        code = {8: "B", 16: "H", 32: "I"}.get(bits, "")
        columns.append([values[place] for place in take(code)] if code else list(values))
    numbers = {entry["name"]: take(entry["type"]) for entry in head["numbers"]}
    assert place == len(data)
    return head, columns, numbers


def table_of(rows: list[list[str]], names: list[str]) -> Table:
    table = Table(names)
    table.add(rows)
    return table


@given(st.lists(st.lists(st.text(max_size=6), min_size=3, max_size=3), max_size=40))
def test_columns_come_out_as_they_went_in(rows: list[list[str]]) -> None:
    """Given any cells / encoded and decoded / equal, but for half surrogate pairs, which are no text."""
    table = table_of(rows, ["a", "b", "a"])
    verdicts, halves = array("B", [7] * len(rows)), array("f", [0.5] * len(rows))
    encoded = encode_table(table.columns, {"v": verdicts, "h": halves}, {"rows": len(rows), "x": "</script>"})
    assert set(encoded) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
    head, columns, numbers = decode(encoded)
    assert head["x"] == "</script>"
    assert [column["name"] for column in head["columns"]] == ["a", "b", "a"]
    expected = [
        [text.encode("utf-8", "replace").decode() for text in column] for column in zip(*rows, strict=True)
    ]
    assert columns == (expected or [[], [], []])
    assert numbers == {"v": [7] * len(rows), "h": [0.5] * len(rows)}


@pytest.mark.parametrize("distinct, bits", [(2, 8), (256, 8), (257, 16), (70_000, 32)])
def test_indices_are_as_wide_as_they_must_be(distinct: int, bits: int) -> None:
    column = Column("c")
    cells = [str(place % distinct) for place in range(2 * distinct + 1)]
    column.extend(cells)
    head, columns, _ = decode(encode_table([column], {}, {"rows": len(cells)}))
    assert head["columns"][0]["bits"] == bits
    assert columns == [cells]


def test_json_values_are_encoded() -> None:
    value = {"text": "\u2028</script><!--", "half": "\ud800"}
    assert json.loads(zlib.decompress(base64.b64decode(encode_json(value)))) == {**value, "half": "?"}


def test_rows_of_any_length() -> None:
    """A short row is filled, a long one adds a column without a name, also when it comes late."""
    table = table_of([["1"], ["2", "3"]] + [["4", "5"]] * 5000 + [["6", "7", "8"]], ["a", "b"])
    assert [column.name for column in table.columns] == ["a", "b", ""]
    rows = list(zip(*table.columns, strict=True))
    assert rows[:2] == [("1", "", ""), ("2", "3", "")]
    assert rows[-1] == ("6", "7", "8")
    assert list(table.last(2)) == rows[-2:]
    assert table.rows == len(rows) == 5003
    assert list(table.last(9999)) == rows
    assert table.cells("absent") == [""] * 5003
    with pytest.raises(ValueError, match="1 cells instead of 5003"):
        table.append(Column("x", 1))


@pytest.mark.parametrize("text", ["1", " 1.5 ", "-.5", "5.", "1e3", "+2E-4"])
def test_numbers(text: str) -> None:
    assert number(text) == float(text)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1_000", "0-1", "1,5", "1e999", "٣", "0x10", "1e"])
def test_texts_that_are_no_numbers(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize(
    "metric, expected",
    [
        *(
            (name, 1)
            for name in ("samples_per_second", "tokens/s", "tokens/s/gpu", "tok/s", "MB/s", "TFLOPS")
        ),
        *(
            (name, 1)
            for name in (
                "accuracy",
                "rouge1",
                "bus_bandwidth_GBps",
                "tokens_per_watt",
                "images/min",
                "requests per second",
                "sps",
            )
        ),
        *(
            (name, -1)
            for name in ("latency_ms", "ttft", "time_per_output_token", "loss", "s/it", "ms_per_step")
        ),
        *(
            (name, -1)
            for name in ("peak_mem", "word_error", "perplexity", "duration", "seconds", "elapsed time")
        ),
        *((name, 0) for name in ("", "pass", "cpu_bound", "context", "width")),
    ],
)
def test_direction_of_a_metric(metric: str, expected: int) -> None:
    assert direction(metric) == expected


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=20))
def test_band_is_the_formula(values: list[float]) -> None:
    """Median +- max(5 %, 3 x 1.4826 x MAD); 10 % below five values."""
    middle, half = bands.band(values)
    median = statistics.median(values)
    deviation = statistics.median(abs(value - median) for value in values)
    share = 0.05 if len(values) >= 5 else 0.1
    assert middle == pytest.approx(median)
    assert half == pytest.approx(max(share * median, 3 * 1.4826 * deviation))


def test_band_of_what_cannot_be_drawn() -> None:
    assert bands.band([1e308, -1e308, 1e308]) == (0.0, 0.0)
    assert bands.band([0.0, 0.0]) == (0.0, 0.0)


def series(values: list[str], metric: str = "tokens/s", statuses: dict[int, str] | None = None) -> list[int]:
    rows = [["m", metric, "gfx", value, (statuses or {}).get(n, "SUCCESS")] for n, value in enumerate(values)]
    return list(trends(table_of(rows, list(HEADER))).verdict)


def test_verdicts() -> None:
    """The first value has none, the next four are judged weakly, failures neither count nor are judged."""
    assert series(["100"] * 6 + ["94", "96", "106"]) == [
        NONE,
        *[INSIDE | WEAK] * 4,
        INSIDE,
        WORSE,
        INSIDE,
        BETTER,
    ]
    assert series(["100", "80"])[1] == WORSE | WEAK
    assert series(["100"] * 6 + ["94"], "latency")[-1] == BETTER
    assert series(["100"] * 6 + ["94"], "pass")[-1] == OUTSIDE
    assert series(["100"] * 6 + ["94"], statuses={6: "FAILURE"})[-1] == NONE
    assert (
        series(["100"] + ["50"] * 5 + ["100"], statuses=dict.fromkeys(range(1, 6), "FAILURE"))[-1]
        == INSIDE | WEAK
    )
    assert series(["0"] * 6 + ["1"])[-1] == NONE
    assert series(["100", "text", "", "nan", "100"]) == [NONE, NONE, NONE, NONE, INSIDE | WEAK]


def test_only_the_last_twenty_values_count() -> None:
    assert series(["1"] * 30 + ["100"] * 20 + ["99"])[-1] == INSIDE


def test_series_are_model_metric_and_architecture() -> None:
    rows = [["m", "a", "x", "1", "SUCCESS"], ["m", "b", "x", "2", "SUCCESS"], ["m", "a", "y", "3", "SUCCESS"]]
    found = trends(table_of([*rows, ["n", "", "", "", "FAILURE"], rows[0]], list(HEADER)))
    assert found.series == [("m", "a", "x"), ("m", "b", "x"), ("m", "a", "y")]
    assert list(found.series_of) == [1, 2, 3, 0, 1]
    assert found.latest() == [4, 1, 2]


def test_a_table_of_something_else_has_no_trends() -> None:
    found = trends(table_of([["1"], ["2"]], ["a"]))
    assert (found.series, list(found.series_of), found.latest()) == ([], [0, 0], [])


def test_gate_of_a_noisy_series_does_not_cry() -> None:
    """Noise of 1 % is within 5 % of the median."""
    chance = random.Random(3)
    verdicts = series([f"{100 * chance.gauss(1, 0.01):.3f}" for _ in range(200)])
    assert sum(verdict & 7 != INSIDE for verdict in verdicts[5:]) == 0
