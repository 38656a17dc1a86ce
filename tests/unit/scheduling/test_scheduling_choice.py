"""Which GPUs are chosen, and whose turn it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.scheduling.choice import OVERTAKES, Request, Want, choose, grant

ALL = tuple("01234567")


def request(*wants: tuple[str, int], overtaken: int = 0, ticket: str = "") -> Request:
    return Request(tuple(Want(tuple(pool), count) for pool, count in wants), overtaken, ticket)


@pytest.mark.parametrize(
    ("pool", "free", "count", "expected"),
    [
        ("01234567", "01234567", 8, "01234567"),
        ("01234567", "01234567", 4, "0123"),
        ("01234567", "1234567", 4, "4567"),
        ("01234567", "123456", 4, "1234"),
        ("01234567", "1234567", 2, "23"),
        ("01234567", "1357", 2, "13"),
        ("01234567", "34567", 1, "3"),
        ("01234567", "1234567", 3, "123"),
        ("01234567", "1567", 3, "567"),
        ("01234567", "123", 4, None),
        ("01234567", "", 1, None),
        ("01234567", "", 0, ""),
        # Contract 10.5: 0,2-4,5-5,7 with n_gpus 2 gives 0,2 when free.
        ("023457", "023457", 2, "02"),
        ("023457", "01234567", 6, "023457"),
        ("023457", "01234567", 5, "02345"),
        ("07", "07", 2, "07"),
    ],
)
def test_blocks_first_then_the_lowest_free_gpus(
    pool: str, free: str, count: int, expected: str | None
) -> None:
    chosen = choose(Want(tuple(pool), count), set(free))
    assert chosen == (None if expected is None else tuple(expected))


@given(st.sets(st.sampled_from(ALL)), st.sets(st.sampled_from(ALL), min_size=1), st.integers(1, 8))
def test_a_choice_is_free_and_complete_or_impossible(pool: set[str], free: set[str], count: int) -> None:
    want = Want(tuple(sorted(pool)), count)
    chosen = choose(want, free)
    if chosen is None:
        assert len(pool & free) < count
    else:
        assert len(set(chosen)) == count
        assert set(chosen) <= pool & free
        assert list(chosen) == sorted(chosen)


def test_an_older_request_that_can_start_keeps_its_gpus() -> None:
    older = request(("01234567", 4), ticket="t1")
    granted = grant(request(("01234567", 2)), [older], set("01234567"))
    assert granted is not None
    assert granted.names == ("4", "5")
    assert granted.overtaken == ()


def test_an_older_request_that_cannot_start_is_overtaken_and_that_is_counted() -> None:
    older = request(("01234567", 8), ticket="t1")
    granted = grant(request(("01234567", 2)), [older], set("67"))
    assert granted is not None
    assert granted.names == ("6", "7")
    assert granted.overtaken == (older,)


def test_after_many_overtakes_the_freest_block_is_kept() -> None:
    older = request(("01234567", 4), overtaken=OVERTAKES, ticket="t1")
    narrow = request(("01234567", 1))
    assert grant(narrow, [older], set("045")) == grant(narrow, [], set("0"))
    assert grant(narrow, [older], set("45")) is None


def test_requests_for_other_gpus_do_not_matter() -> None:
    older = request(("0123", 4), overtaken=OVERTAKES)
    granted = grant(request(("4567", 4)), [older], set("4567"))
    assert granted is not None
    assert granted.names == tuple("4567")


def test_gpus_and_cpus_come_together_or_not_at_all() -> None:
    both = request(("01", 1), ("abcd", 2))
    assert grant(both, [], set("1cd")) is not None
    assert grant(both, [], set("1a")) is None


@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_no_request_starves(counts: list[int], random: object) -> None:
    """Requests keep coming; a wide one is served after a bounded number of later ones."""
    rng = random
    queue = [request((ALL, 8), ticket="wide")]
    held: list[tuple[str, ...]] = [("0",)]
    later = 0
    for step in range(400):
        free = set(ALL) - {name for names in held for name in names}
        assert len(free) + sum(map(len, held)) == len(ALL)
        for position, waiting in enumerate(list(queue)):
            granted = grant(waiting, queue[:position], free)
            if granted is None:
                continue
            if waiting.ticket == "wide":
                return
            held.append(granted.names)
            queue = [
                replace(other, overtaken=other.overtaken + 1) if other in granted.overtaken else other
                for other in queue
                if other is not waiting
            ]
            later += 1
            break
        else:
            held.pop(rng.randrange(len(held)))  # type: ignore[attr-defined]
        queue.append(request((ALL, counts[step % len(counts)]), ticket=str(step)))
    raise AssertionError(f"the wide request starved: {later} later ones were served")
