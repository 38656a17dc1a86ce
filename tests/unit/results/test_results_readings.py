"""The one grammar of numbers and status words (docs/reference/formats.md), and its properties."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_madengine.results.lines import LineValues, read_cell, read_line, trainer_value
from pytest_madengine.results.readings import Kind, means_success, number, read
from pytest_madengine.results.record import Metric

MEANT = [
    ("1 234,5 x", "1234.5", "x"),
    ("1.234,5 x", "1234.5", "x"),
    ("1.234.567,8 x", "1234567.8", "x"),
    ("1,234.5 x", "1234.5", "x"),
    ("1,234 x", "1234", "x"),
    ("1.234 x", "1.234", "x"),
    ("2.06M tok/s", "2060000", "tok/s"),
    ("2.06 M tok/s", "2060000", "tok/s"),
    ("2.06k, tok/s", "2060", "tok/s"),
    ("1,234k tok/s", "1234000", "tok/s"),
    ("-1.5G", "-1500000000", ""),
    ("3Ki tok", "3072", "tok"),
    ("2.06Mtok/s", "2.06", "Mtok/s"),
    ("12ms", "12", "ms"),
    ("96%", "96", "%"),
    ("123 ± 0.5 tok/s", "123", "tok/s"),
    ("123 +/- 0.5% tok/s", "123", "tok/s"),
    ("123 ± 0.5", "123", ""),
    ("1e5 x", "1e5", "x"),
    ("5 x tail", "5", "x"),
    ("5 °C", "5", "°C"),
    ("100 99th_percentile_ms", "100", "99th_percentile_ms"),
    ("120 512x512_images/s", "120", "512x512_images/s"),
]
AMBIGUOUS = [
    *("1 234 x", "1 234 567 x", "1 234ms", "1, 234.5 x", "5, 6 x", "5 +3 x", "5 -3 x", "1 ２３４ x", "1 ½ x"),
    *("0x10 x", "0b11 x", "0x1p3 x", "1e5.2 x", "1.5D+03 x", "1.5e x", "1e+ x", "5x10^3 tok", "5 x 10^3 tok"),
    *(
        "1/2 x",
        "1 /2 x",
        "12B tok/s",
        "5 B tail",
        "5m tail",
        "5 million tok",
        "120 - 125 x",
        "5 | x",
        "5 : x",
    ),
    *("5 (±0.5) x", "123 ± x", "1e999 x", "5 -- x", "5 \x006 x", "1" * 5000 + " x"),
]
REFUSED = [
    "12,3 s/s",
    "1,2345 x",
    "5_000 x",
    "5'000 x",
    "1\x002 x",
    "１２ x",
    "−5 x",
    "123±0.5 x",
    "nan x",
    "$5",
    "~5",
]


@pytest.mark.parametrize(("text", "value", "unit"), MEANT)
def test_the_number_meant(text: str, value: str, unit: str) -> None:
    """faults 1.12: given a number that can only mean one, then it is that one, with the right metric."""
    assert read_line(f"performance: {text}") == LineValues(((value, unit),))


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_an_ambiguous_number(text: str) -> None:
    """faults 1.12: given a number that goes on, or could be several, then no part of it is taken."""
    assert read_line(f"performance: {text}") == LineValues((), ambiguous=True)


@pytest.mark.parametrize("text", REFUSED)
def test_no_value(text: str) -> None:
    assert read_line(f"performance: {text}") == LineValues()


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        *((text, Kind.NUMBER, text) for text in ("10", "-3.5", "+5", ".5", "5.", "1e5", "0", "0.0", "00012")),
        *((text, Kind.NUMBER, "1234.5") for text in ("1,234.5", "1.234,5", "1 234,5", "1234.5 ± 2")),
        *(
            (text, Kind.TEXT, text)
            for text in ("14-18|32", "12:30", "12 tok/s", "96%", "cpu_bound", "v1.2.3")
        ),
        *(
            (text, Kind.NOTHING, text)
            for text in ("", "NaN", "-inf", "∞", "(n/a)", "None", "ERROR: OOM", "timed out")
        ),
        *(
            (text, Kind.AMBIGUOUS, text)
            for text in ("12,3", "1_000", "1'234.5", "0x10", "1e", "２", "1 2", "1e999")
        ),
    ],
)
def test_a_cell(text: str, kind: Kind, value: str) -> None:
    """faults 1.11: what a cell of a result file says."""
    reading = read_cell(f" {text} ")
    assert (reading.kind, reading.value) == (kind, value)


@pytest.mark.parametrize(
    "text", ["nan", "inf", "1_0", "１２", "0x1", "1,0", "", "1e999", "1" * 5000, "1\n2", "٣"]
)
def test_what_python_takes_for_a_number_and_we_do_not(text: str) -> None:
    assert number(text) is None
    assert Metric(text, "x").number is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{'train_samples_per_second': 4.23, 'epoch': 1}", ("4.23", False)),
        ("train_samples_per_second = 1,234.5", ("1234.5", False)),
        ("train_samples_per_second: 4.23k", ("", True)),
        ("train_samples_per_second: 0x10", ("", True)),
        ("train_samples_per_second: 1.2.3", ("", True)),
        ("train_samples_per_second: 1 train_samples_per_second: 2", ("2", False)),
        ("train_samples_per_second: nan", ("", False)),
    ],
)
def test_the_fallback(line: str, expected: tuple[str, bool]) -> None:
    """faults 1.12: the same grammar for the line of the Hugging Face trainer."""
    assert trainer_value(line) == expected


_DIGITS = st.text(st.sampled_from("0123456789"), min_size=1, max_size=12)
_HARD = st.lists(
    st.sampled_from([*"0123456789.,'_ +-eExXkMGB%±/:|~^\t\0１−½", "nan", "inf", "123", "234"]), max_size=14
).map("".join)


def _numerals(text: str) -> list[str]:
    return re.findall("[0-9]+", text)


@given(_HARD | st.text(max_size=20))
@example("1 234,5")
@example("1e5.2")
def test_never_a_part_of_a_number(text: str) -> None:
    """faults 1.12: given any text, when it is read as a number, then every digit of it is in that number, or
    it is a factor or a tolerance that the grammar knows; a number is finite and plain."""
    reading = read(text)
    if reading.kind is not Kind.NUMBER:
        assert reading.value == text.strip()
        return
    value = number(reading.value)
    assert value is not None
    core = re.split(r"[ \t]*(?:±|\+/-|\+-)", text.strip())[0]
    if core[-1].isalpha():
        factor = re.sub("[^A-Za-z]+", "", core[-2:])
        assert factor in ("k", "K", "M", "G", "T", "Ki", "Mi", "Gi", "Ti")
    else:
        assert "".join(_numerals(reading.value)) == "".join(_numerals(core))


@given(_HARD | st.text(max_size=20), st.sampled_from(["", " tok/s", " x tail", ", m"]))
@example("1 234", " tok/s")
def test_a_line_has_every_digit_or_none(text: str, tail: str) -> None:
    """faults 1.12: given a line with one number and a metric without digits, when a value is taken, then the
    first run of digits and separators is all of it."""
    for value, unit in read_line(f"performance: {text}{tail}").found:
        assert number(value) is not None
        assert not unit.isdecimal()
        assert Decimal(value).is_finite()


@given(st.integers(-(10**15), 10**15), st.integers(0, 3), st.sampled_from(["", "k", "M", "G", "T"]))
def test_every_notation_of_a_number_means_it(digits: int, places: int, factor: str) -> None:
    """faults 1.12: given a number written plainly, with thousands or a factor, then it is that number."""
    exact = Decimal(digits).scaleb(-places)
    text = f"{exact:,.{places}f}{factor}"
    power = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12}[factor]
    reading = read(text)
    assert reading.kind is Kind.NUMBER
    assert Decimal(reading.value) == exact.scaleb(power)
    if power or abs(exact) >= 1000 or "," not in text:
        assert read_line(f"performance: {text} tok/s").found == ((reading.value, "tok/s"),)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_python_prints_of_a_float_is_read_back(value: float) -> None:
    assert number(repr(value)) == value
    assert read(repr(value)).kind is Kind.NUMBER


@given(st.text(max_size=12))
def test_a_word_for_failure_is_never_a_success(text: str) -> None:
    """faults 1.11: given any status that is not a word for success, then no success."""
    assert not means_success(f"Fail{text}")
    assert not means_success(f"{text}0")
