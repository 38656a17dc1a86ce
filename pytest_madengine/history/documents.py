"""MongoDB documents from result files (contract 18.2).  Pure: no driver, no network."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.history.csvrows import is_empty, parse_csv, read_file
from pytest_madengine.history.rowkeys import row_keys
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.util import jsontext
from pytest_madengine.util.files import open_regular, read_regular

#: Columns of perf.csv that hold numbers.  The others are text whatever they look like: a commit of digits
#: only is no number.
NUMERIC: Final = frozenset(
    {
        *("n_gpus", "nnodes", "gpus_per_node", "performance", "relative_change", "build_duration"),
        *("test_duration", "data_download_duration", "build_number"),
    }
)
_TEXT: Final = frozenset({*V2_COLUMNS, "run_id"}) - NUMERIC
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_INT64: Final = 2**63
#: Bytes of the end of a log that are stored: a document may have 16 MiB.
LOG_LIMIT: Final = 1024 * 1024
_LOGS_LIMIT: Final = 8 * 1024 * 1024
#: Bytes of a description of a host that is read.
_ENVIRONMENT_LIMIT: Final = 8 * 1024 * 1024
_SECTION: Final = re.compile(r"-+ Section: (?P<tag>.+?) -+")


@dataclass(frozen=True)
class ResultFiles:
    """What lies beside each other in a directory of results."""

    #: Result rows with typed values, in order, and the key of each (``rowkeys``).
    rows: tuple[dict[str, Any], ...]
    keys: tuple[str, ...]
    source: str
    system_env: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_results(path: Path) -> ResultFiles:
    """A result file, or a directory with ``perf_entry.csv``, ``*env.csv`` and ``*.log``.

    A model may have made what lies in the directory beside the table: links and pipes there are left out.

    :raises ConfigError: it cannot be read or is neither CSV nor JSON.
    """
    if not path.is_dir():
        return _read_rows(path)
    found = _read_rows(path / "perf_entry.csv")
    environments, warnings = _read_environments(path)
    logs, more = _read_logs(path)
    warnings += more
    # Of one run there is one environment: its sections stand at the top.
    system_env = next(iter(environments.values())) if len(environments) == 1 else environments
    return ResultFiles(found.rows, found.keys, str(path), system_env, logs, tuple(warnings))


def _read_rows(path: Path) -> ResultFiles:
    data = read_file(path)
    suffix = path.suffix.lower()
    is_json = suffix == ".json" or (suffix != ".csv" and data.lstrip()[:1] in (b"[", b"{"))
    if is_json:
        raw = filled = _json_rows(data, path)
    else:
        table = parse_csv(data, str(path))
        raw = list(table.rows)
        filled = [{name: row.get(name) for name in table.columns} for row in raw]
    return ResultFiles(tuple(typed_row(row) for row in filled), tuple(row_keys(raw)), str(path))


def _json_rows(data: bytes, path: Path) -> list[dict[str, Any]]:
    try:
        content = jsontext.parse(data, constants=True)
    except jsontext.JsonTextError as error:
        raise ConfigError(f"{path} is no JSON file: {error}") from None
    rows = content if isinstance(content, list) else [content]
    if not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path} holds no result rows", hint="give an object or a list of objects")
    return rows


def typed_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with field names that MongoDB queries can name and values of the types they stand for."""
    return {field_name(name): typed(field_name(name), value) for name, value in row.items()}


def field_name(name: str) -> str:
    """A field name: a dot would be a path, ``$`` at the beginning an operator."""
    return re.sub(r"^\$|[.\0]", "_", str(name).strip()) or "_"


def typed(name: str, value: Any) -> Any:
    """The value of a cell: number, object, list, text or null (nothing, ``NaN``).

    Numbers are told from text by column in perf.csv and by form in columns of the user; a leading zero, or
    more digits than the database keeps, makes a text.
    """
    if not isinstance(value, str):
        return _plain(value)
    text = value.strip()
    if is_empty(value):
        return None
    if name in _TEXT:
        return value
    if text[0] in "[{":
        try:
            return _plain(jsontext.parse(text, constants=True))
        except jsontext.JsonTextError:
            return value
    if _INTEGER.fullmatch(text):
        number = int(text) if len(text) < 25 else _INT64
        return number if -_INT64 <= number < _INT64 else value
    if _FLOAT.fullmatch(text) and not re.match(r"[-+]?0[0-9]", text):
        return _plain(float(text))
    return value


