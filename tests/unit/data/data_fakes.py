"""A store in memory and what goes with it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pytest_madengine.data.config import Source
from pytest_madengine.data.provider import Access, Unusable
from pytest_madengine.data.remote import RemoteProvider
from pytest_madengine.data.store import Checksum, RemoteFile
from pytest_madengine.errors import DataError


@dataclass
class FakeStore:
    """Files in memory.  ``trouble`` is asked before every piece and may raise."""

    content: dict[str, bytes]
    label: str = "fake://there"
    workers: int = 3
    #: ``md5``: the listing has it; other names: :meth:`checksum` says it; empty: none.
    algorithm: str = "md5"
    trouble: Callable[[str, int], None] = lambda path, offset: None
    #: Replaces what is sent.
    spoil: Callable[[bytes], bytes] = lambda data: data
    listing_trouble: list[Exception] = field(default_factory=list)
    sent: int = 0
    closed: bool = False
    piece: int = 4
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def files(self) -> list[RemoteFile]:
        if self.listing_trouble:
            raise self.listing_trouble.pop(0)
        return [self.file(path) for path in self.content]

    def file(self, path: str) -> RemoteFile:
        data = self.content[path]
        digest = hashlib.md5(data).hexdigest()
        listed = digest if self.algorithm == "md5" else ""
        return RemoteFile(path, len(data), f"v-{digest}", path, 1_700_000_000.0, listed, not self.algorithm)

    def read(self, file: RemoteFile, start: int, length: int) -> Iterator[bytes]:
        data = self.content[file.key]
        for offset in range(start, start + length, self.piece):
            self.trouble(file.key, offset)
            piece = data[offset : min(offset + self.piece, start + length)]
            with self._lock:
                self.sent += len(piece)
            yield self.spoil(piece)

    def checksum(self, file: RemoteFile) -> Checksum | None:
        if not self.algorithm:
            return None
        return Checksum(self.algorithm, hashlib.new(self.algorithm, self.content[file.key]).hexdigest())

    def close(self) -> None:
        self.closed = True


class FakeProvider(RemoteProvider):
    """Delivers a :class:`FakeStore`."""

    def __init__(self, store: FakeStore | str | DataError, name: str = "fake") -> None:
        self.store = store
        self.name = name
        self.fields = frozenset({"colour"})
        self.asked = 0

    def connect(self, source: Source, access: Access) -> FakeStore:
        self.asked += 1
        if isinstance(self.store, str):
            raise Unusable(self.store)
        if isinstance(self.store, DataError):
            raise self.store
        return self.store


class Pauses:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
