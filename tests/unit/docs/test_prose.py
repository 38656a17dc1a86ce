"""Plain English in the package: phrases that read like a translation do not come back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
import pytest_madengine

PACKAGE: Final = Path(pytest_madengine.__file__).parent
#: "x is no file" (it is not a file), "a name that is none" (not one), "the engine broke off".
#: "There is no file", "no longer" and "there is none" are fine.
FORBIDDEN: Final = re.compile(
    r"(?<!here )\bis no (?!longer\b|more\b|other\b)\w|(?<!here )\bis none\b|\bbroke off\b"
)
#: How often it still stands in a room.  These numbers only get smaller.
REMAINING: Final[dict[str, int]] = {
    "catalog": 9,
    "cli": 3,
    "context": 5,
    "data": 13,
    "deploy": 4,
    "engine": 2,
    "errors.py": 1,
    "executors": 5,
    "generate": 1,
    "history": 23,
    "images": 10,
    "lint": 9,
    "manifest": 2,
    "needles.py": 1,
    "perfcsv": 11,
    "plan": 13,
    "plugin": 2,
    "reports": 12,
    "results": 8,
    "scheduling": 4,
    "secrets.py": 1,
    "session": 1,
    "settings.py": 1,
    "util": 1,
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("it is no directory", True),
        ("the registry is none", True),
        ("the engine broke off", True),
        ("there is no directory", False),
        ("-1: there is none", False),
        ("it is no longer there", False),
        ("it is not a directory", False),
    ],
)
def test_what_is_forbidden(text: str, found: bool) -> None:
    assert bool(FORBIDDEN.search(text)) is found


def test_texts_of_the_package_are_plain_english() -> None:
    found: dict[str, int] = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        # A phrase may be cut by the end of a line.
        text = " ".join(path.read_text(encoding="utf-8").split())
        count = len(FORBIDDEN.findall(text))
        if count:
            found[room] = found.get(room, 0) + count
    assert not {room: count for room, count in found.items() if count > REMAINING.get(room, 0)}
