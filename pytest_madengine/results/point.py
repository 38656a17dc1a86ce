"""One value of a metric, as the history returns it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """One stored value of a metric.  ``finished`` is UTC ISO-8601."""

    run_id: str
    item_id: str
    model: str
    metric: str
    value: str
    number: float | None
    outcome: str
    finished: str
    fingerprint: str
    image_digest: str
    hostname: str
    gpu_architecture: str
    gpu_product: str
    n_gpus: str
    training_precision: str

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return asdict(self)
