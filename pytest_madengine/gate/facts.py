"""From a record to what the gate compares: values with the facts of their key and their context."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pytest_madengine.gate.key import image_family
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.results.rows import row_name


@dataclass(frozen=True)
class Value:
    """One number of one run.

    ``facts`` has those of ``key.KEY_FACTS`` and ``key.CONTEXT_FACTS``; ``direction`` is not among them.
    """

    row: str
    name: str
    number: float
    facts: Mapping[str, str]
    #: Place of the value among the metrics of its record.
    position: int = 0


def values_of(record: RunRecord, label: str = "") -> Iterator[Value]:
    """The values of a record that may be judged: finite numbers of rows that are a SUCCESS.

    A metric that a run printed several times counts once, with its last value.
    """
    if record.outcome is not Outcome.SUCCESS:
        return
    shared = shared_facts(record, label)
    last: dict[tuple[str, str], Value] = {}
    for position, metric in enumerate(record.metrics):
        number = metric.number
        if metric.outcome is Outcome.SUCCESS and number is not None and math.isfinite(number):
            row, facts = row_name(record.model, metric), _with(shared, record, metric)
            last[row, metric.name] = Value(row, metric.name, number, facts, position)
    yield from last.values()


def _with(shared: Mapping[str, str], record: RunRecord, metric: Metric) -> dict[str, str]:
    own = {
        name: metric.overrides[column]
        for name, column in (("args", "args"), ("n_gpus", "n_gpus"), ("training_precision",) * 2)
        if metric.overrides.get(column)
    }
    return {**shared, **own, "model": row_name(record.model, metric), "metric": metric.name}


def shared_facts(record: RunRecord, label: str = "") -> dict[str, str]:
    """The facts that all values of a record share; what is not known is left out."""
    columns, host, image = record.columns, record.host, record.image
    product, architecture = _text(host, "gpu_product_name"), columns.get("gpu_architecture", "")
    on_gpus = columns.get("n_gpus", "") not in ("", "0")
    facts = {
        "args": columns.get("args", ""),
        "n_gpus": columns.get("n_gpus", ""),
        "gpu": (product or architecture) if on_gpus else "",
        "training_precision": columns.get("training_precision", ""),
        "data": columns.get("dataname", ""),
        "image_family": image_family(
            image.get("name", "") or columns.get("docker_image", ""), columns.get("docker_file", "")
        ),
        "hostname": _text(host, "hostname") or columns.get("machine_name", ""),
        "gpu_architecture": architecture,
        "gpu_product": product,
        "driver": _text(host, "driver_version"),
        "runtime": _text(host, "runtime_version"),
        "image": image.get("name", "") or columns.get("docker_image", ""),
        "image_digest": image.get("digest", "") or image.get("id", ""),
        "base_image": columns.get("base_docker", ""),
        "dockerfile_hash": image.get("dockerfile_hash", ""),
        "scripts_hash": image.get("scripts_hash", ""),
        "git_commit": columns.get("git_commit", ""),
        "nnodes": columns.get("nnodes", ""),
        "launcher": columns.get("launcher", ""),
        "deployment_type": columns.get("deployment_type", ""),
        "label": label,
    }
    return {name: value for name, value in facts.items() if value}


def _text(facts: Mapping[str, object], name: str) -> str:
    value = facts.get(name)
    return "" if value is None else str(value)
