"""Which of the free GPUs an item gets, and whose turn it is: pure functions over names.

Names are names of lock files, in the order in which a pool lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

#: A waiting request may be overtaken this often; then what it waits for is kept for it.
OVERTAKES: Final = 8


@dataclass(frozen=True)
class Want:
    """``count`` of the resources in ``pool`` (names, lowest first)."""

    pool: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Request:
    """Everything one item asks for; it gets all of it at once or nothing."""

    wants: tuple[Want, ...]
    #: How often a later request got resources that this one also wants.
    overtaken: int = 0
    #: Name of the ticket; empty for a request that has not waited yet.
    ticket: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Every resource that may serve the request."""
        return frozenset(name for want in self.wants for name in want.pool)


@dataclass(frozen=True)
class Grant:
    """What a request may take now, and which older requests are overtaken by it."""

    names: tuple[str, ...]
    overtaken: tuple[Request, ...] = ()


def choose(want: Want, free: AbstractSet[str]) -> tuple[str, ...] | None:
    """``count`` free resources of the pool, or ``None``.

    Aligned blocks come first (of the next power of two, by position in the pool: 0-7, 0-3 | 4-7, pairs), so
    that neighbours stay together; without a block that has enough, the lowest free ones.
    """
    if want.count <= 0:
        return ()
    for block in blocks(want):
        available = [name for name in block if name in free]
        if len(available) >= want.count:
            return tuple(available[: want.count])
    available = [name for name in want.pool if name in free]
    return tuple(available[: want.count]) if len(available) >= want.count else None


def blocks(want: Want) -> Iterable[tuple[str, ...]]:
    """The aligned blocks of a pool that are large enough, lowest first."""
    size = 1 << (want.count - 1).bit_length()
    for start in range(0, len(want.pool), size):
        block = want.pool[start : start + size]
        if len(block) >= want.count:
            yield block


def choose_all(request: Request, free: AbstractSet[str]) -> tuple[str, ...] | None:
    """Free resources for every want of a request, or ``None``."""
    chosen: list[str] = []
    for want in request.wants:
        part = choose(want, free)
        if part is None:
            return None
        chosen += part
    return tuple(chosen)


def grant(mine: Request, ahead: Sequence[Request], free: AbstractSet[str]) -> Grant | None:
    """What ``mine`` may take although ``ahead`` (oldest first) wait longer; ``None``: it must wait.

    An older request that could start now keeps what it would take.  One that cannot start may be overtaken
    :data:`OVERTAKES` times; then the block that it can have soonest is kept free for it.
    """
    kept: set[str] = set()
    blocked: list[Request] = []
    for older in ahead:
        if not older.names & mine.names:
            continue
        start = choose_all(older, free - kept)
        if start is not None:
            kept.update(start)
        elif older.overtaken >= OVERTAKES:
            kept.update(name for want in older.wants for name in _soonest(want, free - kept))
        else:
            blocked.append(older)
    chosen = choose_all(mine, free - kept)
    if chosen is None:
        return None
    taken = frozenset(chosen)
    return Grant(chosen, tuple(older for older in blocked if older.names & taken))


def _soonest(want: Want, free: AbstractSet[str]) -> tuple[str, ...]:
    """The block in which the fewest resources are busy; it only gets emptier while it is kept."""
    candidates = list(blocks(want)) or [want.pool]
    return max(candidates, key=lambda block: sum(name in free for name in block))
