"""The matrix of ends: cause x phase x process, with bash for containers.

Every cell waits for a phase by a file that the phase makes; 30 seconds are the promise.  What needs an engine
(one that hangs or restarts, containers that were only created) is in tests/e2e/test_session_ends.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.context.detect import simulated_host
from pytest_madengine.context.types import HostFacts
from pytest_madengine.plan.gpus import GpuDemand
from pytest_madengine.scheduling.leases import GpuLeases
from pytest_madengine.settings import Settings

PROMISE = 30.0
#: Blocks in a phase until a signal comes.
PHASES = """

def reached(phase, model="b"):
    if os.environ["TEST_PHASE"] == phase and model == "b":
        Path(os.environ["TEST_REACHED"]).touch()
        time.sleep(600)


def other_rows():
    # The sink of b holds up the process that writes the row of a, if workers made them at the same time.
    def there():
        return Path("perf.csv").exists() and "\\na," in Path("perf.csv").read_text()

    while os.environ["TEST_PHASE"] == "sink" and not there():
        time.sleep(0.02)


class PhaseExecutor(BashExecutor):
    def run(self, plan, artifacts, **options):
        reached("run", plan.model)
        result = super().run(plan, artifacts, **options)
        if plan.model == "b":
            other_rows()
        reached("collect artifacts", plan.model)
        return result


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    from pytest_madengine.plugin.keys import session_key

    mad = session.config.stash.get(session_key, None)
    if mad is not None:
        mad.__dict__["executor"] = PhaseExecutor()


@pytest.fixture
def mad_image(mad_model):
    reached("build", mad_model.name)
    return Image("ci-x", id="sha256:" + "0" * 64, dockerfile="docker/x", base_docker="b")


def pytest_mad_result(record):
    # A sink is not cut short: it ends when the signal was sent.
    if record.item_id == "b" and os.environ["TEST_PHASE"] == "sink":
        Path(os.environ["TEST_REACHED"]).touch()
        while not Path(os.environ["TEST_REACHED"] + ".go").exists():
            time.sleep(0.02)
"""
#: What sessions look for in dynamic models while they collect.
SLOW_COLLECTION = """
import os, time
from pathlib import Path
Path(os.environ["TEST_REACHED"]).touch()
time.sleep(600)
"""


class Cell:
    """A session that is brought into a phase and then told to end."""

    def __init__(self, repo: Any, phase: str, process: str = "alone", ignored: str = "") -> None:
        self.repo, self.phase, self.process, self.ignored = repo, phase, process, ignored
        self.options = ["--mad-simulate-gpus=1", "-p", "no:cacheprovider"]
        self.reached = repo.path / "reached"
        self.console = repo.path / "console"
        conftest = repo.path / "conftest.py"
        conftest.write_text(conftest.read_text() + PHASES)
        # The quick one first, also under our scheduler, which starts wide models earlier.
        repo.model("a").model("b", n_gpus="1" if phase == "lease wait" else "0").model("c")
        if phase == "collect":
            directory = repo.path / "scripts/slow"
            directory.mkdir()
            (directory / "get_models_json.py").write_text(SLOW_COLLECTION)

    def argv(self) -> Sequence[str]:
        argv = [sys.executable, "-m", "pytest", "--mad-tags=demo", *self.options]
        if self.process == "workers":
            argv += ["-n", "2"]
        elif self.process == "madengine":
            argv = [sys.executable, "-m", "pytest_madengine", "run", "--tags", "demo", "--", *self.options]
        traps = f"trap '' {self.ignored}; " if self.ignored else ""
        return ["sh", "-c", f'{traps}exec "$@"', "sh", *argv]

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "TEST_PHASE": self.phase, "TEST_REACHED": str(self.reached)}

    def start(self) -> Cell:
        with self.console.open("wb") as console:
            self.child = subprocess.Popen(
                self.argv(),
                cwd=self.repo.path,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                # As a shell starts a command in the foreground, whatever this process inherited.
                preexec_fn=_foreground,
            )
        return self

    @property
    def output(self) -> str:
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def ended(self) -> bool:
        return self.child.poll() is not None

    def until(self, condition: Callable[[], object], what: str, limit: float = 120.0) -> None:
        deadline = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < deadline, f"{what}\n{self.output}"
            time.sleep(0.02)

    def await_phase(self) -> Cell:
        self.until(lambda: self.reached.exists() or self.ended(), f"phase {self.phase}")
        assert not self.ended(), self.output
        if self.phase != "collect":
            self.until(lambda: "a" in self.repo.statuses(), "the row of a")
        return self

    def end(self, *numbers: signal.Signals) -> Cell:
        for number in numbers:
            self.child.send_signal(number)
        self.reached.with_name("reached.go").touch()
        self.until(self.ended, f"the end after {numbers}", PROMISE)
        return self

    def assert_true_rows(self, **expected: str) -> None:
        assert self.repo.statuses() == {"a": "SUCCESS", **expected}
        assert {record["item_id"] for record in self.repo.records()} == set(self.repo.statuses())
        assert "INTERNALERROR" not in self.output
        assert "Traceback" not in self.output
        assert list(self.repo.path.glob("mad-results/*/.workspaces/*")) == []

    def assert_free(self) -> None:
        """No lock of this repository is held any more, also not by a worker that is about to die."""
        self.until(self._free, "all locks are free", PROMISE)

    def _free(self) -> bool:
        try:
            for path in self.repo.path.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    with path.open("rb") as stream:
                        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError):
            return False
        return True

    def assert_usable(self) -> None:
        """The next session of that results directory runs, holds every lock, and leaves the rows alone."""
        rows = self.repo.rows()
        self.phase = "none"
        self.process = "alone"
        done = subprocess.run(
            self.argv(), cwd=self.repo.path, env=self.environ, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 0
        assert self.repo.rows()[: len(rows)] == rows
        assert {row["status"] for row in self.repo.rows()[len(rows) :]} == {"SUCCESS"}


def _foreground() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of all cells so far; the last test starts one session on them."""
    return tmp_path_factory.mktemp("ended")


