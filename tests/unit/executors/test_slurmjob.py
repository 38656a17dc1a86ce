"""One job of Slurm, with programs of that name that are told what to say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_madengine.executors.slurm.job import SlurmError, SlurmJob, cancel, state_of, submit, wait

Program = Callable[[str, str], None]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    return directory


@pytest.fixture
def program(programs: Path) -> Program:
    def make(name: str, script: str) -> None:
        path = programs / name
        path.write_text(f'#!/bin/sh\necho "$0 $*" >> "{programs}/../calls"\n{script}\n')
        path.chmod(0o755)

    return make


@pytest.fixture
def environ(programs: Path) -> dict[str, str]:
    return {"PATH": f"{programs}:/usr/bin:/bin"}


def job_in(tmp_path: Path) -> SlurmJob:
    return SlurmJob("7", tmp_path / "exit_status")


@pytest.mark.parametrize("answer", ["7", "7;cluster"])
def test_a_job_is_submitted(answer: str, program: Program, environ: dict[str, str], tmp_path: Path) -> None:
    program("sbatch", f"echo '{answer}'")
    job = submit(tmp_path / "job.sh", ["--partition=a b"], tmp_path / "r", environ, tmp_path)
    assert job == SlurmJob("7", tmp_path / "r")
    assert "--parsable --export=ALL" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo 'invalid partition' >&2; exit 1", "sbatch refused the job: invalid partition"),
        ("exit 3", "exit status 3"),
        ("echo nonsense", "nonsense"),
    ],
)
def test_a_refusal_is_told(
    script: str, text: str, program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    program("sbatch", script)
    with pytest.raises(SlurmError, match=text):
        submit(tmp_path / "job.sh", [], tmp_path / "r", environ, tmp_path)


def test_without_slurm(tmp_path: Path) -> None:
    with pytest.raises(SlurmError, match="not on PATH"):
        submit(tmp_path / "job.sh", [], tmp_path / "r", {"PATH": str(tmp_path)}, tmp_path)


def test_waiting_tells_states_and_ends_with_the_result(
    program: Program, environ: dict[str, str], tmp_path: Path
) -> None:
    program(
        "squeue",
        f"""
        n=$(cat {tmp_path}/n 2>/dev/null || echo 0); echo $((n+1)) > {tmp_path}/n
        case $n in 0) echo 'PENDING Resources';; 1) echo 'PENDING Resources';; 2) echo 'RUNNING None';;
        *) echo 5 > {tmp_path}/exit_status; echo 'COMPLETED None';; esac""",
    )
    states: list[str] = []
    pauses: list[float] = []
    status = wait(job_in(tmp_path), environ, on_state=states.append, sleep=pauses.append)
    assert status == 5
    assert states == ["PENDING (Resources)", "RUNNING", "COMPLETED"]
    assert pauses == sorted(pauses)


def test_a_job_that_leaves_nothing(program: Program, environ: dict[str, str], tmp_path: Path) -> None:
    """Contract 16.2: an unknown end is a failure; the scheduler's word explains it."""
    program("squeue", "echo 'NODE_FAIL None'")
    program("scancel", "")
    ticks = iter(range(0, 10_000, 10))
    with pytest.raises(SlurmError, match="ended as NODE_FAIL and left no result"):
        wait(job_in(tmp_path), environ, sleep=lambda seconds: None, clock=lambda: float(next(ticks)))


def test_a_queue_that_takes_too_long(program: Program, environ: dict[str, str], tmp_path: Path) -> None:
    program("squeue", "echo 'PENDING Resources'")
    program("scancel", "")
    ticks = iter(range(0, 1000, 5))
    with pytest.raises(SlurmError, match=r"waited longer than 12 s in the queue: PENDING \(Resources\)"):
        wait(
            job_in(tmp_path),
            environ,
            queue_limit=12,
            sleep=lambda seconds: None,
            clock=lambda: float(next(ticks)),
        )
    assert "scancel 7" in (tmp_path / "calls").read_text()


def test_sacct_knows_what_squeue_forgot(program: Program, environ: dict[str, str], tmp_path: Path) -> None:
    program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert state_of(job_in(tmp_path), environ) is None
    program("sacct", "echo 'CANCELLED+'")
    assert state_of(job_in(tmp_path), environ) == "CANCELLED"


def test_a_silent_scheduler_is_asked_again(program: Program, environ: dict[str, str], tmp_path: Path) -> None:
    """Given a scheduler that stops answering / three questions / the file of the job counts."""
    program("squeue", "exit 1")
    (tmp_path / "exit_status").write_text("0\n")
    pauses: list[float] = []
    assert wait(job_in(tmp_path), environ, sleep=pauses.append) == 0
    assert len(pauses) == 2


def test_an_interrupt_cancels(program: Program, environ: dict[str, str], tmp_path: Path) -> None:
    program("squeue", "echo 'RUNNING None'")
    program("scancel", "")

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait(job_in(tmp_path), environ, sleep=interrupt)
    assert "scancel 7" in (tmp_path / "calls").read_text()
    cancel(job_in(tmp_path), {"PATH": "/nowhere"})  # nothing to cancel with is no error of its own
