"""Transfers into a mirror: parts, resume, retries, verification, locks (contract 13.3)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_fakes import FakeStore, Pauses
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_madengine.data import partial as partial_module
from pytest_madengine.data.index import Manifest
from pytest_madengine.data.mirror import CONTROL, Mirror, mirror_directory
from pytest_madengine.data.partial import PartialFile
from pytest_madengine.data.progress import TransferState
from pytest_madengine.data.provider import Access, Timing
from pytest_madengine.data.store import Budget, RemoteFile, TransientError, safe_relative
from pytest_madengine.data.transfer import Meter, Transfer, hasher
from pytest_madengine.errors import DataError

PART = 16


class Target:
    """A mirror with small parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pauses = Pauses()
        self.states: list[TransferState] = []
        self.limit: float | None = None

    @property
    def data(self) -> Path:
        return self.path / "d"

    def sync(self, store: FakeStore) -> int:
        timing = Timing(self.pauses.clock, self.pauses.sleep)
        access = Access(self.path, timing=timing, progress=self.states.append)
        return Mirror(self.path, "d").synchronise(store, "fake", "d", Budget(timing, self.limit), access)

    def content(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.data).as_posix(): path.read_bytes()
            for path in self.data.rglob("*")
            if path.is_file()
        }

    def left(self) -> list[str]:
        return sorted(path.suffix for path in (self.path / CONTROL / "d.parts").glob("*"))


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    real = Transfer.__init__

    def small_parts(self: Transfer, *args: Any, **further: Any) -> None:
        real(self, *args, **{**further, "part_size": PART})

    monkeypatch.setattr(Transfer, "__init__", small_parts)
    return Target(tmp_path / "mirror")


def fails(
    times: int, at: Callable[[str, int], bool] = lambda path, offset: True
) -> Callable[[str, int], None]:
    """Trouble for the first so many reads that a condition is true of."""
    left = [times]

    def trouble(path: str, offset: int) -> None:
        if left[0] > 0 and at(path, offset):
            left[0] -= 1
            raise TransientError("the line was cut")

    return trouble


CONTENT = {"a": b"x" * 5, "empty": b"", "sub/dir/big": bytes(range(100)), "exact": b"y" * PART}


@pytest.mark.parametrize("algorithm", ["md5", "sha256", ""])
def test_everything_arrives(target: Target, algorithm: str) -> None:
    store = FakeStore(CONTENT, algorithm=algorithm)
    assert target.sync(store) == 121
    assert target.content() == CONTENT
    assert store.sent == 121
    assert not target.left()
    assert (target.data / "a").stat().st_mtime == 1_700_000_000
    assert (target.states[-1].files_done, target.states[-1].bytes_done) == (4, 121)
    assert target.states[-1].finished


def test_a_second_run_transfers_nothing(target: Target) -> None:
    store = FakeStore(CONTENT)
    target.sync(store)
    target.sync(store)
    assert store.sent == 121


def test_only_what_changed_is_transferred(target: Target) -> None:
    store = FakeStore(dict(CONTENT))
    target.sync(store)
    store.sent = 0
    store.content |= {"a": b"other"}
    (target.data / "exact").write_bytes(b"by a run")
    target.sync(store)
    assert store.sent == 5 + PART
    assert target.content() == store.content


def test_what_vanished_there_vanishes_here(target: Target) -> None:
    """Only files that came from there and are as they came; directories that get empty go as well."""
    store = FakeStore({**CONTENT, "mine": b"m"})
    target.sync(store)
    (target.data / "foreign").write_bytes(b"f")
    (target.data / "mine").write_bytes(b"changed by a run")
    store.content = {"a": b"x" * 5}
    target.sync(store)
    assert sorted(target.content()) == ["a", "foreign", "mine"]
    assert not (target.data / "sub").exists()


def test_another_source_replaces_the_files_of_the_first(target: Target) -> None:
    target.sync(FakeStore({"a": b"1", "b": b"2"}, label="one", algorithm=""))
    second = FakeStore({"a": b"3"}, label="two", algorithm="sha256")
    target.sync(second)
    assert target.content() == {"a": b"3"}


def test_a_directory_becomes_a_file_and_back(target: Target) -> None:
    store = FakeStore({"x/y": b"1"})
    target.sync(store)
    for content in ({"x": b"2"}, {"x/y/z": b"3"}):
        store.content = content
        target.sync(store)
        assert target.content() == content