def _plain(value: Any) -> Any:
    """JSON values as BSON takes them: no NaN, no integer beyond 64 bits, usable names."""
    if isinstance(value, Mapping):
        return {field_name(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        return str(value)
    return value


def parse_environment(data: bytes) -> dict[str, Any]:
    """``<name>_env.csv`` of the environment collector (contract 11.3): values per section.

    A key that occurs several times in a section has a list; lines without a bar are listed as ``lines``.
    """
    sections: dict[str, Any] = {}
    current: dict[str, Any] = sections
    for line in data.decode("utf-8", "replace").replace("\0", "").splitlines():
        heading = _SECTION.fullmatch(line.strip())
        if heading:
            current = sections.setdefault(field_name(heading["tag"]), {})
            continue
        if not line.strip() or line.startswith("sep="):
            continue
        key, bar, value = line.partition("|")
        name = field_name(key) if bar else "lines"
        _collect(current, name, value.strip() if bar else line.strip())
    return sections


def _collect(section: dict[str, Any], name: str, value: str) -> None:
    if name not in section:
        section[name] = [value] if name == "lines" else value
    elif isinstance(section[name], list):
        section[name].append(value)
    else:
        section[name] = [section[name], value]


def _read_environments(directory: Path) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    warnings = []
    for path in sorted(directory.glob("*env.csv")):
        data = read_regular(path, _ENVIRONMENT_LIMIT)
        if data is None:
            warnings.append(
                f"{path} is not uploaded: it is not a regular file of at most {_ENVIRONMENT_LIMIT} bytes"
            )
        else:
            found[path.stem] = parse_environment(data)
    return found, warnings


def _read_logs(directory: Path) -> tuple[dict[str, str], list[str]]:
    logs: dict[str, str] = {}
    warnings = []
    left = _LOGS_LIMIT
    for path in sorted(directory.glob("*.log")):
        limit = min(LOG_LIMIT, left)
        try:
            with os.fdopen(open_regular(path), "rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(size - limit, 0))
                data = stream.read(limit)
        except OSError as error:
            warnings.append(f"{path} is not uploaded: {error.strerror}")
            continue
        if size > limit:
            warnings.append(f"{path}: only its last {limit} bytes are uploaded")
        left -= len(data)
        logs[field_name(path.name)] = data.decode("utf-8", "replace")
    return logs, warnings


def run_documents(files: ResultFiles, name: str, run_ids: Sequence[str], source: str) -> list[dict[str, Any]]:
    """One document per row: its cells, ``run_id``, ``run_index``, ``system_env``, ``logs``, ``_meta_*``.

    :param name: model whose rows are wanted; empty: all.
    :param run_ids: run id per row, for rows that name none.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    documents = []
    for row, key, run_id in zip(files.rows, files.keys, run_ids, strict=True):
        identity = row.get("run_id") or run_id
        group = (str(identity), str(row.get("model")), str(row.get("metric")))
        document = {
            **row,
            "run_id": identity,
            "run_index": counts[group],
            "system_env": files.system_env,
            "logs": files.logs,
            "_meta_source": source,
            "_meta_row": key,
        }
        counts[group] += 1
        if not name or row.get("model") == name:
            documents.append(document)
    return documents


def job_document(files: ResultFiles, name: str, run_id: str, source: str) -> dict[str, Any]:
    """One document with all rows; the fields of the natural key are there as well."""
    rows = [row for row in files.rows if not name or row.get("model") == name]
    return {
        "run_id": next((row["run_id"] for row in rows if row.get("run_id")), run_id),
        "model": name or None,
        "metric": None,
        "run_index": 0,
        "rows": rows,
        "system_env": files.system_env,
        "logs": files.logs,
        "_meta_source": source,
        "_meta_row": files.keys[-1],
    }
