"""Sizes as people read them, and how far a transfer is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Seconds spent at most on measuring data that is not ours.
MEASURE_LIMIT: Final = 5.0
_UNITS: Final = "KMGTPE"


@dataclass(frozen=True)
class TransferState:
    """How far one transfer is.  Sizes in bytes, time in seconds."""

    name: str
    provider: str
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    elapsed: float
    finished: bool = False

    def line(self) -> str:
        """One line for a terminal or a log, e.g. ``data d1 from aws: 1.2G of 4.0G, 3 of 8 files, 110M/s``."""
        rate = human_size(int(self.bytes_done / self.elapsed)) if self.elapsed > 0 else "0"
        return (
            f"data {self.name} from {self.provider}: {human_size(self.bytes_done)} of "
            f"{human_size(self.bytes_total)}, {self.files_done} of {self.files_total} files, {rate}/s"
        )


#: Told about the progress of transfers; called from one thread at a time, at most about once a second.
Progress = Callable[[TransferState], None]


def no_progress(state: TransferState) -> None:
    """Tells nobody."""


def human_size(size: int) -> str:
    """Bytes as ``du -h`` writes them: ``0``, ``512``, ``1.2G``, ``340M``; rounded up (contract 13.4)."""
    if size < 1024:
        return str(size)
    # Integers: a float of 2**60 - 1 is 2**60.
    power = (size.bit_length() - 1) // 10
    power = min(power, len(_UNITS))
    tenths = -(-size * 10 // 1024**power)
    if tenths < 100:
        return f"{tenths // 10}.{tenths % 10}{_UNITS[power - 1]}"
    whole = -(-size // 1024**power)
    if whole >= 1024 and power < len(_UNITS):
        return f"1.0{_UNITS[power]}"
    return f"{whole}{_UNITS[power - 1]}"


def measured(
    path: Path, clock: Callable[[], float] = time.monotonic, limit: float = MEASURE_LIMIT
) -> int | None:
    """Bytes of the files below a path; ``None`` when it takes longer than the limit or is unreadable.

    Symbolic links are counted as what they are: data outside is not in the mount.
    """
    end = clock() + limit
    total = 0
    pending = [os.fspath(path)]
    try:
        if not path.is_dir():
            return path.stat().st_size
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
            if clock() > end:
                return None
    except OSError:
        return None
    return total
