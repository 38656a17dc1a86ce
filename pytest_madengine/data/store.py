"""What a store of data is: it lists and reads files; the errors, limits and checks of all stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from pytest_madengine.data.provider import Timing
from pytest_madengine.errors import DataError

#: Seconds within which a provider must show that it is usable (contract 13.3).
PROBE_LIMIT: Final = 30.0
#: How often one part of a transfer is tried, and the pauses in between in seconds (contract 13.3).
ATTEMPTS: Final = 3
PAUSES: Final = (1.0, 4.0)
_T = TypeVar("_T")


class TransientError(Exception):
    """Something that may work when it is tried again: a reset connection, a busy server, a wrong checksum."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a store."""

    #: Relative POSIX path that it gets here.
    path: str
    #: Bytes.
    size: int
    #: Changes whenever the content does: an ETag, or a modification time.
    version: str
    #: How the store calls it.
    key: str
    #: Seconds since 1970; ``None``: not known.
    modified: float | None = None
    #: Hexadecimal MD5 of the content where the listing says it.
    md5: str = ""
    #: Size and modification time alone identify a content, as for rsync (no checksum is to be had).
    trust_time: bool = False


@dataclass(frozen=True)
class Checksum:
    """What the content of a file must hash to; ``algorithm`` as :mod:`hashlib` calls it, or ``crc32``."""

    algorithm: str
    #: Hexadecimal.
    value: str


class Store(Protocol):
    """An open connection to the files of one source.  All methods but ``files`` are called by threads."""

    @property
    def label(self) -> str:
        """What the files are and where, for messages and manifests; without secrets."""

    @property
    def workers(self) -> int:
        """How many reads may go on at once."""

    def files(self) -> Iterable[RemoteFile]:
        """All files.

        :raises TransientError: may be tried again.
        :raises DataError: the place does not exist or may not be read.
        """

    def read(self, file: RemoteFile, start: int, length: int) -> Iterator[bytes]:
        """A stretch of a file in pieces.

        :raises TransientError: may be tried again from where it broke off.
        :raises DataError: the file is gone, was changed meanwhile or may not be read.
        """

    def checksum(self, file: RemoteFile) -> Checksum | None:
        """The checksum the store knows of a file, asked for after it was read; ``None`` without one.

        :raises TransientError: may be tried again.
        :raises DataError: the file is gone or was changed meanwhile.
        """

    def close(self) -> None:
        """Ends all connections."""


@dataclass
class Budget:
    """The time a transfer has, and whether it was called off."""

    timing: Timing
    #: Seconds; ``None``: no limit.
    limit: float | None = None
    cancelled: bool = False

    def __post_init__(self) -> None:
        self._start = self.timing.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self.timing.clock() - self._start

    def check(self) -> None:
        """Goes on.

        :raises DataError: the time is over, or another part failed.
        """
        if self.cancelled:
            raise DataError("the transfer was called off")
        if self.limit is not None and self.elapsed > self.limit:
            raise DataError(
                f"not transferred within {self.limit:g} seconds",
                hint="what is there already is used by the next run when a mirror is configured",
            )

    def attempts(self, action: Callable[[], _T]) -> _T:
        """The result of an action that is tried again after a :class:`TransientError`.

        :raises DataError: the last attempt failed, or the time is over.
        """
        for pause in (*PAUSES[: ATTEMPTS - 1], None):
            self.check()
            try:
                return action()
            except TransientError as error:
                if pause is None:
                    raise DataError(f"{error} (tried {ATTEMPTS} times)") from None
                self.timing.sleep(pause)
        raise AssertionError  # pragma: no cover - the loop always ends before


def safe_relative(path: str) -> str:
    """A relative POSIX path that stays below the directory it is put into; empty parts are dropped.

    :raises DataError: it would lead elsewhere, or no file can be called so.
    """
    parts = [part for part in path.split("/") if part]
    if not parts or any(part in {".", ".."} or "\0" in part for part in parts):
        raise DataError(f"the remote name {path!r} cannot be a file name here")
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        raise DataError(f"the remote name {path[:80]!r}... has a part longer than 255 bytes")
    return "/".join(parts)
