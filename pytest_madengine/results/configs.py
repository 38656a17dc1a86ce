"""The configuration file a model was run with, for perf_super (contract 12.6)."""

from __future__ import annotations

import csv
import io
import math
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pytest_madengine.util import jsontext

#: Directories of ``scripts/`` that are repositories of their own.
_REPOSITORIES: Final = ("MAD", "MAD-private", "MAD-internal")
#: Bytes; a larger file is not copied into every record.
SIZE_LIMIT: Final = 4 * 1024 * 1024
_NODE_LIMIT: Final = 200_000
_DEPTH_LIMIT: Final = 100
#: Python refuses to print much longer integers, which a YAML file can hold in hexadecimal.
_INT_BITS: Final = 4096
#: Scalars that JSON has too; others (dates of YAML, bytes, ...) are recorded as text.
_PLAIN: Final = (str, int, bool, type(None))


def config_path(args: str) -> str:
    """The value of ``--config PATH`` or ``--config=PATH``; empty when there is none.

    The last one counts, as it does for the argument parsers of the scripts.
    """
    try:
        words = shlex.split(args)
    except ValueError:
        words = args.split()
    found = ""
    for index, word in enumerate(words):
        if word.startswith("--config="):
            found = word.removeprefix("--config=")
        elif word == "--config" and index + 1 < len(words) and not words[index + 1].startswith("--"):
            found = words[index + 1]
    return found


def read_configs(args: str, scripts: str, root: Path) -> tuple[Any, list[str]]:
    """The content of the configuration file named in ``args`` as JSON types, and warnings.

    :param scripts: ``scripts`` of the model, relative to ``root``; a file or a directory.
    :param root: the MAD root.  Relative paths never lead out of it; absolute ones are used as they are.
    """
    name = config_path(args)
    if not name:
        return None, []
    try:
        path = _find(name, scripts, root)
        if path is None:
            return None, [
                f"--config {name}: no such file beside {scripts} or above it; configs is left empty"
            ]
        if path.stat().st_size > SIZE_LIMIT:
            return None, [f"--config {name}: larger than {SIZE_LIMIT} bytes; configs is left empty"]
        return _parse(path.suffix.lower(), path.read_text(encoding="utf-8-sig")), []
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return None, [f"--config {name}: {reason}; configs is left empty"]


def _find(name: str, scripts: str, root: Path) -> Path | None:
    if PurePosixPath(name).is_absolute():
        return Path(name) if Path(name).is_file() else None
    top = Path(os.path.normpath(root))
    for directory in _directories(scripts, root):
        candidate = Path(os.path.normpath(top / directory / name))
        if candidate.is_relative_to(top) and candidate.is_file():
            return candidate
    return None


def _directories(scripts: str, root: Path) -> Iterator[PurePosixPath]:
    """Where a relative path is searched, in order (contract 12.6)."""
    given = PurePosixPath(scripts)
    script_dir = given if (root / given).is_dir() else given.parent
    below = given.parts[1:2] if given.parts[:1] == ("scripts",) else ()
    repository = PurePosixPath("scripts", *(part for part in below if part in _REPOSITORIES))
    yield script_dir
    yield given.parent
    yield repository
    for parent in script_dir.parents:
        if parent == PurePosixPath():
            return
        yield parent
        if parent == repository:
            return


def _parse(suffix: str, text: str) -> Any:
    """:raises ValueError: another format, or text that is not of this one."""
    if suffix == ".csv":
        return _parse_csv(text)
    if suffix == ".json":
        return _plain(jsontext.parse(text, constants=True), _Budget())
    if suffix in (".yaml", ".yml"):
        return _plain(_load_yaml(text), _Budget())
    raise ValueError(f"format {suffix or '(none)'} is not one of .csv, .json, .yaml, .yml")


def _load_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {str(error).splitlines()[0]}") from error
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        # The library's constructors of explicit tags (``!!int ''``, ``!!timestamp x``) fail like this.
        raise ValueError(f"not valid YAML: a value does not fit its tag ({type(error).__name__})") from error


def _parse_csv(text: str) -> list[dict[str, str | None]]:
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        rows = [cells for row in reader if any(cells := [cell.strip() for cell in row])]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    if not rows:
        return []
    header = rows[0]
    return [
        {name: (row[index] if index < len(row) else "") or None for index, name in enumerate(header) if name}
        for row in rows[1:]
    ]


class _Budget:
    """Counts the elements of a value, so that nested YAML aliases cannot grow without end."""

    def __init__(self) -> None:
        self.left = _NODE_LIMIT

    def spend(self, depth: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"more than {_NODE_LIMIT} elements")
        if depth > _DEPTH_LIMIT:
            raise ValueError(f"nested deeper than {_DEPTH_LIMIT} levels")


def _plain(value: Any, budget: _Budget, depth: int = 0) -> Any:
    """The value in types that JSON has: other scalars as text, keys as text."""
    budget.spend(depth)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, budget, depth + 1) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry, budget, depth + 1) for entry in value]
    if isinstance(value, set):
        return [_plain(entry, budget, depth + 1) for entry in sorted(value, key=str)]
    if isinstance(value, int) and value.bit_length() > _INT_BITS:
        raise ValueError(f"an integer has more than {_INT_BITS} bits")
    if isinstance(value, _PLAIN) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def match_config(configs: Any, row_model: str, benchmark: str = "") -> tuple[Any, str]:
    """The row of a CSV configuration that belongs to one result row, and a warning or an empty text.

    Names are compared with ``/`` and ``-`` as ``_`` and in lower case; equal ones first, then those of which
    one contains the other.  ``benchmark`` must be equal when both have it.  A single row matches always;
    without a match it is the first row, with a warning.  Anything but a list is returned as it is.
    """
    if not isinstance(configs, list):
        return configs, ""
    if not configs:
        return None, ""
    if len(configs) == 1:
        return configs[0], ""
    matches = [row for row in configs if _fits(row, row_model, benchmark)]
    exact = [row for row in matches if _comparable(row["model"]) == _comparable(row_model)]
    for row in (*exact, *matches):
        return row, ""
    return configs[0], f"no row of the configuration file matches '{row_model}', the first one is recorded"


def _fits(row: Any, row_model: str, benchmark: str) -> bool:
    if not isinstance(row, Mapping) or not row.get("model") or not row_model:
        return False
    ours, theirs = _comparable(row["model"]), _comparable(row_model)
    if ours not in theirs and theirs not in ours:
        return False
    expected = row.get("benchmark")
    return not expected or not benchmark or str(expected).strip() == benchmark.strip()


def _comparable(name: Any) -> str:
    return str(name).strip().replace("/", "_").replace("-", "_").lower()
