"""``build --build-on-compute`` with a real Slurm, a real engine and a real registry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
from registry_servers import PASSWORD, USER, Registry, running_registry
from session_support import Repository, wait_until
from slurm_cluster import Cluster, require_slurm, running_cluster

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
pytest_plugins = ["session_fixtures"]
SLURM = {"partition": "main", "time": "10:00"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    require_slurm()
    with running_cluster() as made:
        yield made


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


def command(repository: Repository, cluster: Cluster, *args: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "pytest_madengine", "build", "--build-on-compute", "--no-pull"]
    argv += ["--output", str(repository.out / "perf.csv"), "--results-dir", str(repository.out / "results")]
    return subprocess.Popen(
        [*argv, *args],
        cwd=repository.root,
        env=cluster.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def context(repository: Repository, **slurm: object) -> Sequence[str]:
    block = {**SLURM, "output_dir": str(repository.out / "slurm"), **slurm}
    secret = {"API_TOKEN": "planted-context-secret"}
    return ("-c", json.dumps({"gpu_vendor": "CPU", "slurm": block, "docker_env_vars": secret}))


def test_a_build_on_a_compute_node(repository: Repository, registry: Registry, cluster: Cluster) -> None:
    """Contract 9.2, 16.2: the job builds and pushes; the manifest is keyed by model, marked, and runs here;
    secrets of the context are in no script."""
    repository.model("m", "echo performance: 5 sps")
    path = repository.root / "credential.json"
    path.write_text(json.dumps({registry.host: {"username": USER, "password": PASSWORD}}))
    path.chmod(0o600)
    process = command(
        repository, cluster, "--tags", "m", "-r", registry.host, "-m", "m.json", *context(repository)
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "submitted Slurm job" in output
    content = json.loads((repository.root / "m.json").read_text())
    block = content["built_images"]["m"]
    assert block["built_on_compute"] is True
    assert block["registry_digest"].startswith("sha256:")
    assert set(content["built_models"]) == {"m"}
    (place,) = (repository.out / "slurm").iterdir()
    script = (place / "job.sh").read_text()
    everything = "".join(file.read_text() for file in place.iterdir()) + output
    assert "planted-context-secret" not in everything
    assert "--registry=" in script
    assert cluster.ask("squeue", "-h", "-t", "all", "-o", "%T %j").split() == ["COMPLETED", "madengine-build"]
    repository.remove_images()
    environ = {**os.environ, "API_TOKEN": "x"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest_madengine",
            "run",
            "-m",
            "m.json",
            "-o",
            str(repository.out / "perf.csv"),
            # The manifest asks for Slurm, as its build did; this run is for this host.
            "-c",
            json.dumps({"deploy": "local"}),
        ],
        cwd=repository.root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.row("m")["status"] == "SUCCESS"


def test_a_build_that_fails_there(repository: Repository, registry: Registry, cluster: Cluster) -> None:
    """The exit status is that of the build in the job; its output is shown, its row is written."""
    broken = repository.dockerfile("RUN echo it broke there; exit 3", name="broken")
    repository.model("bad", dockerfile=broken)
    process = command(repository, cluster, "--tags", "bad", "-r", registry.host, *context(repository))
    output, _ = process.communicate()
    assert process.returncode == 2, output
    assert "it broke there" in output
    assert repository.statuses() == {"bad": "FAILURE"}


def test_a_job_that_is_refused(repository: Repository, registry: Registry, cluster: Cluster) -> None:
    """Defect 4: given a Slurm target whose submission fails / build / FAILURE rows, exit 3."""
    repository.model("a").model("b")
    process = command(
        repository,
        cluster,
        *("--tags", "a", "b", "-r", registry.host),
        *context(repository, partition="no-such-partition"),
    )
    output, _ = process.communicate()
    assert process.returncode == 3, output
    assert "sbatch refused the job" in output
    assert "no-such-partition" in output or "partition" in output
    assert repository.statuses() == {"a": "FAILURE", "b": "FAILURE"}


def test_a_job_that_waits_too_long(repository: Repository, registry: Registry, cluster: Cluster) -> None:
    """Contract 16.1: waiting is limited, and a wait that is given up cancels the job."""
    repository.model("m")
    other = cluster.ask(
        "sbatch", "--parsable", "--exclusive", "-w", "n1", "-o", "/dev/null", "--wrap", "sleep 600"
    ).strip()
    try:
        process = command(
            repository,
            cluster,
            *("--tags", "m", "-r", registry.host, "--queue-timeout", "1"),
            *context(repository, nodelist="n1"),
        )
        output, _ = process.communicate()
        assert process.returncode == 3, output
        assert "waited longer than 1 s in the queue" in output
        assert repository.statuses() == {"m": "FAILURE"}
        wait_until(lambda: cluster.ask("squeue", "-h", "-o", "%i").split() == [other], "ours is gone")
    finally:
        cluster.ask("scancel", other)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_an_end_cancels_the_job(
    repository: Repository, registry: Registry, cluster: Cluster, number: signal.Signals
) -> None:
    """faults 2.3: given a job that builds / when Ctrl-C, SIGTERM or SIGHUP comes / then the job is cancelled
    and every model has its row."""
    repository.model("slow", dockerfile=repository.dockerfile("RUN sleep 600", name="slow")).model("next")
    process = command(
        repository, cluster, "--tags", "slow", "next", "-r", registry.host, *context(repository)
    )

    def jobs() -> list[str]:
        return cluster.ask("squeue", "-h", "-o", "%i %T").split()

    wait_until(lambda: "RUNNING" in jobs(), "the job runs")
    process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == 1, output
    assert "Traceback" not in output
    assert repository.statuses() == {"slow": "FAILURE", "next": "FAILURE"}
    wait_until(lambda: not jobs(), "the job is gone")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--tags", "m"], "--registry"),
        (["--tags", "m", "-r", "localhost:5000"], "slurm block"),
        (
            ["--tags", "m", "-r", "localhost:5000", "--use-image", "x:1", "-c", '{"slurm": {"a": "b"}}'],
            "exclude",
        ),
        (["-r", "localhost:5000", "-c", '{"slurm": {"partition": "x"}}'], "no models"),
        (["--tags", "m", "-r", "localhost:5000", "-c", '{"slurm": 5}'], "slurm"),
    ],
)
def test_wrong_arguments(repository: Repository, cluster: Cluster, args: list[str], text: str) -> None:
    repository.model("m")
    process = command(repository, cluster, *args)
    output, _ = process.communicate()
    assert process.returncode == 4, output
    assert text in output
