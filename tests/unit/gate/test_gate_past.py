"""Which earlier values are the history of a key, and what of a record is compared."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from pytest_madengine.gate.facts import shared_facts, values_of
from pytest_madengine.gate.judge import decide
from pytest_madengine.gate.key import gate_key
from pytest_madengine.gate.past import MOST, Earlier, past_of
from pytest_madengine.gate.references import Accepted
from pytest_madengine.results.record import Metric, Outcome, RunRecord

NOW = datetime(2026, 12, 1)


def night(number: int, value: float, **fields: str) -> Earlier:
    """The value of a session so many days ago."""
    return Earlier(f"run-{number}", NOW - timedelta(days=number), value, **fields)  # type: ignore[arg-type]


def values(stored: list[Earlier], **options: object) -> tuple[float, ...]:
    return past_of(stored, session="now", now=NOW, **options).values  # type: ignore[arg-type]


def test_oldest_first_whatever_the_order_in_which_they_were_stored() -> None:
    assert values([night(1, 3), night(3, 1), night(2, 2)]) == (1, 2, 3)


def test_what_does_not_count() -> None:
    stored = [
        night(9, 1),
        night(8, 2, verdict="regression"),
        night(7, 3, role="a"),
        night(6, 4, role="b"),
        night(5, 5, role="confirm"),
        night(4, 6, role="warm-up"),
        night(3, 7, verdict="inconclusive"),
        night(200, 8),
        Earlier("now", NOW, 9),
    ]
    assert values(stored) == (1, 7)


def test_one_value_per_session_with_repeats_their_median() -> None:
    stored = [
        night(2, 10),
        night(1, 1, role="repeat"),
        night(1, 5, role="repeat"),
        night(1, 30, role="repeat"),
    ]
    assert values(stored) == (10, 5)


def test_labels_keep_pull_requests_out() -> None:
    stored = [night(2, 1, label="main"), night(1, 2, label="pr-7")]
    assert values(stored, labels=("main",)) == (1,)
    assert values(stored) == (1, 2)


def test_at_most_forty() -> None:
    assert values([night(number, number) for number in range(60, 0, -1)]) == tuple(range(MOST, 0, -1))


def test_an_accepted_change_moves_the_level_and_keeps_the_noise() -> None:
    """After 88 was accepted, 88 passes and 78 is a regression, from the first night on."""
    stored = [night(number, 100 + number % 3 - 1) for number in range(12, 1, -1)]
    stored.append(night(1, 88, verdict="regression"))
    mark = Accepted("m", "x", {}, "file", value=88, run="run-1", at="2026-12-01T08:00:00Z")
    moved = values(stored, accepted=mark)
    assert moved[-1] == 88
    assert decide(moved, [88], 1).word == "pass"
    assert decide(moved, [78, 78], 1).word == "regression"
    assert decide(values(stored), [88, 88], 1).word == "regression"


def test_a_mark_of_a_run_that_is_not_there_counts_by_its_time() -> None:
    stored = [night(3, 100), night(2, 100), night(1, 91)]
    at = (NOW - timedelta(days=1, hours=1)).isoformat()
    assert values(stored, accepted=Accepted("m", "x", {}, "f", value=90, at=at)) == pytest.approx(
        (90, 90, 91)
    )
    assert values(stored, accepted=Accepted("m", "x", {}, "f", value=90, at="")) == (100, 100, 91)


def record(*metrics: Metric, outcome: Outcome = Outcome.SUCCESS, **columns: str) -> RunRecord:
    return RunRecord(
        "run",
        "models.json::m",
        "m",
        outcome,
        metrics=metrics,
        columns={"n_gpus": "8", "gpu_architecture": "gfx942", "docker_file": "docker/m", **columns},
        host={"gpu_product_name": "AMD Instinct MI300X", "hostname": "n7"},
        image={"name": "ci-m", "id": "sha256:1"},
    )


def test_values_of_a_record() -> None:
    found = list(
        values_of(
            record(
                Metric("1", "x"),
                Metric("2", "x"),
                Metric("text", "y"),
                Metric("nan", "z"),
                Metric("3", "x", row="big"),
                Metric("4", "w", outcome=Outcome.FAILURE),
            )
        )
    )
    assert [(one.row, one.name, one.number) for one in found] == [("m", "x", 2), ("m_big", "x", 3)]
    assert list(values_of(record(Metric("1", "x"), outcome=Outcome.FAILURE))) == []


def test_the_key_survives_an_edit_and_not_another_gpu() -> None:
    facts = shared_facts(record(Metric("1", "x")))
    edited = {**facts, "scripts_hash": "other", "image_digest": "sha256:2", "git_commit": "abc"}
    assert gate_key(facts) == gate_key(edited)
    other = shared_facts(record(Metric("1", "x"), gpu_architecture="gfx90a"))
    assert other["gpu"] == "AMD Instinct MI300X"
    assert "gpu" not in shared_facts(record(Metric("1", "x"), n_gpus="0"))
