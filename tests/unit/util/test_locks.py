"""Waiting for locks: short waits say nothing, long ones whom they wait for, and an end ends them."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import MadError
from pytest_madengine.history.csvrows import read_file
from pytest_madengine.images.locking import host_lock
from pytest_madengine.perfcsv.table import locked_file
from pytest_madengine.scheduling.lockfiles import LockDirectory
from pytest_madengine.util import locks
from pytest_madengine.util.ends import held
from pytest_madengine.util.files import append_line
from pytest_madengine.util.locks import LockError, holders, parse_locks, take, tell_with, wait_for

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
input()
"""


@contextmanager
def held_by_another(path: Path) -> Iterator[int]:
    """The lock of a file in the hands of another process; gives its id."""
    argv = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []
    restore = tell_with(lines.append)
    yield lines
    restore()


def gate(path: Path) -> None:
    file = LockDirectory(path.parent).open(path.name)
    assert file is not None
    try:
        file.wait()
    finally:
        file.close()


def perf_csv(path: Path) -> None:
    with locked_file(path):
        pass


def build(path: Path) -> None:
    with host_lock(path):
        pass


@pytest.mark.parametrize("wait", [perf_csv, build, gate, lambda path: append_line(path, "x"), read_file])
def test_an_end_ends_the_wait_for_every_lock(tmp_path: Path, wait, said: list[str], monkeypatch) -> None:
    """faults 2.7: given a lock that is never given back, waited for while a record is written / when the
    first Ctrl-C comes / then the wait ends, and names the holder."""
    path = tmp_path / "file"
    monkeypatch.setattr(locks, "NOTICE", 0.0)
    restore = tell_with(lambda text: (said.append(text), signal.raise_signal(signal.SIGINT))[0])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (
            held_by_another(path) as pid,
            pytest.raises(KeyboardInterrupt),
            held(),
            pytest.raises((LockError, MadError), match=f"process {pid} "),
        ):
            wait(path)
    finally:
        signal.signal(signal.SIGINT, before)
        restore()
    assert len(said) == 1
    assert f"waiting for {path}: its lock is held by process {pid} (python" in said[0]


def test_a_short_wait_says_nothing(tmp_path: Path, said: list[str]) -> None:
    with (tmp_path / "x").open("wb") as ours, (tmp_path / "x").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        tries = iter([False, False, True])
        wait_for(lambda: next(tries), tmp_path / "x")
        threading.Timer(0.05, fcntl.flock, (other, fcntl.LOCK_UN)).start()
        take(ours.fileno(), tmp_path / "x")
    assert said == []


def test_other_reasons_end_a_wait(tmp_path: Path) -> None:
    def limit() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        wait_for(lambda: False, tmp_path / "x", check=limit)


def test_an_unseen_holder(tmp_path: Path, said: list[str]) -> None:
    """A file of a network file system: the holder may be on another host."""
    now = iter(range(100))
    tries = iter([False, False, False, False, False, False, False, True])
    wait_for(lambda: next(tries), tmp_path / "nfs", sleep=lambda _: None, clock=lambda: float(next(now)))
    (line,) = said
    assert line.startswith(f"pytest-madengine: waiting for {tmp_path / 'nfs'}: ")
    assert f"cannot be seen from here: try 'fuser -v {tmp_path / 'nfs'}'; Ctrl-C gives up" in line


def test_a_closed_terminal_is_no_reason_to_fail() -> None:
    def closed(_text: str) -> None:
        raise OSError

    restore = tell_with(closed)
    locks.announce("x")
    restore()


def test_holders_of_a_real_lock(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with held_by_another(path) as pid:
        assert holders(path) == [pid]
    assert holders(path) == []
    assert holders(tmp_path / "none") == []


LINES = """\
1: FLOCK  ADVISORY  WRITE 4711 08:01:5678 0 EOF
1: -> FLOCK  ADVISORY  WRITE 4712 08:01:5678 0 EOF
2: POSIX  ADVISORY  READ 99 00:2f:5678 128 128
3: OFDLCK ADVISORY  WRITE -1 08:01:5678 0 EOF
""".splitlines()


@pytest.mark.parametrize(
    ("device", "expected"),
    [((8, 1), [4711]), ((0, 0x2F), [99]), ((77, 77), [4711, 99]), ((8, 2), [4711, 99])],
)
def test_lines_of_the_kernel(device: tuple[int, int], expected: list[int]) -> None:
    """proc(5); on a file system that tells another device the inode decides."""
    assert parse_locks(LINES, device, 5678) == expected
    assert parse_locks(LINES, device, 5679) == []


@given(st.lists(st.text() | st.sampled_from(LINES)), st.integers(0, 2**32), st.integers(0, 2**64))
def test_any_text_is_read(lines: list[str], device: int, inode: int) -> None:
    found = parse_locks(lines, (device, device), inode)
    assert all(pid > 0 for pid in found)
    assert len(found) == len(set(found))


@given(st.integers(1, 2**22), st.integers(0, 4095), st.integers(0, 2**20), st.integers(1, 2**63))
def test_what_the_kernel_prints_is_found(pid: int, major: int, minor: int, inode: int) -> None:
    line = f"{pid}: FLOCK  ADVISORY  WRITE {pid} {major:02x}:{minor:02x}:{inode} 0 EOF"
    assert parse_locks([line], (major, minor), inode) == [pid]


def test_this_process_is_named(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert holders(tmp_path / "x") == [os.getpid()]
