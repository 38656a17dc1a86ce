"""What existed before a run: whatever has that content is not a result of it, whatever its name and time."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pytest_madengine.util.files import open_regular, read_regular

#: Bytes of the largest file that is remembered: no results file that is read is larger.
LARGEST: Final = 64 * 1024 * 1024
#: Bytes and files that are read before a run at most; files that look like results come first.
_BUDGET: Final = 512 * 1024 * 1024
_FILES: Final = 50_000
#: Entries of the MAD root that are looked at.
_ENTRIES: Final = 500_000
#: Lines of ``sha256sum``; a backslash stands before the hash when the name is written with escapes.
_SUM: Final = re.compile(rb"^\\?([0-9a-f]{64}) ", re.MULTILINE)


class Before:
    """The content of files, taken when the model's script is about to start.

    :param own: directories of the workspace: read at once, because the run may change them.
    :param shown: files and directories that the run sees read-only: read when something is compared.
    :param suffix: ending of the results file; files with it are read first.
    :param mounted: what else is mounted; the run may write there, so only what did not change since counts.
    :param sums: what the script in the container found in the image and in mounts (``sha256sum``).
    """

    def __init__(
        self,
        own: Iterable[Path],
        shown: Iterable[Path],
        suffix: str,
        mounted: Iterable[Path] = (),
        sums: bytes = b"",
    ) -> None:
        self._shown, self._mounted = tuple(shown), tuple(mounted)
        self._known = {bytes.fromhex(found.decode()) for found in _SUM.findall(sums)}
        #: Not every file could be read within bounds.
        self.incomplete = False
        files = [file for directory in own for file in _regular_files(directory, _ENTRIES)]
        files.sort(key=lambda file: (not file[0].name.endswith(suffix), file[1]))
        budget = _BUDGET
        for path, size in files[:_FILES]:
            if not size or size > LARGEST:
                continue
            budget -= size
            if budget < 0:
                self.incomplete = True
                break
            content = read_regular(path, LARGEST)
            if content is not None:
                self._known.add(_digest(content))
        self.incomplete = self.incomplete or len(files) > _FILES

    def had(self, content: bytes, since: int) -> bool:
        """True when a file with this content existed before the run began, at ``since`` nanoseconds."""
        if not content:
            return False
        digest = _digest(content)
        return digest in self._known or any(
            size == len(content) and _is(path, digest, latest)
            for places, latest in ((self._shown, None), (self._mounted, since))
            for place in places
            for path, size in _regular_files(place, _ENTRIES)
        )


def _is(path: Path, digest: bytes, latest: int | None) -> bool:
    """A file has this content, and nobody changed anything about it since a moment."""
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            if latest is not None and os.fstat(stream.fileno()).st_ctime_ns >= latest:
                return False
            return _digest(stream.read(LARGEST + 1)) == digest
    except OSError:
        return False


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _regular_files(place: Path, limit: int) -> Iterator[tuple[Path, int]]:
    """Regular files at or below a path with their sizes; links and directories of others are left out."""
    if place.is_file():
        yield place, place.stat().st_size
        return
    waiting = [place]
    while waiting and limit > 0:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    limit -= 1
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name != ".git":
                            waiting.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        yield Path(entry.path), entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # gone, not readable, or deeper than a path may be long
