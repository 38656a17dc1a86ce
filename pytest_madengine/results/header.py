"""What makes a file a perf.csv: its first line (contract 12.4).  Whoever reads one asks here."""

from __future__ import annotations

import csv
from typing import Final

from pytest_madengine.errors import ConfigError

#: Columns without which an existing file is not a perf.csv.
NEEDED: Final = ("model", "performance", "status")
#: Bytes of the first line of an existing file; a longer one is no header.
HEADER_LIMIT: Final = 64 * 1024


def header_names(line: bytes, where: str, hint: str) -> list[str]:
    """The stripped column names of the first line of a file; an empty file has none.

    :param where: the file, for the message.
    :raises ConfigError: the file is not a perf.csv; another separator or encoding than comma and UTF-8 also
        says so.
    """
    if not line:
        return []
    try:
        text = line.decode("utf-8-sig", "replace").rstrip("\r\n")
        names = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:
        names = []
    header = [name.strip() for name in names]
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise ConfigError(f"{where} is no perf.csv: its header has no column {', '.join(missing)}", hint=hint)
    return header
