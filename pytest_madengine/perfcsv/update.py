"""``report update-perf``: results that another program made, into perf.csv and its side files (contract 17).

The JSON files are what madengine leaves: the object of ``perf_entry.json`` with the columns of perf.csv as
keys, or ``common_info.json`` beside a results CSV.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import ConfigError, MadError, ResultError
from pytest_madengine.perfcsv.sidefiles import SideFiles
from pytest_madengine.perfcsv.table import PerfCsv
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.lines import read_cell
from pytest_madengine.results.multiple import parse_multiple_results, rows_reason
from pytest_madengine.results.readings import means_success
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.util.clock import utc_now

#: Cells that belong to one metric, not to the item.
_PER_METRIC: Final = frozenset({"model", "performance", "metric", "status"})
#: Keys of perf_super records that are no columns.
_SUPER: Final = frozenset({"configs", "multi_results"})


class Kind(str, Enum):
    """What a JSON file says about its run."""

    #: It ended by itself; whether well, its cells say.
    SINGLE = "single"
    #: It broke off, or failed: a FAILURE whatever its cells say.
    EXCEPTION = "exception"
    FAILED = "failed"


@dataclass(frozen=True)
class Added:
    """What was appended."""

    record: RunRecord
    rows: tuple[Mapping[str, str], ...]
    #: Lines for the user.
    notes: tuple[str, ...]


def add_entry(perf_csv: Path, entry: Path, kind: Kind = Kind.SINGLE) -> Added:
    """Appends the result of one item.

    :param entry: a JSON object, or a list of the objects of one item.
    :raises ResultError: a file cannot be read or written.
    :raises ConfigError: it is no such JSON, or ``perf_csv`` is no perf.csv.
    """
    content = _load(entry)
    objects = content if isinstance(content, list) else [content]
    if not objects or not all(isinstance(one, dict) for one in objects):
        raise ConfigError(f"{entry} is no JSON object of perf.csv columns", hint="see perf_entry.json")
    return _append(perf_csv, _record(objects, kind, entry))


def add_multiple(perf_csv: Path, results: Path, common_info: Path, model: str) -> Added:
    """Appends the rows of a results CSV of one model by contract 12.3.

    A file that is missing or malformed is a FAILURE with one row, as in a run: see ``Added.record``.

    :param common_info: a JSON object with the cells that all rows share.
    :raises ResultError: a JSON file cannot be read, or a file cannot be written.
    :raises ConfigError: it is no JSON object, or ``perf_csv`` is no perf.csv.
    """
    shared = _load(common_info)
    if not isinstance(shared, dict):
        raise ConfigError(f"{common_info} is no JSON object", hint="see common_info.json")
    metrics: tuple[Metric, ...] = ()
    reason = ""
    try:
        metrics = parse_multiple_results(_read(results), results.name)
    except MadError as error:
        reason = error.message
    reason = reason or rows_reason(metrics)
    record = RunRecord(
        run_id="",
        item_id=model,
        model=model,
        outcome=Outcome.FAILURE if reason else Outcome.SUCCESS,
        reason=reason,
        metrics=metrics,
        columns=_columns(shared),
        configs=shared.get("configs"),
        finished=utc_now(),
    )
    return _append(perf_csv, record)


def _append(perf_csv: Path, record: RunRecord) -> Added:
    table = PerfCsv(perf_csv)
    try:
        table.check()
        rows = table.append(record)
    except ConfigError as error:
        raise ConfigError(error.message, hint="name another file with --perf-csv") from None
    side = SideFiles(perf_csv.parent, perf_csv)
    side.write_item(record, rows)
    return Added(record, tuple(rows), side.finish([record]))


def _record(entries: Sequence[Mapping[str, Any]], kind: Kind, source: Path) -> RunRecord:
    names = [_text(entry.get("model")) for entry in entries]
    model, row_names = _split(names, source)
    cells = [_columns(entry) for entry in entries]
    shared = {name: text for name, text in cells[0].items() if all(one.get(name) == text for one in cells)}
    metrics = tuple(
        Metric(
            value=read_cell(_text(entry.get("performance"))).value,
            name=_text(entry.get("metric")),
            row=row,
            outcome=_outcome(entry, kind),
            overrides={name: text for name, text in own.items() if text and name not in shared},
            extra=_extra(entry),
        )
        for entry, row, own in zip(entries, row_names, cells, strict=True)
    )
    outcomes = {metric.outcome for metric in metrics}
    outcome = next(one for one in (Outcome.FAILURE, Outcome.SUCCESS, Outcome.SKIPPED) if one in outcomes)
    return RunRecord(
        run_id="",
        item_id=model,
        model=model,
        outcome=outcome,
        metrics=metrics,
        columns=shared,
        configs=entries[0].get("configs"),
        finished=utc_now(),
    )


def _split(names: Sequence[str], source: Path) -> tuple[str, list[str]]:
    """The model that all rows belong to, and what each row's name adds to it.

    Rows of multiple results are called ``<model>_<row>``; several metrics of a single result have one name.
    """
    if "" in names:
        raise ConfigError(f"{source} has an entry without a model", hint="the key 'model' is its full name")
    if len(set(names)) == 1:
        return names[0], [""] * len(names)
    shortest = min(names, key=len)
    for position in range(len(shortest) - 1, 0, -1):
        head = shortest[: position + 1]
        if head.endswith("_") and len(shortest) > len(head) and all(name.startswith(head) for name in names):
            return head[:-1], [name[len(head) :] for name in names]
    raise ConfigError(
        f"{source} has entries of different models: {names[0]}, {next(n for n in names if n != names[0])}",
        hint="call 'report update-perf' once per model",
    )


def _outcome(entry: Mapping[str, Any], kind: Kind) -> Outcome:
    """By contract 12.3: a value is needed, an explicit FAILURE is kept; so is a SKIPPED."""
    status = _text(entry.get("status"))
    if status == Outcome.SKIPPED.value and kind is Kind.SINGLE:
        return Outcome.SKIPPED
    if kind is not Kind.SINGLE or not means_success(status):
        return Outcome.FAILURE
    return Outcome.SUCCESS if read_cell(_text(entry.get("performance"))).is_value else Outcome.FAILURE


def _columns(entry: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(entry[name]) for name in V2_COLUMNS if name in entry and name not in _PER_METRIC}


def _extra(entry: Mapping[str, Any]) -> dict[str, str]:
    """Further keys: columns of a perf.csv that has them, ``multi_results`` of perf_super."""
    further = entry.get("multi_results")
    nested = further if isinstance(further, dict) else {}
    own = {name: value for name, value in entry.items() if name not in V2_COLUMNS and name not in _SUPER}
    return {str(name): _text(value) for name, value in {**nested, **own}.items()}


class _Literal(str):
    """A number as the file has it: ``21750`` stays ``21750``, and ``1e5`` stays ``1e5``."""


def _text(value: Any) -> str:
    """A JSON value as a cell: null is empty, a list of words is joined by commas, other nests are JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list) and all(not isinstance(one, (list, dict)) for one in value):
        return ",".join(_text(one) for one in value)
    return json.dumps(value)


def _load(path: Path) -> Any:
    text = _read(path)
    try:
        return json.loads(
            text, parse_int=_Literal, parse_float=_Literal, parse_constant=lambda name: _constant(name)
        )
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no JSON: {error}") from None


def _constant(name: str) -> str | None:
    """``NaN`` is no value."""
    return None if name == "NaN" else _Literal(name)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from error
