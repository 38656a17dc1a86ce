"""The content cache of remote data: one directory per data name below a mirror (contract 13.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pytest_madengine.errors import DataError

#: Directory below a mirror with locks, manifests and half-made files; never mounted.
CONTROL: Final = ".madengine"


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