@pytest.fixture
def cell(repo: Any, ended: Path) -> Iterator[Callable[..., Cell]]:
    made: list[Cell] = []

    def make(*args: Any, **options: Any) -> Cell:
        made.append(Cell(repo, *args, **options))
        return made[-1]

    yield make
    for one in made:
        if not one.ended():
            one.child.kill()
            one.child.wait()
        one.assert_free()
        for path in repo.path.glob("mad-results/*"):
            path.rename(ended / path.name)


INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
#: Each phase and each process with each cause at least once.
MATRIX = [
    (HUP, "build", "alone"),
    (TERM, "run", "madengine"),
    (HUP, "run", "madengine"),
    (HUP, "run", "workers"),
    (TERM, "collect artifacts", "alone"),
    (INT, "collect artifacts", "workers"),
    (HUP, "sink", "alone"),
    (TERM, "sink", "workers"),
]


@pytest.mark.parametrize(
    ("number", "phase", "process"), MATRIX, ids=lambda value: getattr(value, "name", value)
)
def test_an_end_in_a_phase(
    cell: Callable[..., Cell], number: signal.Signals, phase: str, process: str
) -> None:
    """faults 2.1, 2.3: given a session in a phase / when it is told to end / then it ends in time, with a
    true row for every model."""
    one = cell(phase, process).start().await_phase().end(number)
    expected = {"b": "SUCCESS" if phase == "sink" else "FAILURE", "c": "SKIPPED"}
    if process == "workers":
        expected["c"] = one.repo.statuses()["c"]  # the other worker may have been through
        assert expected["c"] in ("SUCCESS", "SKIPPED")
    one.assert_true_rows(**expected)
    assert one.child.returncode == (1 if process == "madengine" else 2), one.output
    reasons = {record["item_id"]: record["reason"] for record in one.repo.records()}
    if phase != "sink":
        assert reasons["b"] == "interrupted"


@pytest.mark.parametrize("number", [INT, TERM, HUP], ids=lambda number: number.name)
def test_an_end_while_models_are_looked_for(cell: Callable[..., Cell], number: signal.Signals) -> None:
    """Nothing was selected yet: no row, no process left, and no traceback."""
    one = cell("collect").start().await_phase().end(number)
    assert one.repo.rows() == []
    assert "Traceback" not in one.output
    assert one.child.returncode == 2, one.output


def test_an_end_while_somebody_holds_the_gpu(cell: Callable[..., Cell]) -> None:
    """faults 2.7: given a GPU that another session holds / while an item waits / then the heartbeat says for
    whom; the end ends the wait, and neither the holder nor its ticket is disturbed."""
    one = cell("lease wait")
    one.options.append("--mad-heartbeat=1")
    facts = simulated_host("1", HostFacts())
    settings = Settings(one.repo.path, one.repo.path, one.repo.path / "perf.csv")
    directory = one.repo.path / "gpu-locks"
    held = GpuLeases(facts, settings, directory).acquire(
        GpuDemand((0,), 1), holder={"session": "another", "item": "m"}
    )
    with held:
        one.start()
        waiting = f"(waiting for 1 GPUs; held by pid {os.getpid()} another m)"
        one.until(lambda: waiting in one.output or one.ended(), "the heartbeat")
        assert waiting in one.output
        one.end(TERM)
        assert '"another"' in next(directory.glob("gpu-*")).read_text()
    one.assert_true_rows(b="FAILURE", c="SKIPPED")
    assert [path.name for path in directory.iterdir() if "ticket" in path.name] == []
    one.assert_usable()


