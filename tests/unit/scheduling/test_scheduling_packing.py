"""The packer: never too much, never starving, always ending; and how long items are expected to take."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.scheduling import durations as durations_module
from pytest_madengine.scheduling.durations import DEFAULT, Durations, read_durations
from pytest_madengine.scheduling.packing import PATIENCE, Job, Packer
from pytest_madengine.scheduling.slots import worker_count


def simulate(
    packer: Packer, workers: int, actual: dict[int, float], arrivals: Iterable[Job] = ()
) -> dict[int, tuple[float, float]]:
    """Runs everything; (start, end) per job.  ``arrivals`` come one with each start."""
    coming = iter(arrivals)
    spans: dict[int, tuple[float, float]] = {}
    running: list[tuple[float, int, int]] = []
    now = 0.0
    while len(packer) or running:
        while len(running) < workers:
            job = packer.start(now)
            if job is None:
                break
            spans[job.key] = (now, now + actual.get(job.key, job.seconds))
            heapq.heappush(running, (spans[job.key][1], job.key, job.gpus))
            new = next(coming, None)
            if new is not None:
                packer.add(new)
            assert sum(min(gpus, packer.capacity) for _, _, gpus in running) <= packer.capacity
            assert packer.free >= 0
        assert running, "nothing runs and nothing starts"
        now, key, _ = heapq.heappop(running)
        packer.finish(key)
    assert packer.free == packer.capacity
    return spans


def test_the_largest_area_goes_first_and_small_jobs_fill_the_gaps() -> None:
    packer = Packer(4, [Job(0, 1, 10), Job(1, 2, 100), Job(2, 4, 40), Job(3, 1, 90)])
    assert [packer.start(0).key for _ in range(3)] == [1, 3, 0]  # type: ignore[union-attr]
    assert packer.start(0) is None
    assert (packer.free, len(packer), packer.running) == (0, 1, {0, 1, 3})


def test_equal_jobs_keep_their_order() -> None:
    packer = Packer(1, [Job(2, 1, 5), Job(0, 1, 5), Job(1, 1, 5)])
    order = []
    while (job := packer.start(0)) is not None:
        order.append(job.key)
        packer.finish(job.key)
    assert order == [0, 1, 2]


def test_jobs_without_gpus_never_wait_for_gpus() -> None:
    packer = Packer(1, [Job(0, 1, 100), Job(1, 1, 90), Job(2, 0, 1)])
    assert [packer.start(0).key, packer.start(0).key] == [0, 2]  # type: ignore[union-attr]
    assert Packer(0, [Job(0, 0, 1)]).start(0) is not None


def test_a_job_that_wants_too_much_gets_a_turn() -> None:
    """Its plan says what is wrong; it must not stop the others."""
    packer = Packer(2, [Job(0, 3, 10), Job(1, 2, 1)])
    assert set(simulate(packer, 2, {})) == {0, 1}


@given(
    st.integers(1, 16),
    st.integers(1, 12),
    st.lists(
        st.tuples(st.integers(0, 16), st.floats(0.1, 1e4), st.floats(0.1, 1e4)), min_size=1, max_size=60
    ),
    st.integers(0, 4),
)
def test_never_oversubscribes_and_always_ends(
    capacity: int, workers: int, jobs: list[tuple[int, float, float]], patience: int
) -> None:
    """Whatever the widths, and however wrong the expectations."""
    packer = Packer(
        capacity, [Job(key, gpus, guess) for key, (gpus, guess, _) in enumerate(jobs)], patience=patience
    )
    spans = simulate(packer, workers, {key: real for key, (_, _, real) in enumerate(jobs)})
    assert set(spans) == set(range(len(jobs)))


@given(
    st.lists(st.tuples(st.integers(1, 3), st.floats(1, 50)), min_size=120, max_size=120), st.integers(1, 6)
)
def test_never_starves(others: list[tuple[int, float]], patience: int) -> None:
    """Narrow jobs keep coming, one with each start; the wide one is overtaken at most 2 x patience times."""
    wide = Job(-1, 8, 100.0)
    first = Job(-2, 1, 10_000.0)
    packer = Packer(8, [first, wide], patience=patience)
    arrivals = [Job(key, gpus, seconds) for key, (gpus, seconds) in enumerate(others)]
    spans = simulate(packer, 8, {-2: 1.0}, arrivals)
    before = [key for key, (start, _) in spans.items() if start < spans[-1][0]]
    assert len(before) <= 2 * patience + 1


def test_a_reservation_lets_short_jobs_through() -> None:
    """EASY: what ends before the wide job can start does not delay it."""
    packer = Packer(4, [Job(0, 2, 1000.0)], patience=0)
    packer.start(0)
    for job in (Job(1, 4, 500.0), Job(2, 1, 1500.0), Job(3, 1, 50.0)):
        packer.add(job)
    packer._overtaken[1] = 0
    assert packer.start(0) is None  # patience 0: nothing overtakes at all
    packer = Packer(4, [Job(0, 2, 1000.0)], patience=1)
    packer.start(0)
    for job in (Job(1, 4, 500.0), Job(2, 1, 900.0), Job(3, 1, 50.0), Job(4, 1, 10.0)):
        packer.add(job)
    started = [packer.start(0), packer.start(0), packer.start(0)]
    assert [job.key if job else None for job in started] == [2, 3, None]


def test_the_default_patience_is_bounded() -> None:
    assert 1 <= PATIENCE <= 100


@pytest.mark.parametrize(
    ("needs", "gpus", "cpus", "expected"),
    [
        ([1] * 24, 8, 2, 8),
        ([2] * 24, 8, 2, 4),
        ([8, 8, 8], 8, 64, 1),
        ([1, 1, 1], 8, 64, 3),
        ([8, 1, 4, 2], 8, 64, 3),
        ([0] * 10, 0, 4, 4),
        ([0] * 3, 0, 4, 3),
        ([0] * 3 + [1] * 8, 8, 16, 11),
        ([0] * 30 + [1] * 8, 8, 16, 16),
        ([16], 8, 4, 1),
        ([], 8, 4, 1),
    ],
)
def test_workers_of_auto(needs: list[int], gpus: int, cpus: int, expected: int) -> None:
    assert worker_count(needs, gpus, cpus) == expected


# ---- expected durations ---------------------------------------------------------------------------------


def record(item: str, seconds: Any, outcome: str = "SUCCESS", **more: Any) -> dict[str, Any]:
    return {
        "item_id": item,
        "outcome": outcome,
        "durations": {"run": seconds, "prepare": 0.5, "build": 900.0, "lease": 77.0},
        **more,
    }


def write(results: Path, session: str, *lines: Any, name: str = "records.jsonl") -> None:
    (results / session).mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (results / session / name).write_text(text)


def test_durations_of_earlier_sessions(tmp_path: Path) -> None:
    write(tmp_path, "20260101T000000Z-a", *(record("bert", 1000.0) for _ in range(9)))
    write(
        tmp_path,
        "20260201T000000Z-b",
        *(record("bert", seconds) for seconds in (9.5, 19.5, 29.5, 39.5, 49.5)),
        record("vit", 99.5, fingerprint="f1"),
        record("vit", 1.0, "FAILURE"),
    )
    write(tmp_path, "20260301T000000Z-now", record("vit", 5.0))
    found = read_durations(tmp_path, skip="20260301T000000Z-now")
    assert found.known("bert") == 30.0
    assert found.known("vit") == 100.0
    assert found.known("other", "f1") == 100.0
    assert found.known("other") is None


def test_the_journal_of_a_session_that_died(tmp_path: Path) -> None:
    write(
        tmp_path,
        "s1",
        {"event": "start", "item": "bert"},
        {"event": "finish", "nodeid": "models.json::bert", "record": record("bert", 9.5)},
        '{"event": "fin',
        name="journal.jsonl",
    )
    assert read_durations(tmp_path).known("bert") == 10.0


def test_what_is_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations_module, "MAX_SESSIONS", 2)
    for session in ("s1", "s2", "s3"):
        write(tmp_path, session, record(session, 1.0))
    found = read_durations(tmp_path)
    assert sorted(found.by_item) == ["s2", "s3"]
    monkeypatch.setattr(durations_module, "MAX_BYTES", 60)
    assert read_durations(tmp_path).by_item == {}
    assert read_durations(tmp_path / "absent").by_item == {}
    assert read_durations(tmp_path / "s1").by_item == {}


def test_expectations_without_history() -> None:
    durations = Durations()
    assert durations.expected([("a", None)]) == {"a": DEFAULT}
    assert durations.expected([("a", 100.0), ("b", None), ("c", -1)]) == {
        "a": 30.0,
        "b": DEFAULT,
        "c": DEFAULT,
    }
    durations.add(record("a", 9.5))
    durations.add(record("b", 19.5))
    assert durations.expected([("a", 7200.0), ("b", None), ("c", None)]) == {"a": 10.0, "b": 20.0, "c": 15.0}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "item_id": json_values,
            "fingerprint": json_values,
            "outcome": st.just("SUCCESS") | json_values,
            "durations": st.dictionaries(st.text(max_size=5), json_values, max_size=4) | json_values,
        },
    )
)
def test_no_record_is_too_strange(entry: dict[str, Any]) -> None:
    durations = Durations()
    durations.add(entry)
    for samples in durations.by_item.values():
        assert all(0 < seconds < 1e9 for seconds in samples)


def test_gpus_of_others_count_as_busy() -> None:
    """faults 2.18: given 1 of 8 GPUs held by another session / when four narrow jobs and one of 8 wait / then
    the narrow ones start first, and the wide one only when nothing else can."""
    packer = Packer(8, [Job(0, 8, 600.0), *(Job(key, 1, 60.0) for key in range(1, 5))])
    started = [packer.start(0.0, others=1) for _ in range(4)]
    assert [job.key for job in started if job] == [1, 2, 3, 4]
    assert packer.start(0.0, others=1) is None
    for key in range(1, 5):
        packer.finish(key)
    # It waits for the other session in its worker, where it is told the moment a GPU comes free.
    last = packer.start(1.0, others=1)
    assert last is not None
    assert last.key == 0


def test_jobs_wait_in_their_workers_when_others_hold_everything() -> None:
    """faults 2.18: GPUs of others never keep a worker idle: they may come free at any moment."""
    packer = Packer(8, [Job(0, 4, 60.0), Job(1, 1, 60.0)])
    assert [job.key for job in (packer.start(0.0, others=8), packer.start(0.0, others=8)) if job] == [0, 1]
