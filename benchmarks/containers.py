"""pytest sessions on the container engine whose items alternate with ``docker run`` of the same thing."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.common import BenchmarkError, Options, Usage, child_environ, measure, pytest_command
from benchmarks.repositories import mad_repository

#: Images a benchmark may start from, the first one that is there.
IMAGES: Final = ("debian:bookworm-slim", "mad-test/tiny:latest")

#: Times every item, runs the reference after it, notes the peak of memory of the pytest process.
_CONFTEST: Final = """
import functools
import importlib
import json
import os
import subprocess
import time

import pytest

PLAN = json.loads(os.environ["BENCH_PLAN"])
FACTS = {"items": [], "peak": 0}
steps, phases = {}, {}


def timed(target):
    module, _, path = target.partition(":")
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    function = getattr(owner, name, None)
    if function is None:
        return

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            steps[path] = steps.get(path, 0.0) + time.perf_counter() - start

    setattr(owner, name, wrapper)


def pytest_sessionstart():
    for target in PLAN["steps"]:
        timed(target)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    steps.clear()
    phases.clear()
    cpu, start = time.process_time(), time.perf_counter()
    result = yield
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    from pytest_madengine.plugin.keys import run_key

    run = item.stash[run_key]
    facts = {"item": seconds, "cpu": cpu, "steps": dict(steps), "phases": dict(phases)}
    facts["container"] = dict(run.result.durations)
    argv = [word.replace("IMAGE", run.image.id) for word in PLAN["reference"]]
    with open(PLAN["output"], "wb") as output:
        start = time.perf_counter()
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True)
        facts["reference"] = time.perf_counter() - start
    FACTS["items"].append(facts)
    return result


def pytest_runtest_logreport(report):
    phases[report.when] = report.duration


def pytest_unconfigure():
    with open("/proc/self/status") as status:
        FACTS["peak"] = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    with open(PLAN["facts"], "w") as stream:
        json.dump(FACTS, stream)
"""

#: Where the time of an item goes; a name that does not exist (any more) is left out.
STEPS: Final = (
    "pytest_madengine.pipeline.run:ItemRun.prepare_image",
    "pytest_madengine.pipeline.run:ItemRun.make_plan",
    "pytest_madengine.executors.docker.run:DockerRun._prepare",
    "pytest_madengine.executors.docker.container:EngineContainer.create",
    "pytest_madengine.executors.docker.container:EngineContainer.attach",
    "pytest_madengine.executors.docker.container:EngineContainer.start",
    "pytest_madengine.executors.docker.run:_follow",
    "pytest_madengine.executors.docker.run:DockerRun._await_removal",
    "pytest_madengine.executors.docker.run:DockerRun._result",
    "pytest_madengine.executors.docker.run:DockerRun._remove_workspace",
    "pytest_madengine.plugin.runner:RunningPlugin.keep",
    "pytest_madengine.plugin.ledger:Ledger.accept",
)


@dataclass(frozen=True)
class Session:
    """One pytest session: what each item took, and the whole process."""

    items: list[dict[str, Any]]
    #: Peak memory of the pytest process in bytes, without processes it started.
    peak: int
    usage: Usage

    def column(self, name: str) -> list[float]:
        """``item``, ``reference`` or ``cpu`` of every item."""
        return [float(item[name]) for item in self.items]


def find_image(wanted: str) -> str:
    """The image to build from.

    :raises BenchmarkError: no engine answers, or none of the images is there.
    """
    for name in (wanted,) if wanted else IMAGES:
        done = _docker("image", "inspect", "--format", "{{.Id}}", name)
        if done.returncode == 0:
            return name
    raise BenchmarkError(f"no image {wanted or ' or '.join(IMAGES)}: {done.stderr.strip()}")


def session(options: Options, name: str, script: str, count: int, *arguments: str) -> Session:
    """Runs ``count`` models with this script in one pytest session, each followed by ``docker run`` of the
    same script in the same image, with its output to a file."""
    directory = options.directory / name
    token = f"bench{secrets.token_hex(4)}"
    root = mad_repository(
        *(directory, count),
        places=(token,),
        script=script,
        image=options.image,
        files={"conftest.py": _CONFTEST},
    )
    facts = directory / "facts.json"
    plan = {
        "facts": str(facts),
        "output": str(directory / "reference.log"),
        "reference": [
            *("docker", "run", "--rm", "-v", f"{root / 'scripts' / token}:/bench:ro", "IMAGE"),
            *("bash", "/bench/run.sh"),
        ],
        "steps": STEPS,
    }
    environ = child_environ(options.directory / "pyc", BENCH_PLAN=json.dumps(plan))
    command = pytest_command("--mad-tags", "all", "--mad-no-pull", *arguments)
    try:
        usage = measure(command, root, environ, directory / "console.txt")
    except BenchmarkError as error:
        raise BenchmarkError(f"{error}\n{(directory / 'console.txt').read_text()[-3000:]}") from None
    finally:
        remove_images(token)
    data = json.loads(facts.read_text())
    shutil.rmtree(directory)
    return Session(data["items"], data["peak"], usage)


def remove_images(token: str) -> None:
    """Removes the images whose names contain this."""
    listing = _docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
    names = [line for line in listing.stdout.split() if token in line]
    if names:
        _docker("image", "rm", *names)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise BenchmarkError(f"docker: {error.strerror}") from None


def median_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Median of each key over rows that have it."""
    from statistics import median

    names = dict.fromkeys(name for row in rows for name in row)
    return {name: median(row[name] for row in rows if name in row) for name in names}
