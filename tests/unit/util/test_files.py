"""Atomic replacement, locked appending, safe names."""

from __future__ import annotations

import fcntl
import os
import resource
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_madengine.util.clock import utc_now
from pytest_madengine.util.files import SCRATCH, append_line, encoded, is_temporary, write_atomic
from pytest_madengine.util.locks import locked


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file of this process may grow past 4096 bytes: a write is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_utc_now_is_an_iso_time_in_seconds() -> None:
    now = datetime.strptime(utc_now(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    assert abs(datetime.now(timezone.utc) - now) < timedelta(minutes=1)


class TestWriteAtomic:
    def test_writes_the_text_as_it_is_and_makes_directories(self, tmp_path: Path) -> None:
        path = tmp_path / "a" / "b.txt"
        write_atomic(path, "one\r\ntwo\n\u00fc")
        assert path.read_bytes() == b"one\r\ntwo\n\xc3\xbc"
        assert [entry.name for entry in path.parent.iterdir()] == ["b.txt"]

    def test_a_new_file_obeys_the_umask(self, tmp_path: Path, umask: None) -> None:
        write_atomic(tmp_path / "new", "x")
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640

    def test_an_old_file_keeps_its_mode(self, tmp_path: Path) -> None:
        path = tmp_path / "old"
        path.write_text("x")
        path.chmod(0o604)
        write_atomic(path, "y")
        assert (path.read_text(), path.stat().st_mode & 0o777) == ("y", 0o604)

    def test_a_link_stays_and_its_target_is_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "real").write_text("x")
        link = tmp_path / "link"
        link.symlink_to("real")
        write_atomic(link, "y")
        assert link.is_symlink()
        assert (tmp_path / "real").read_text() == "y"

    def test_a_name_of_the_longest_length_can_be_written(self, tmp_path: Path) -> None:
        write_atomic(tmp_path / ("n" * 255), "x")
        assert (tmp_path / ("n" * 255)).read_text() == "x"

    def test_a_full_disk_leaves_the_old_file(self, tmp_path: Path, small_disk: None) -> None:
        path = tmp_path / "report.json"
        write_atomic(path, "old")
        with pytest.raises(OSError):
            write_atomic(path, "n" * 10_000)
        assert path.read_text() == "old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]

    def test_an_interrupt_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(self: Path, target: Path) -> None:
            raise KeyboardInterrupt

        path = tmp_path / "report.json"
        path.write_text("old")
        monkeypatch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(path, "new")
        assert path.read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 1

    def test_a_directory_that_is_a_file_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError):
            write_atomic(tmp_path / "file" / "x", "y")

    def test_nothing_unfinished_lies_beside_the_target(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """faults 1.1: given a file that is replaced, when it is about to be, then its directory lists no
        temporary file, so that no other process mounts one; and nothing of it stays.
        """
        listed: list[str] = []
        replace = Path.replace

        def look(self: Path, target: Path) -> Path:
            listed.extend(entry.name for entry in tmp_path.iterdir() if not is_temporary(entry.name))
            listed.extend(entry.name for entry in tmp_path.iterdir() if not entry.is_dir())
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", look)
        write_atomic(tmp_path / "perf_entry.json", "x")
        assert listed == []
        assert [entry.name for entry in tmp_path.iterdir()] == ["perf_entry.json"]

    def test_a_writer_that_was_killed_leaves_nothing_for_ever(self, tmp_path: Path) -> None:
        """faults 1.1: given a killed writer's temporary file, when another writes there, then it goes."""
        (tmp_path / SCRATCH).mkdir()
        (tmp_path / SCRATCH / ".madengine-0123456789abcdef.tmp").touch()
        write_atomic(tmp_path / "x", "y")
        assert [entry.name for entry in tmp_path.iterdir()] == ["x"]

    @pytest.mark.parametrize("kind", ["file", "link", "link to a directory", "holds something"])
    def test_somebody_elses_entry_of_that_name_is_left_alone(self, tmp_path: Path, kind: str) -> None:
        """faults 1.1: given an entry with the name of the scratch directory, then writing works, it stays."""
        theirs, elsewhere = tmp_path / SCRATCH, tmp_path / "elsewhere"
        elsewhere.mkdir()
        if kind == "file":
            theirs.write_text("mine")
        elif kind == "holds something":
            theirs.mkdir()
            (theirs / "mine").touch()
        else:
            theirs.symlink_to("nowhere" if kind == "link" else elsewhere)
        write_atomic(tmp_path / "x", "y")
        assert (tmp_path / "x").read_text() == "y"
        assert os.path.lexists(theirs)
        assert sorted(entry.name for entry in tmp_path.iterdir()) == [SCRATCH, "elsewhere", "x"]
        assert list(elsewhere.iterdir()) == []

    def test_many_writers_of_one_directory(self, tmp_path: Path) -> None:
        """faults 1.1: given many writers at once, when all have written, then all files are there alone."""

        def write(name: str) -> None:
            for number in range(50):
                write_atomic(tmp_path / name, str(number))

        names = [f"f{number}" for number in range(6)]
        threads = [threading.Thread(target=write, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == dict.fromkeys(names, "49")


class TestLocked:
    def test_holds_an_exclusive_lock_and_gives_it_back(self, tmp_path: Path) -> None:
        path = tmp_path / "d" / "perf.csv"
        with locked(path) as held, path.open("rb") as other:
            held.write(b"x")
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with path.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert other.read() == b"x"

    def test_gives_it_back_after_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError), locked(tmp_path / "x"):
            raise ZeroDivisionError
        with locked(tmp_path / "x"):
            pass


class TestAppendLine:
    def test_appends_lines(self, tmp_path: Path) -> None:
        append_line(tmp_path / "d" / "j", "one")
        append_line(tmp_path / "d" / "j", "two \udcff")
        assert (tmp_path / "d" / "j").read_bytes() == b"one\ntwo \xff\n"

    def test_ends_the_torn_line_of_a_writer_that_died(self, tmp_path: Path) -> None:
        (tmp_path / "j").write_bytes(b'{"a": 1}\n{"b":')
        append_line(tmp_path / "j", '{"c": 3}')
        assert (tmp_path / "j").read_bytes() == b'{"a": 1}\n{"b":\n{"c": 3}\n'

    def test_a_full_disk_leaves_nothing_of_the_line(self, tmp_path: Path, small_disk: None) -> None:
        append_line(tmp_path / "j", "one")
        with pytest.raises(OSError):
            append_line(tmp_path / "j", "n" * 10_000)
        assert (tmp_path / "j").read_bytes() == b"one\n"

    def test_lines_of_several_writers_never_mix(self, tmp_path: Path) -> None:
        path = tmp_path / "j"

        def write(letter: str) -> None:
            for _ in range(20):
                append_line(path, letter * 20_000)

        threads = [threading.Thread(target=write, args=(letter,)) for letter in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = path.read_text().splitlines()
        assert len(lines) == 60
        assert set(lines) == {letter * 20_000 for letter in "abc"}


@given(st.text(st.characters()))
@example("\ud800")
def test_any_text_can_be_encoded(text: str) -> None:
    raw = encoded(text)
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert raw.decode() == text


@given(st.binary())
def test_bytes_read_as_text_come_back(data: bytes) -> None:
    assert encoded(data.decode("utf-8", "surrogateescape")) == data


def test_a_scratch_directory_that_somebody_locks_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """faults 2.7: given a lock on the directory of temporary files that is never given back / when a file is
    written / then it is written all the same, and nobody waits for ever."""
    monkeypatch.setattr("pytest_madengine.util.files._SCRATCH_LIMIT", 0.05)
    scratch = tmp_path / SCRATCH
    scratch.mkdir()
    holder = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        write_atomic(tmp_path / "x", "text")
    finally:
        os.close(holder)
    assert (tmp_path / "x").read_text() == "text"
    assert sorted(path.name for path in tmp_path.iterdir()) == [SCRATCH, "x"]