def test_an_end_while_the_next_gpu_is_decided(cell: Callable[..., Cell]) -> None:
    """faults 2.7: given a gate of the GPUs that somebody holds for ever / then the wait of a worker ends,
    nothing stays in the queue."""
    one = cell("lease wait", "workers")
    holder = one.repo.path / "gpu-locks"
    holder.mkdir()
    holder.chmod(0o1777)
    lock = holder / "gate.lock"
    with lock.open("wb") as stream:
        # The gate itself: what waits for it waits in the kernel no more.
        fcntl.flock(stream, fcntl.LOCK_EX)
        one.start()
        one.until(lambda: "b" in begun(one) or one.ended(), "the start of b")
        one.until(lambda: "a" in one.repo.statuses(), "the row of a")
        one.end(TERM)
    assert one.repo.statuses()["b"] == "FAILURE"
    assert [path.name for path in holder.iterdir() if "ticket" in path.name] == []


def begun(one: Cell) -> str:
    journals = one.repo.path.glob("mad-results/*/journal.jsonl")
    return "".join(
        line
        for path in journals
        for line in path.read_text().splitlines()
        if '"start"' in line and '"b"' in line
    )


@pytest.mark.parametrize("process", ["alone", "workers"])
@pytest.mark.parametrize("ignored", ["INT", "INT HUP"], ids=["background", "nohup"])
def test_what_is_ignored_at_the_start(cell: Callable[..., Cell], process: str, ignored: str) -> None:
    """faults 2.2: given ``nohup`` or ``cmd &`` / when what is ignored comes / then nothing happens; when
    SIGTERM comes / then workers hear it as well, and nobody needs force."""
    one = cell("run", process, ignored).start().await_phase()
    for name in ignored.split():
        one.child.send_signal(signal.Signals[f"SIG{name}"])
    one.end(TERM)
    one.assert_true_rows(b="FAILURE", c=one.repo.statuses()["c"])
    (record,) = [record for record in one.repo.records() if record["item_id"] == "b"]
    assert (record["reason"], record["phase"]) == ("interrupted", "run")
    # Only the process that ran it knows its image: it was not killed.
    assert record["image"]["name"] == "ci-x"


@pytest.mark.parametrize("process", ["alone", "workers"])
def test_a_terminal_that_is_closed(cell: Callable[..., Cell], process: str) -> None:
    """faults 2.1: given a session in a terminal / when the terminal is closed / then every model has its row:
    what cannot be written to the terminal any more stops nothing."""
    one = cell("run", process)
    pid, leader = pty.fork()
    if pid == 0:  # pragma: no cover - another process
        _foreground()
        os.chdir(one.repo.path)
        argv = one.argv()
        os.execvpe(argv[0], list(argv), one.environ)
    one.child = Forked(pid, leader)
    one.await_phase()
    one.child.hang_up()
    one.until(one.ended, "the end", PROMISE)
    one.assert_true_rows(b="FAILURE", c=one.repo.statuses()["c"])
    assert one.child.returncode == 2


class Forked:
    """The part of Popen that a cell needs; what comes from the terminal is read away."""

    def __init__(self, pid: int, leader: int) -> None:
        self.pid, self.leader, self.returncode = pid, leader, None
        os.set_blocking(leader, False)

    def poll(self) -> int | None:
        if self.leader >= 0:
            with contextlib.suppress(OSError):
                os.read(self.leader, 65536)
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if done else None
        return self.returncode

    def hang_up(self) -> None:
        os.close(self.leader)
        self.leader = -1

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        os.waitpid(self.pid, 0)


def test_a_table_that_somebody_else_holds(cell: Callable[..., Cell]) -> None:
    """faults 2.7: given perf.csv locked for ever / when the session comes to write a row / then it says whom
    it waits for; the first Ctrl-C ends it, the records are kept, and the next session runs."""
    one = cell("none")
    table = one.repo.path / "perf.csv"
    with table.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        one.start()
        one.until(lambda: f"waiting for {table}" in one.output or one.ended(), "the notice")
        assert f"held by process {os.getpid()} (" in one.output
        one.end(INT)
    assert one.child.returncode == 2, one.output
    assert {record["item_id"]: record["outcome"] for record in one.repo.records()} == {
        "a": "SUCCESS",
        "b": "SKIPPED",
        "c": "SKIPPED",
    }
    assert "gave up waiting" in one.output
    one.assert_usable()


def test_the_next_session_after_all_of_them(repo: Any, ended: Path) -> None:
    """faults 2.1: given the results directories of the cells above / when the next session uses them, and
    resumes the newest / then it runs, reports nothing about them, and no workspace of any is left."""
    repo.model("a").model("b").model("c")
    result = repo.run("--mad-tags=demo", f"--mad-results-dir={ended}", "--mad-resume", subprocess=True)
    assert result.ret == 0
    assert set(repo.statuses()) == {"a", "b", "c"}
    assert "FAILURE" not in repo.statuses().values()
    result.stderr.no_fnmatch_line("*")
    result.stdout.no_fnmatch_line("*warning*")
    assert list(ended.glob("*/.workspaces/*")) == []
