"""Sizes as people read them (contract 13.4), and small helpers."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.data.probe import within
from pytest_madengine.data.progress import TransferState, human_size, measured, no_progress
from pytest_madengine.data.provider import Unusable


@pytest.mark.parametrize(
    ("size", "text"),
    [
        *[(0, "0"), (1, "1"), (1023, "1023"), (1024, "1.0K"), (1025, "1.1K"), (10 * 1024, "10K")],
        *[(1288490188, "1.2G"), (1288490189, "1.3G"), (10 * 1024**2 - 1, "10M"), (1024**2 - 1, "1.0M")],
        *[(1024**3, "1.0G"), (1023 * 1024, "1023K"), (1023 * 1024 + 1, "1.0M"), (5 * 1024**6, "5.0E")],
        (5000 * 1024**6, "5000E"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    """Contract 13.4: `1.2G`."""
    assert human_size(size) == text


@given(st.integers(0, 2**70))
def test_sizes_are_rounded_up_and_close(size: int) -> None:
    text = human_size(size)
    power = "KMGTPE".find(text[-1]) + 1
    value = float(text.rstrip("KMGTPE")) * 1024**power
    assert size * 0.9999 <= value <= size * 1.11 + 1


def test_a_state_without_time() -> None:
    no_progress(state := TransferState("d", "aws", 0, 1, 0, 5, 0.0))
    assert state.line() == "data d from aws: 0 of 5, 0 of 1 files, 0/s"


def test_measuring_ends(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"123")
    (tmp_path / "l").symlink_to("/usr")
    assert measured(tmp_path) == 3 + len("/usr")
    ticks = itertools.count(0, 10)
    assert measured(tmp_path, lambda: next(ticks)) is None
    assert measured(tmp_path / "absent") is None


def test_within() -> None:
    """A question to the network has an answer, an error, or a limit."""
    assert within(5, "no", lambda: 7) == 7
    assert within(5, "no", lambda: None) is None
    with pytest.raises(KeyError):
        within(5, "no", lambda: {}["x"])
    gate = threading.Event()
    with pytest.raises(Unusable, match=r"^silent within 0 seconds$"):
        within(0, "silent", gate.wait)
    gate.set()
