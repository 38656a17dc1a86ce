"""Lines and columns in JSON texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_madengine.lint.positions import JsonPositions, Positions

TEXT = """[
  {"name": "a", "tags": ["x", {"y": 1}]},
  {"näme" :
      "b"}
]"""


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        ([], False, (1, 1)),
        ([0], False, (2, 3)),
        ([0, "name"], False, (2, 12)),
        ([0, "name"], True, (2, 4)),
        ([0, "tags", 0], False, (2, 26)),
        ([0, "tags", 1, "y"], False, (2, 37)),
        ([1, "näme"], True, (3, 4)),
        ([1, "näme"], False, (4, 7)),
    ],
)
def test_places(path: list[Any], key: bool, expected: tuple[int, int]) -> None:
    assert JsonPositions(TEXT).of(path, key=key) == expected


@pytest.mark.parametrize("path", [[7], [0, "absent"], [0, "name", "deeper"], ["name"], [0, 3], [-1]])
def test_what_is_absent_is_where_its_parent_stands(path: list[Any]) -> None:
    expected = {0: (2, 3)}.get(path[0], (1, 1)) if path != [0, "name", "deeper"] else (2, 12)
    assert JsonPositions(TEXT).of(path) == expected


def test_the_last_of_two_keys_counts() -> None:
    positions = JsonPositions('{"a": 1, "b": {"c": 1, "c": 2},\n "a": 3}')
    assert positions.of(["a"]) == (2, 7)
    assert [(member.name, positions.at(member.key)) for member in positions.duplicates()] == [
        ("a", (2, 2)),
        ("c", (1, 24)),
    ]


@pytest.mark.parametrize(("offset", "expected"), [(0, (1, 1)), (2, (1, 3)), (3, (2, 1)), (5, (3, 2))])
def test_lines_of_text(offset: int, expected: tuple[int, int]) -> None:
    assert Positions("ab\n\ncd").at(offset) == expected


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
BLANKS = st.text(" \t\n\r", max_size=3)


def paths(value: Any) -> Iterator[tuple[Any, ...]]:
    """The paths of all values."""
    yield ()
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part in pairs:
        yield from ((step, *path) for path in paths(part))


def written(value: Any, blank: Any, escape: bool) -> str:
    """JSON with blanks wherever they are allowed."""
    if isinstance(value, dict):
        members = (
            f"{blank()}{json.dumps(key, ensure_ascii=escape)}{blank()}:{written(part, blank, escape)}"
            for key, part in value.items()
        )
        text = "{" + (",".join(members) or blank()) + "}"
    elif isinstance(value, list):
        text = "[" + (",".join(written(part, blank, escape) for part in value) or blank()) + "]"
    else:
        text = json.dumps(value, ensure_ascii=escape)
    return f"{blank()}{text}{blank()}"


@settings(deadline=None)
@given(st.data(), VALUES, st.booleans())
def test_every_value_is_found(data: st.DataObject, value: Any, escape: bool) -> None:
    """What stands at the place of a path is the value at that path, however the text is laid out."""
    text = written(value, lambda: data.draw(BLANKS), escape)
    positions = JsonPositions(text)
    for path in paths(value):
        expected = value
        for step in path:
            expected = expected[step]
        offset = positions.offset(path)
        assert json.JSONDecoder().raw_decode(text, offset)[0] == expected
        line, column = positions.at(offset)
        assert sum(map(len, text.split("\n")[: line - 1])) + line - 1 + column - 1 == offset
        if path and isinstance(path[-1], str):
            assert json.JSONDecoder().raw_decode(text, positions.offset(path, key=True))[0] == path[-1]
    assert list(positions.duplicates()) == []
