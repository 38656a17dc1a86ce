"""Models made by a program: one checksum benchmark per algorithm of workloads.json.

Select all of them with ``demo``, one with ``demo_dynamic/sha256``, and give parameters with
``demo_dynamic/sha256:mib=64``, or a sweep of them with ``demo_dynamic/sha256:mib=16|64``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from madengine.tools.discover_models import CustomModel

WORKLOADS = Path(__file__).with_name("workloads.json")


def read_workloads():
    return json.loads(WORKLOADS.read_text())


@dataclass
class ChecksumModel(CustomModel):
    """A model with a field of its own."""

    command: str = ""

    def update_model(self):
        """Called for selected models only: the place for work that is not needed to list the names."""
        workload = read_workloads()[self.name]
        self.args = f"--command {self.command} --mib {workload['mib']}"


def list_models():
    return [
        ChecksumModel(
            name=name,
            dockerfile="../../docker/demo_tiny",
            scripts="run.sh",
            n_gpus="0",
            owner="demo@example.com",
            timeout=120,
            tags=["demo", "checksum"],
            command=workload["command"],
        )
        for name, workload in read_workloads().items()
    ]
