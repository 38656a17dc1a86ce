"""The xdist scheduler against workers of paper: every event DSession may send, in every order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.plugin.xdist.scheduler import INTERFACE, Need, PackedScheduling


class Node:
    """A worker that runs what it gets when told to."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.queue: list[int] = []

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        assert not self.shutting_down
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Reports:
    """The hook that hears of differing collections."""

    def __init__(self) -> None:
        self.hook = self
        self.heard: list[Any] = []

    def pytest_collectreport(self, report: Any) -> None:
        self.heard.append(report)


class Harness:
    """A scheduler with its workers, and what they hold."""

    def __init__(
        self, widths: Sequence[int | None], capacity: int = 8, workers: int = 2, start: bool = True
    ) -> None:
        self.ids = [
            f"test_{index // 20}.py::t{index}" if width is None else f"models.json::m{index}"
            for index, width in enumerate(widths)
        ]
        self.widths = [width or 0 for width in widths]
        self.capacity = capacity
        self.idle = len(widths)
        self.reports = Reports()
        self.now = 0.0
        needs = {
            nodeid: Need(width, 10.0 + index)
            for index, (nodeid, width) in enumerate(zip(self.ids, widths, strict=True))
            if width is not None
        }

        def needs_of(nodeids: Sequence[str]) -> Mapping[str, Need]:
            assert list(nodeids) == self.ids
            return needs

        self.scheduler = PackedScheduling(
            self.reports,  # type: ignore[arg-type]
            lambda *words: None,
            capacity=capacity,
            workers=workers,
            needs=needs_of,
            clock=lambda: self.now,
        )
        self.nodes: list[Node] = []
        self.done: list[int] = []
        if start:
            for number in range(workers):
                self.join(f"gw{number}")

    def join(self, name: str, ids: Sequence[str] | None = None) -> Node:
        """A worker starts and collects, as DSession tells the scheduler."""
        node = Node(name)
        self.scheduler.add_node(node)  # type: ignore[arg-type]
        self.scheduler.add_node_collection(node, self.ids if ids is None else ids)  # type: ignore[arg-type]
        if node in self.scheduler.nodes:
            self.nodes.append(node)
        if self.scheduler.collection_is_completed:
            self.scheduler.schedule()
        self.check()
        return node

    def running(self, node: Node) -> int | None:
        """The item a worker is in; xdist starts one only when it knows the next."""
        return node.queue[0] if len(node.queue) > 1 else None

    def finish(self, node: Node) -> None:
        """The worker ends its item, idle ones on the way included."""
        self.now += 1.0
        while len(node.queue) > 1:
            index = node.queue.pop(0)
            self.scheduler.mark_test_complete(node, index)  # type: ignore[arg-type]
            self.check()
            if index != self.idle:
                self.done.append(index)
                return

    def crash(self, node: Node) -> str | None:
        """The worker dies; what it has told before has arrived."""
        while len(node.queue) > 1 and node.queue[0] == self.idle:
            self.scheduler.mark_test_complete(node, node.queue.pop(0))  # type: ignore[arg-type]
        self.nodes.remove(node)
        item = self.scheduler.remove_node(node)  # type: ignore[arg-type]
        self.check()
        return item

    def check(self) -> None:
        """Never more GPUs than there are."""
        used = sum(self.widths[index] for node in self.nodes for index in node.queue if index != self.idle)
        assert used <= self.capacity

    def run(self) -> list[int]:
        """Runs everything that is left."""
        while any(self.running(node) is not None for node in self.nodes):
            for node in self.nodes:
                self.finish(node)
        return self.done


def test_it_implements_the_whole_interface() -> None:
    assert {name for name in dir(PackedScheduling) if not name.startswith("_")} == INTERFACE
    with pytest.raises(NotImplementedError):
        Harness([]).scheduler.remove_pending_tests_from_node(Node("gw0"), [])  # type: ignore[arg-type]


def test_a_worker_gets_one_model_and_the_idle_item() -> None:
    harness = Harness([1, 1, 1, 1])
    assert [node.queue for node in harness.nodes] == [[3, 4], [2, 4]]
    assert harness.scheduler.has_pending
    assert not harness.scheduler.tests_finished
    harness.finish(harness.nodes[1])
    assert harness.nodes[1].queue == [4, 1, 4]
    assert sorted(harness.run()) == [0, 1, 2, 3]
    assert harness.scheduler.tests_finished


def test_a_wide_model_waits_for_its_gpus() -> None:
    harness = Harness([8, 1], capacity=8)
    assert [node.queue for node in harness.nodes] == [[0, 2], []]
    harness.finish(harness.nodes[0])
    assert harness.nodes[0].queue == [2, 1, 2]


