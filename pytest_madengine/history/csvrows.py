"""Rows of a perf.csv, dialect v1 or v2, as text cells (contract 12.4)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.util import jsontext
from pytest_madengine.util.locks import take

#: Columns that ``--model-json-path`` fills.
FILLED: Final = ("n_gpus", "training_precision", "tags", "args")
#: Longest cell in characters; the limit of the csv module (128 KiB) is too low for arguments and options.
_LONGEST_CELL: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class CsvRows:
    """A result file: stripped column names, and per row its cells that are not empty."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """Columns that ``dlm_table`` does not have."""
        return tuple(name for name in self.columns if name not in V2_COLUMNS and name != "run_id")


def read_file(path: Path) -> bytes:
    """The bytes of a file that others may append to: under a shared lock, so no row is torn.

    :raises ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            take(stream.fileno(), path, shared=True)
            return stream.read()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None


def parse_csv(data: bytes, where: str) -> CsvRows:
    """Rows of a CSV file with a header.  Blank lines are no rows; empty and ``NaN`` cells are left out.

    :param where: name of the file, for messages.
    :raises ConfigError: no header, a column without or with the same name as another, a row that is longer
        than the header, no CSV at all.
    """
    text = data.decode("utf-8-sig", "backslashreplace").replace("\0", "")
    old_limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        # Blanks after the commas of the header: a file of the older dialect, or one written by hand.
        blanks = ", " in text.partition("\n")[0]
        lines = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=blanks))
    except csv.Error as error:
        raise ConfigError(f"{where} is no CSV file: {error}") from None
    finally:
        csv.field_size_limit(old_limit)
    header = tuple(name.strip() for name in lines[0]) if lines else ()
    if not any(header):
        raise ConfigError(f"{where} is empty: it has no header line")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise ConfigError(f"{where}: the header has column {', '.join(twice)} more than once")
    return CsvRows(tuple(filter(None, header)), tuple(_rows(lines, header, where)))


def _rows(lines: list[list[str]], header: tuple[str, ...], where: str) -> list[dict[str, str]]:
    rows = []
    for number, line in enumerate(lines[1:], 1):
        if not any(cell.strip() for cell in line):
            continue
        if any(cell.strip() for cell in line[len(header) :]):
            raise ConfigError(
                f"{where}: data row {number} has {len(line)} cells, the header {len(header)}",
                hint="quote cells that contain a comma",
            )
        rows.append(
            {name: cell for name, cell in zip(header, line, strict=False) if name and not is_empty(cell)}
        )
    return rows


def is_empty(cell: str) -> bool:
    """True of what becomes NULL: nothing, blanks, ``NaN``."""
    text = cell.strip()
    return not text or (len(text) == 3 and text.lower() == "nan")


def read_perf_csv(path: Path) -> CsvRows:
    """The rows of a perf.csv.

    :raises ConfigError: it cannot be read or is no perf.csv.
    """
    found = parse_csv(read_file(path), str(path))
    missing = [name for name in ("model", "performance", "status") if name not in found.columns]
    if missing:
        raise ConfigError(f"{path} is no perf.csv: its header has no column {', '.join(missing)}")
    return found


def read_entries(path: Path) -> dict[str, dict[str, str]]:
    """The cells of :data:`FILLED` per model of a models.json (or one entry of it).

    :raises ConfigError: it cannot be read or has no entries.
    """
    try:
        content = jsontext.parse(read_file(path))
    except jsontext.JsonTextError as error:
        raise ConfigError(f"{path} is no JSON file: {error}") from None
    entries = content if isinstance(content, list) else [content]
    if not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigError(f"{path} holds no model entries", hint="give a models.json")
    return {str(entry["name"]): _entry_cells(entry) for entry in entries if entry.get("name")}


def _entry_cells(entry: Mapping[str, Any]) -> dict[str, str]:
    cells = {}
    for name in FILLED:
        value = entry.get(name)
        if isinstance(value, list):
            value = ",".join(map(str, value))
        if value is not None and not is_empty(str(value)):
            cells[name] = str(value)
    return cells
