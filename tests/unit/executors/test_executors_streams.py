"""The way of the bytes: frames, markers, redaction, log."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.executors.docker.stream import AttachedStream, FrameDecoder
from pytest_madengine.executors.log import TAIL_BYTES, LogPump, MarkerSplitter
from pytest_madengine.executors.redaction import StreamRedactor
from pytest_madengine.plan.script import marker
from pytest_madengine.results.scanner import LogScanner
from pytest_madengine.secrets import Redactor

NONCE = "0123abcd"
MARK = marker(NONCE).encode()


def frame(data: bytes, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(borders)]


PLACES = st.lists(st.integers(0, 400), max_size=12)


@given(st.lists(st.binary(max_size=40), max_size=10), PLACES)
def test_frames_in_any_chunks(payloads, places):
    decoder = FrameDecoder()
    stream = b"".join(frame(payload, 1 + index % 2) for index, payload in enumerate(payloads))
    assert b"".join(map(decoder.feed, cut(stream, places))) == b"".join(payloads)


def test_an_attached_stream():
    ours, theirs = socket.socketpair()
    stream = AttachedStream(ours)
    assert stream.receive(0.001) is None
    theirs.sendall(frame(b"") + frame(b"one") + frame(b"two", 2))
    assert stream.receive(5) == b"onetwo"
    theirs.close()
    assert stream.receive(5) == b""
    assert not stream.broken
    stream.close()
    assert stream.receive(5) == b""
    assert stream.broken


def test_closing_twice_is_fine():
    ours, theirs = socket.socketpair()
    stream = AttachedStream(ours)
    stream.close()
    stream.close()
    theirs.close()


@given(
    st.lists(st.one_of(st.sampled_from([MARK, MARK + b"run\n", b"\x01mad:", b"\n"]), st.binary(max_size=9))),
    PLACES,
)
def test_markers_are_found_in_any_chunks(parts, places):
    stream = b"".join(parts)

    def split(chunks: list[bytes]) -> tuple[bytes, list[tuple[int, str]]]:
        splitter, output, names = MarkerSplitter(NONCE), b"", []
        for chunk in chunks:
            for piece, name in splitter.feed(chunk):
                output += piece
                if name:
                    names.append((len(output), name))
        return output + splitter.end(), names

    whole = split([stream])
    assert split(cut(stream, places)) == whole
    assert len(whole[1]) >= stream.count(MARK + b"run\n")


def test_output_and_marker_never_share_a_line():
    splitter = MarkerSplitter(NONCE)
    pieces = splitter.feed(b"no line feed" + MARK + b"run\n" + MARK + b"collect\nx")
    assert pieces == [(b"no line feed\n", "run"), (b"", "collect"), (b"x", "")]
    assert splitter.feed(MARK + b"kept\n") == [(b"\n", "kept"), (b"", "")]


SECRETS = ("s3cr3t-token", "s3cr", "a4a4", "multi\nline-value")


@given(
    st.lists(st.one_of(st.sampled_from(SECRETS), st.text(alphabet="s3cr-ta4emu\n xé", max_size=20))),
    PLACES,
)
def test_no_secret_slips_through_between_chunks(parts, places):
    redactor = Redactor(SECRETS)
    stream = StreamRedactor(redactor)
    data = "".join(parts).encode()
    output = b"".join(map(stream.feed, cut(data, places))) + stream.end()
    assert not [secret for secret in SECRETS if secret.encode() in output]
    if not any(secret.encode() in data for secret in ("s3cr", "a4a4", "line-value", "multi")):
        assert output == data


@given(st.lists(st.text(alphabet="ab /:@.\n", max_size=12), max_size=8), PLACES)
def test_passwords_in_urls_between_chunks(words, places):
    stream = StreamRedactor(Redactor())
    data = " ".join([*words, "https://user:hunter2@host/path", *words]).encode()
    output = b"".join(map(stream.feed, cut(data, places))) + stream.end()
    assert b"hunter2" not in output


def test_an_endless_run_of_secrets_is_bounded():
    redactor = Redactor(["a4a4"])
    stream = StreamRedactor(redactor)
    output = b"".join(stream.feed(b"a4" * 50_000) for _ in range(12)) + stream.end()
    assert b"a4a4" not in output
    assert len(output) < 1000


def test_a_secret_learned_meanwhile():
    redactor = Redactor()
    stream = StreamRedactor(redactor)
    first = stream.feed(b"before late-secret\n")
    redactor.add("late-secret")
    assert first + stream.feed(b"after late-secret\n") + stream.end() == b"before late-secret\nafter ***\n"


class Pumped:
    """A pump over a temporary log."""

    def __init__(self, path: Path, secrets: tuple[str, ...] = ()) -> None:
        self.path = path
        self.scanner = LogScanner()
        self.markers: list[str] = []
        self.live: list[bytes] = []
        self.pump = LogPump(
            path, NONCE, Redactor(secrets), self.scanner, self.markers.append, self.live.append
        )

    def feed(self, *chunks: bytes) -> str:
        with self.pump as pump:
            for chunk in chunks:
                pump.feed(chunk)
        assert b"".join(self.live) == self.path.read_bytes()
        return self.path.read_text()


def test_the_log_has_no_markers_and_no_secrets(tmp_path):
    pumped = Pumped(tmp_path / "new/log", ("hunter22",))
    log = pumped.feed(
        b"prepare hunt", b"er22\n" + MARK + b"run\nperformance: 5 x\nperf", b"ormance: 6 y" + MARK + b"coll",
        b"ect\nperformance: 7 z\n",
    )  # fmt: skip
    assert log == "prepare ***\nperformance: 5 x\nperformance: 6 y\nperformance: 7 z\n"
    assert pumped.markers == ["run", "collect"]
    assert pumped.scanner.findings().performance == (("5", "x"), ("6", "y"))
    assert pumped.pump.tail == ("prepare ***", "performance: 5 x", "performance: 6 y", "performance: 7 z")


def test_a_secret_that_ends_with_its_phase(tmp_path):
    pumped = Pumped(tmp_path / "log", ("hunter22",))
    assert pumped.feed(b"x hunter22" + MARK + b"run\nhunter2", b"2") == "x ***\n***"


@given(st.lists(st.one_of(st.text(max_size=8).map(str.encode), st.binary(max_size=4))), PLACES)
def test_invalid_utf8_is_replaced_in_any_chunks(tmp_path_factory, parts, places):
    data = b"".join(parts).replace(b"\x01", b"")
    path = tmp_path_factory.mktemp("log") / "log"
    pumped = Pumped(path)
    with pumped.pump as pump:
        for chunk in cut(data, places):
            pump.feed(chunk)
    assert path.read_bytes() == data.decode("utf-8", "replace").encode()


def test_what_looks_like_a_marker_stays(tmp_path):
    assert (
        Pumped(tmp_path / "log").feed(b"a" + MARK[:5], b"b" + MARK) == f"a{MARK[:5].decode()}b{MARK.decode()}"
    )
    name = b"n" * 40
    assert Pumped(tmp_path / "log").feed(MARK + name + b"\n") == f"{(MARK + name).decode()}\n"


def test_the_tail_is_bounded(tmp_path):
    pumped = Pumped(tmp_path / "log")
    pumped.feed(*[b"%d\n" % number for number in range(200)])
    assert pumped.pump.tail == tuple(str(number) for number in range(150, 200))
    pumped = Pumped(tmp_path / "log")
    pumped.feed(b"x" * 1_000_000)
    assert [len(line) for line in pumped.pump.tail] == [TAIL_BYTES]


def test_our_own_lines(tmp_path):
    pumped = Pumped(tmp_path / "log", ("hunter22",))
    with pumped.pump as pump:
        pump.feed(b"output\n")
        pump.note("docker exec hunter22")
    assert pumped.path.read_text() == "output\ndocker exec ***\n"


def test_a_full_disk_is_told(tmp_path):
    with (
        pytest.raises(OSError, match="No space left"),
        LogPump(Path("/dev/full"), NONCE, Redactor(), LogScanner(), lambda _: None) as pump,
    ):
        pump.feed(b"x\n")


def test_the_scanner_sees_what_was_measured(tmp_path):
    """faults 4.1: given a metric whose value is a six-digit secret by chance / when its log is written / then
    the log is masked and the value is found."""
    pumped = Pumped(tmp_path / "log", ("123456",))
    assert pumped.feed(MARK + b"run\nperformance: 123456 tok/s\n") == "performance: *** tok/s\n"
    assert pumped.scanner.findings().performance == (("123456", "tok/s"),)


def test_the_run_phase_is_scanned_once(tmp_path):
    """faults 1.20: given a second run marker after the end of the run phase, then nothing more is scanned."""
    pumped = Pumped(tmp_path / "log")
    run, collect = MARK + b"run\n", MARK + b"collect\n"
    pumped.feed(run + b"performance: 1 x\n" + collect + b"performance: 2 x\n" + run + b"performance: 3 x\n")
    assert pumped.scanner.findings().performance == (("1", "x"),)
