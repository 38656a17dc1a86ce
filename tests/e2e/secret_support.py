"""Where planted secrets must not be: files, and argument lists of every process of the host."""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from session_support import command_lines


def forms(value: str) -> list[bytes]:
    """Section 14.2: the value itself, URL-encoded, Base64 and JSON-escaped."""
    texts = [value, urllib.parse.quote(value, safe=""), json.dumps(value)[1:-1]]
    return [text.encode() for text in texts] + [base64.b64encode(value.encode()).rstrip(b"=")]


def found_in(content: bytes, planted: Mapping[str, str]) -> list[str]:
    """Names of the planted values that a content holds in any form."""
    return [name for name, value in planted.items() if any(form in content for form in forms(value))]


def places(root: Path, planted: Mapping[str, str]) -> dict[str, list[str]]:
    """Files that hold a planted value in any form -> which."""
    found: dict[str, list[str]] = {}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            names = found_in(path.read_bytes(), planted)
            if names:
                found[str(path.relative_to(root))] = names
    return found


@contextmanager
def sampled_processes() -> Iterator[set[str]]:
    """Collects the argument lists of all processes, those in containers included, as often as it can."""
    seen: set[str] = set()
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.02):
            seen.update(command_lines())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield seen
    finally:
        over.set()
        sampler.join()


def told(seen: set[str], planted: Mapping[str, str]) -> list[str]:
    """Argument lists that hold a planted value."""
    return [line for line in seen if found_in(line.encode(errors="replace"), planted)]
