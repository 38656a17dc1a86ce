"""The results of a session for github-action-benchmark: a list of ``name``, ``unit``, ``value``, ``extra``.

The action takes one direction per file (``customBiggerIsBetter``, ``customSmallerIsBetter``), but a model may
print a throughput and a latency: what is better when it is less goes to a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pytest_madengine.gate.direction import direction
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.util.files import write_atomic

#: Added to the stem of the file for ``customSmallerIsBetter``.
SMALLER: Final = ".smaller"


def smaller_path(path: Path) -> Path:
    """``bench.json`` -> ``bench.smaller.json``."""
    return path.with_name(f"{path.stem}{SMALLER}{path.suffix}")


def benchmarks(records: Sequence[RunRecord]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries for which more is better, and those for which less is.

    Only SUCCESS and numbers.  A metric whose name does not tell its direction counts as more-is-better.
    Names are unique: of two equal ones the last counts.
    """
    bigger: dict[str, dict[str, Any]] = {}
    smaller: dict[str, dict[str, Any]] = {}
    for record in records:
        if record.outcome is not Outcome.SUCCESS:
            continue
        for metric in record.metrics:
            value = _number(metric)
            if value is not None:
                entry = _entry(record, metric, value)
                (smaller if direction(metric.name) < 0 else bigger)[entry["name"]] = entry
    return list(bigger.values()), list(smaller.values())


def write_benchmarks(path: Path, records: Sequence[RunRecord]) -> list[Path]:
    """Writes the file, and the one beside it when there is something for it.

    :returns: the files.
    :raises OSError: one cannot be written.
    """
    bigger, smaller = benchmarks(records)
    write_atomic(path, json.dumps(bigger, indent=2) + "\n")
    beside = smaller_path(path)
    if not smaller:
        # One of an earlier run would be taken for results of this one.
        beside.unlink(missing_ok=True)
        return [path]
    write_atomic(beside, json.dumps(smaller, indent=2) + "\n")
    return [path, beside]


def _entry(record: RunRecord, metric: Metric, value: int | float) -> dict[str, Any]:
    name = " ".join(filter(None, (record.item_id, metric.row)))
    columns = record.columns
    extra = {
        "gpu_architecture": columns.get("gpu_architecture", ""),
        "n_gpus": columns.get("n_gpus", ""),
        "machine_name": columns.get("machine_name", ""),
        "docker_image": columns.get("docker_image", ""),
        "fingerprint": record.fingerprint,
    }
    return {
        "name": f"{name}: {metric.name}" if metric.name else name,
        "unit": metric.name,
        "value": value,
        "extra": "\n".join(f"{key}: {text}" for key, text in extra.items() if text),
    }


def _number(metric: Metric) -> int | float | None:
    """A finite number; whole ones stay whole."""
    value = metric.number
    if metric.outcome is not Outcome.SUCCESS or value is None:
        return None
    try:
        return int(metric.value)
    except ValueError:
        return value