@pytest.mark.parametrize(
    ("algorithm", "here", "adopted"),
    [("md5", b"same", True), ("md5", b"othr", False), ("md5", b"longer", False), ("", b"othr", True)],
)
def test_files_of_another_tool(target: Target, algorithm: str, here: bytes, adopted: bool) -> None:
    """Equal checksums are trusted; without any, size and time as rsync does."""
    target.data.mkdir(parents=True)
    (target.data / "f").write_bytes(here)
    os.utime(target.data / "f", (1_700_000_000, 1_700_000_000))
    store = FakeStore({"f": b"same"}, algorithm=algorithm)
    target.sync(store)
    target.sync(store)
    assert store.sent == (0 if adopted else 4)


def test_a_broken_connection_goes_on_where_it_stopped(target: Target) -> None:
    """Contract 13.3: 3 attempts, growing pauses; nothing is read twice."""
    store = FakeStore(CONTENT, trouble=fails(2, lambda path, offset: (path, offset) == ("sub/dir/big", 24)))
    target.sync(store)
    assert target.content() == CONTENT
    assert store.sent == 121
    assert target.pauses.slept == [1.0, 4.0]


@pytest.mark.parametrize("short", [True, False])
def test_three_failures_are_an_error(target: Target, short: bool) -> None:
    store = FakeStore({"f": b"z" * 40})
    if short:
        store.spoil = lambda data: data[:-1]
    else:
        store.trouble = fails(99)
    with pytest.raises(DataError, match=r"\(tried 3 times\)"):
        target.sync(store)
    assert target.content() == {}


def test_finished_parts_are_not_read_again_by_a_later_process(target: Target) -> None:
    """Resume: what is finished stays, what was half-read is read again."""
    store = FakeStore(
        {"f": bytes(range(64))}, workers=1, trouble=fails(99, lambda path, offset: offset >= 40)
    )
    with pytest.raises(DataError, match="the line was cut"):
        target.sync(store)
    assert target.left() == [".journal", ".partial"]
    store.trouble, store.sent = lambda path, offset: None, 0
    target.sync(store)
    assert target.content() == {"f": bytes(range(64))}
    assert store.sent == 32
    assert not target.left()


