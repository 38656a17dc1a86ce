"""Generated jobs on a real Slurm: ``sbatch``, a task per node, containers, and ``scancel``."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from session_support import RUN_LABEL, Repository, wait_until
from slurm_servers import Slurm, slurm_cluster

pytest_plugins = ["session_fixtures"]
pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with slurm_cluster(nodes=2) as made:
        yield made


class Jobs:
    """The jobs of a repository, made by the command and submitted by the generated script."""

    def __init__(self, repository: Repository, slurm: Slurm) -> None:
        self.repository, self.slurm = repository, slurm
        self.setup = repository.root / "slurm-setup"

    def environ(self, **variables: str) -> dict[str, str]:
        foreign = ("MAD_", "MODEL_DIR", "SLURM_", "PYTEST_", "COVERAGE_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        command = {"MADENGINE_COMMAND": str(BIN / "madengine-cli")}
        return {**clean, **self.slurm.environ(), **command, **variables}

    def submit(self, context: dict[str, Any], **variables: str) -> list[str]:
        """Builds, generates and submits; the ids of the jobs."""
        built = self.repository.run("--mad-build-only")
        assert built.code == 0, built.output
        for command in (
            [BIN / "madengine-cli", "generate", "slurm", "-c", json.dumps(context)],
            [self.setup / "submit.sh", "--parsable"],
        ):
            done = subprocess.run(
                command,
                cwd=self.repository.root,
                env=self.environ(**variables),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.split()

    def output(self, job: str) -> str:
        return "".join(path.read_text() for path in sorted(self.setup.glob(f"slurm_results/*_{job}_*.*")))

    def node(self, model: str, job: str, rank: int) -> Path:
        return self.setup / f"slurm_results/madengine-{model}/{job}/node_{rank}"


def statuses(place: Path) -> dict[str, str]:
    with (place / "perf.csv").open(newline="") as stream:
        return {row["model"]: row["status"] for row in csv.DictReader(stream)}


def test_a_job_on_two_nodes(repository: Repository, slurm: Slurm) -> None:
    """Each node runs the model with its rank; the first one reports."""
    repository.model(
        "m", 'echo "rank $NODE_RANK: $MAD_MULTI_NODE_RUNNER"; ((NODE_RANK)) || echo performance: 5 s'
    )
    jobs = Jobs(repository, slurm)
    (job,) = jobs.submit({"slurm": {"nodes": 2}, "distributed": {"launcher": "torchrun"}})
    assert slurm.await_end(job) == "COMPLETED", jobs.output(job)
    for rank in (0, 1):
        place = jobs.node("m", job, rank)
        (log,) = place.glob("mad-results/*/m/*.run.live.log")
        text = log.read_text()
        assert (
            f"rank {rank}: torchrun --nnodes=2 --nproc_per_node=1 --node_rank={rank} --master_addr=n1" in text
        )
    assert statuses(jobs.node("m", job, 0)) == {"m": "SUCCESS"}
    assert json.loads((jobs.node("m", job, 0).parent / "results_summary.json").read_text())


def test_every_model_has_its_job(repository: Repository, slurm: Slurm) -> None:
    """Defect 21: two models, two jobs, two outcomes; a failing model fails its job."""
    repository.model("good", 'test "$X" = "a b" && echo performance: 1 s', env_vars={"X": "a b"})
    repository.model("bad", "exit 3")
    jobs = Jobs(repository, slurm)
    good, bad = jobs.submit({})
    assert slurm.await_end(good) == "COMPLETED", jobs.output(good)
    assert slurm.await_end(bad) == "FAILED"
    assert statuses(jobs.node("good", good, 0)) == {"good": "SUCCESS"}
    assert statuses(jobs.node("bad", bad, 0)) == {"bad": "FAILURE"}


def test_a_cancelled_job_leaves_no_container(repository: Repository, slurm: Slurm) -> None:
    """scancel ends the run, and the run its container."""
    repository.model("m", "echo ready; sleep 1000")
    jobs = Jobs(repository, slurm)
    (job,) = jobs.submit({})
    place = jobs.node("m", job, 0)

    def ready() -> bool:
        return any("ready" in path.read_text() for path in place.glob("mad-results/*/m/*.run.live.log"))

    wait_until(ready, "the model runs")
    (run,) = [path.name for path in place.glob("mad-results/*") if path.is_dir()]

    def containers() -> list[Any]:
        labels = [f"{RUN_LABEL}={run}"]
        return list(repository.client.api.containers(all=True, filters={"label": labels}))

    assert containers()
    slurm.command("scancel", job)
    assert slurm.await_end(job) == "CANCELLED"
    wait_until(lambda: not containers(), "the container is gone")
