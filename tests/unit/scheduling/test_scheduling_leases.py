"""Leases between sessions, processes and users."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.context.types import HostFacts
from pytest_madengine.errors import LeaseError
from pytest_madengine.plan.gpus import GpuDemand
from pytest_madengine.plan.runplan import Lease
from pytest_madengine.scheduling.leases import GpuLeases
from pytest_madengine.scheduling.lockfiles import LockDirectory, default_directory

Leases = Callable[..., GpuLeases]
ALL = tuple(range(8))


def demand(count: int, pool: tuple[int, ...] = ALL) -> GpuDemand:
    return GpuDemand(pool, count)


class WaitsError(Exception):
    """The lease waits."""


def give_up(seconds: float) -> None:
    assert seconds >= 0.05
    raise WaitsError


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def info(locks: Path, index: int) -> Any:
    return json.loads((locks / f"gpu-0000_{index:02x}_00.0.lock").read_text() or "{}")


def test_two_sessions_never_hold_the_same_gpu(make_leases: Leases) -> None:
    first, second = make_leases(), make_leases()
    one, two = first.acquire(demand(4)), second.acquire(demand(4))
    assert one.lease == Lease((0, 1, 2, 3), simulated=True)
    assert two.lease == Lease((4, 5, 6, 7), simulated=True)
    one.release()
    assert second.acquire(demand(2)).lease.gpus == (0, 1)
    two.release()


def test_a_lease_waits_until_its_gpus_are_free_and_says_for_whom(make_leases: Leases) -> None:
    held = make_leases().acquire(demand(8), holder={"session": "s1", "item": "bert\x1b[2J"})
    heard: list[str] = []
    second = make_leases(sleep=lambda seconds: held.release())
    with second.acquire(demand(8), on_wait=heard.append) as lease:
        assert lease.lease.gpus == ALL
    assert heard == [f"waiting for 8 GPUs; held by pid {os.getpid()} s1 bert\\x1b[2J"]


def test_a_long_wait_says_for_whom_it_waits_now(make_leases: Leases) -> None:
    """faults 2.7: given a wait for two holders / when one of them is through / then the other one is named;
    nothing is said twice."""
    held = [make_leases().acquire(demand(4), holder={"session": "s", "item": item}) for item in "ab"]
    heard: list[str] = []
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) in (100, 200):
            held.pop(0).release()

    with make_leases(sleep=sleep).acquire(demand(8), on_wait=heard.append):
        pass
    pid = os.getpid()
    assert heard == [
        f"waiting for 8 GPUs; held by {holders}"
        for holders in (f"pid {pid} s a; pid {pid} s b", f"pid {pid} s b")
    ]


def test_all_or_nothing(make_leases: Leases, locks: Path) -> None:
    """A request that cannot be met holds nothing while it waits, and leaves no ticket when it gives up."""
    held = make_leases().acquire(demand(1))
    with pytest.raises(WaitsError):
        make_leases(sleep=give_up).acquire(demand(8))
    assert make_leases().acquire(demand(7, ALL[1:])).lease.gpus == ALL[1:]
    held.release()
    assert not list(locks.glob("ticket-*"))


def test_a_waiting_wide_item_is_not_starved_by_other_sessions(make_leases: Leases) -> None:
    """Narrow items of another session keep coming; after a bounded number of them the wide one is next."""
    held = [make_leases().acquire(demand(1))]
    served = 0

    def others(seconds: float) -> None:
        # Another session replaces its item by a new one before the old one ends, for as long as it may.
        nonlocal served
        try:
            held.append(make_leases(sleep=give_up).acquire(demand(1)))
            served += 1
            assert served < 50
        except WaitsError:
            held[-1].release()
        held.pop(0).release()

    with make_leases(sleep=others).acquire(demand(8)) as wide:
        assert wide.lease.gpus == ALL
    assert 0 < served <= 10


def test_nothing_is_locked_for_a_plan(make_leases: Leases, locks: Path) -> None:
    leases = make_leases()
    assert leases.acquire(demand(2, (0, 2, 3, 4, 5, 7)), plan_only=True).lease.gpus == (0, 2)
    assert not locks.exists()


def test_lock_files_tell_people_who_holds_a_gpu(make_leases: Leases, locks: Path) -> None:
    held = make_leases().acquire(demand(2), holder={"session": "s1", "item": "bert"})
    told = info(locks, 1)
    assert (told["pid"], told["session"], told["item"], told["gpus"]) == (os.getpid(), "s1", "bert", [0, 1])
    held.release()
    assert (locks / "gpu-0000_00_00.0.lock").read_text() == ""
    held.release()


def test_directory_and_files_serve_all_users(make_leases: Leases, locks: Path) -> None:
    previous = os.umask(0o077)
    try:
        make_leases().acquire(demand(1)).release()
    finally:
        os.umask(previous)
    assert stat.S_IMODE(locks.stat().st_mode) == 0o1777
    assert {stat.S_IMODE(path.stat().st_mode) for path in locks.iterdir()} == {0o666}


def test_more_than_the_host_has(make_leases: Leases, make_host: Callable[..., HostFacts]) -> None:
    with pytest.raises(LeaseError, match="this host has 2"):
        make_leases(make_host(2)).acquire(demand(3))
    with pytest.raises(LeaseError, match="only 1 CPUs"):
        make_leases(cpus=(min(os.sched_getaffinity(0)),), cpus_per_model=2).acquire(demand(0, ()))


def test_cpus_are_shared_out_with_and_without_gpus(make_leases: Leases) -> None:
    usable = sorted(os.sched_getaffinity(0))[:2]
    if len(usable) < 2:
        pytest.skip("needs two CPUs")
    first = make_leases(cpus=tuple(usable), cpus_per_model=1).acquire(demand(0, ()))
    second = make_leases(cpus=tuple(usable), cpus_per_model=1).acquire(demand(1))
    assert first.lease == Lease((), True, str(usable[0]))
    assert second.lease == Lease((0,), True, str(usable[1]))
    with pytest.raises(WaitsError):
        make_leases(cpus=tuple(usable), cpus_per_model=1, sleep=give_up).acquire(demand(1))
    first.release()
    second.release()


def test_who_needs_a_lease(make_leases: Leases) -> None:
    assert make_leases().needs_lease(demand(1))
    assert not make_leases().needs_lease(demand(0, ()))
    assert make_leases(cpus_per_model=1).needs_lease(demand(0, ()))
    assert make_leases().acquire(demand(0, ())).lease.gpus == ()


# ---- processes ------------------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from pytest_madengine.context.types import Gpu, HostFacts
from pytest_madengine.plan.gpus import GpuDemand
from pytest_madengine.scheduling.leases import GpuLeases
from pytest_madengine.settings import Settings

root = Path(sys.argv[1])
gpus = tuple(Gpu(i, f"0000:{i:02x}:00.0") for i in range(8))
facts = HostFacts(gpu_vendor="AMD", gpus=gpus, simulated=True)
settings = Settings(root, root, root, environ={"MAD_GPU_LOCK_DIR": str(root / "locks")})
held = GpuLeases(facts, settings).acquire(GpuDemand(tuple(range(8)), 8))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_kernel_frees_the_gpus_of_a_killed_process(make_leases: Leases, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(WaitsError):
            make_leases(sleep=give_up).acquire(demand(1))
        process.kill()
    # Its container may be on the GPUs for a moment longer: the next holder is told to look.
    held = make_leases().acquire(demand(8))
    assert held.after_death
    held.release()
    again = make_leases().acquire(demand(8))
    assert not again.after_death
    again.release()


def test_commands_do_not_inherit_a_lease(make_leases: Leases) -> None:
    held = make_leases().acquire(demand(8))
    with subprocess.Popen(["sleep", "60"]) as process:
        held.release()
        make_leases().acquire(demand(8)).release()
        process.kill()


def test_a_forked_child_neither_keeps_nor_breaks_a_lease(make_leases: Leases) -> None:
    held = make_leases().acquire(demand(8))
    ready, report = os.pipe()
    wait, finish = os.pipe()
    child = os.fork()
    if child == 0:
        held.release()
        os.write(report, b"x")
        os.close(finish)
        os.read(wait, 1)
        os._exit(0)
    os.read(ready, 1)
    with pytest.raises(WaitsError):
        make_leases(sleep=give_up).acquire(demand(1))
    held.release()
    make_leases().acquire(demand(8)).release()
    for descriptor in (finish, wait, ready, report):
        os.close(descriptor)
    os.waitpid(child, 0)


# ---- what others may have put there ---------------------------------------------------------------------


def test_links_are_not_followed(make_leases: Leases, locks: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    locks.mkdir()
    (locks / "gpu-0000_00_00.0.lock").symlink_to(victim)
    with pytest.raises(LeaseError, match="symbolic link"):
        make_leases().acquire(demand(1))
    (locks / "gpu-0000_00_00.0.lock").unlink()
    os.link(victim, locks / "gpu-0000_00_00.0.lock")
    with pytest.raises(LeaseError, match="not a regular file"):
        make_leases().acquire(demand(1))
    assert victim.read_text() == "precious"


def test_a_pipe_in_the_place_of_a_lock_does_not_hang(make_leases: Leases, locks: Path) -> None:
    locks.mkdir()
    os.mkfifo(locks / "gpu-0000_00_00.0.lock")
    with pytest.raises(LeaseError, match="not a regular file"):
        make_leases().acquire(demand(1))


def test_the_directory_must_be_one(make_leases: Leases, locks: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    locks.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LeaseError, match="not a directory"):
        make_leases().acquire(demand(1))
    locks.unlink()
    locks.write_text("")
    with pytest.raises(LeaseError, match="not a directory"):
        make_leases().acquire(demand(1))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"wants": 3}',
        '{"wants": [3], "overtaken": 0}',
        '{"wants": [{"pool": ["../../etc/passwd"], "count": 1}], "overtaken": 9}',
        '{"wants": [{"pool": ["gpu-a.lock"], "count": 2}], "overtaken": 9}',
        '{"wants": [], "overtaken": true}',
        '{"wants": [{"pool": ["gpu-nothing.lock"], "count": 1}], "overtaken": 0}',
    ],
)
def test_strange_tickets_are_passed_over(make_leases: Leases, locks: Path, content: str) -> None:
    leases = make_leases()
    leases.directory.prepare()
    ticket = leases.directory.open("ticket-0.lock")
    assert ticket is not None
    ticket.wait()
    (locks / "ticket-0.lock").write_text(content)
    (locks / "ticket-1.lock").symlink_to("/etc/passwd")
    assert leases.acquire(demand(8)).lease.gpus == ALL
    ticket.close()


def test_tickets_of_dead_owners_go(make_leases: Leases, locks: Path) -> None:
    locks.mkdir()
    pool = [f"gpu-0000_{index:02x}_00.0.lock" for index in range(8)]
    (locks / "ticket-0.lock").write_text(json.dumps({"wants": [{"pool": pool, "count": 8}], "overtaken": 99}))
    make_leases().acquire(demand(1)).release()
    assert not list(locks.glob("ticket-*"))


def test_everyone_gets_the_same_directory(tmp_path: Path) -> None:
    assert default_directory({"MAD_GPU_LOCK_DIR": "/somewhere"}) == Path("/somewhere")
    shared, private = tmp_path / "shared", tmp_path / "private"
    shared.mkdir()
    shared.chmod(0o1777)
    private.mkdir(mode=0o755)
    assert default_directory({}, shared) == shared / "pytest-madengine"
    fallback = Path("/tmp/pytest-madengine-gpus")
    assert default_directory({}, private) == fallback
    assert default_directory({}, tmp_path / "absent") == fallback


def test_a_file_that_may_only_be_read_still_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a lock file of another user without write permission / then its lock works, its text stays."""
    directory = LockDirectory(tmp_path)
    path = tmp_path / "gpu-a.lock"
    path.write_text("theirs")
    real = os.open

    def refuse(name: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_ACCMODE == os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real(name, flags, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    file = directory.open("gpu-a.lock")
    assert file is not None
    assert file.try_lock()
    file.write({"a": 1})
    file.close()
    assert path.read_text() == "theirs"


def test_a_directory_that_cannot_be_made(make_leases: Leases, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    leases = make_leases(environ={"MAD_GPU_LOCK_DIR": str(tmp_path / "file" / "locks")})
    with pytest.raises(LeaseError, match="GPU locks") as caught:
        leases.acquire(demand(1))
    assert "MAD_GPU_LOCK_DIR" in caught.value.hint


def test_what_is_abandoned_stays_closed(tmp_path: Path) -> None:
    """A forked child closes what it inherited; using it afterwards does nothing to the parent's lock."""
    directory = LockDirectory(tmp_path)
    file, other = directory.open("gpu-a.lock"), directory.open("gpu-a.lock")
    assert file is not None
    assert other is not None
    assert file.name == "gpu-a.lock"
    file.abandon()
    file.abandon()
    file.write({"a": 1})
    file.close()
    assert file.read() == {}
    assert other.try_lock()
    other.close()
    assert directory.open("gpu-b.lock", create=False) is None
    assert directory.names("gpu-") == ["gpu-a.lock"]


def test_a_lock_that_another_process_makes_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.open, []

    def race(name: Any, flags: int, *args: Any, **options: Any) -> int:
        calls.append(flags)
        if len(calls) == 2:
            Path(name).write_text("")
        return real(name, flags, *args, **options)

    monkeypatch.setattr(os, "open", race)
    file = LockDirectory(tmp_path).open("gpu-a.lock")
    assert file is not None
    assert len(calls) == 3
    file.close()


def test_a_lock_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(name: Any, flags: int, *args: Any) -> int:
        raise FileExistsError if flags & os.O_CREAT else FileNotFoundError

    monkeypatch.setattr(os, "open", vanish)
    with pytest.raises(LeaseError, match="appears and disappears"):
        LockDirectory(tmp_path).open("gpu-a.lock")
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(LeaseError, match="not writable"):
        LockDirectory(tmp_path).prepare()


# ---- tmp cleaners -----------------------------------------------------------------------------------------


def _clean(locks: Path, what: str) -> None:
    if what == "directory":
        shutil.rmtree(locks)
    else:
        for path in locks.iterdir():
            path.unlink()


@pytest.mark.parametrize("what", ["files", "directory"])
def test_a_tmp_cleaner_cannot_give_a_gpu_two_owners(make_leases: Leases, locks: Path, what: str) -> None:
    """faults 3.6: given a held GPU / when its lock file or directory is removed / then it has one owner."""
    first, second = make_leases(), make_leases(sleep=give_up)
    one = first.acquire(demand(3))
    _clean(locks, what)
    assert second.acquire(demand(5)).lease.gpus == (3, 4, 5, 6, 7)
    for _ in range(2):
        with pytest.raises(WaitsError):
            second.acquire(demand(1, (0, 1, 2)))
        _clean(locks, what)
    one.release()
    assert second.acquire(demand(1, (0, 1, 2))).lease.gpus == (0,)


@pytest.mark.parametrize("what", ["files", "directory"])
def test_another_process_keeps_its_gpus_without_the_files(
    make_leases: Leases, tmp_path: Path, locks: Path, what: str
) -> None:
    """faults 3.6: the same between processes; a killed owner still frees its GPUs."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"held\n"
        _clean(locks, what)
        with pytest.raises(WaitsError):
            make_leases(sleep=give_up).acquire(demand(1))
        process.kill()
    make_leases().acquire(demand(8)).release()


def test_who_waits_keeps_the_place_when_the_tickets_are_removed(make_leases: Leases, locks: Path) -> None:
    """faults 3.6: given a waiting wide item / when the directory is removed / then its ticket comes back."""
    held = make_leases().acquire(demand(1))
    tickets: list[list[str]] = []

    def cleaner(seconds: float) -> None:
        tickets.append(LockDirectory(locks).names("ticket-"))
        if len(tickets) == 3:
            held.release()
        else:
            shutil.rmtree(locks)

    assert len(make_leases(sleep=cleaner).acquire(demand(8)).lease.gpus) == 8
    assert len(tickets) == 3
    assert tickets[0] == tickets[1] == tickets[2]
    assert len(tickets[0]) == 1


def test_cpus_are_claimed_as_gpus_are(make_leases: Leases, locks: Path) -> None:
    first = make_leases(cpus_per_model=1, cpus=(0,)).acquire(demand(0))
    shutil.rmtree(locks)
    with pytest.raises(WaitsError):
        make_leases(cpus_per_model=1, cpus=(0,), sleep=give_up).acquire(demand(0))
    first.release()


def test_without_abstract_addresses_the_files_have_to_do(
    make_leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a sandbox that forbids them / then a lease works as before."""

    class Forbidden(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(errno.EPERM, "not here")

    monkeypatch.setattr("pytest_madengine.scheduling.lockfiles.socket.socket", Forbidden)
    held = make_leases().acquire(demand(8))
    with pytest.raises(WaitsError):
        make_leases(sleep=give_up).acquire(demand(1))
    held.release()


def test_who_holds_is_told_without_waiting(make_leases: Leases, locks: Path) -> None:
    """faults 2.18: given GPUs of another session / then their number and its name are known at once."""
    held = make_leases().acquire(demand(2), holder={"session": "s1"})
    leases = make_leases()
    found = leases.holders()
    assert found is not None
    assert {index: entry["session"] for index, entry in found.items()} == {0: "s1", 1: "s1"}
    assert leases.holders((1, 2)) == {1: found[1]}
    with LockDirectory(locks).locked("gate.lock"):
        assert leases.holders() is None
    held.release()
    assert leases.holders() == {}


def test_only_gpus_of_other_sessions_count(
    make_leases: Leases, locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """faults 2.18: given leases of our session and of another / then the other's of our pool are counted."""
    from types import SimpleNamespace

    from pytest_madengine.plugin.xdist import workers

    monkeypatch.setattr(workers, "pool_indices", lambda session: (0, 1, 2, 3))
    session: Any = SimpleNamespace(plan_only=False, run_id="mine", leases=make_leases())
    others = workers.OtherSessions(session)
    held = [
        make_leases().acquire(demand(1, (index,)), holder={"session": owner})
        for index, owner in ((0, "mine"), (1, "other"), (3, "other"), (7, "other"))
    ]
    assert others() == 2
    with LockDirectory(locks).locked("gate.lock"):
        assert others() == 2  # as before, while another process decides
    for lease in held:
        lease.release()
    assert others() == 0