@pytest.mark.parametrize("spoil", ["version", "boot", "journal", "torn", "gone"])
def test_half_made_files_that_cannot_be_trusted(
    target: Target, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed remote file, a restarted host, a damaged journal: everything is read again."""
    store = FakeStore(
        {"f": bytes(range(64))}, workers=1, trouble=fails(99, lambda path, offset: offset >= 40)
    )
    with pytest.raises(DataError, match="cut"):
        target.sync(store)
    (journal,) = (target.path / CONTROL / "d.parts").glob("*.journal")
    expected = 64
    if spoil == "version":
        store.content = {"f": bytes(range(1, 65))}
    elif spoil == "boot":
        monkeypatch.setattr(partial_module, "boot_id", lambda: "another")
    elif spoil == "journal":
        journal.write_text("{")
    elif spoil == "gone":
        journal.with_suffix(".partial").unlink()
    else:
        journal.write_text(journal.read_text().splitlines()[0] + "\n0\nx\n77\n1")
        expected = 48
    store.trouble, store.sent = lambda path, offset: None, 0
    target.sync(store)
    assert target.content() == store.content
    assert store.sent == expected


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
@pytest.mark.parametrize("size", [6, 40])
def test_a_wrong_checksum_is_read_again(target: Target, algorithm: str, size: int) -> None:
    """Done-when 3: a checksum mismatch is a retry that succeeds, or a clear error; nothing wrong is used."""
    wrong = [True]

    def once(data: bytes) -> bytes:
        return bytes(len(data)) if wrong and wrong.pop() else data

    store = FakeStore({"f": b"q" * size}, algorithm=algorithm, spoil=once)
    target.sync(store)
    assert target.content() == {"f": b"q" * size}
    assert target.states[-1].bytes_done == size
    always = FakeStore({"f": b"r" * size}, algorithm=algorithm, spoil=lambda data: bytes(len(data)))
    with pytest.raises(
        DataError, match=rf"f: {algorithm} of what arrived is .*, it must be .* \(tried 3 times\)"
    ):
        target.sync(always)
    assert b"\0" not in target.content().get("f", b"")


def test_a_server_that_sends_too_much(target: Target) -> None:
    store = FakeStore({"f": b"z" * 6}, spoil=lambda data: data * 2)
    with pytest.raises(DataError, match="sent more than it was asked for"):
        target.sync(store)


def test_a_listing_is_tried_again(target: Target) -> None:
    store = FakeStore({"f": b"1"}, listing_trouble=[TransientError("busy"), TransientError("busy")])
    target.sync(store)
    assert target.content() == {"f": b"1"}


def test_one_failed_file_keeps_those_that_arrived(target: Target) -> None:
    def refuse(path: str, offset: int) -> None:
        if path == "z":
            raise DataError("z: access denied")

    store = FakeStore({"a": b"1", "z": b"2" * 50}, trouble=refuse, workers=1)
    with pytest.raises(DataError, match="access denied"):
        target.sync(store)
    store.trouble, store.sent = lambda path, offset: None, 0
    target.sync(store)
    assert store.sent == 50


def test_the_time_limit(target: Target) -> None:
    target.limit = 10

    def slow(path: str, offset: int) -> None:
        target.pauses.now += 4

    with pytest.raises(DataError, match="not transferred within 10 seconds") as caught:
        target.sync(FakeStore({"f": b"1" * 80}, trouble=slow, workers=1))
    assert "mirror" in caught.value.hint
    assert target.content() == {}


def test_too_little_space(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """The space is checked before the first byte is read."""
    real = os.statvfs

    def tiny(path: Any) -> os.statvfs_result:
        fields = list(real(path))
        fields[1], fields[4] = 1, 100
        return os.statvfs_result(fields)

    monkeypatch.setattr(os, "statvfs", tiny)
    store = FakeStore(CONTENT)
    with pytest.raises(DataError, match="has 100 free, 121 are needed"):
        target.sync(store)
    assert store.sent == 0


def test_a_disk_that_fills_up(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-made files are removed, so that the disk is not left full."""

    def full(self: PartialFile, offset: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PartialFile, "write", full)
    with pytest.raises(DataError, match="No space left on device") as caught:
        target.sync(FakeStore({"f": b"1" * 50}))
    assert caught.value.hint.startswith("free space")
    assert not target.left()


def test_a_mirror_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/d: Not a directory"):
        Target(tmp_path / "file").sync(FakeStore({"f": b"1"}))


def test_links_in_a_mirror_are_not_followed(target: Target, tmp_path: Path) -> None:
    """A run that may write into the mirror cannot make a later session write elsewhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    target.data.mkdir(parents=True)
    (target.data / "sub").symlink_to(outside)
    with pytest.raises(DataError, match="leads out of the mirror"):
        target.sync(FakeStore({"sub/f": b"1"}))
    assert not list(outside.iterdir())
    (target.data / "g").symlink_to(outside / "g")
    target.sync(FakeStore({"g": b"1"}))
    assert not (target.data / "g").is_symlink()


def test_another_process_holds_the_lock(target: Target) -> None:
    """Done-when 3: the second one waits until the first is done."""
    control = target.path / CONTROL
    control.mkdir(parents=True)
    held = (control / "d.lock").open("ab")
    fcntl.flock(held, fcntl.LOCK_EX)
    store = FakeStore({"f": b"1"})
    target.limit = 5
    with held, pytest.raises(DataError, match="within 5 seconds"):
        target.sync(store)
    assert store.sent == 0
    target.limit = None
    target.sync(store)
    assert target.content() == {"f": b"1"}


@pytest.mark.parametrize("paths", [["a", "a/b"], ["x/y", "x"], ["a/b/c/d", "a/b"]])
def test_paths_that_exclude_each_other(target: Target, paths: list[str]) -> None:
    with pytest.raises(DataError, match="both a file and a directory"):
        target.sync(FakeStore(dict.fromkeys(paths, b"1")))


def test_two_keys_for_one_path(target: Target) -> None:
    class Twice(FakeStore):
        def files(self) -> list[RemoteFile]:
            return [self.file("a"), replace(self.file("a"), key="/a")]

    with pytest.raises(DataError, match="'/a' and 'a' are one file here"):
        target.sync(Twice({"a": b"1"}))


def test_many_files(target: Target) -> None:
    content = {f"{index % 9}/{index}": bytes([index % 256]) * (index % 40) for index in range(400)}
    target.sync(FakeStore(content, workers=2))
    assert target.content() == content


def test_progress(target: Target) -> None:
    """Reported at most once a second, with a last report."""

    def slow(path: str, offset: int) -> None:
        target.pauses.now += 0.5

    target.sync(FakeStore({"f": b"1" * 32}, trouble=slow, workers=1))
    assert 2 <= len(target.states) <= 6
    line = target.states[-1].line()
    assert line == "data d from fake: 32 of 32, 1 of 1 files, 8/s"


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/a", "a//b", ".madengine", "a/.madengine", "a\0"])
def test_names_that_lead_out_of_a_mirror(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be a directory below the mirror"):
        mirror_directory(tmp_path, name)


def test_names_with_strange_characters_do_not_share_their_control_files(tmp_path: Path) -> None:
    assert mirror_directory(tmp_path, "team/set one") == tmp_path / "team/set one"
    timing = Timing()
    for name in ("a b", "a_b", "a/b"):
        access = Access(tmp_path, timing=timing)
        Mirror(tmp_path, name).synchronise(FakeStore({"f": b"1"}), "fake", name, Budget(timing), access)
    assert len(list((tmp_path / CONTROL).glob("*.jsonl"))) == 3


# ---- manifests and names --------------------------------------------------------------------------------


def test_a_killed_process_loses_no_file(tmp_path: Path) -> None:
    """The manifest is appended to as files arrive; a torn last line is ignored."""
    store = FakeStore({"a": b"1", "b": b"2"})
    for path, data in store.content.items():
        (tmp_path / path).write_bytes(data)
    manifest = Manifest(tmp_path / "m", "source")
    manifest.add(store.file("a"), tmp_path / "a")
    manifest.add(store.file("b"), tmp_path / "b")
    manifest.close()
    text = (tmp_path / "m").read_text()
    (tmp_path / "m").write_text(text + '{"path": "b", "ver')
    assert Manifest(tmp_path / "m", "source").holds(store.file("b"), tmp_path)
    assert not Manifest(tmp_path / "m", "other").holds(store.file("b"), tmp_path)
    assert stat.S_ISREG((tmp_path / "m").stat().st_mode)


@pytest.mark.parametrize("text", ["", "x", "[1]\n", '{"format": 2}\n', "[" * 100_000])
def test_damaged_manifests_count_as_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").write_text(text)
    assert not Manifest(tmp_path / "m", "source").held


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["path", "version", "size", "mtime_ns", "z"]),
            st.none() | st.text() | st.integers(),
        )
    )
)
@settings(max_examples=50)
def test_any_manifest_is_read(lines: list[dict[str, Any]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "m"
        head = {"format": 1, "source": "s"}
        path.write_text("\n".join(json.dumps(line) for line in [head, *lines]))
        for held in Manifest(path, "s").held.values():
            assert isinstance(held.size, int)


@given(st.text(max_size=40))
def test_remote_names_stay_below_the_directory(path: str) -> None:
    """Whatever a server calls its files, they stay below the directory they are put into."""
    with contextlib.suppress(DataError):
        relative = safe_relative(path)
        assert not relative.startswith("/")
        assert not {"", ".", ".."} & set(relative.split("/"))


def test_remote_names_that_are_too_long() -> None:
    with pytest.raises(DataError, match="longer than 255 bytes"):
        safe_relative("a/" + "ü" * 200)


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "crc32"])
def test_hashes(algorithm: str) -> None:
    check = hasher(algorithm)
    check.update(b"1234")
    check.update(b"56789")
    expected = "cbf43926" if algorithm == "crc32" else hashlib.new(algorithm, b"123456789").hexdigest()
    assert check.hexdigest() == expected


def test_a_partial_file_that_was_shortened(tmp_path: Path) -> None:
    store = FakeStore({"f": b"1" * 40})
    timing = Timing()
    budget = Budget(timing)
    meter = Meter("d", "fake", lambda state: None, budget)
    transfer = Transfer(store, tmp_path / "parts", budget, meter, lambda file, path: None, PART)

    def shorten(path: str, offset: int) -> None:
        if offset == 36:
            (partial,) = (tmp_path / "parts").glob("*.partial")
            os.truncate(partial, 0)

    store.trouble, store.workers = shorten, 1
    with pytest.raises(DataError, match=r"was shortened by somebody else|md5"):
        transfer.run([(store.file("f"), tmp_path / "f")])
    assert not (tmp_path / "f").exists()
