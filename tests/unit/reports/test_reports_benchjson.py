"""The list that github-action-benchmark reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_madengine.reports.ci.benchjson import benchmarks, smaller_path, write_benchmarks
from pytest_madengine.results.record import Metric, Outcome, RunRecord


def record(item: str, *metrics: Metric, outcome: Outcome = Outcome.SUCCESS) -> RunRecord:
    columns = {"gpu_architecture": "gfx942", "n_gpus": "8", "machine_name": "h", "docker_image": ""}
    return RunRecord("r", item, item, outcome, metrics=metrics, columns=columns, fingerprint="f00")


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_an_entry() -> None:
    bigger, smaller = benchmarks([record("m[bs=8]", Metric("21750", "tok/s", row="r"))])
    assert bigger == [
        {
            "name": "m[bs=8] r: tok/s",
            "unit": "tok/s",
            "value": 21750,
            "extra": "gpu_architecture: gfx942\nn_gpus: 8\nmachine_name: h\nfingerprint: f00",
        }
    ]
    assert smaller == []


@pytest.mark.parametrize(
    ("metric", "less"),
    [
        *(
            (name, False)
            for name in ("samples_per_second", "tokens/s", "GFLOPS", "accuracy", "GB/s", "", "x")
        ),
        *((name, True) for name in ("latency_ms", "ttft", "loss", "peak_memory", "seconds", "ms/step")),
    ],
)
def test_one_direction_per_file(metric: str, less: bool) -> None:
    bigger, smaller = benchmarks([record("m", Metric("1", metric))])
    assert [entry["unit"] for entry in (smaller if less else bigger)] == [metric]
    assert not (bigger if less else smaller)


def test_only_results() -> None:
    failed = record("f", Metric("1", "x"), outcome=Outcome.FAILURE)
    texts = record("t", *(Metric(value, "x") for value in ("a|b", "", "nan", "inf", "1_0", "9" * 400)))
    row = record("r", Metric("1", "x", outcome=Outcome.FAILURE))
    assert benchmarks([failed, texts, row]) == ([], [])


def test_names_are_unique() -> None:
    bigger, _ = benchmarks([record("m", Metric("1", "x"), Metric("2", "x"))])
    assert [entry["value"] for entry in bigger] == [2]


def test_files(tmp_path: Path) -> None:
    """A file of an earlier run is not left beside the new one."""
    path = tmp_path / "out" / "bench.json"
    both = [record("m", Metric("1", "x"), Metric("2", "latency_ms"))]
    assert write_benchmarks(path, both) == [path, smaller_path(path)]
    assert [entry["value"] for entry in load(path)] == [1]
    assert [entry["value"] for entry in load(smaller_path(path))] == [2]
    assert write_benchmarks(path, [record("m", Metric("1", "x"))]) == [path]
    assert [entry.name for entry in path.parent.iterdir()] == ["bench.json"]


@settings(deadline=None)
@given(st.one_of(st.floats(), st.integers(), st.text(max_size=12)))
def test_values_are_numbers_of_json(value: Any) -> None:
    bigger, _ = benchmarks([record("m", Metric(str(value), "x"))])
    for entry in json.loads(json.dumps(bigger, allow_nan=False)):
        assert math.isfinite(entry["value"])
        assert float(entry["value"]) == float(str(value))
