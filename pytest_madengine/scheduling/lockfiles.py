"""Lock files of a host: kernel locks (``flock``) that several users share and that die with their holder.

The directory is world-writable and sticky like ``/tmp``; nothing in it is trusted.  Links are not followed,
only regular files with one name are opened, and their content is information for people, never a decision.
The worst another user can do is to hold a lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import socket
import stat
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import LeaseError
from pytest_madengine.util.locks import take

#: Overrides the directory; all sessions that share GPUs must use the same one.
DIRECTORY_VARIABLE: Final = "MAD_GPU_LOCK_DIR"
#: At most this much of a lock file is read.
_MAX_INFO: Final = 64 * 1024
_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_open_files: weakref.WeakSet[LockFile] = weakref.WeakSet()
_open_claims: weakref.WeakSet[Claim] = weakref.WeakSet()


def default_directory(environ: Mapping[str, str], system: Path = Path("/run/lock")) -> Path:
    """The directory of all users of this host: ``/run/lock/pytest-madengine`` or below ``/tmp``.

    The choice must not depend on who asks, or root and other users would not see each other's locks:
    ``/run/lock`` counts only where everyone may write.
    """
    given = environ.get(DIRECTORY_VARIABLE, "").strip()
    if given:
        return Path(given).expanduser().absolute()
    try:
        mode = system.stat().st_mode
    except OSError:
        mode = 0
    shared = stat.S_ISVTX | stat.S_IWOTH
    return system / "pytest-madengine" if mode & shared == shared else Path("/tmp/pytest-madengine-gpus")


class LockFile:
    """An open lock file.  Not inherited by commands, and closed in forked children."""

    def __init__(self, path: Path, descriptor: int, *, writable: bool) -> None:
        self.path = path
        self._descriptor = descriptor
        self._writable = writable
        #: Taken with the lock, when not empty; held even when the file is removed.
        self.claim_name = ""
        self._claim: Claim | None = None
        _open_files.add(self)

    @property
    def name(self) -> str:
        """File name."""
        return self.path.name

    def try_lock(self) -> bool:
        """Takes the lock when it is free; see also :attr:`claim_name`."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if self.claim_name and self._claim is None:
            self._claim = Claim.take(self.claim_name)
            if self._claim is None:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
                return False
        return True

    @property
    def present(self) -> bool:
        """False once the file was removed, or another one has its name."""
        try:
            there = self.path.lstat()
        except OSError:
            return False
        mine = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def wait(self) -> None:
        """Takes the lock, however long that takes.

        :raises LockError: an end was asked for while somebody else held it.
        """
        take(self._descriptor, self.path)

    def write(self, info: Mapping[str, Any]) -> None:
        """Replaces the content; it is only information, so a full disk is no error."""
        if not self._writable:
            return
        data = json.dumps(info, ensure_ascii=True).encode() + b"\n" if info else b""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, data, 0)

    def read(self) -> dict[str, Any]:
        """The content; empty when it is none of ours."""
        try:
            value = json.loads(os.pread(self._descriptor, _MAX_INFO, 0))
        except (OSError, ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def close(self) -> None:
        """Gives the lock back, also when a forked child still has the file open."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            _open_files.discard(self)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def abandon(self) -> None:
        """Closes without unlocking: a forked child shares the lock of its parent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _abandon_all() -> None:
    for file in list(_open_files):
        file.abandon()
    _open_files.clear()
    for claim in list(_open_claims):
        claim.close()
    _open_claims.clear()


os.register_at_fork(after_in_child=_abandon_all)


class Claim:
    """A name that one process of the host holds: an abstract socket address.

    Nobody can remove it while it is held, as a tmp cleaner removes lock files, and the kernel frees it with
    the process.  It is known in one network namespace; across those only the lock file counts.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        _open_claims.add(self)

    @classmethod
    def take(cls, name: str) -> Claim | None:
        """The claim, or ``None`` when another process has it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holder:
            try:
                holder.bind(f"\0{name}")
            except OSError as error:
                # Where addresses are forbidden altogether, the lock file has to do.
                return None if error.errno == errno.EADDRINUSE else cls(-1)
            return cls(holder.detach())

    def close(self) -> None:
        """Gives the name back; in a forked child the parent keeps it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class LockDirectory:
    """The lock files of one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim_name(self, name: str) -> str:
        """The address that stands for a file of this directory, whether or not the file is there."""
        place = hashlib.sha256(os.fsencode(os.path.realpath(self.path))).hexdigest()[:16]
        return f"pytest-madengine/{place}/{hashlib.sha256(name.encode()).hexdigest()[:32]}"

    def prepare(self) -> None:
        """Makes the directory, writable for every user.

        :raises LeaseError: it cannot be made, or something else has its name.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.path.mkdir(mode=0o700)
            except FileExistsError:
                pass
            else:
                self.path.chmod(0o1777)  # the umask would have narrowed the mode of mkdir
            state = self.path.lstat()
        except OSError as error:
            raise _unusable(self.path, error.strerror or str(error)) from None
        mode = state.st_mode
        if not stat.S_ISDIR(mode):
            raise _unusable(
                self.path, "a symbolic link, not a directory" if stat.S_ISLNK(mode) else "not a directory"
            )
        # Without the sticky bit others could remove lock files that are in use: a GPU would have two owners.
        foreign = state.st_uid not in (0, os.geteuid())
        others = stat.S_IWOTH | (stat.S_IWGRP if foreign else 0)
        if mode & others and not mode & stat.S_ISVTX:
            raise _unusable(self.path, "other users may remove files in it (no sticky bit: chmod +t)")
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise _unusable(self.path, "not writable for this user")

    def open(self, name: str, *, create: bool = True, claim: bool = False) -> LockFile | None:
        """Opens a lock file; ``None`` when it does not exist and must not be created.

        :param claim: its lock is held together with a :class:`Claim`.
        :raises LeaseError: a link or something that is no lock file has its name.
        """
        path = self.path / name
        try:
            opened = self._open(path, create)
        except OSError as error:
            reason = "a symbolic link" if error.errno == errno.ELOOP else error.strerror or str(error)
            raise _unusable(path, reason) from None
        if opened is None:
            return None
        descriptor, writable = opened
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(descriptor)
            raise _unusable(path, "not a regular file with one name")
        file = LockFile(path, descriptor, writable=writable)
        if claim:
            file.claim_name = self.claim_name(name)
        return file

    def _open(self, path: Path, create: bool) -> tuple[int, bool] | None:
        # Creation is exclusive and apart: in sticky directories the kernel (fs.protected_regular) refuses
        # O_CREAT on files of other users.
        for _ in range(3):
            try:
                return os.open(path, os.O_RDWR | _FLAGS), True
            except FileNotFoundError:
                if not create:
                    return None
            except PermissionError:
                # flock needs no write permission; only the information cannot be written.
                return os.open(path, os.O_RDONLY | _FLAGS), False
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
            except FileExistsError:
                continue
            except FileNotFoundError:
                self.prepare()  # removed together with its files
                continue
            os.fchmod(descriptor, 0o666)
            return descriptor, True
        raise FileExistsError(errno.EEXIST, "it appears and disappears", str(path))

    @contextlib.contextmanager
    def locked_if_free(self, name: str) -> Iterator[bool]:
        """As :meth:`locked`, but never waits: false when somebody else has the lock."""
        file = self.open(name)
        assert file is not None
        try:
            yield file.try_lock()
        finally:
            file.close()

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Holds the lock of a file; for sections that do not wait for anything."""
        file = self.open(name)
        assert file is not None
        try:
            file.wait()
            yield
        finally:
            file.close()

    def names(self, prefix: str) -> list[str]:
        """Sorted names of the files that start with a prefix."""
        try:
            return sorted(entry.name for entry in os.scandir(self.path) if entry.name.startswith(prefix))
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """Removes a file; one of another user stays (the directory is sticky)."""
        with contextlib.suppress(FileNotFoundError, PermissionError):
            (self.path / name).unlink()


def _unusable(path: Path, why: str) -> LeaseError:
    return LeaseError(
        f"GPU locks: {path}: {why}",
        hint=f"set {DIRECTORY_VARIABLE} to a directory that all users of this host may write",
    )
