"""Which process: process ids are used again, an id with start time, boot and namespace is not."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id(source: Path = _BOOT) -> str:
    """Identity of this boot of this host; empty where the kernel has none."""
    try:
        return source.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def pid_namespace() -> str:
    """Identity of the process namespace of this process, e.g. ``pid:[4026531836]``."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; ``None`` when there is no such process."""
    fields = _status(pid)
    return int(fields[19]) if fields else None


def parent_of(pid: int) -> int | None:
    """Process id of the parent; ``None`` when there is no such process."""
    fields = _status(pid)
    return int(fields[1]) if fields else None


def _status(pid: int) -> list[str]:
    """The fields of ``/proc/<pid>/stat`` from the third (the state) on, proc(5); empty for one that ended.

    The command in field 2 may hold blanks and brackets.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    fields = text.rpartition(")")[2].split()
    return [] if not fields or fields[0] in "ZX" else fields
