"""Files: atomic replacement, locked appending, private directories, reading what others can touch."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.util.locks import locked, take

_PRIVATE_HINT: Final = "see who made it and remove it, or set XDG_RUNTIME_DIR to a directory of yours"
#: Directory, beside a file that is replaced, of what will take its place.  Runs never see it: it has the name
#: of their control directory.
SCRATCH: Final = ".madengine"
_TEMPORARY: Final = ".madengine-"
_SCRATCH_TRIES: Final = 100
#: Seconds to wait for whoever removes it; that takes milliseconds, so somebody else has its lock.
_SCRATCH_LIMIT: Final = 3.0


def write_atomic(path: Path, text: str) -> None:
    """Writes the whole file or nothing: a reader never sees half of it, also after a crash.

    A symbolic link is followed; an existing file keeps its mode.

    :raises OSError: the directory cannot be written or is full; the old file is then untouched.
    """
    with replacing(path) as temporary, temporary.open("xb") as stream:
        stream.write(encoded(text))
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file to, which then takes the place of ``path``; an existing file keeps its mode.

    It lies in a directory of its own (:data:`SCRATCH`), never beside the target: other processes list
    the target's directory, and mount what they see there into containers.  An error leaves the old file.

    :raises OSError: the directory cannot be written or is full.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(target.parent) as directory:
        # Not by tempfile: its files are private, and the umask can only be asked for by changing it.
        temporary = directory / f"{_TEMPORARY}{secrets.token_hex(8)}.tmp"
        try:
            yield temporary
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def try_directory(directory: Path) -> None:
    """Writes a file in an existing directory and removes it: its mode alone does not tell whether one can.

    :raises OSError: no file can be made there.
    """
    with _scratch(directory) as scratch:
        temporary = scratch / f"{_TEMPORARY}{secrets.token_hex(8)}.tmp"
        try:
            with temporary.open("xb") as stream:
                stream.write(b"\n")
        finally:
            temporary.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """True for names in a directory that :func:`replacing` may have made, by this process or another."""
    return name == SCRATCH or (name.startswith(_TEMPORARY) and name.endswith(".tmp"))


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """The directory for temporary files of ``parent``; the last one who leaves it removes it.

    Where it cannot be made (somebody else's file has its name, say) it is ``parent`` itself.
    """
    directory = parent / SCRATCH
    guard = _held(directory)
    if guard < 0:
        yield parent
        return
    try:
        yield directory
    finally:
        os.close(guard)
        _remove_unheld(directory)


def _held(directory: Path) -> int:
    """A descriptor of the directory under a shared lock, so that nobody removes it; -1: there is none."""
    for _ in range(_SCRATCH_TRIES):
        try:
            directory.mkdir(exist_ok=True)
            guard = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # removed by another process in between
            continue
        except OSError:
            return -1
        try:
            take(guard, directory, shared=True, limit=_SCRATCH_LIMIT)
            if os.fstat(guard).st_nlink and os.access(directory, os.W_OK | os.X_OK):
                return guard
        except OSError:
            os.close(guard)
            return -1
        os.close(guard)
    return -1


def _remove_unheld(directory: Path) -> None:
    # Not empty, in use or gone: all the same to us.
    with contextlib.suppress(OSError):
        guard = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in directory.glob(f"{_TEMPORARY}*.tmp"):  # by a writer that was killed
                left.unlink()
            directory.rmdir()
        finally:
            os.close(guard)


def encoded(text: str) -> bytes:
    """UTF-8; bytes that were no UTF-8 when the text was read come out as they were.  Never fails."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def private_directory(path: Path) -> Path:
    """Makes a directory of this user alone below one that everybody may write, such as ``/tmp``.

    :raises ConfigError: somebody else made it first, or may write in it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        state = path.lstat()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", hint=_PRIVATE_HINT) from None
    wrong = ""
    if not stat.S_ISDIR(state.st_mode):
        wrong = "it is a symbolic link" if stat.S_ISLNK(state.st_mode) else "it is not a directory"
    elif state.st_uid != os.geteuid():
        wrong = f"it belongs to another user (uid {state.st_uid})"
    elif state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        wrong = "other users may write in it"
    if wrong:
        raise ConfigError(f"{path} is not used: {wrong}", hint=_PRIVATE_HINT)
    return path


def append_line(path: Path, line: str) -> None:
    """Appends one line under the lock of the file; it appears whole or not at all.

    A last line without newline, left by a writer that died, is ended first.

    :raises OSError: the file cannot be written or the disk is full; its content is then unchanged.
    :raises LockError: see :func:`locked`.
    """
    with locked(path) as stream:
        size = stream.seek(0, os.SEEK_END)
        rest = encoded(line) + b"\n"
        if size and os.pread(stream.fileno(), 1, size - 1) != b"\n":
            rest = b"\n" + rest
        try:
            while rest:
                # Past the buffer of the stream: it would try again when it is closed.
                rest = rest[os.write(stream.fileno(), rest) :]
        except OSError:
            os.ftruncate(stream.fileno(), size)
            raise


def open_regular(path: Path) -> int:
    """A descriptor of a regular file for reading.  Never blocks and never follows a link.

    For every file that a container can touch: a pipe in its place would block the reader for ever.

    :raises OSError: absent, not readable, a link, or not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return handle


def read_regular(path: Path, limit: int) -> bytes | None:
    """The content of a regular file; ``None`` when it is not one, cannot be read, or has more bytes."""
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            content = stream.read(limit + 1)
    except OSError:
        return None
    return content if len(content) <= limit else None


def remove_tree(path: Path) -> None:
    """Removes a file or a tree of any depth, also below directories without write permission.

    Directories are moved up before they are emptied, so that neither the longest path of the system nor the
    stack limits the depth.

    :raises OSError: something cannot be removed, e.g. in a directory of another user.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    waiting = [path]
    names = (f".{token}-{number}" for token in [secrets.token_hex(8)] for number in itertools.count())
    while waiting:
        directory = waiting[-1]
        directory.chmod(0o700)
        with os.scandir(directory) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in found:
            child = directory / name
            if not is_directory:
                child.unlink(missing_ok=True)
                continue
            if directory != path:
                child.chmod(0o700)  # what is moved must be writable, for its ".."
                child = child.rename(path / next(names))
            waiting.append(child)
        if waiting[-1] is directory:
            waiting.pop().rmdir()
