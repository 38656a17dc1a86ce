"""Tickets of waiting requests: the queue that all sessions of a host see.

A ticket is a file that its owner keeps locked.  A file that can be locked belongs to a dead owner: it is
removed, or passed over when it is another user's.  Only used under the gate of :mod:`.leases`, except for
:meth:`Tickets.leave`.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from pytest_madengine.errors import LeaseError
from pytest_madengine.scheduling.choice import Request, Want
from pytest_madengine.scheduling.lockfiles import LockDirectory, LockFile

_PREFIX: Final = "ticket-"
_RESOURCE: Final = re.compile(r"(?:gpu|cpu)-[A-Za-z0-9._-]{1,230}\.lock", re.ASCII)
#: No host has more GPUs and CPUs; a longer list is not ours.
_MOST: Final = 4096


def is_resource(name: str) -> bool:
    """True for the name of a GPU's or CPU's lock file."""
    return _RESOURCE.fullmatch(name) is not None


class Tickets:
    """The queue as one request sees it."""

    def __init__(self, directory: LockDirectory) -> None:
        self._directory = directory
        self.mine: LockFile | None = None

    def draw(self, request: Request) -> None:
        """Queues the request behind all others."""
        # The monotonic clock is one for all processes of a host and never runs backwards.
        name = f"{_PREFIX}{time.monotonic_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}.lock"
        self.mine = self._locked(name, request)

    def _locked(self, name: str, request: Request) -> LockFile:
        file = self._directory.open(name)
        assert file is not None
        file.wait()
        file.write(to_json(request))
        return file

    def keep(self, request: Request) -> None:
        """Makes the ticket of this request again if somebody removed its file: it keeps its place."""
        if self.mine is None or self.mine.present:
            return
        name = self.mine.name
        self.mine.close()
        self.mine = self._locked(name, request)

    def leave(self) -> None:
        """Gives the ticket up, if one was drawn."""
        if self.mine is not None:
            self._directory.remove(self.mine.name)
            self.mine.close()
            self.mine = None

    def ahead(self) -> list[Request]:
        """Living requests that wait longer than mine, oldest first."""
        requests = []
        for name in self._directory.names(_PREFIX):
            if self.mine is not None and name >= self.mine.name:
                break
            request = self._read(name)
            if request is not None:
                requests.append(request)
        return requests

    def note_overtaken(self, request: Request) -> None:
        """Writes down that a later request was served before this one."""
        file = self._directory.open(request.ticket, create=False)
        if file is not None:
            file.write(to_json(Request(request.wants, request.overtaken + 1)))
            file.close()

    def _read(self, name: str) -> Request | None:
        try:
            file = self._directory.open(name, create=False)
        except LeaseError:
            # Not made by us: links, directories.
            return None
        if file is None:
            return None
        try:
            if file.try_lock():
                self._directory.remove(name)
                return None
            return from_json(file.read(), name)
        finally:
            file.close()


def to_json(request: Request) -> dict[str, Any]:
    """The content of a ticket."""
    wants = [{"pool": list(want.pool), "count": want.count} for want in request.wants]
    return {"wants": wants, "overtaken": request.overtaken}


def from_json(data: Mapping[str, Any], ticket: str = "") -> Request | None:
    """The request of a ticket; ``None`` when the content is not one of ours."""
    wants, overtaken = data.get("wants"), _count(data.get("overtaken"))
    if not isinstance(wants, list) or overtaken < 0:
        return None
    result = []
    for want in wants:
        pool, count = (want.get("pool"), _count(want.get("count"))) if isinstance(want, dict) else (None, -1)
        if not isinstance(pool, list) or not 0 <= count <= len(pool) <= _MOST:
            return None
        if not all(isinstance(name, str) and is_resource(name) for name in pool):
            return None
        result.append(Want(tuple(pool), count))
    return Request(tuple(result), overtaken, ticket)


def _count(value: Any) -> int:
    """A sane count, or -1."""
    if not isinstance(value, int) or isinstance(value, bool) or value > 1 << 30:
        return -1
    return value
