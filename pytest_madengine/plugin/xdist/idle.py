"""The worker's side of late binding: an idle item that a worker waits at.

A worker of xdist wants to know the next item before it starts one (pytest needs it to decide which fixtures
to tear down).  The controlling process therefore sends every real item together with the idle item: the
worker starts the real one at once, then waits at the idle one for its next order.  The idle item is added
after collection has ended, runs nothing and reports nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final

import pytest

#: Node id of the idle item; the controlling process takes it out of what it shows and counts.
IDLE_ID: Final = "pytest-madengine::idle"
#: Key in ``workerinput`` that asks a worker for the idle item.
WORKER_KEY: Final = "mad_idle"


class IdleItem(pytest.Item):
    """Where a worker waits for its next order."""

    def __init__(self, name: str, parent: pytest.Session) -> None:
        super().__init__(name, parent, nodeid=IDLE_ID)

    def runtest(self) -> None:
        """Nothing: the protocol never gets here."""

    def reportinfo(self) -> tuple[str, None, str]:
        """Shown only when the end of a session-scoped fixture fails."""
        return "pytest-madengine", None, "end of the worker"


class IdleWorker:
    """Hooks of a worker that waits for orders.

    :param modules: what the first item will import.
    """

    def __init__(self, modules: Sequence[str] = ()) -> None:
        self._modules = modules

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Adds the idle item last, when no plugin orders or selects any more, and before xdist reports."""
        session.items.append(IdleItem.from_parent(session, name="idle"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Imports while other workers still start: when the first items are handed out, all start at once."""
        for name in self._modules:
            importlib.import_module(name)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """The idle item does nothing, unless it is the last: then the fixtures of the session end here."""
        if not isinstance(item, IdleItem):
            return None
        if nextitem is None:
            call = pytest.CallInfo.from_call(
                lambda: item.session._setupstate.teardown_exact(None),
                when="teardown",
                reraise=(pytest.exit.Exception, KeyboardInterrupt),
            )
            if call.excinfo is not None:
                report = pytest.TestReport.from_item_and_call(item, call)
                item.ihook.pytest_runtest_logreport(report=report)
        return True
