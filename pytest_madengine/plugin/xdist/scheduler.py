"""A scheduler for xdist that commits a worker only when it starts something (late binding).

xdist's own modes keep an item in hand behind the running one on every worker, which strands work behind
hour-long models.  Here a worker gets one job and the idle item (:mod:`.idle`), and :class:`.packing.Packer`
decides what starts next when a worker and GPUs are free.

The interface is ``xdist.scheduler.protocol.Scheduling``.  Capacity is counted here; which GPUs an item uses
is decided by the lease that its worker takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_madengine.scheduling.packing import Job, Packer

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

#: Members of the interface that this scheduler implements; another set means an unknown xdist.
INTERFACE: Final = frozenset(
    {
        *("nodes", "collection_is_completed", "tests_finished", "has_pending", "add_node"),
        *("add_node_collection", "mark_test_complete", "mark_test_pending"),
        *("remove_pending_tests_from_node", "remove_node", "schedule"),
    }
)
#: xdist versions with this protocol between controller and worker: at least, and below.
VERSIONS: Final = ((3, 6), (4, 0))
#: Ordinary tests are handed out in chunks: this many per worker, and never more tests than that.
_CHUNKS_PER_WORKER: Final = 8
_LARGEST_CHUNK: Final = 50


@dataclass(frozen=True)
class Need:
    """What one model item needs."""

    gpus: int
    seconds: float


@dataclass
class _Worker:
    """What was sent to a worker and has not come back, oldest first."""

    sent: list[int] = field(default_factory=list)
    #: Key of its job; ``None`` while it is idle.
    job: int | None = None


class PackedScheduling:
    """Hands jobs to workers when they and their GPUs are free.

    :param capacity: number of GPUs.
    :param workers: number of workers that will collect.
    :param others: number of GPUs that other sessions hold now.
    :param needs: per node id of a model item what it needs; other items are ordinary tests without GPUs.
    """

    def __init__(
        self,
        config: pytest.Config,
        log: Callable[..., None],
        *,
        capacity: int,
        workers: int,
        needs: Callable[[Sequence[str]], Mapping[str, Need]],
        others: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.log = log
        self.collection: list[str] | None = None
        self._numnodes = workers
        self._needs_of = needs
        self._others = others
        self._clock = clock
        self._collections: dict[WorkerController, list[str]] = {}
        self._workers: dict[WorkerController, _Worker] = {}
        self._packer = Packer(capacity)
        #: Indices of the items of each job, by key.
        self._jobs: dict[int, list[int]] = {}
        self._needs: Mapping[str, Need] = {}
        self._stopped = False

    # ---- state that DSession asks for ---------------------------------------------------------------

    @property
    def nodes(self) -> list[WorkerController]:
        """All workers."""
        return list(self._workers)

    @property
    def collection_is_completed(self) -> bool:
        """True when the initial workers have collected."""
        return self.collection is not None or len(self._collections) >= self._numnodes

    @property
    def tests_finished(self) -> bool:
        """True when nothing waits and nothing runs; idle workers are then told to end."""
        return self.collection_is_completed and not self.has_pending

    @property
    def has_pending(self) -> bool:
        """True while something waits or runs."""
        return bool(self._packer) or any(worker.job is not None for worker in self._workers.values())

    # ---- workers ------------------------------------------------------------------------------------

    def add_node(self, node: WorkerController) -> None:
        """A worker has started."""
        self._workers[node] = _Worker()

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """A worker has collected; one that comes later must have found the same items."""
        found = list(collection)
        if self.collection is not None and found != self.collection:
            self._report_difference(self.collection, found, "the first worker", node)
            del self._workers[node]
            node.shutdown()
            return
        self._collections[node] = found

    def remove_node(self, node: WorkerController) -> str | None:
        """A worker is gone; returns the node id of the item it died in, if any.

        What it had not started is waiting again.

        :raises KeyError: the worker is unknown.
        """
        worker = self._workers.pop(node)
        self._collections.pop(node, None)
        if worker.job is None:
            return None
        self._packer.finish(worker.job)
        # The message that the idle item is done comes before an item is started.
        started = worker.sent[0] != self._idle
        unfinished = [index for index in worker.sent if index != self._idle]
        crashed = unfinished.pop(0) if started else None
        if unfinished:
            self._add_job(unfinished)
        self._dispatch()
        assert self.collection is not None
        return None if crashed is None else self.collection[crashed]

    # ---- items --------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Starts handing out items, or gives work to a worker that came later."""
        if self.collection is None:
            if not self._same_collections():
                self._stopped = True
                return
            self.collection = next(iter(self._collections.values()))
            self._needs = self._needs_of(self.collection)
            for indices in self._grouped(self.collection):
                self._add_job(indices)
        self._dispatch()

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """A worker has finished an item, perhaps the idle one."""
        worker = self._workers[node]
        worker.sent.remove(item_index)
        if worker.job is not None and all(index == self._idle for index in worker.sent):
            self._packer.finish(worker.job)
            worker.job = None
            self._dispatch()

    def mark_test_pending(self, item: str) -> None:
        """An item must run again (hook ``pytest_handlecrashitem``)."""
        assert self.collection is not None
        self._add_job([self.collection.index(item)])
        self._dispatch()

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        """Only for schedulers that steal."""
        raise NotImplementedError

    # ---- inside -------------------------------------------------------------------------------------

    @property
    def _idle(self) -> int:
        """Index of the idle item, which follows the collected ones."""
        assert self.collection is not None
        return len(self.collection)

    def _grouped(self, collection: Sequence[str]) -> list[list[int]]:
        """Model items alone; ordinary tests in chunks of neighbours of one file, which share fixtures."""
        plain = sum(nodeid not in self._needs for nodeid in collection)
        size = max(1, min(_LARGEST_CHUNK, plain // (self._numnodes * _CHUNKS_PER_WORKER)))
        groups: list[list[int]] = []
        file = None
        for index, nodeid in enumerate(collection):
            if nodeid in self._needs:
                groups.append([index])
                file = None
            elif nodeid.partition("::")[0] == file and len(groups[-1]) < size:
                groups[-1].append(index)
            else:
                groups.append([index])
                file = nodeid.partition("::")[0]
        return groups

    def _add_job(self, indices: list[int]) -> None:
        assert self.collection is not None
        key = indices[0]
        need = self._needs.get(self.collection[key], Need(0, 0.0))
        self._jobs[key] = indices
        self._packer.add(Job(key, need.gpus, need.seconds))

    def _dispatch(self) -> None:
        """Gives jobs to idle workers until no worker, no job or no GPU is left."""
        if self._stopped:
            return
        for node, worker in self._workers.items():
            if worker.job is not None or node not in self._collections or node.shutting_down:
                continue
            job = self._packer.start(self._clock(), self._others() if self._packer else 0)
            if job is None:
                return
            indices = [*self._jobs.pop(job.key), self._idle]
            worker.job = job.key
            worker.sent += indices
            node.send_runtest_some(indices)

    def _same_collections(self) -> bool:
        (first, expected), *others = self._collections.items()
        same = True
        for node, found in others:
            if found != expected:
                same = False
                self._report_difference(expected, found, first.gateway.id, node)
        return same

    def _report_difference(
        self, expected: Sequence[str], found: Sequence[str], first: str, node: Any
    ) -> None:
        from xdist.report import report_collection_diff

        text = report_collection_diff(expected, found, first, node.gateway.id)
        report = pytest.CollectReport(node.gateway.id, "failed", text, [])
        self.config.hook.pytest_collectreport(report=report)