def test_ordinary_tests_come_in_chunks_of_one_file() -> None:
    harness = Harness([None] * 40 + [1] + [None] * 3, workers=1)
    harness.run()
    assert sorted(harness.done) == list(range(44))
    assert harness.done[0] == 40
    chunks = harness.done[1:]
    assert chunks == sorted(chunks)


def test_nothing_to_do() -> None:
    harness = Harness([])
    assert harness.scheduler.tests_finished
    assert [node.queue for node in harness.nodes] == [[], []]


def test_it_is_not_finished_before_all_workers_have_collected() -> None:
    harness = Harness([1], start=False)
    harness.join("gw0")
    assert not harness.scheduler.collection_is_completed
    assert not harness.scheduler.tests_finished
    harness.join("gw1")
    assert harness.run() == [0]


def test_workers_that_found_different_items_run_nothing() -> None:
    harness = Harness([1, 1], start=False)
    harness.join("gw0")
    harness.join("gw1", ["models.json::other"])
    assert [report.outcome for report in harness.reports.heard] == ["failed"]
    assert harness.scheduler.tests_finished
    assert all(node.queue == [] for node in harness.nodes)


def test_a_worker_that_dies_before_it_collected_is_replaced() -> None:
    harness = Harness([1, 1], start=False)
    lost = Node("gw0")
    harness.scheduler.add_node(lost)  # type: ignore[arg-type]
    assert harness.scheduler.remove_node(lost) is None  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        harness.scheduler.remove_node(lost)  # type: ignore[arg-type]
    harness.join("gw1")
    harness.join("gw2")
    assert sorted(harness.run()) == [0, 1]


def test_a_crash_costs_the_item_it_happened_in() -> None:
    harness = Harness([8, 1, 1])
    assert harness.crash(harness.nodes[0]) == "models.json::m0"
    assert harness.nodes[0].queue == [2, 3]
    harness.join("gw2")
    assert sorted(harness.run()) == [1, 2]
    assert harness.scheduler.tests_finished


def test_what_a_crashed_worker_had_not_started_runs_elsewhere() -> None:
    harness = Harness([None] * 32, workers=1)
    node = harness.nodes[0]
    assert node.queue == [0, 1, 2, 3, 32]
    harness.finish(node)
    assert harness.crash(node) == "test_0.py::t1"
    harness.join("gw1")
    assert sorted(harness.run()) == [index for index in range(32) if index != 1]


def test_a_crash_while_idle_costs_nothing() -> None:
    harness = Harness([8, 1], workers=2)
    assert harness.crash(harness.nodes[1]) is None
    waiting = Harness([1, 1], workers=1)
    node = waiting.nodes[0]
    waiting.finish(node)
    # The order has been sent, but the worker died before it left the idle item.
    assert node.queue == [2, 0, 2]
    waiting.nodes.remove(node)
    assert waiting.scheduler.remove_node(node) is None  # type: ignore[arg-type]
    waiting.join("gw1")
    assert waiting.run() == [1, 0]


def test_a_replacement_with_other_items_is_sent_away() -> None:
    harness = Harness([8, 8])
    late = harness.join("gw2", ["models.json::other"])
    assert late.shutting_down
    assert late not in harness.scheduler.nodes
    assert sorted(harness.run()) == [0, 1]


def test_no_orders_for_workers_that_shut_down() -> None:
    harness = Harness([1, 1, 1, 1])
    for node in harness.nodes:
        node.shutdown()
    harness.run()
    assert len(harness.done) == 2
    assert not harness.scheduler.tests_finished


def test_an_item_can_be_asked_for_again() -> None:
    harness = Harness([1], workers=1)
    assert harness.crash(harness.nodes[0]) == "models.json::m0"
    harness.scheduler.mark_test_pending("models.json::m0")
    harness.join("gw1")
    assert harness.run() == [0]


@given(
    st.lists(st.none() | st.integers(0, 9), max_size=30),
    st.integers(1, 8),
    st.integers(1, 5),
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["finish", "finish", "finish", "crash"])), max_size=60
    ),
)
def test_every_item_ends_exactly_once(
    widths: list[int | None], capacity: int, workers: int, events: list[tuple[int, str]]
) -> None:
    """Whatever finishes or crashes in whatever order: each item is done or died with its worker."""
    harness = Harness(
        [None if width is None else min(width, capacity) for width in widths], capacity, workers
    )
    crashed: list[str] = []
    for number, (position, event) in enumerate(events):
        node = harness.nodes[position % len(harness.nodes)]
        if event == "finish":
            harness.finish(node)
        else:
            item = harness.crash(node)
            crashed += [item] if item else []
            harness.join(f"new{number}")
    harness.run()
    assert harness.scheduler.tests_finished
    assert sorted([harness.ids[index] for index in harness.done] + crashed) == sorted(harness.ids)
