"""JSON that others wrote: a value, or one line that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.util.jsontext import JsonTextError, parse, parse_first, read

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(), parts, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9" * 5000, "a number of 5,000 digits"),
        ('{"timeout": -' + "1" * 5000 + "}", "a number of 5,000 digits"),
        ("[1e999]", "a number is too large"),
        ("[NaN]", "NaN is not JSON"),
        ("[" * 100_000, "nested deeper than 100"),
        ("[" * 101 + "]" * 101, None),
        ("[" * 102 + "]" * 102, "nested deeper than 100"),
        ('{"a":' * 300 + "1" + "}" * 300, "nested deeper than 100"),
        (b"[\n\xff]", "not UTF-8 text at line 2 column 1"),
        ('["\\ud800"]', r"lone surrogate '\ud800'"),
        ("", "Expecting value at line 1 column 1"),
    ],
)
def test_a_text_that_cannot_be_used_gives_one_line(text: str | bytes, reason: str | None) -> None:
    """faults 2.13: given a number of thousands of digits, deep nesting, ..., then one error."""
    if reason is None:
        assert parse(text) is not None
        return
    with pytest.raises(JsonTextError) as caught:
        parse(text)
    assert str(caught.value) == reason


@given(_VALUES)
def test_what_json_wrote_is_read(value: object) -> None:
    """Any value of a reasonable size comes back, as text and as bytes with a byte order mark."""
    text = json.dumps(value)
    assert parse(text) == value
    assert parse(b"\xef\xbb\xbf" + text.encode()) == value


@given(st.text() | st.binary() | st.lists(st.sampled_from(list('[]{},:"\\019eEN-.'))).map("".join))
def test_any_text_gives_a_value_or_the_one_error(text: str | bytes) -> None:
    """No other exception comes out, and the reason is one line."""
    try:
        value, reason = parse(text), ""
    except JsonTextError as error:
        value, reason = None, str(error)
    json.dumps(value, ensure_ascii=False).encode()
    assert "\n" not in reason


def test_constants_and_what_follows_are_accepted_where_a_tool_wrote_it() -> None:
    """Python writes NaN, and tools print warnings after their JSON."""
    assert parse("[Infinity]", constants=True) == [float("inf")]
    assert parse_first('WARNING\n[{"gpu": 0}]\nbye [', 8) == [{"gpu": 0}]


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    """Given an endless file, then no more than the limit is read."""
    with pytest.raises(JsonTextError, match="longer than 1,000 bytes"):
        read(Path("/dev/zero"), limit=1000)
    (tmp_path / "a.json").write_text("[1]")
    assert read(tmp_path / "a.json") == [1]
