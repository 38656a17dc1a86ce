"""Records and files that the history tests share."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_madengine.results.record import Metric, Outcome, RunRecord

NASTY = "😀 'quotes\" `ticks` ); DROP TABLE dlm_table; -- %s :name {x}"


def make_record(
    item: str = "m",
    *values: str,
    run: str = "run1",
    metric: str = "sps",
    outcome: Outcome = Outcome.SUCCESS,
    **fields: Any,
) -> RunRecord:
    """A record with one metric per value."""
    defaults: dict[str, Any] = {
        "started": "2026-11-23T21:00:00Z",
        "finished": "2026-11-23T21:10:00Z",
        "fingerprint": "f00d",
        "columns": {"n_gpus": "8", "training_precision": "fp16", "git_commit": "abc"},
        "host": {"hostname": "node1", "gpu_architecture": "gfx942", "gpu_product_name": "MI300X"},
        "image": {"name": "ci-m", "digest": "sha256:1"},
    }
    metrics = tuple(Metric(value, metric) for value in values)
    return RunRecord(run, item, item, outcome, metrics=metrics, **{**defaults, **fields})


def write_csv(path: Path, rows: Iterable[Mapping[str, str]], columns: Iterable[str]) -> Path:
    """A CSV file with these columns."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
