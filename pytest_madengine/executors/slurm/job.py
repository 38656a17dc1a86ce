"""One batch job of Slurm: submit, wait, cancel.  Commands are argument lists, values are in the environment.

What a job did is told by the file it writes; the scheduler's word only explains why there is none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_madengine.errors import EngineError
from pytest_madengine.util.ends import held

#: States in which a job may still do something.
_ALIVE: Final = frozenset(
    {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "STOPPED", "SIGNALING", "STAGE_OUT"}
    | {"REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)
#: Seconds between two questions: short at first, for short jobs; a busy controller is asked rarely.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
#: Questions in a row that may fail.
_PATIENCE: Final = 3
#: Seconds a command of Slurm may take.
_COMMAND_LIMIT: Final = 60.0
#: Seconds a shared file system may take to show what a finished job wrote.
_FILE_LIMIT: Final = 15.0


class SlurmError(EngineError):
    """Slurm is absent, refuses a job, or lost it."""

    phase = "submit"


@dataclass(frozen=True)
class SlurmJob:
    """A submitted job.  ``result`` is the file it writes last: its exit status as text."""

    id: str
    result: Path


def submit(
    script: Path, options: Sequence[str], result: Path, environ: Mapping[str, str], directory: Path
) -> SlurmJob:
    """Hands a script to ``sbatch``.

    :param options: options of ``sbatch``.
    :param environ: environment of ``sbatch``, which the job inherits: secrets are in no argument list and no
        script.
    :param directory: working directory of the job.
    :raises SlurmError: no ``sbatch``, or it refuses; its own words are in the message.
    """
    if shutil.which("sbatch", path=environ.get("PATH")) is None:
        raise SlurmError("sbatch is not on PATH", hint="run this on a login node of the cluster")
    argv = ["sbatch", "--parsable", "--export=ALL", f"--chdir={directory}", *options, str(script)]
    done = _command(argv, environ)
    job = done.stdout.strip().splitlines()[-1].partition(";")[0] if done.stdout.strip() else ""
    if done.returncode or not re.fullmatch(r"\d+", job):
        said = " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
        raise SlurmError(f"sbatch refused the job: {said}", hint="check the slurm block of the context")
    return SlurmJob(job, result)


def wait(
    job: SlurmJob,
    environ: Mapping[str, str],
    *,
    queue_limit: float | None = None,
    on_state: Callable[[str], None] = lambda state: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """The exit status that the job wrote.  A wait that ends in any other way cancels the job.

    :param queue_limit: seconds in the queue; ``None``: no limit.
    :param on_state: called with every new state, e.g. ``PENDING (Resources)``.
    :raises SlurmError: the job ended without a result, waited too long in the queue, or Slurm does not know
        it any more.
    """
    pause, failures, last, start = _FIRST_PAUSE, 0, "", clock()
    try:
        while True:
            state = state_of(job, environ)
            failures = failures + 1 if state is None else 0
            if state is not None and state != last:
                last = state
                on_state(state)
            gone = state is not None and state.partition(" ")[0] not in _ALIVE
            if gone or failures >= _PATIENCE:
                return _result(job, last or "unknown", sleep, clock)
            if queue_limit is not None and last.startswith("PENDING") and clock() - start > queue_limit:
                raise SlurmError(
                    f"Slurm job {job.id} waited longer than {queue_limit:g} s in the queue: {last}",
                    hint="raise --queue-timeout, or ask for less in the slurm block",
                )
            if state is not None and job.result.exists():
                return _result(job, last, sleep, clock)
            sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    except BaseException:
        with held():
            cancel(job, environ)
        raise


def state_of(job: SlurmJob, environ: Mapping[str, str]) -> str | None:
    """``RUNNING``, ``PENDING (Resources)``, ...; ``None`` when Slurm does not answer.

    ``squeue`` forgets a finished job after some minutes; then ``sacct`` is asked, where there is one.
    """
    done = _command(["squeue", "-h", "-t", "all", "-j", job.id, "-o", "%T %r"], environ)
    state, _, why = done.stdout.strip().partition(" ")
    if done.returncode == 0 and state:
        return f"{state} ({why})" if why not in ("", "None") else state
    if shutil.which("sacct", path=environ.get("PATH")) is not None:
        told = _command(["sacct", "-n", "-X", "-P", "-j", job.id, "-o", "State"], environ)
        if told.returncode == 0 and told.stdout.strip():
            return told.stdout.split()[0].rstrip("+")
    return None


def cancel(job: SlurmJob, environ: Mapping[str, str]) -> None:
    """Ends the job; one that has ended already is no error."""
    _command(["scancel", job.id], environ)


def _result(job: SlurmJob, state: str, sleep: Callable[[float], None], clock: Callable[[], float]) -> int:
    deadline = clock() + _FILE_LIMIT
    while True:
        try:
            text = job.result.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            text = ""
        if re.fullmatch(r"\d{1,3}", text):
            return int(text)
        if clock() > deadline:
            raise SlurmError(
                f"Slurm job {job.id} ended as {state} and left no result",
                hint=f"see its output in {job.result.parent}",
            )
        sleep(_FIRST_PAUSE)


def _command(argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 127, "", str(error))
