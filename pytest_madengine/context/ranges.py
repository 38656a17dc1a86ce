"""Lists such as ``0,2-4,7`` of ``docker_gpus`` and ``docker_cpus`` (contract 10.5)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_PART: Final = re.compile(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", re.ASCII)
#: No host has more GPUs or CPUs; keeps ``0-999999999`` from filling the memory.
_LARGEST: Final = 65535


def parse_ranges(text: str) -> tuple[int, ...]:
    """The numbers of comma separated integers and ``a-b`` ranges, sorted and without repeats.

    Blanks around numbers are ignored.

    :raises ValueError: a part is malformed, backwards or too large; the text names the part.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"has a malformed part {part.strip()!r} (expected a number or a-b)")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise ValueError(f"has a range that runs backwards: {part.strip()!r}")
        if last > _LARGEST:
            raise ValueError(f"has a number above {_LARGEST}: {part.strip()!r}")
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def format_ranges(numbers: Iterable[int]) -> str:
    """The text that :func:`parse_ranges` reads back: ``0,2-4``; empty for no numbers."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in parts)
