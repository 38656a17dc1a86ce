"""A table as text within a page: columns of numbered texts, deflated, in Base64.

Layout before compression, all numbers little-endian, every array padded with zeros to four bytes: length of
the header in bytes (uint32); header (JSON in UTF-8); the arrays in the order in which the header names them.
A column with ``bits`` 0 has no array: its texts are one per row.  ``js/data.js`` is the reader.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_madengine.reports.pages.table import Column

_TYPES: Final = {8: "B", 16: "H", 32: "I"}


def encode_table(
    columns: Sequence[Column], numbers: Mapping[str, array[Any]], facts: Mapping[str, Any]
) -> str:
    """The columns, arrays of numbers (type codes ``B``, ``I``, ``f``) and further JSON values.

    The text has only characters of Base64, so it can stand anywhere in a page.
    """
    described, arrays = [], []
    for column in columns:
        texts, bits, index = _numbered(column)
        described.append({"name": column.name, "bits": bits, "values": texts})
        if index is not None:
            arrays.append(index)
    header = {
        **facts,
        "columns": described,
        "numbers": [{"name": name, "type": values.typecode} for name, values in numbers.items()],
    }
    arrays += numbers.values()
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    # Half a surrogate pair is no text for a browser.
    head = text.encode("utf-8", "replace")
    parts = [len(head).to_bytes(4, "little"), _padded(head), *map(_bytes, arrays)]
    return deflated(b"".join(parts))


def encode_json(value: Any) -> str:
    """A JSON value, deflated, in Base64."""
    return deflated(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


def deflated(data: bytes) -> str:
    """In the zlib format, which browsers call ``deflate``."""
    return base64.b64encode(zlib.compress(data, 6)).decode("ascii")


def _numbered(column: Column) -> tuple[list[str], int, array[int] | None]:
    """Texts, bits per row and array of a column; texts that hardly repeat stand one per row."""
    distinct, rows = len(column.values), len(column)
    if distinct * 2 > rows:
        return list(column), 0, None
    bits = 8 if distinct <= 1 << 8 else 16 if distinct <= 1 << 16 else 32
    return list(column.values), bits, array(_TYPES[bits], column.index)


def _bytes(values: array[Any]) -> bytes:
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return _padded(values.tobytes())


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
