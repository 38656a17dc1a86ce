"""The end of a session in its processes: each hears it, and workers are told so that none is deaf to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_madengine.util import ends, locks
from pytest_madengine.util.processes import parent_of


def heard(*, worker: bool = False) -> Callable[[], None]:
    """This process hears when it shall end, and says for what it waits; returns the undo.

    To be called while nothing is captured: what is said goes where stderr goes now.

    :param worker: of xdist, which interrupts a second time after five seconds and kills after ten: the record
        of what was running is worth them.
    """
    unhear = ends.handled(led=worker)
    descriptor = os.dup(2)

    def tell(text: str) -> None:
        os.write(descriptor, f"{text}\n".encode("utf-8", "replace"))

    untell = locks.tell_with(tell)

    def restore() -> None:
        untell()
        os.close(descriptor)
        unhear()

    return restore


def interrupt_workers(journal: Iterable[Mapping[str, Any]]) -> None:
    """Tells the workers with a model in hand, as a terminal does.

    Without it they would notice after the five seconds that execnet gives them to end by themselves.  By
    SIGTERM: SIGINT may be ignored in the whole session, and then nobody would hear it.

    :param journal: entries of the session's journal.
    """
    begun: dict[str, int] = {}
    for entry in journal:
        if entry.get("event") == "start" and entry.get("worker"):
            begun[str(entry["nodeid"])] = int(entry["pid"])
        else:
            begun.pop(str(entry.get("nodeid")), None)
    for pid in set(begun.values()):
        # An id in the journal may belong to somebody else by now.
        if parent_of(pid) == os.getpid():
            os.kill(pid, signal.SIGTERM)
