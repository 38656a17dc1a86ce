"""The rule of the gate: what each verdict means, and what must hold for any numbers."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pytest_madengine.gate import words
from pytest_madengine.gate.judge import baseline_of, decide
from pytest_madengine.gate.scale import median, normal_quantile, t_quantile

#: Ten runs at 100, one per cent apart at most.
STEADY = [100, 101, 99, 100.5, 99.5, 100, 101, 99, 100.2, 99.8]
#: From better to worse; ``rerun`` is not a verdict.
RANK = {words.IMPROVED: 0, words.PASS: 1, words.INCONCLUSIVE: 2, words.REGRESSION: 3}

positive = st.floats(1e-3, 1e6)
anything = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
histories = st.lists(positive, min_size=0, max_size=40)
quiet = st.lists(st.floats(97, 103), min_size=3, max_size=40)
directions = st.sampled_from([1, -1])


@pytest.mark.parametrize(
    ("history", "new", "word", "reason"),
    [
        (STEADY, [100], "pass", ""),
        (STEADY, [96], "pass", ""),
        (STEADY, [88], "rerun", ""),
        (STEADY, [88, 88], "regression", ""),
        (STEADY, [88, 100], "pass", ""),
        (STEADY, [112], "improved", ""),
        (STEADY[:3], [88], "inconclusive", "history"),
        (STEADY[:3], [70], "rerun", ""),
        (STEADY[:3], [70, 71], "regression", ""),
        (STEADY[:2], [10], "no-baseline", "too few runs"),
        ([], [10], "no-baseline", "too few runs"),
        (STEADY, [math.nan], "no-baseline", "not a number"),
        (STEADY, [], "no-baseline", "not a number"),
        # Noise of 10 %: a loss of 9 % says nothing.
        ([90, 110, 100, 85, 115, 95, 105, 100, 112, 88], [91], "inconclusive", "spread"),
        # A loss of five runs ago that nobody accepted.
        ([*STEADY, 89.5, 90, 90.5, 90, 89.8], [90], "inconclusive", "level"),
        ([*STEADY, 89.5, 90, 90.5, 90, 89.8], [100], "pass", ""),
        # An improvement is kept: what was normal before is a loss now.
        ([*STEADY, 112, 112.5, 111.5, 112], [100, 100], "regression", ""),
        ([100.0] * 10, [0.0, 0.0], "regression", ""),
        ([100.0] * 10, [-5.0, -5.0], "regression", ""),
        ([0.0] * 5, [0.0], "pass", ""),
        ([0.0] * 5, [-1.0, -1.0], "regression", ""),
        ([-10.0, -10.1, -9.9, -10, -10], [-10.0], "pass", ""),
        ([-10.0, -10.1, -9.9, -10, -10], [-13.0, -13.0], "regression", ""),
    ],
)
def test_verdicts(history: list[float], new: list[float], word: str, reason: str) -> None:
    found = decide(history, new, 1)
    assert (found.word, found.reason) == (word, reason)


def test_where_less_is_better() -> None:
    assert decide(STEADY, [112, 112], -1).word == "regression"
    assert decide(STEADY, [88], -1).word == "improved"
    assert decide(STEADY, [88], 0).reason == "direction unknown"


def test_numbers_of_a_verdict() -> None:
    """88 against 100: 12 % worse, beyond the band of 5 %, of ten runs, judged by two."""
    found = decide(STEADY, [88, 88.5], 1)
    assert (found.n, found.runs, found.value) == (10, 2, pytest.approx(88.5))
    assert found.baseline == pytest.approx(100)
    assert found.change == pytest.approx(-0.115)
    assert found.band == pytest.approx(0.05)
    slower = decide(STEADY, [112, 112], -1)
    assert slower.change == pytest.approx(100 / 112 - 1)


def test_options() -> None:
    assert decide(STEADY, [88], 1, {"confirm": 0}).word == "regression"
    assert decide(STEADY, [88, 88], 1, {"confirm": 2}).word == "regression", "1.5 bands decide early"
    assert decide(STEADY, [93, 93], 1, {"confirm": 2}).word == "rerun"
    assert decide(STEADY, [93, 93, 93], 1, {"confirm": 2}).word == "regression"
    assert decide(STEADY, [88, 88], 1, {"tolerance": 0.15}).word == "pass"
    assert decide([50] * 10 + STEADY, [94], 1, {"window": 5}).word == "rerun"
    lasting = [*STEADY, 89.5, 90, 90.5, 90, 89.8]
    assert decide(lasting, [90], 1, {"lasting": "fail"}).word == "regression"
    assert decide(lasting, [90], 1, {"lasting": "off"}).reason != "level"
    with pytest.raises(TypeError):
        decide(STEADY, [1], 1, {"tolerence": 0.1})


def test_a_common_loss_of_the_session_is_taken_out() -> None:
    assert decide(STEADY, [90, 90], 1).word == "regression"
    assert decide(STEADY, [90], 1, {"shift": math.log(0.9)}).word == "pass"
    assert decide(STEADY, [100], 1, {"shift": 0.5}).word == "pass", "a gain is never taken out"


def test_baseline_alone() -> None:
    found = baseline_of(STEADY, 1)
    assert found is not None
    assert (found.baseline, found.n) == (pytest.approx(100), 10)
    assert baseline_of(STEADY[:2], 1) is None
    assert baseline_of(STEADY, 0) is None


@given(histories, st.lists(positive, min_size=1, max_size=3), directions, st.floats(0.01, 1000))
def test_scaling_changes_no_verdict(
    history: list[float], new: list[float], direction: int, factor: float
) -> None:
    one = decide(history, new, direction)
    two = decide([value * factor for value in history], [value * factor for value in new], direction)
    assume(_clear(history, new, direction))
    assert (one.word, one.reason) == (two.word, two.reason)


@given(histories, st.lists(positive, min_size=1, max_size=3), directions)
def test_reciprocals_with_the_direction_turned_change_no_verdict(
    history: list[float], new: list[float], direction: int
) -> None:
    one = decide(history, new, direction)
    two = decide([1 / value for value in history], [1 / value for value in new], -direction)
    assume(_clear(history, new, direction))
    assert (one.word, one.reason) == (two.word, two.reason)


def _clear(history: list[float], new: list[float], direction: int) -> bool:
    """No number lies on a border: a change in the last digits changes nothing."""
    words_ = {
        decide([value * (1 + change) for value in history], new, direction).word
        for change in (0, 1e-7, -1e-7)
    }
    return len(words_) == 1


@given(quiet | histories, positive, positive, directions)
def test_a_worse_value_never_gets_a_better_verdict(
    history: list[float], one: float, two: float, direction: int
) -> None:
    better, worse = sorted((one, two), reverse=direction > 0)
    options = {"confirm": 0}
    first, second = (decide(history, [value], direction, options).word for value in (better, worse))
    assume(first != words.NO_BASELINE)
    assert RANK[first] <= RANK[second]


@given(quiet, st.floats(-0.04, 0.5), directions)
def test_a_loss_within_the_calm_part_of_the_tolerance_is_never_red(
    history: list[float], gain: float, direction: int
) -> None:
    value = median(history) * (1 + gain) ** direction
    assert decide(history, [value, value], direction, {"lasting": "off"}).word != words.REGRESSION


@given(histories, directions)
def test_the_median_is_never_red(history: list[float], direction: int) -> None:
    assume(history)
    assert decide(history, [median(history[-20:])], direction, {"confirm": 0}).word != words.REGRESSION


@given(st.integers(3, 40), st.floats(allow_nan=False, allow_infinity=False), directions)
def test_a_constant_history_and_its_value_pass(count: int, value: float, direction: int) -> None:
    assert decide([value] * count, [value], direction).word == words.PASS


@given(st.lists(anything, max_size=40), st.lists(anything, max_size=4), st.sampled_from([-1, 0, 1]))
def test_any_floats_have_a_verdict(history: list[float], new: list[float], direction: int) -> None:
    found = decide(history, new, direction)
    assert found.word in (*words.ORDER, words.RERUN)
    if direction == 0:
        assert found.word == words.NO_BASELINE


@given(histories, st.lists(positive, min_size=1, max_size=6), st.integers(0, 3), directions)
def test_never_more_runs_than_granted(
    history: list[float], new: list[float], confirm: int, direction: int
) -> None:
    found = decide(history, new, direction, {"confirm": confirm})
    assert found.word != words.RERUN or len(new) - 1 < confirm


@given(quiet, st.lists(st.sampled_from([math.nan, math.inf, -math.inf]), max_size=5), st.randoms())
def test_what_is_not_finite_is_as_if_absent(history: list[float], holes: list[float], chance: object) -> None:
    mixed = list(history)
    for hole in holes:
        mixed.insert(chance.randrange(len(mixed) + 1), hole)  # type: ignore[attr-defined]
    assert decide(mixed, [95.0], 1) == decide(history, [95.0], 1)


@pytest.mark.parametrize(
    ("tail", "freedom", "value"),
    # Tables of Student's t, one side.
    [(0.05, 4, 2.132), (0.005, 5, 4.032), (0.0005, 10, 4.587), (0.0005, 24, 3.745), (0.02, 23, 2.177)],
)
def test_quantiles_of_t(tail: float, freedom: int, value: float) -> None:
    assert t_quantile(tail, freedom) == pytest.approx(value, rel=0.01)


def test_quantile_of_the_normal_distribution() -> None:
    assert normal_quantile(0.0005) == pytest.approx(-3.2905, abs=1e-4)


def test_the_rule_needs_nothing_but_the_standard_library() -> None:
    """A decision loads neither numpy nor the statistics of the standard library."""
    code = (
        "import sys; before = set(sys.modules);"
        "from pytest_madengine.gate import judge, paired, session, drift;"
        "judge.decide([1.0] * 9, [0.5], 1);"
        "print({'numpy', 'scipy', 'statistics', 'random', 'decimal'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_worst_verdict_of_several() -> None:
    assert words.worst(["pass", "improved", "no-baseline"]) == "improved"
    assert words.worst(["pass", "inconclusive", "improved"]) == "inconclusive"
    assert words.worst([]) == "no-baseline"
