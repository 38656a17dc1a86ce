"""Requests to an engine that is slow, hangs, or is restarted: with a clock that only waiting moves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from pytest_madengine.engine import answering
from pytest_madengine.engine.answering import Answering
from pytest_madengine.util.ends import handled, held
from pytest_madengine.util.locks import tell_with
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import ReadTimeout

ANSWER = SimpleNamespace(close=lambda: None)
#: Seconds of a lasting silence in these tests.
SILENCE = 30.0


class Paper:
    """An engine whose answers come at given seconds of its own clock.

    ``pings`` tells whether it answers a ping at a second, ``answers`` what a request gives at a second:
    an answer, an error to raise, or ``None`` as long as there is none.
    """

    base_url = "http+docker://paper"

    def __init__(self) -> None:
        self.now = 0.0
        self.pings: Callable[[float], bool] = lambda now: True
        self.answers: Callable[[float], Any] = lambda now: ANSWER
        #: Called whenever somebody waits.
        self.meanwhile: Callable[[], None] = lambda: None
        self.sent: list[str] = []
        self._turn = threading.Event()
        self.given_up = threading.Event()

    def prepare_request(self, request: requests.Request) -> requests.Request:
        return request

    def send(self, request: requests.Request, **options: Any) -> Any:
        if request.url.endswith("/_ping"):
            self.now += 0.0 if self.pings(self.now) else options["timeout"]
            if not self.pings(self.now):
                raise ReadTimeout("no answer")
            return ANSWER
        self.sent.append(request.method)
        while (answer := self.answers(self.now)) is None and not self.given_up.is_set():
            self._turn.wait(0.001)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()

    def wait(self, done: threading.Event, seconds: float) -> bool:
        if self.answers(self.now) is not None:
            return done.wait(30)  # the thread of the request has its answer
        self.pause(seconds)
        return False


@pytest.fixture
def paper() -> Iterator[Paper]:
    made = Paper()
    yield made
    made.given_up.set()


def request(method: str = "GET") -> Any:
    return SimpleNamespace(method=method, url="http+docker://paper/containers/json")


def ask(paper: Paper, method: str = "GET", **options: Any) -> Any:
    return answers_of(paper)(request(method), timeout=1800, **options)


def answers_of(paper: Paper, silence: float | None = SILENCE) -> Answering:
    return Answering(
        paper,  # type: ignore[arg-type]
        silence=silence,
        clock=lambda: paper.now,
        pause=paper.pause,
        wait=paper.wait,
    )


def refused() -> NoConnection:
    error = NoConnection("refused")
    error.__context__ = ConnectionRefusedError(111, "Connection refused")
    return error


def test_an_answer_at_once_is_the_answer(paper: Paper) -> None:
    assert ask(paper) is ANSWER
    assert paper.now == 0.0


def test_a_slow_answer_is_waited_for(paper: Paper) -> None:
    """Given an engine that answers pings / when a request takes an hour / then that is no fault."""
    paper.answers = lambda now: ANSWER if now >= 3600 else None
    assert ask(paper) is ANSWER


def test_pings_that_fail_for_a_while_are_no_hang(paper: Paper) -> None:
    """Given a host under load / when every silence is shorter than the limit / then the answer counts."""
    paper.pings = lambda now: now % 40 < 20
    paper.answers = lambda now: ANSWER if now >= 500 else None
    assert ask(paper) is ANSWER


def test_a_silent_engine_hangs(paper: Paper) -> None:
    """faults 2.5: given neither answer nor pings / when the silence lasts / then the request fails."""
    paper.answers = lambda now: None
    paper.pings = lambda now: False
    with pytest.raises(ReadTimeout, match=r"it hangs: no answer to a ping in 3\d s"):
        ask(paper)
    assert SILENCE <= paper.now < SILENCE + 5


def test_a_hung_engine_is_not_waited_for_as_long_again(paper: Paper) -> None:
    send, paper.answers, paper.pings = answers_of(paper), lambda now: None, lambda now: False
    for _ in range(2):
        began = paper.now
        with pytest.raises(ReadTimeout):
            send(request(), timeout=1800)
    assert paper.now - began < 10
    # It wakes up: all is as before.
    paper.pings = lambda now: True
    paper.answers = lambda now: ANSWER if now >= began + 1000 else None
    assert send(request(), timeout=1800) is ANSWER


def test_without_a_limit_nothing_hangs(paper: Paper) -> None:
    paper.pings = lambda now: False
    paper.answers = lambda now: ANSWER if now >= 100_000 else None
    assert answers_of(paper, silence=None)(request(), timeout=1800) is ANSWER


def test_the_end_shortens_the_wait(paper: Paper) -> None:
    """faults 2.5: given a silent engine / when the end is asked for / then seconds are enough; a second
    request, once it is known to hang, is given up at once."""
    send, paper.answers, paper.pings = answers_of(paper, silence=None), lambda now: None, lambda now: False
    took: list[float] = []

    def end_and_ask() -> None:
        with held():
            signal.raise_signal(signal.SIGTERM)
            for _ in range(2):
                began = paper.now
                with pytest.raises(ReadTimeout):
                    send(request(), timeout=1800)
                took.append(paper.now - began)

    restore = handled()
    try:
        with pytest.raises(KeyboardInterrupt):
            end_and_ask()
    finally:
        restore()
    assert took[0] < 10
    assert took[1] < 4


@pytest.mark.parametrize(("method", "seconds"), [("POST", 5.0), ("GET", 0.0)])
def test_an_interrupted_change_is_given_time(paper: Paper, method: str, seconds: float) -> None:
    """Given a request that makes a container / when Ctrl-C comes / then it may end and be undone."""
    paper.answers = lambda now: None

    def interrupt() -> None:
        paper.meanwhile = lambda: None
        raise KeyboardInterrupt

    paper.meanwhile = interrupt
    with pytest.raises(KeyboardInterrupt):
        ask(paper, method)
    assert paper.now == 1.0 + seconds


def test_the_end_of_a_container_is_waited_for_without_a_limit(paper: Paper) -> None:
    paper.pings = lambda now: pytest.fail("no ping for a request that may take any time")
    assert answers_of(paper)(request("POST"), timeout=None) is ANSWER


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_engine_that_is_restarted_is_waited_for(paper: Paper, method: str) -> None:
    """faults 2.6: given an engine that does not listen / when it is back / then the request is sent again,
    and whoever waits longer than a moment is told."""
    said: list[str] = []
    restore = tell_with(said.append)
    paper.pings = lambda now: now >= 40
    paper.answers = lambda now: ANSWER if now >= 40 else refused()
    try:
        assert ask(paper, method) is ANSWER
    finally:
        restore()
    assert paper.sent == [method, method]
    assert said == [
        f"pytest-madengine: the container engine went away; waiting up to {answering.RETURN:.0f} s "
        "for its return"
    ]


def test_an_engine_that_stays_away(paper: Paper) -> None:
    """Given an engine that is gone for good / then the wait is bounded, and happens once."""
    send, paper.pings, paper.answers = answers_of(paper), lambda now: False, lambda now: refused()
    with pytest.raises(NoConnection):
        send(request(), timeout=1800)
    assert answering.RETURN <= paper.now < answering.RETURN + 5
    began = paper.now
    with pytest.raises(NoConnection):
        send(request(), timeout=1800)
    assert paper.now == began


def test_a_connection_that_broke_in_the_middle_is_not_tried_again(paper: Paper) -> None:
    """Given a request that the engine may have carried out / when the connection breaks / then nobody sends
    it a second time."""
    paper.answers = lambda now: NoConnection("connection reset by peer")
    with pytest.raises(NoConnection):
        ask(paper, "POST")
    assert paper.sent == ["POST"]
