"""Which waiting job starts next on free GPUs: a pure decision, the same for every driver.

The job of the largest area (GPUs x expected seconds) that fits goes first: long and wide jobs early, small
ones fill the gaps.  A wide job that does not fit is overtaken a bounded number of times.  Then it gets a
reservation: other jobs start only if they are expected to end before enough GPUs come free for it, or use
GPUs that it will not need (EASY backfilling, Lifka 1995); and after as many again nothing overtakes it.

Jobs of one width differ only in length, so each width is one heap and a decision costs O(widths x log n).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

#: A job that does not fit may be overtaken this often before GPUs are reserved for it.  Draining GPUs for a
#: wide job costs 2 to 10 % of a batch (measured at 4 to 32), so this is only a guard for long queues.
PATIENCE: Final = 64


@dataclass(frozen=True)
class Job:
    """Something that runs on ``gpus`` GPUs for about ``seconds``."""

    #: Identifies the job; also the order among equals.
    key: int
    gpus: int
    seconds: float

    @property
    def area(self) -> float:
        """Work in GPU seconds; a job without GPUs still occupies a worker, as one GPU's job does."""
        return max(self.gpus, 1) * self.seconds


class Packer:
    """The waiting and running jobs of ``capacity`` GPUs.

    :param patience: how often a job may be overtaken before GPUs are reserved for it.
    """

    def __init__(self, capacity: int, jobs: Iterable[Job] = (), *, patience: int = PATIENCE) -> None:
        self.capacity = capacity
        self.free = capacity
        self._patience = patience
        self._waiting: dict[int, list[tuple[float, int, Job]]] = {}
        self._running: dict[int, tuple[int, float]] = {}
        self._overtaken: dict[int, int] = {}
        self._count = 0
        for job in jobs:
            self.add(job)

    def __len__(self) -> int:
        """Number of waiting jobs."""
        return self._count

    @property
    def running(self) -> frozenset[int]:
        """Keys of the jobs that run."""
        return frozenset(self._running)

    def add(self, job: Job) -> None:
        """A job waits.  One that wants more than there is gets everything (and says what is wrong)."""
        width = min(max(job.gpus, 0), self.capacity)
        heapq.heappush(self._waiting.setdefault(width, []), (-job.seconds, job.key, job))
        self._count += 1

    def start(self, now: float, others: int = 0) -> Job | None:
        """Takes the job that starts now out of the queue; ``None`` when none should.

        :param now: seconds of a monotonic clock.
        :param others: GPUs that somebody else holds.  A job that needs none of them goes first; when there is
            none, one that has to wait for them may as well wait in its worker.
        """
        job = self._start(now, self.free - others) if others > 0 else None
        return job or self._start(now, self.free)

    def _start(self, now: float, usable: int) -> Job | None:
        order = sorted(
            (-max(width, 1) * -heap[0][0], heap[0][1], width) for width, heap in self._waiting.items() if heap
        )
        blocked: int | None = None
        for _, _, width in order:
            if width > usable:
                # The first blocked job is the one that waits longest by rank; only it is protected.
                blocked = width if blocked is None else blocked
            elif blocked is None or self._may_overtake(width, blocked, now):
                return self._take(width, blocked, now)
        return None

    def _may_overtake(self, width: int, blocked: int, now: float) -> bool:
        if width == 0:
            # Takes no GPU from anybody.
            return True
        waiting = self._waiting[blocked][0][2]
        overtaken = self._overtaken.get(waiting.key, 0)
        if overtaken < self._patience:
            return True
        if overtaken >= 2 * self._patience:
            return False
        start, spare = self._reservation(blocked, now)
        return width <= spare or now - self._waiting[width][0][0] <= start

    def _reservation(self, width: int, now: float) -> tuple[float, int]:
        """When ``width`` GPUs are expected to be free, and how many more are free then."""
        free = self.free
        for gpus, end in sorted(self._running.values(), key=lambda entry: entry[1]):
            free += gpus
            if free >= width:
                return max(end, now), free - width
        return now, 0

    def _take(self, width: int, blocked: int | None, now: float) -> Job:
        if blocked is not None and width:
            key = self._waiting[blocked][0][2].key
            self._overtaken[key] = self._overtaken.get(key, 0) + 1
        job = heapq.heappop(self._waiting[width])[2]
        self._overtaken.pop(job.key, None)
        self._count -= 1
        self.free -= width
        self._running[job.key] = (width, now + job.seconds)
        return job

    def finish(self, key: int) -> None:
        """A running job ended; its GPUs are free.  Unknown keys are ignored."""
        self.free += self._running.pop(key, (0, 0.0))[0]
