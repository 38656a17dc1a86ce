"""Builds ahead of the runs that need them (``--mad-build-jobs``)."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_madengine.errors import MadError

if TYPE_CHECKING:
    from pytest_madengine.images.builder import BuildRequest
    from pytest_madengine.session.items import ItemSpec
    from pytest_madengine.session.session import MadSession


#: Seconds given to the threads whose builds were ended.
JOIN = 10.0


class BuildsAhead:
    """Threads of the controlling process that build distinct images in the order of their items.

    An item that comes to its image waits for that build, or finds it done: all go through the same
    :class:`~pytest_madengine.images.builder.ImageBuilder` state.  A failure is not reported here but by
    the items of that build.  The threads are daemons: a build they leave unfinished is ended by its guard.
    """

    def __init__(
        self, session: MadSession, specs: Iterable[ItemSpec], credentials: Mapping[str, Any]
    ) -> None:
        self._session = session
        self._specs = list(specs)
        self._credentials = credentials
        self._queue: queue.SimpleQueue[BuildRequest] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        #: What went wrong in a thread and is not an error of a build.
        self.errors: list[Exception] = []

    def start(self) -> int:
        """Queues the builds and starts the threads; returns the number of distinct builds."""
        requests = self._requests()
        for request in requests:
            self._queue.put(request)
        jobs = min(self._session.settings.build_jobs, len(requests))
        for number in range(jobs):
            thread = threading.Thread(target=self._work, name=f"madengine-build-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return len(requests)

    def interrupt(self) -> None:
        """Lets the builds that still run come to an end soon, without waiting for it."""
        if not self._stop.is_set() and any(thread.is_alive() for thread in self._threads):
            from pytest_madengine.engine.process import end_running

            end_running()
        self._stop.set()

    def stop(self) -> None:
        """Ends the builds that still run: nobody waits for them any more."""
        self.interrupt()
        deadline = time.monotonic() + JOIN
        for thread in self._threads:
            thread.join(timeout=max(deadline - time.monotonic(), 0.0))

    def _requests(self) -> list[BuildRequest]:
        from pytest_madengine.images.builder import build_key
        from pytest_madengine.pipeline.image import build_request, given_name
        from pytest_madengine.pipeline.push import batch_entry
        from pytest_madengine.pipeline.run import ItemRun
        from pytest_madengine.plan.placement import check_model
        from pytest_madengine.plan.skips import skip_reason

        session = self._session
        found: dict[str, BuildRequest] = {}
        for spec in self._specs:
            model = spec.selected.model
            run = ItemRun(session, spec, spec.name, credentials=self._credentials)
            listed = batch_entry(run)
            if listed is not None and not listed.build_new:
                continue
            # A credential may come from a fixture that only the item's own process has.
            if spec.dockerfile is None or model.cred or given_name(run) or spec.name in session.resumable:
                continue
            try:
                if skip_reason(model, session.context, session.settings):
                    continue
                if not session.settings.build_only:
                    check_model(model, session.context, session.settings.environ)
                request = build_request(run)
                found.setdefault(build_key(request), request)
            except MadError:
                continue  # the item itself says what is wrong
        return list(found.values())

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                request = self._queue.get_nowait()
            except queue.Empty:
                return
            try:
                self._session.builder.ensure(request)
            except MadError:
                continue  # remembered by the builder: every item of this build fails with it
            except Exception as error:  # noqa: BLE001 - kept, and shown at the end of the session
                if not self._stop.is_set():
                    self.errors.append(error)
