"""Small texts that several modules of the plan room share."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint naming up to three known words close to a misspelt one; empty when none is close."""
    close = difflib.get_close_matches(word, sorted(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""


def as_text(value: Any) -> str:
    """A JSON value as text: texts as they are, numbers and booleans as JSON, null as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def seconds(value: float | None) -> str:
    """A limit as a whole number where it is one; ``0`` for none (contract 10.8)."""
    if value is None:
        return "0"
    return str(int(value)) if value == int(value) else str(value)


def join_words(*parts: str) -> str:
    """Command parts joined by one blank; empty ones are left out."""
    return " ".join(part.strip() for part in parts if part.strip())
