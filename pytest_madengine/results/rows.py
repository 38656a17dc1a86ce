"""The projection of a record to rows of perf.csv (contract 12.4) and perf_super (12.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from pytest_madengine.results.columns import N_GPUS_V1, V1_COLUMNS, V2_COLUMNS, build_columns
from pytest_madengine.results.configs import config_path, match_config
from pytest_madengine.results.record import Metric, Outcome, RunRecord

_Baselines: TypeAlias = Mapping[tuple[str, str], float]

__all__ = ["V1_COLUMNS", "V2_COLUMNS", "build_columns", "file_rows", "record_rows", "super_records"]


def record_rows(record: RunRecord) -> list[dict[str, str]]:
    """The rows of a record: exactly the 29 v2 columns in their order, all values text.

    One row per metric; a record without metrics has one row with its status; a worker node has none.
    """
    return file_rows(record, V2_COLUMNS)


def file_rows(record: RunRecord, header: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a record for a file with these (stripped) columns, in their order.

    Columns that neither perf.csv nor the result row knows are empty.  Without ``nnodes`` the file is of
    the v1 dialect: ``n_gpus`` is then as in the entry.
    """
    if not record.has_row:
        return []
    shared = dict(record.columns)
    v1_gpus = shared.pop(N_GPUS_V1, shared.get("n_gpus", ""))
    if "nnodes" not in header:
        shared["n_gpus"] = v1_gpus
    explained = any(metric.outcome is Outcome.FAILURE for metric in record.metrics)
    baselines = _baselines(record)
    metrics: Sequence[Metric | None] = record.metrics or (None,)
    cells = [_cells(record, metric, explained, baselines) for metric in metrics]
    return [{name: (shared | row).get(name, "") for name in header} for row in cells]


def _cells(
    record: RunRecord, metric: Metric | None, explained: bool, baselines: _Baselines
) -> dict[str, str]:
    """What one metric says; its extra columns first, so that they never hide a column of perf.csv."""
    if metric is None:
        return {"model": record.model, "performance": "", "metric": "", "status": str(record.outcome)}
    return {
        **metric.extra,
        **{name: value for name, value in metric.overrides.items() if value},
        "model": row_name(record.model, metric),
        "performance": metric.value,
        "metric": metric.name,
        "status": _status(record, metric, explained),
        **_relative_change(record, metric, baselines),
    }


def _baselines(record: RunRecord) -> dict[tuple[str, str], float]:
    """What the performance gate compared with, by (row, metric)."""
    entries = record.gate.get("metrics", ())
    return {(one["row"], one["name"]): one["baseline"] for one in entries if one.get("baseline")}


def _relative_change(record: RunRecord, metric: Metric, baselines: _Baselines) -> dict[str, str]:
    """The value in percent of its baseline."""
    baseline, value = baselines.get((row_name(record.model, metric), metric.name)), metric.number
    if baseline is None or value is None:
        return {}
    return {"relative_change": f"{value / baseline * 100:.6g}"}


def row_name(model: str, metric: Metric) -> str:
    """The ``model`` cell: the full name, plus ``_<row model>`` for multiple results."""
    return f"{model}_{metric.row}" if metric.row else model


def _status(record: RunRecord, metric: Metric, explained: bool) -> str:
    # A single row tells its own outcome only while some row explains the FAILURE of the item; otherwise
    # something else decided (exit status, timeout, a skip), and no row may look better than the item.
    if record.outcome is Outcome.SUCCESS or (record.outcome is Outcome.FAILURE and explained):
        return str(metric.outcome)
    return str(record.outcome)


def super_records(record: RunRecord) -> tuple[list[dict[str, Any]], list[str]]:
    """The perf_super records: the 29 columns, ``configs``, ``multi_results``; and warnings."""
    warnings: list[str] = []
    results: list[dict[str, Any]] = []
    metrics: Sequence[Metric | None] = record.metrics or (None,)
    for row, metric in zip(record_rows(record), metrics, strict=False):
        configs, warning = _configs(record, metric)
        if warning:
            warnings.append(f"{row['model']}: {warning}")
        extra = dict(metric.extra) if metric is not None and metric.extra else None
        results.append({**row, "configs": configs, "multi_results": extra})
    return results, warnings


def _configs(record: RunRecord, metric: Metric | None) -> tuple[Any, str]:
    # Rows are matched for CSV files only: a JSON or YAML list is one value.
    if not config_path(record.columns.get("args", "")).lower().endswith(".csv"):
        return record.configs, ""
    name = metric.row if metric is not None and metric.row else record.model
    return match_config(record.configs, name, metric.extra.get("benchmark", "") if metric else "")
