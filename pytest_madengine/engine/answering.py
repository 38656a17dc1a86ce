"""Requests to an engine that may hang, or be restarted meanwhile.

A slow answer is no fault: creating a container from a large image takes minutes.  So a request has no
deadline of its own but is waited for as long as the engine answers pings beside it.  An engine that went away
is waited for a bounded time before a request is sent to it, once it has answered in this process.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.util.ends import asked
from pytest_madengine.util.locks import announce

if TYPE_CHECKING:
    from docker import APIClient
    from requests import PreparedRequest, Response

#: Seconds without an answer to any ping after which an engine counts as hung, unless the user says otherwise;
#: a host under load needs some.
SILENCE: Final = 60.0
#: The same once the user wants the session to end, and when the engine was found hung before.
SILENCE_AT_END: Final = 3.0
#: Seconds to wait for an engine that was restarted: dockerd needs up to 15 s for the containers it stops, and
#: some more when it starts with many of them.
RETURN: Final = 120.0
#: Seconds between two looks at a request or at an engine that went away, and for the answer to a ping; then
#: both once the user wants the session to end: workers of xdist are killed ten seconds after that.
_SLICE: Final = 1.0
_PING_LIMIT: Final = 2.0
_SLICE_AT_END: Final = 0.5
_PING_LIMIT_AT_END: Final = 1.0
#: Seconds a request that changes something is given when its sender is interrupted, so that it can be undone.
_UNFINISHED: Final = 5.0
_NOTICE: Final = 5.0


class Answering:
    """Stands for ``send`` of an engine's client.

    :param silence: seconds without an answer to any ping after which the engine counts as hung; ``None``:
        never, until the user wants the end.
    :param clock: for tests, as are ``pause`` and ``wait``.
    """

    def __init__(
        self,
        client: APIClient,
        *,
        silence: float | None = SILENCE,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._client, self._send = client, client.send
        self._silence = math.inf if silence is None else silence
        self._clock, self._pause, self._wait = clock, pause, wait
        #: The engine was found hung; it has answered nothing since.
        self._hung = False
        #: The engine went away and did not come back in time.
        self._gone = False

    def __call__(self, request: PreparedRequest, **options: Any) -> Response:
        """The answer to a request.

        :raises requests.RequestException: there is none.
        """
        from requests.exceptions import ConnectionError as NoConnection

        if options.get("timeout") is None:  # waiting for the end of a container: no time is too long
            return self._send(request, **options)
        try:
            response = self._patiently(request, options)
        except NoConnection as error:
            if not _absent(error) or self._gone or asked() or not self._await_return():
                raise
            response = self._patiently(request, options)
        self._hung = self._gone = False
        return response

    def _patiently(self, request: PreparedRequest, options: dict[str, Any]) -> Response:
        from requests.exceptions import ReadTimeout

        job = _Job(lambda: self._send(request, **options))
        last = self._clock()
        try:
            while not self._wait(job.done, _SLICE_AT_END if asked() else _SLICE):
                if self._answers():
                    last, self._hung = self._clock(), False
                    continue
                silence = self._clock() - last
                if silence >= self._limit() and not job.done.is_set():
                    self._hung = True
                    raise ReadTimeout(f"it hangs: no answer to a ping in {silence:.0f} s")
        except KeyboardInterrupt:
            silent = self._clock() - last > _SLICE
            if request.method != "GET" and not silent:
                self._wait(job.done, _UNFINISHED)
            raise
        return job.result()

    def _limit(self) -> float:
        if self._hung and asked():
            return 0.0
        return min(self._silence, SILENCE_AT_END) if self._hung or asked() else self._silence

    def _answers(self) -> bool:
        """True when the engine answers a ping.  On a connection of its own: that of the request is busy."""
        import requests
        from requests.exceptions import RequestException

        limit = _PING_LIMIT_AT_END if asked() else _PING_LIMIT
        ping = self._client.prepare_request(requests.Request("GET", f"{self._client.base_url}/_ping"))
        try:
            # Whatever it says: it is alive.
            self._send(ping, timeout=limit, stream=False).close()
        except RequestException:
            return False
        return True

    def _await_return(self) -> bool:
        """Waits for an engine that does not listen; false when it did not come back in time."""
        start, told = self._clock(), False
        while self._clock() - start < RETURN and not asked():
            self._pause(_SLICE)
            if self._answers():
                return True
            if not told and self._clock() - start >= _NOTICE:
                told = True
                announce(f"the container engine went away; waiting up to {RETURN:.0f} s for its return")
        self._gone = True
        return False


class _Job:
    """A call in a thread of its own: whoever waits for it can be interrupted and can give up."""

    def __init__(self, call: Callable[[], Response]) -> None:
        self._call = call
        self._result: Response | None = None
        self._error: Exception | None = None
        self.done = threading.Event()
        threading.Thread(target=self._work, name="madengine-engine-request", daemon=True).start()

    def _work(self) -> None:
        try:
            self._result = self._call()
        except Exception as error:  # noqa: BLE001 - raised again by the one who waits
            self._error = error
        finally:
            self.done.set()

    def result(self) -> Response:
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result


def _absent(error: BaseException) -> bool:
    """Nobody listens at the address: nothing of the request was sent."""
    return any(isinstance(cause, ConnectionRefusedError | FileNotFoundError) for cause in causes(error))


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything it wraps, the innermost last; libraries also wrap in ``args``."""
    pending: list[BaseException] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        pending += [part for part in inner if isinstance(part, BaseException)]
