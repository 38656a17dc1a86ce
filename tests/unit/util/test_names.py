"""Names that fit into a path component or a limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.util.names import hashed, safe_name, shortened


class TestSafeName:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("dummy_dummy.ubuntu.amd", "dummy_dummy.ubuntu.amd"),
            ("Upper/Case", "Upper_Case"),
            ("m[bs=1:x]", "m_bs_1_x_"),
            ("$(touch x); '\"\n", "__touch_x______"),
            ("\u00fc", "_"),
            ("", "_"),
            (".", "_"),
            ("..", "__"),
            ("../..", ".._.."),
        ],
    )
    def test_examples(self, text: str, name: str) -> None:
        """Contract 8.2: characters outside ``[A-Za-z0-9._-]`` as ``_``."""
        assert safe_name(text) == name

    def test_long_names_are_cut_and_stay_different(self) -> None:
        one, two = safe_name("m" * 300 + "1"), safe_name("m" * 300 + "2")
        assert len(one) == len(two) == 200
        assert one != two
        assert safe_name("m" * 200) == "m" * 200

    @given(st.text(st.characters()))
    def test_is_always_one_path_component(self, text: str) -> None:
        name = safe_name(text)
        assert name not in {"", ".", ".."}
        assert "/" not in name
        assert len(name) <= 200
        assert Path("/results", name).parent == Path("/results")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("abc", "abc"),
        ("a" * 20, "a" * 20),
        ("a" * 21, "aaaaaaaaaaa-7df8e299"),
        ("aaaaaaaa._-bbbbbbbbbbbbb", "aaaaaaaa-0464b446"),
    ],
)
def test_shortened(name: str, expected: str) -> None:
    """These hashes are in names of images, containers and logs of users."""
    assert shortened(name, 20) == expected


@given(st.text(st.characters()), st.text(st.characters()), st.integers(14, 60))
def test_hashed_names_fit_and_differ_by_their_source(readable: str, source: str, limit: int) -> None:
    name = hashed(readable, source, limit, digits=12)
    assert 12 <= len(name) <= limit
    assert name != hashed(readable, source + "x", limit, digits=12)
    assert not name.startswith("-") or readable.startswith("-")


def test_other_joints() -> None:
    assert shortened("a-" * 20, 20, strip="").startswith("a-a-a-a-a-a-")
    assert shortened("a" * 30, 20, joint="…-")[:12] == "aaaaaaaaaa…-"
