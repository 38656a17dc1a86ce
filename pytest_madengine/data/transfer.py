"""Reads files of a store into a directory: in parallel, verified, each under its name only when whole."""

from __future__ import annotations

import errno
import hashlib
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from pytest_madengine.data.partial import PART_SIZE, Part, PartialFile, partial_path
from pytest_madengine.data.progress import Progress, TransferState
from pytest_madengine.data.store import ATTEMPTS, Budget, Checksum, RemoteFile, Store, TransientError
from pytest_madengine.errors import DataError

#: Seconds between two reports.
_REPORT_INTERVAL: Final = 1.0
#: Parts in work or waiting for each worker.
_AHEAD: Final = 8
_BUFFER: Final = 256 * 1024


class Hasher(Protocol):
    """What :mod:`hashlib` makes."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Takes more content."""

    def hexdigest(self) -> str:
        """The value of everything taken."""


class Crc32:
    """CRC-32 as S3 writes it, with the interface of :mod:`hashlib`."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        """Takes more content."""
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        """Eight digits."""
        return f"{self._value:08x}"


def hasher(algorithm: str) -> Hasher:
    """A new hash.  None of them protects against an attacker: they find broken transfers."""
    return Crc32() if algorithm == "crc32" else hashlib.new(algorithm, usedforsecurity=False)


@dataclass
class Meter:
    """Counts what was transferred and reports it."""

    name: str
    provider: str
    report: Progress
    budget: Budget
    files_total: int = 0
    bytes_total: int = 0
    files_done: int = 0
    bytes_done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: float = 0.0

    def add(self, size: int = 0, files: int = 0) -> None:
        """Counts; called by all workers.  A negative size takes back what must be read again."""
        with self._lock:
            self.bytes_done += size
            self.files_done += files
            now = self.budget.elapsed
            if now - self._last >= _REPORT_INTERVAL:
                self._last = now
                self.report(self._state(now))

    def finish(self) -> None:
        """The last report."""
        with self._lock:
            self.report(self._state(self.budget.elapsed, finished=True))

    def _state(self, elapsed: float, finished: bool = False) -> TransferState:
        return TransferState(
            self.name,
            self.provider,
            self.files_done,
            self.files_total,
            self.bytes_done,
            self.bytes_total,
            elapsed,
            finished,
        )


@dataclass
class _Job:
    """One file in work."""

    partial: PartialFile
    target: Path
    futures: dict[int, Future[None]]


class Transfer:
    """Reads files; ``arrived`` is called, by the calling thread, for each that has its final name.

    :param staging: directory for half-made files, on the file system of the target.
    """

    def __init__(
        self,
        store: Store,
        staging: Path,
        budget: Budget,
        meter: Meter,
        arrived: Callable[[RemoteFile, Path], None],
        part_size: int = PART_SIZE,
    ) -> None:
        self._store = store
        self._staging = staging
        self._budget = budget
        self._meter = meter
        self._arrived = arrived
        self._part_size = part_size
        self._jobs: deque[_Job] = deque()
        # One for all: fresh memory costs as much as hashing it.
        self._buffer = memoryview(bytearray(_BUFFER))

    def run(self, files: Iterable[tuple[RemoteFile, Path]]) -> None:
        """Reads all files.

        :raises DataError: one of them cannot be read; the others that arrived stay.
        :raises OSError: this host cannot write; half-made files are removed when its disk is full.
        """
        pool = ThreadPoolExecutor(self._store.workers, thread_name_prefix="mad-data")
        try:
            waiting = 0
            for file, target in files:
                job = self._begin(pool, file, target)
                waiting += len(job.futures)
                while waiting > self._store.workers * _AHEAD and len(self._jobs) > 1:
                    waiting -= self._finish_oldest(pool)
            while self._jobs:
                self._finish_oldest(pool)
        except BaseException as error:
            self._budget.cancelled = True
            pool.shutdown(cancel_futures=True)
            self._abandon(error)
            raise
        pool.shutdown()

    # ---- one file -----------------------------------------------------------------------------------

    def _begin(self, pool: ThreadPoolExecutor, file: RemoteFile, target: Path) -> _Job:
        self._budget.check()
        partial = PartialFile(self._staging, file, self._part_size)
        partial.open()
        job = _Job(partial, target, {})
        self._jobs.append(job)
        self._meter.add(partial.resumed)
        if len(partial.parts) <= 1:
            job.futures[0] = pool.submit(self._small, partial)
        else:
            self._submit(pool, job)
        return job

    def _submit(self, pool: ThreadPoolExecutor, job: _Job) -> None:
        for part in job.partial.missing:
            job.futures[part.index] = pool.submit(self._part, job.partial, part, None)

    def _finish_oldest(self, pool: ThreadPoolExecutor) -> int:
        """Waits for the oldest file and gives it its name; returns how many parts were read."""
        job = self._jobs[0]
        if len(job.partial.parts) <= 1:
            job.futures[0].result()
        else:
            self._large(pool, job)
        job.partial.move_to(job.target)
        self._jobs.popleft()
        self._meter.add(files=1)
        self._arrived(job.partial.file, job.target)
        return len(job.futures)

    def _small(self, partial: PartialFile) -> None:
        """A file of one part, or empty; the worker that reads it also verifies it."""

        def whole() -> None:
            check = hasher(algorithm) if algorithm else None
            for part in partial.parts:
                self._part(partial, part, check)
            try:
                self._verify(partial.file, algorithm, check)
            except TransientError:
                self._meter.add(-partial.file.size)
                raise

        algorithm = self._algorithm(partial.file)
        self._budget.attempts(whole)

    def _large(self, pool: ThreadPoolExecutor, job: _Job) -> None:
        """Hashes the parts in order while later ones still arrive."""
        partial, algorithm = job.partial, self._algorithm(job.partial.file)
        for attempt in range(1, ATTEMPTS + 1):
            check = hasher(algorithm) if algorithm else None
            for part in partial.parts:
                if part.index in job.futures:
                    job.futures[part.index].result()
                if check is not None:
                    self._hash(partial, part, check)
            try:
                self._verify(partial.file, algorithm, check)
            except TransientError as error:
                # Nobody knows which part is wrong, and an earlier process may have read it.
                partial.discard()
                self._meter.add(-partial.file.size)
                if attempt == ATTEMPTS:
                    raise DataError(f"{error} (tried {ATTEMPTS} times)") from None
                partial.open()
                self._submit(pool, job)
            else:
                return

    def _part(self, partial: PartialFile, part: Part, check: Hasher | None) -> None:
        """Reads one part; another attempt goes on where the last one broke off."""
        done = 0

        def rest() -> None:
            nonlocal done
            wanted = part.length - done
            for data in self._store.read(partial.file, part.start + done, wanted):
                self._budget.check()
                if len(data) > part.length - done:
                    raise DataError(f"{partial.file.key}: the server sent more than it was asked for")
                partial.write(part.start + done, data)
                if check is not None:
                    check.update(data)
                done += len(data)
                self._meter.add(len(data))
            if done < part.length:
                raise TransientError(f"{partial.file.key}: the connection ended in the middle")

        self._budget.attempts(rest)
        partial.finish(part)

    # ---- verification -------------------------------------------------------------------------------

    def _algorithm(self, file: RemoteFile) -> str:
        """Hash to compute while reading; the store may turn out to have none or another."""
        return "md5" if file.md5 else ""

    def _verify(self, file: RemoteFile, algorithm: str, check: Hasher | None) -> None:
        wanted = self._budget.attempts(lambda: self._store.checksum(file))
        if wanted is None:
            return
        if check is not None and wanted.algorithm == algorithm:
            found = check.hexdigest()
        else:
            found = self._hash_of(file, wanted)
        if found.lower() != wanted.value.lower():
            raise TransientError(
                f"{file.key}: {wanted.algorithm} of what arrived is {found}, it must be {wanted.value}"
            )

    def _hash_of(self, file: RemoteFile, wanted: Checksum) -> str:
        """Hash of the half-made file as a whole."""
        return hash_file(partial_path(self._staging, file), wanted.algorithm, self._budget)

    def _hash(self, partial: PartialFile, part: Part, check: Hasher) -> None:
        offset, end = part.start, part.start + part.length
        while offset < end:
            self._budget.check()
            size = partial.read_into(self._buffer[: min(len(self._buffer), end - offset)], offset)
            if not size:
                raise DataError(f"{partial.path}: was shortened by somebody else")
            check.update(self._buffer[:size])
            offset += size

    def _abandon(self, error: BaseException) -> None:
        """Keeps half-made files for a later process, unless they fill the disk."""
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        for job in self._jobs:
            if full or len(job.partial.parts) <= 1:
                job.partial.discard()
            else:
                job.partial.close()


def hash_file(path: Path, algorithm: str, budget: Budget) -> str:
    """Hexadecimal hash of a file.

    :raises OSError: it cannot be read.
    """
    check = hasher(algorithm)
    with path.open("rb") as stream:
        while data := stream.read(1024 * 1024):
            budget.check()
            check.update(data)
    return check.hexdigest()
