"""The merged ``scripts/common``: built-in files overlaid by the repository's own (contract 10.1)."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from pytest_madengine.errors import PlanError


def merge_common(builtin: Path, own: Path, target: Path) -> None:
    """Copies the built-in files to ``target`` and the repository's own files over them.

    Symbolic links stay links: they are meant for the place where the directory is mounted.  Sockets, pipes
    and devices are left out.

    :raises PlanError: a file cannot be read.
    """
    target.mkdir(parents=True, exist_ok=True)
    for source in (builtin, own):
        if source.is_dir():
            _overlay(source, target)


def _overlay(source: Path, target: Path) -> None:
    try:
        with os.scandir(source) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name == "__pycache__":
                    continue
                _copy(entry, target / entry.name)
    except OSError as error:
        raise PlanError(f"cannot read {error.filename or source}: {error.strerror}") from error


def _copy(entry: os.DirEntry[str], place: Path) -> None:
    mode = entry.stat(follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode):
        if place.is_symlink() or not place.is_dir():
            place.unlink(missing_ok=True)
            place.mkdir()
        _overlay(Path(entry.path), place)
        return
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    if stat.S_ISLNK(mode):
        place.symlink_to(Path(entry.path).readlink())
    elif stat.S_ISREG(mode):
        shutil.copy2(entry.path, place)
        place.chmod(0o755 if mode & 0o111 else 0o644)
