"""Which rows of a result file are stored already: keys that make an upload repeatable.

perf.csv names no run.  Its rows may repeat each other, and the file grows at its end.  So a row is known by
everything up to it: its key is a hash of all rows of the file from the first to itself.  The same file
again has the same keys; a file that has grown has the old keys and some new ones; equal rows of one file
differ by what precedes them; two files share keys only as far as they begin alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

_LENGTH: Final = 32
_RUN_LENGTH: Final = 16


def row_keys(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """One key of 32 hexadecimal digits per row, in order.

    Empty cells, the order of columns and line endings do not count: v1 rows keep their keys when the file
    gets further, empty columns.
    """
    chain = hashlib.sha256()
    keys = []
    for row in rows:
        cells = {name: value for name, value in row.items() if value not in ("", None)}
        text = json.dumps(cells, sort_keys=True, separators=(",", ":"), default=str)
        chain.update(text.encode() + b"\n")
        keys.append(chain.hexdigest()[:_LENGTH])
    return keys


def upload_id(key: str) -> str:
    """The run id that rows without one get: it names the state of the file up to its last row's key."""
    return f"upload-{key[:_RUN_LENGTH]}"


def digest(*parts: str) -> str:
    """SHA-256 (64 hexadecimal digits) of texts that may hold anything: a key of fixed size for an index."""
    joined = json.dumps(parts, separators=(",", ":"))
    return hashlib.sha256(joined.encode()).hexdigest()
