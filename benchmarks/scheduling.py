"""Scheduling: makespan of many models on 8 simulated GPUs, the packer alone, and the start of workers.

Everything is real except for the containers: pytest, xdist with 8 workers, plans, lease files; the body of a
job sleeps.  Each set of jobs runs under our scheduler and under xdist's own ``load`` and ``worksteal``, in
the same run.  Makespan is counted from the first start to the last end of a job, so the start of workers is
left out; it has a row of its own.  Expected durations come from records of an "earlier session" that
differ from the real ones by about 10 %.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pytest_madengine.scheduling.packing import Job, Packer

from benchmarks.common import Bar, BenchmarkError, Options, Report

GPUS = 8
WORKERS = 8
MODES = ("mad", "load", "worksteal")
#: GPUs of mixed jobs: half of them narrow.
MIXED = [1, 1, 1, 1, 2, 2, 4, 8]
#: The first seed of the durations; each round takes the next.
SEED = 7
#: The bar of the project for our scheduler: makespan over the lower bound.
BAR = 1.10

CONFTEST = '''
import json, os, resource, time
from pathlib import Path
import pytest

HERE = Path(__file__).parent


class SleepingExecutor:
    """Runs a plan by sleeping; keeps the contract of executors.base.Executor."""

    def run(self, plan, artifacts, *, on_phase=lambda phase: None):
        from pytest_madengine.results.result import RunResult
        from pytest_madengine.results.scanner import LogScanner

        start = time.monotonic()
        time.sleep(DURATIONS[plan.model])
        end = time.monotonic()
        line = json.dumps([plan.model, list(plan.lease.gpus), start, end]) + "\\n"
        with (HERE / "trace").open("a") as trace:
            trace.write(line)
        scanner = LogScanner()
        scanner.feed(b"performance: 1 sps\\n")
        return RunResult(0, "done", findings=scanner.findings(), durations={"run": end - start})


DURATIONS = json.loads((HERE / "durations.json").read_text())


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if config.pluginmanager.hasplugin("madengine"):
        from pytest_madengine.plugin.keys import session_key

        session = config.stash.get(session_key, None)
        if session is not None:
            session.__dict__["executor"] = SleepingExecutor()
    stock = config.pluginmanager.getplugin("madengine-parallel")
    if stock is not None and os.environ.get("BENCHMARK_STOCK"):
        config.pluginmanager.unregister(stock)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        used = [usage.ru_maxrss, usage.ru_utime + usage.ru_stime]
        (HERE / f"worker-{os.getpid()}.json").write_text(json.dumps(used))
'''

MAD_IMAGE = """

@pytest.fixture
def mad_image():
    from pytest_madengine.plan.runplan import Image

    return Image("sleeper", id="sha256:" + "0" * 64)
