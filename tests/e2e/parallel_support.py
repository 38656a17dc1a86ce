"""What the tests of parallel sessions share: simulated GPUs with locks of their own, intervals of leases."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from session_support import Repository, Session, wait_until

GPUS = 8
#: Seconds a busy machine may need for anything here; nothing is asserted about time itself.
PATIENCE = 300.0
OWNER = "pytest-madengine.owner-pid"
_BUILT = ("build_started", "build_finished")
_LEASED = ("from", "to")

Interval = tuple[datetime, datetime]


class Host:
    """A repository on a host with eight simulated GPUs that nobody else leases."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.locks = repository.directory / "locks"
        self.shared = repository.directory / "shared"
        self.shared.mkdir()

    def start(self, *args: str, tags: str = "all_of_it") -> Session:
        """Starts a session; its containers see the directory :attr:`shared` as ``/shared``."""
        context = {"docker_mounts": {"/shared": str(self.shared)}}
        return self.repository.start(
            f"--mad-simulate-gpus={GPUS}:gfx942",
            f"--mad-context={context!r}",
            *args,
            env={"MAD_GPU_LOCK_DIR": str(self.locks)},
            tags=tags,
        )

    def run(self, *args: str, tags: str = "all_of_it") -> Session:
        """Runs a session to its end."""
        return self.start(*args, tags=tags).wait(PATIENCE)

    def go(self) -> None:
        """Lets scripts with :data:`UNTIL_GO` come to their end."""
        (self.shared / "go").touch()

    def held(self) -> list[str]:
        """Names of GPU locks that a process holds at this moment."""
        found = []
        for path in sorted(self.locks.glob("gpu-*.lock")):
            with path.open("rb") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(path.name)
        return found

    def await_scripts(self, session: Session, *models: str) -> list[Any]:
        """The containers of models whose scripts have come to ``ready``."""
        return [self.repository.await_script(session, model) for model in models]

    def await_gone(self, session: Session) -> None:
        """No process of the session is left, worker or other."""
        wait_until(lambda: session.process.poll() is not None, "end of the session", PATIENCE)
        wait_until(lambda: not members(session.process.pid), "no process", PATIENCE)

    def records(self) -> list[dict[str, Any]]:
        """Every record of every session, in order."""
        paths = sorted(self.repository.out.glob("results/*/records.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]

    def records_of(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Item -> record of one session."""
        found = [record for record in self.records() if record["run_id"] == run_id]
        result = {record["item_id"]: record for record in found}
        assert len(result) == len(found)
        return result

    def journal(self, run_id: str) -> list[dict[str, Any]]:
        """All lines of a journal; every one must be whole."""
        text = (self.repository.out / "results" / run_id / "journal.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


#: Ready; then waits, at most some minutes, until the test says go.
UNTIL_GO = """
echo ready
for i in $(seq 3000); do
  [ -e /shared/go ] && break
  sleep 0.1
done
[ -e /shared/go ] && echo "performance: 5 sps"
"""


def interval(entry: Mapping[str, Any], names: tuple[str, str]) -> Interval:
    """Two timestamps with milliseconds."""
    for name in names:
        assert len(entry[name]) == len("2026-11-23T21:00:00.123Z"), entry
    begin, end = (datetime.fromisoformat(entry[name][:-1]) for name in names)
    assert begin <= end, entry
    return begin, end


def leased(record: Mapping[str, Any]) -> Interval:
    """When an item held its GPUs."""
    return interval(record["lease"], _LEASED)


def built(record: Mapping[str, Any]) -> Interval:
    """When the image of an item was built."""
    return interval(record["image"], _BUILT)


def overlap(one: Interval, other: Interval) -> bool:
    """True when two intervals have more than an end in common."""
    return one[0] < other[1] and other[0] < one[1]


def assert_never_twice(records: Iterable[Mapping[str, Any]]) -> None:
    """No GPU belongs to two records at any moment."""
    by_gpu: dict[int, list[tuple[Interval, str]]] = {}
    for record in records:
        gpus = record["lease"]["gpus"]
        assert len(gpus) == len(set(gpus))
        for gpu in gpus:
            assert gpu in range(GPUS)
            by_gpu.setdefault(gpu, []).append((leased(record), record["item_id"]))
    for gpu, held in by_gpu.items():
        ordered = sorted(held)
        for (before, first), (after, second) in pairwise(ordered):
            assert before[1] <= after[0], f"GPU {gpu}: {first} {before} and {second} {after}"


def members(group: int) -> list[int]:
    """Living processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        # proc(5): state, parent and group follow the command, which may hold blanks and brackets.
        state, _, process_group = text.rpartition(")")[2].split()[:3]
        if state not in "ZX" and int(process_group) == group:
            found.append(int(path.parent.name))
    return found


def kill(*pids: int) -> None:
    """Ends processes outright."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def owner(container: Mapping[str, Any]) -> int:
    """Process id of the worker that runs a container."""
    return int(container["Labels"][OWNER])


def locks_of(directory: Path) -> list[str]:
    """Names of the lock files of GPUs."""
    return sorted(path.name for path in directory.glob("gpu-*.lock"))
