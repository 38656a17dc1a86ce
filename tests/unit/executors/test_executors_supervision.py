"""Phases, limits and the way to the end, with a clock that only moves when told."""

from __future__ import annotations

import threading

import pytest
from pytest_madengine.executors.docker.supervision import GRACE, HAND_BACK_LIMIT, KILL_LIMIT, Supervisor
from pytest_madengine.settings import PhaseTimeouts


class Scene:
    """A scripted output stream, a clock and a record of signals.

    Script entries: bytes are output; a name is a marker; a number lets that many seconds pass in silence.
    """

    def __init__(self, *script: bytes | str | float, **options) -> None:
        self.now = 100.0
        self.script = list(script)
        self.signals: list[tuple[float, str]] = []
        self.phases: list[str] = []
        self.output = b""
        self.waits: list[float | None] = []
        limits = PhaseTimeouts(**{"prepare": 5, "run": 60, "collect": 7, **options.pop("limits", {})})
        self.supervisor = Supervisor(
            lambda name: self.signals.append((self.now - 100, name)),
            limits,
            on_phase=self.phases.append,
            clock=lambda: self.now,
            **options,
        )

    def receive(self, timeout: float | None) -> bytes | None:
        self.waits.append(timeout)
        if not self.script:
            return b""
        head = self.script[0]
        if isinstance(head, (int, float)):
            waited = head if timeout is None else min(head, timeout)
            self.now += waited
            self.script[0] = head - waited
            if self.script[0] <= 1e-9:
                self.script.pop(0)
            return None
        self.script.pop(0)
        return head if isinstance(head, bytes) else head.encode() + b"\0"

    def take(self, chunk: bytes) -> None:
        if chunk.endswith(b"\0"):
            self.supervisor.on_marker(chunk[:-1].decode())
        else:
            self.output += chunk

    def play(self) -> Supervisor:
        self.supervisor.follow(self, self.take)
        return self.supervisor


def test_a_run_without_trouble():
    scene = Scene("prepare", 4, "run", b"a", 59, b"b", "collect", 6, "handback")
    supervisor = scene.play()
    assert scene.phases == ["prepare", "run", "collect"]
    assert (scene.output, scene.signals) == (b"ab", [])
    assert (supervisor.timed_out, supervisor.stopping, supervisor.phase) == ("", False, "collect")


@pytest.mark.parametrize(
    ("script", "phase", "limit", "moment"),
    [
        (("prepare", 100), "prepare", 5, 5),
        ((100,), "prepare", 5, 5),
        (("prepare", 2, "run", 1000), "run", 60, 62),
        (("prepare", 2, "run", 10, "collect", 1000), "collect", 7, 19),
    ],
)
def test_limits(script, phase, limit, moment):
    """Section 10.8: at expiry stop, 10 s grace, then kill."""
    scene = Scene(*script)
    scene.script.append(b"")
    supervisor = scene.play()
    assert (supervisor.timed_out, supervisor.timeout) == (phase, limit)
    assert scene.signals[0] == (moment, "TERM")
    assert scene.signals[1] == (moment + GRACE, "KILL")


def test_a_limit_also_counts_while_output_flows():
    scene = Scene("prepare", "run", *[item for _ in range(100) for item in (1.0, b"x")])
    scene.play()
    assert scene.signals[0] == (60, "TERM")


@pytest.mark.parametrize("none", [None, 0, -1])
def test_no_limits(none):
    scene = Scene(
        "prepare", 1e6, "run", 1e6, "collect", 1e6, limits=dict.fromkeys(("prepare", "run", "collect"), none)
    )
    assert scene.play().timed_out == ""
    assert set(scene.waits) == {None}


def test_handing_back_takes_its_time():
    scene = Scene("run", 60, 8, "handback", HAND_BACK_LIMIT - 1)
    assert scene.play().timed_out == "run"
    assert [name for _, name in scene.signals] == ["TERM"]


def test_markers_after_the_stop_change_nothing():
    scene = Scene("run", 60, "collect", 1)
    supervisor = scene.play()
    assert supervisor.phase == "run"
    assert scene.phases == ["run"]


def test_a_container_that_survives_everything():
    scene = Scene("run", 60 + GRACE + KILL_LIMIT + 1, 1000)
    supervisor = scene.play()
    assert supervisor.stuck
    assert [name for _, name in scene.signals] == ["TERM", "KILL"]


def test_cancel():
    cancel = threading.Event()
    scene = Scene("run", 3, 3, cancel=cancel)
    take = scene.take

    def take_and_cancel(chunk: bytes) -> None:
        take(chunk)
        cancel.set()

    scene.take = take_and_cancel  # type: ignore[method-assign]
    supervisor = scene.play()
    assert supervisor.interrupted
    assert scene.signals == [(0, "TERM")]
    assert supervisor.timed_out == ""
    supervisor.interrupt()
    assert len(scene.signals) == 1


def test_a_cancel_event_is_looked_at_in_silence():
    scene = Scene(3, cancel=threading.Event())
    scene.play()
    assert max(wait for wait in scene.waits if wait is not None) <= 0.25


def test_keep_alive_ends_only_the_work():
    scene = Scene("run", 60, "kept 143", b"never read", keep=True)
    supervisor = scene.play()
    assert (supervisor.kept, supervisor.kept_status) == (True, 143)
    assert scene.signals == [(60, "USR1")]
    assert scene.output == b""


def test_unknown_markers_are_ignored():
    scene = Scene("nonsense", "run")
    assert scene.play().phase == "run"


def test_a_phase_begins_once_and_in_its_order():
    """faults 1.20: given markers that are repeated or come too late, then no limit begins anew."""
    scene = Scene("prepare", "run", 40, "run", "prepare", 40, "kept", "collect", "run")
    supervisor = scene.play()
    assert (supervisor.timed_out, supervisor.kept) == ("run", False)
    assert scene.phases == ["prepare", "run"]
    assert scene.signals[0] == (60, "TERM")


def test_handing_back_without_a_limit_of_its_own_is_bounded():
    """faults 1.20: given no limit for collect, when handing back hangs, then it ends all the same."""
    scene = Scene("prepare", "run", "collect", "handback", 10_000.0, limits={"collect": None})
    assert scene.play().timed_out == "collect"
    assert scene.signals[0] == (HAND_BACK_LIMIT, "TERM")
