"""The content cache of remote data: one directory per data name below a mirror (contract 13.3).

Workers and sessions share it under a lock.  Below ``<mirror>/.madengine`` lie, per data name, the lock,
the manifest and partial files; they are never mounted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_madengine.data.index import Manifest, looks_as
from pytest_madengine.data.partial import partial_path
from pytest_madengine.data.progress import human_size
from pytest_madengine.data.provider import Access
from pytest_madengine.data.store import Budget, RemoteFile, Store
from pytest_madengine.data.transfer import Meter, Transfer, hash_file
from pytest_madengine.errors import DataError
from pytest_madengine.util.locks import take
from pytest_madengine.util.names import hashed, safe_name

#: Directory below a mirror with locks, manifests and partial files; never mounted.
CONTROL: Final = ".madengine"
#: Seconds between two looks at a lock that another process holds.


def mirror_directory(mirror: Path, name: str) -> Path:
    """``<mirror>/<data name>``.

    :raises DataError: the name would lead elsewhere.
    """
    parts = name.split("/")
    if any(part in {"", ".", "..", CONTROL} or "\0" in part for part in parts):
        raise DataError(
            f"data name {name!r} cannot be a directory below the mirror {mirror}", hint="rename the data"
        )
    return mirror.joinpath(*parts)


class Mirror:
    """The directory of one data name below a mirror."""

    def __init__(self, mirror: Path, name: str) -> None:
        self.directory = mirror_directory(mirror, name)
        key = safe_name(name)
        if key != name:
            key = hashed(key, name, len(key) + 9, strip="")
        self._control = mirror / CONTROL
        self._lock = self._control / f"{key}.lock"
        self._manifest = self._control / f"{key}.jsonl"
        self._staging = self._control / f"{key}.parts"

    def synchronise(self, store: Store, provider: str, name: str, budget: Budget, access: Access) -> int:
        """Makes the directory hold what the store holds; only what changed is transferred.

        :returns: bytes of all files.
        :raises DataError: the transfer failed; whole files that arrived stay.
        """
        meter = Meter(name, provider, access.progress, budget)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._control.mkdir(exist_ok=True)
            with self._locked(budget):
                return self._synchronise(store, budget, meter)
        except OSError as error:
            raise self._failure(error) from None

    def _synchronise(self, store: Store, budget: Budget, meter: Meter) -> int:
        files = _distinct(budget.attempts(lambda: list(store.files())), store)
        manifest = Manifest(self._manifest, store.label)
        try:
            self._remove_vanished(manifest, files)
            wanted = [file for file in files.values() if not manifest.holds(file, self.directory)]
            wanted = [file for file in wanted if not self._adopt(file, manifest, budget)]
            self._check_space(wanted)
            meter.files_total, meter.bytes_total = len(wanted), sum(file.size for file in wanted)
            if wanted:
                transfer = Transfer(store, self._staging, budget, meter, manifest.add)
                transfer.run((file, self._target(file)) for file in wanted)
                meter.finish()
                manifest.write()
        finally:
            manifest.close()
        # What is left belongs to versions that are gone.
        shutil.rmtree(self._staging, ignore_errors=True)
        return sum(file.size for file in files.values())

    # ---- the directory ------------------------------------------------------------------------------

    def _target(self, file: RemoteFile) -> Path:
        """Final place of a file, with its directory made.

        A run that may write into the mirror may have left links there: they are not followed.
        """
        target = self.directory / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(self.directory.resolve()):
            raise DataError(f"{target.parent} leads out of the mirror", hint="remove the link")
        return target

    def _remove_vanished(self, manifest: Manifest, files: dict[str, RemoteFile]) -> None:
        """Removes what arrived once and is no longer there; files of others stay."""
        for path, held in list((manifest.held | manifest.foreign).items()):
            if path in files:
                continue
            local = self.directory / path
            inside = local.parent.resolve().is_relative_to(self.directory.resolve())
            if inside and looks_as(local, held):
                local.unlink()
                self._remove_empty(local.parent)
            manifest.held.pop(path, None)

    def _remove_empty(self, directory: Path) -> None:
        while directory != self.directory:
            try:
                directory.rmdir()
            except OSError:
                return  # not empty
            directory = directory.parent

    def _adopt(self, file: RemoteFile, manifest: Manifest, budget: Budget) -> bool:
        """True when a file that somebody else put there has the right content."""
        path = self.directory / file.path
        if path.is_symlink() or not path.is_file():
            return False
        status = path.stat()
        if status.st_size != file.size:
            return False
        if file.md5:
            same = hash_file(path, "md5", budget) == file.md5
        else:
            same = (
                file.trust_time and file.modified is not None and int(status.st_mtime) == int(file.modified)
            )
        if same:
            manifest.add(file, path)
        return same

    def _check_space(self, files: list[RemoteFile]) -> None:
        present = sum(_blocks(partial_path(self._staging, file)) for file in files)
        needed = max(sum(file.size for file in files) - present, 0)
        status = os.statvfs(self.directory)
        free = status.f_bavail * status.f_frsize
        if needed > free:
            raise DataError(
                f"{self.directory} has {human_size(free)} free, {human_size(needed)} are needed",
                hint="free space, or choose another mirror",
            )

    @contextlib.contextmanager
    def _locked(self, budget: Budget) -> Iterator[None]:
        """Holds the lock of the data name; the kernel gives it back when this process dies."""
        with self._lock.open("ab") as stream:
            take(stream.fileno(), self._lock, check=budget.check, sleep=budget.timing.sleep)
            yield

    def _failure(self, error: OSError) -> DataError:
        where = error.filename if isinstance(error.filename, str) else str(self.directory)
        hint = "free space, or choose another mirror"
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            hint = "choose a mirror that this user may write to"
        return DataError(f"{where}: {error.strerror or error}", hint=hint)


def _distinct(files: list[RemoteFile], store: Store) -> dict[str, RemoteFile]:
    """The files by their path here.

    :raises DataError: two of them need the same place.
    """
    result: dict[str, RemoteFile] = {}
    for file in files:
        if file.path in result:
            raise DataError(f"{store.label}: {file.key!r} and {result[file.path].key!r} are one file here")
        result[file.path] = file
    for path in result:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in result:
                raise DataError(f"{store.label}: {parent!r} is both a file and a directory here")
            parent = parent.rpartition("/")[0]
    return result


def _blocks(path: Path) -> int:
    """Bytes that a file takes on the disk; partial files have holes."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0