"""


@dataclass(frozen=True)
class Result:
    """One set of jobs under one scheduler."""

    jobs: str
    mode: str
    bound: float
    makespan: float
    wall: float

    @property
    def ratio(self) -> float:
        """Makespan over its lower bound."""
        return self.makespan / self.bound


def make_jobs(count: int, widths: list[int], bound: float, seed: int) -> list[Job]:
    """Log-normal durations (sigma 1), scaled so that the lower bound is ``bound`` seconds."""
    source = random.Random(seed)
    jobs = [Job(key, source.choice(widths), source.lognormvariate(0, 1)) for key in range(count)]
    factor = bound / lower_bound(jobs)
    return [Job(job.key, job.gpus, job.seconds * factor) for job in jobs]


def lower_bound(jobs: list[Job]) -> float:
    """No schedule is shorter: the work spread evenly, or the longest job."""
    return max(sum(job.gpus * job.seconds for job in jobs) / GPUS, max(job.seconds for job in jobs))


def simulated(jobs: list[Job], workers: int = WORKERS) -> float:
    """Makespan of the packer without any overhead."""
    packer = Packer(GPUS, jobs)
    running: list[tuple[float, int]] = []
    now = 0.0
    while len(packer) or running:
        while len(running) < workers and (job := packer.start(now)) is not None:
            heapq.heappush(running, (now + job.seconds, job.key))
        now, key = heapq.heappop(running)
        packer.finish(key)
    return now


def make_repository(root: Path, jobs: list[Job], seed: int) -> None:
    """A MAD repository whose models are the jobs, with records of an earlier session."""
    (root / "docker").mkdir(parents=True)
    (root / "scripts").mkdir()
    (root / "docker/any.Dockerfile").write_text("# CONTEXT {'guest_os': 'UBUNTU'}\nFROM scratch\n")
    (root / "scripts/run.sh").write_text("true\n")
    (root / "conftest.py").write_text(CONFTEST + MAD_IMAGE)
    (root / "pytest.ini").write_text("[pytest]\n")
    models, records, durations = [], [], {}
    source = random.Random(seed + 1)
    for job in jobs:
        name = f"job{job.key:03d}"
        models.append(
            {
                "name": name,
                "dockerfile": "docker/any",
                "scripts": "scripts/run.sh",
                "n_gpus": str(job.gpus),
                "tags": ["all"],
            }
        )
        durations[name] = job.seconds
        run = job.seconds * source.lognormvariate(0, 0.1)
        records.append({"item_id": name, "outcome": "SUCCESS", "durations": {"run": run}})
    (root / "models.json").write_text(json.dumps(models))
    (root / "durations.json").write_text(json.dumps(durations))
    session = root / "mad-results/20260101T000000Z-0000"
    session.mkdir(parents=True)
    (session / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def run_pytest(root: Path, *args: str, **environ: str) -> float:
    """A pytest run in a directory; its wall time in seconds."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    environment = {**os.environ, "MAD_GPU_LOCK_DIR": str(root / "locks"), **environ}
    start = time.monotonic()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(
            f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return time.monotonic() - start


def measure(name: str, jobs: list[Job], mode: str, seed: int) -> Result:
    """Runs a set of jobs under a scheduler: ``mad``, ``load`` or ``worksteal``."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        make_repository(root, jobs, seed)
        args = ["--mad-tags=all", f"--mad-simulate-gpus={GPUS}", f"-n{WORKERS}"]
        args += [] if mode == "mad" else ["--dist", mode]
        wall = run_pytest(root, *args, **({} if mode == "mad" else {"BENCHMARK_STOCK": "1"}))
        spans = [json.loads(line) for line in (root / "trace").read_text().splitlines()]
    assert len(spans) == len(jobs), (len(spans), len(jobs))
    check_exclusive(spans)
    makespan = max(end for *_, end in spans) - min(start for *_, start, _ in spans)
    return Result(name, mode, lower_bound(jobs), makespan, wall)


def check_exclusive(spans: list[tuple[str, list[int], float, float]]) -> None:
    """No GPU is held by two jobs at a moment."""
    for gpu in range(GPUS):
        held = sorted((start, end) for _, gpus, start, end in spans if gpu in gpus)
        for (_, end), (start, _) in itertools.pairwise(held):
            assert end <= start, f"GPU {gpu} was held twice"


def worker_start(active: bool) -> tuple[float, float, float]:
    """Per worker of ``-n 8``: MB of memory, CPU seconds; and wall time, for 16 items that do nothing."""
    jobs = [Job(key, 1, 0.001) for key in range(16)]
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        make_repository(root, jobs, 0)
        (root / "test_plain.py").write_text(
            "import pytest\n@pytest.mark.parametrize('n', range(16))\ndef test_plain(n): pass\n"
        )
        chosen = ["--mad-tags=all", f"--mad-simulate-gpus={GPUS}"] if active else ["-p", "no:madengine"]
        if not active:
            (root / "conftest.py").write_text(CONFTEST)
            chosen.append("test_plain.py")
        wall = run_pytest(root, f"-n{WORKERS}", *chosen)
        used = [json.loads(path.read_text()) for path in root.glob("worker-*.json")]
    return statistics.mean(kib for kib, _ in used) / 1000, statistics.mean(cpu for _, cpu in used), wall


def makespans(seed: int) -> list[Result]:
    """Both sets of jobs under the three schedulers."""
    sets = [
        ("24 jobs, 1 GPU", make_jobs(24, [1], 12.0, seed)),
        ("64 jobs, 1-8 GPUs", make_jobs(64, MIXED, 30.0, seed)),
    ]
    return [measure(name, jobs, mode, seed) for name, jobs in sets for mode in MODES]


def makespan_bars(results: list[Result]) -> list[Bar]:
    """One bar per set of jobs, beside the better one of xdist's own modes."""
    bars = []
    for name in dict.fromkeys(result.jobs for result in results):
        ratios = {
            mode: statistics.mean(
                result.ratio for result in results if (result.jobs, result.mode) == (name, mode)
            )
            for mode in MODES
        }
        stock = min(ratios["load"], ratios["worksteal"])
        detail = ", ".join(f"{mode} {ratio:.3f}" for mode, ratio in ratios.items())
        bars.append(
            Bar(f"makespan / bound, {name}", ratios["mad"], stock, "x", ratios["mad"], "x", BAR, detail)
        )
    return bars


def packer_alone(seed: int) -> Bar:
    """The packer with 10,000 items: microseconds per item."""
    jobs = make_jobs(10_000, MIXED, 1e6, seed)
    start = time.perf_counter()
    ratio = simulated(jobs) / lower_bound(jobs)
    cost = (time.perf_counter() - start) * 1e6 / len(jobs)
    detail = f"{cost / 100:.2f} s for all, makespan {ratio:.3f} x bound"
    return Bar("packer, 10,000 items", cost, None, "us/item", cost, "us/item", 100.0, detail)


def worker_bars() -> list[Bar]:
    """Memory and CPU of each of 8 workers against stock xdist with as many tests that do nothing."""
    stock_memory, stock_cpu, stock_wall = worker_start(active=False)
    memory, cpu, wall = worker_start(active=True)
    detail = f"-n {WORKERS}, 2 items each; whole run {wall:.1f} s, stock xdist {stock_wall:.1f} s"
    return [
        Bar("worker, memory", memory, stock_memory, "MB", memory - stock_memory, "MB", 15.0, detail),
        Bar("worker, CPU", cpu, stock_cpu, "s", cpu - stock_cpu, "s", 0.6, detail),
    ]


def run(options: Options) -> Report:
    """All rows; ``effort`` is the number of seeds."""
    report = Report([packer_alone(SEED), *worker_bars()])
    results: list[Result] = []
    for seed in range(SEED, SEED + max(1, round(options.effort))):
        results += makespans(seed)
    report.bars += makespan_bars(results)
    for result in results:
        report.notes.append(
            f"{result.jobs}, {result.mode}: bound {result.bound:.1f} s, makespan {result.makespan:.1f} s, "
            f"ratio {result.ratio:.3f}, start and end of the session {result.wall - result.makespan:.1f} s"
        )
    return report
