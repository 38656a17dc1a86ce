"""What is seen over a whole session, over many runs, and between two candidates."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.gate import words
from pytest_madengine.gate.drift import drift
from pytest_madengine.gate.paired import duet
from pytest_madengine.gate.session import session_shift

STEADY = [100, 101, 99, 100.5, 99.5, 100, 101, 99, 100.2, 99.8]
anything = st.floats(allow_nan=True, allow_infinity=True)


def test_eight_metrics_that_lost_a_tenth_are_the_host() -> None:
    metrics = [(STEADY, 90 + number * 0.1, 1) for number in range(8)]
    assert session_shift(metrics) == pytest.approx(math.log(0.9035), abs=0.003)
    assert session_shift(metrics[:7]) is None, "too few to say something about the session"


def test_a_latency_that_grows_is_a_loss() -> None:
    assert session_shift([(STEADY, 110.0, -1)] * 8) == pytest.approx(-math.log(1.1), abs=0.003)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([100.0] * 8, id="nothing"),
        pytest.param([110.0] * 8, id="a gain is never taken out"),
        pytest.param([99.0] * 8, id="less than 2 %"),
        pytest.param([90.0] * 3 + [100.0] * 5, id="three models got slower, not the host"),
        pytest.param([90.0] * 5 + [101.0] * 3, id="not three quarters"),
        pytest.param([60, 70, 80, 90, 110, 97, 75, 99.0], id="nothing common"),
    ],
)
def test_no_common_loss(values: list[float]) -> None:
    assert session_shift([(STEADY, value, 1) for value in values]) is None


def test_metrics_without_baseline_do_not_count() -> None:
    usable = [(STEADY, 90.0, 1)] * 7
    assert session_shift([*usable, (STEADY[:2], 90.0, 1), (STEADY, 90.0, 0), (STEADY, math.nan, 1)]) is None


def _falling(runs: int, slope: float = 0.005) -> list[float]:
    return STEADY + [100 * math.exp(-slope * age) for age in range(1, runs + 1)]


def test_a_drift_is_seen_by_the_first_runs_or_by_a_pin() -> None:
    assert not drift(_falling(6)[:-1], _falling(6)[-1:], None, 1)
    assert drift(_falling(20)[:-1], _falling(20)[-1:], None, 1)
    assert drift(_falling(20), [], 100.0, 1)
    assert not drift(_falling(20), [], 90.0, 1), "the pin was moved"
    assert not drift(_falling(20), [], None, -1), "less is better"
    assert not drift(STEADY * 3, [100.0], None, 1)


@given(st.lists(anything, max_size=40), st.lists(anything, max_size=2), st.none() | anything)
def test_any_floats_drift_or_not(history: list[float], new: list[float], pinned: float | None) -> None:
    assert drift(history, new, pinned, 1) in (True, False)


@pytest.mark.parametrize(
    ("pairs", "direction", "word"),
    [
        ([(100, 90), (101, 90.5), (99, 89.5), (100, 90.2)], 1, "regression"),
        ([(100, 90), (101, 90.5), (99, 89.5), (100, 90.2)], -1, "improved"),
        ([(100, 100.1), (101, 100.8), (99, 99.2), (100, 99.9)], 1, "pass"),
        ([(100, 99.2)] * 4, 1, "pass"),
        ([(100, 98.6)] * 4, 1, "inconclusive"),
        ([(100, 80), (100, 99), (100, 101), (100, 98)], 1, "inconclusive"),
        ([(0, 0)] * 4, 1, "pass"),
        ([(10, 0)] * 4, 1, "regression"),
        ([], 1, "no-baseline"),
        ([(math.nan, 1)], 1, "no-baseline"),
        ([(100, 90)] * 4, 0, "no-baseline"),
    ],
)
def test_pairs(pairs: list[tuple[float, float]], direction: int, word: str) -> None:
    assert duet(pairs, direction).word == word


def test_a_session_that_is_slow_for_both_is_nobodys_fault() -> None:
    found = duet([(50, 50.2), (100, 99.9), (75, 75.1), (60, 59.9)], 1)
    assert found.word == words.PASS
    assert found.change == pytest.approx(0, abs=0.01)
    assert found.low < 0 < found.high


@given(st.lists(st.tuples(anything, anything), max_size=8), st.sampled_from([-1, 0, 1]))
def test_any_pairs_have_a_verdict(pairs: list[tuple[float, float]], direction: int) -> None:
    assert duet(pairs, direction).word in words.ORDER


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0.1, 1e4)), min_size=1, max_size=8))
def test_turned_pairs_have_the_turned_verdict(pairs: list[tuple[float, float]]) -> None:
    turned = {words.REGRESSION: words.IMPROVED, words.IMPROVED: words.REGRESSION}
    one, two = duet(pairs, 1).word, duet(pairs, -1).word
    assert turned.get(one, one) == two or words.INCONCLUSIVE in (one, two)
