"""Limits, contract 10.8."""

from __future__ import annotations

from typing import Any

import pytest
from plan_samples import context, model, settings
from pytest_madengine.errors import ConfigError, MadError, PlanError
from pytest_madengine.plan.timeouts import check_timeout_option, phase_timeouts
from pytest_madengine.settings import PhaseTimeouts


@pytest.mark.parametrize(
    ("option", "own", "multiplier", "expected"),
    [
        (None, None, None, 7200),
        (None, 360, None, 360),
        (None, -1, None, None),
        (None, 0, None, None),
        (60, 120, None, 60),
        (7200, 360, None, 7200),
        (0, 120, None, None),
        (-1, 120, None, None),
        (None, 120, 2.0, 240),
        (None, None, 0.5, 3600),
        (60, 120, 2.0, 60),
    ],
)
def test_contract_10_8_run_limit(option: Any, own: Any, multiplier: Any, expected: Any) -> None:
    """Contract 10.8, all rows; defects 22 and 44: the model's timeout counts, -1 is no limit."""
    chosen = context({} if multiplier is None else {"timeout_multiplier": multiplier})
    assert phase_timeouts(settings(timeout=option), model(timeout=own), chosen).run == expected


@pytest.mark.parametrize(
    ("option", "own", "multiplier"), [(10**299, None, None), (None, 10**9, 2), (None, 1, 1e300)]
)
def test_limits_that_no_wait_can_hold(option: Any, own: Any, multiplier: Any) -> None:
    """faults 2.13: given a limit beyond what a wait takes, then there is one error that names it."""
    with pytest.raises(MadError, match="timeout"):
        phase_timeouts(
            settings(timeout=option), model(timeout=own), context({"timeout_multiplier": multiplier})
        )


def test_contract_10_8_below_minus_one() -> None:
    """Contract 10.8, last row: exit 4; in an entry an error of the model."""
    with pytest.raises(ConfigError, match="--timeout"):
        phase_timeouts(settings(timeout=-2), model(), context())
    with pytest.raises(PlanError, match="timeout is -2"):
        phase_timeouts(settings(), model(timeout=-2), context())


@pytest.mark.parametrize("value", ["x", "", "1.5", True, -2])
def test_option_that_is_no_number(value: Any) -> None:
    with pytest.raises(ConfigError, match="--timeout"):
        check_timeout_option(value)


@pytest.mark.parametrize(("value", "expected"), [(None, None), ("60", 60), (-1, -1), ("0", 0)])
def test_option_values(value: Any, expected: Any) -> None:
    assert check_timeout_option(value) == expected


@pytest.mark.parametrize("value", [0, -1, "x", None, True, float("inf"), float("nan"), []])
def test_multiplier(value: Any) -> None:
    chosen = context({"timeout_multiplier": value})
    if value is None:
        assert phase_timeouts(settings(), model(), chosen).run == 7200
    else:
        with pytest.raises(ConfigError, match="timeout_multiplier"):
            phase_timeouts(settings(), model(), chosen)


def test_other_phases() -> None:
    assert phase_timeouts(settings(), model(), context()) == PhaseTimeouts()
    chosen = phase_timeouts(
        settings(timeout_prepare=0, timeout_build=-1, timeout_collect=5), model(), context()
    )
    assert (chosen.prepare, chosen.build, chosen.collect) == (None, None, 5)
