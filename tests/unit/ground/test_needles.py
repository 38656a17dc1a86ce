"""Many texts looked for in one pass."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_madengine.needles import Needles

NEEDLES = st.lists(st.text("abZ|\\.é", min_size=2, max_size=12), min_size=1, max_size=40)
PIECES = st.lists(st.text("abZ|\\.é\n", max_size=6), max_size=6)


def expected(haystack: str | bytes, needles: list[str] | list[bytes]) -> set[tuple[int, int]]:
    """Every place at which a needle stands."""
    return {
        (start, start + len(needle))
        for needle in needles
        for start in range(len(haystack))
        if haystack[start : start + len(needle)] == needle
    }


@given(NEEDLES, PIECES, st.data())
@example(["ab"], ["abab"], None)
def test_every_occurrence_is_found(needles: list[str], pieces: list[str], data: st.DataObject | None) -> None:
    """Given few and many needles that overlap and hold each other / their places are found, no others."""
    if data is not None:
        pieces += data.draw(st.lists(st.sampled_from(needles), max_size=6))
    haystack = "".join(pieces)
    found = Needles(needles).spans(haystack)
    assert set(found) == expected(haystack, needles)
    assert len(found) == len(set(found))
    encoded = [needle.encode() for needle in needles]
    assert set(Needles(encoded).spans(haystack.encode())) == expected(haystack.encode(), encoded)


@pytest.mark.parametrize("count", [1, 12, 13, 300])
def test_needles_of_every_number(count: int) -> None:
    needles = [f"secret-{number:03}-Qx" for number in range(count)]
    haystack = " and ".join(needles)
    assert len(Needles(needles).spans(haystack)) == count
    assert Needles(needles).spans("secret-999-Qx secret-00") == []


def test_without_needles() -> None:
    assert Needles[str]([]).spans("x") == []
