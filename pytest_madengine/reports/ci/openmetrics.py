"""The results of a session as OpenMetrics text, for the metrics report of GitLab (``reports: metrics``).

GitLab compares the file with that of the target branch by name and labels, so labels are only what stays the
same from run to run: no host, no session, no image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.util.text import plain

_STATUS: Final = {Outcome.SUCCESS: "1", Outcome.FAILURE: "0", Outcome.SKIPPED: "-1"}

#: What each family means.
FAMILIES: Final = {
    "mad_performance": "Value of a metric, as the model printed it.",
    "mad_status": "Outcome of a model: 1 SUCCESS, 0 FAILURE, -1 SKIPPED.",
    "mad_test_duration_seconds": "Time of the run.",
    "mad_build_duration_seconds": "Time of the image build.",
    "mad_models": "Number of models with this outcome.",
}

Labels = Mapping[str, str]


@dataclass
class _Family:
    name: str
    #: Sample by its written labels: no two samples of a family have the same.
    samples: dict[str, str] = field(default_factory=dict)

    def add(self, labels: Labels, value: str) -> None:
        self.samples[_labels(labels)] = value

    def lines(self) -> Iterator[str]:
        if not self.samples:
            return
        yield f"# TYPE {self.name} gauge"
        if self.name.endswith("_seconds"):
            yield f"# UNIT {self.name} seconds"
        yield f"# HELP {self.name} {FAMILIES[self.name]}"
        for labels, value in self.samples.items():
            yield f"{self.name}{labels} {value}"


def openmetrics(records: Sequence[RunRecord]) -> str:
    """All families, in the order of the records.  Text values and failed results have no performance."""
    performance, status, run, build, models = families = [_Family(name) for name in FAMILIES]
    for record in records:
        labels = _item(record)
        status.add(labels, _STATUS[record.outcome])
        _add_duration(run, labels, record.durations.get("run"))
        _add_duration(build, labels, record.durations.get("build"))
        for metric, value in _values(record):
            performance.add(_item(record, metric), value)
    for outcome in Outcome:
        models.add({"status": str(outcome)}, str(sum(r.outcome is outcome for r in records)))
    return "\n".join([*(line for family in families for line in family.lines()), "# EOF"]) + "\n"


def _add_duration(family: _Family, labels: Labels, value: float | None) -> None:
    if value is not None and math.isfinite(value):
        family.add(labels, f"{value:.3f}")


def _values(record: RunRecord) -> Iterator[tuple[Metric, str]]:
    """Metrics with a number.  What a failed run printed is no result."""
    explained = any(metric.outcome is Outcome.FAILURE for metric in record.metrics)
    if record.outcome is Outcome.SUCCESS or (record.outcome is Outcome.FAILURE and explained):
        for metric in record.metrics:
            if metric.outcome is Outcome.SUCCESS and metric.number is not None:
                yield metric, metric.value


def _item(record: RunRecord, metric: Metric | None = None) -> dict[str, str]:
    """The labels of an item, those of one of its metrics included; empty ones are left out."""
    columns = record.columns
    labels = {
        "model": record.model,
        "item": record.item_id if record.item_id != record.model else "",
        "gpu_architecture": columns.get("gpu_architecture", ""),
        "n_gpus": columns.get("n_gpus", ""),
    }
    if metric is not None:
        labels |= {"row": metric.row, "metric": metric.name}
    return labels


def _labels(labels: Labels) -> str:
    written = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items() if text)
    return f"{{{written}}}" if written else ""


def _escaped(text: str) -> str:
    # A label value is on one line, and GitLab splits lines at more than "\n".
    clean = plain(text).replace("\n", " ").replace("\t", " ")
    return clean.replace("\\", "\\\\").replace('"', '\\"')
