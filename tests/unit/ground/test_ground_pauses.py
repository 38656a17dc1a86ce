"""The garbage collector is as it was after every use."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from pytest_madengine.plugin.garbage import garbage_collector_paused, set_aside


@pytest.fixture(autouse=True)
def _collector_restored() -> Iterator[None]:
    enabled = gc.isenabled()
    yield
    gc.unfreeze()
    if enabled:
        gc.enable()
    else:
        gc.disable()


def test_paused_inside_only() -> None:
    gc.enable()
    with garbage_collector_paused():
        assert not gc.isenabled()
        with garbage_collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_ends_the_pause() -> None:
    gc.enable()
    with pytest.raises(KeyError), garbage_collector_paused():
        raise KeyError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with garbage_collector_paused():
        pass
    assert not gc.isenabled()


def test_set_aside_until_undone() -> None:
    gc.unfreeze()
    undo = set_aside()
    assert gc.get_freeze_count() > 0
    undo()
    assert gc.get_freeze_count() == 0


def test_what_others_set_aside_stays_so() -> None:
    gc.freeze()
    set_aside()()
    assert gc.get_freeze_count() > 0
