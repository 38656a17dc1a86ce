"""Why git could not clone, from the lines it printed (contract 10.3: the reason of a failing step)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: What the container's script prints before and after the output of the step.
_BEGIN: Final = "--- clone"
_END: Final = "ERROR: clone failed"
_FATAL: Final = "fatal: "
#: git's last word when ssh gave up: the line before it says why.
_SSH_GAVE_UP: Final = "fatal: Could not read from remote repository."
_SHOWN: Final = 200


def clone_cause(tail: Sequence[str]) -> str:
    """The line that explains a failed clone, without ``fatal:``; empty when there is none.

    :param tail: the last lines of the run log, redacted.
    """
    lines = _output(tail)
    for number in reversed(range(len(lines))):
        line = lines[number]
        if not line.startswith(_FATAL):
            continue
        before = lines[number - 1] if number else ""
        if line == _SSH_GAVE_UP and before and not before.startswith("Cloning into"):
            line = before
        return _clipped(line.removeprefix(_FATAL))
    return _clipped(lines[-1]) if lines else ""


def _output(tail: Sequence[str]) -> list[str]:
    lines = [line.strip() for line in tail]
    begin = next((n for n in reversed(range(len(lines))) if lines[n] == _BEGIN), -1)
    if begin < 0:
        return []
    rest = lines[begin + 1 :]
    end = next((n for n, line in enumerate(rest) if line.startswith(_END)), len(rest))
    return [line for line in rest[:end] if line]


def _clipped(line: str) -> str:
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
