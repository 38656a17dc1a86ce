"""What happened in one item.  Everything written anywhere is a projection of a :class:`RunRecord`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pytest_madengine.results.readings import number


class Outcome(str, Enum):
    """The one outcome of an item (contract section 1)."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    SKIPPED = "SKIPPED"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Metric:
    """One measured value.  ``value`` is text as printed, so that nothing is lost to a float."""

    value: str
    name: str
    #: Row name of multiple results (``m_1`` of model ``m``); empty for a single result.
    row: str = ""
    outcome: Outcome = Outcome.SUCCESS
    #: Cells of a multiple_results row that replace perf.csv columns.
    overrides: Mapping[str, str] = field(default_factory=dict)
    #: Cells of a multiple_results row with other names.
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def number(self) -> float | None:
        """The value as a finite float, or ``None`` for text."""
        return number(self.value)


@dataclass(frozen=True)
class Attempt:
    """One try of an item (``--mad-retries``)."""

    outcome: Outcome
    reason: str
    phase: str
    started: str
    duration: float


@dataclass(frozen=True)
class RunRecord:
    """The complete result of one item.

    Durations in seconds, timestamps UTC ISO-8601.  ``columns`` holds the perf.csv cells that do not depend
    on a single metric, under their v2 names, as text; ``results.rows`` adds the others.
    """

    run_id: str
    item_id: str
    model: str
    outcome: Outcome
    reason: str = ""
    #: Phase that decided the outcome: collect, credentials, build, pull, data, lease, prepare, run, ...
    phase: str = ""
    metrics: tuple[Metric, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    #: The JSON value of ``--config`` in ``args`` (contract 12.6).
    configs: Any = None
    exit_code: int | None = None
    started: str = ""
    finished: str = ""
    #: Seconds per phase, e.g. ``{"build": 3.1, "prepare": 0.2, "run": 10.0}``.
    durations: Mapping[str, float] = field(default_factory=dict)
    #: Provenance: image name, id, digest, Dockerfile, git commit, ...
    image: Mapping[str, str] = field(default_factory=dict)
    #: Host and GPU facts: hostname, vendor, architecture, product, simulated, driver, ...
    host: Mapping[str, Any] = field(default_factory=dict)
    #: GPU indices that were leased, and when: ``{"gpus": [0, 1], "from": ..., "to": ...}``.
    lease: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[Mapping[str, Any], ...] = ()
    #: Paths relative to the results directory of the session.
    artifacts: tuple[str, ...] = ()
    log_file: str = ""
    log_tail: tuple[str, ...] = ()
    hint: str = ""
    warnings: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    fingerprint: str = ""
    gate: Mapping[str, Any] = field(default_factory=dict)
    #: What the item contributes to a build manifest (``images.manifest_writer.BuildReport``).
    build: Mapping[str, Any] = field(default_factory=dict)
    #: Marks a failure of the machine or a service, not of the model.
    infrastructure: bool = False
    #: Session whose SUCCESS made this item be skipped (``--mad-resume``).
    resumed_from: str = ""
    #: A worker node of a multi-node job has no row (contract 12.2), nor has a resumed item.
    has_row: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; for the test report (xdist), the journal and ``record.json``."""
        result: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), default=str))
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunRecord:
        """The inverse of :meth:`to_dict`; unknown keys of a newer version are ignored."""
        known = {f.name for f in dataclasses.fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        values["outcome"] = Outcome(values["outcome"])
        values["metrics"] = tuple(_metric(entry) for entry in values.get("metrics", ()))
        values["attempts"] = tuple(_attempt(entry) for entry in values.get("attempts", ()))
        for name in ("artifacts", "log_tail", "warnings", "data"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


def _metric(entry: Mapping[str, Any]) -> Metric:
    return Metric(**{**entry, "outcome": Outcome(entry["outcome"])})


def _attempt(entry: Mapping[str, Any]) -> Attempt:
    return Attempt(**{**entry, "outcome": Outcome(entry["outcome"])})
