"""SFTP stores with a server in memory, and host keys (contract 13.3); the real sshd is in tests/e2e."""

from __future__ import annotations

import errno
import io
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paramiko import SFTPAttributes
from pytest_madengine.data import nas
from pytest_madengine.data.config import Source
from pytest_madengine.data.logins import NasNode
from pytest_madengine.data.nas import NasProvider, SftpStore
from pytest_madengine.data.provider import Access, Unusable
from pytest_madengine.data.store import TransientError
from pytest_madengine.errors import DataError
from pytest_madengine.secrets import Secret
from pytest_madengine.util.hostkeys import fingerprint, known_hosts_file, trusted_keys, verifying_client

NODE = NasNode("h", "u", Secret("planted"))
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIKi+AoUrEAkh985B2sBRxkafrCf0OxjisQMMk+Fz9RQI"
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIHVKbHRkbWFzZWxmc2FtZWxmc2FtZWxmc2FtZWxm"


def attributes(mode: int, size: int = 0, name: str = "", modified: int = 7) -> SFTPAttributes:
    result = SFTPAttributes()
    result.st_mode, result.st_size, result.st_mtime, result.filename = mode, size, modified, name
    return result


class FakeFile(io.BytesIO):
    def readv(
        self, requests: list[tuple[int, int]], max_concurrent_prefetch_requests: int
    ) -> Iterator[bytes]:
        for offset, length in requests:
            self.seek(offset)
            yield self.read(length)


class FakeSftp:
    """A tree in memory: bytes are files, dicts directories, texts links."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree
        self.problems: list[Exception] = []
        self.modified = 7

    def _find(self, path: str) -> Any:
        if self.problems:
            raise self.problems.pop(0)
        node: Any = self.tree
        for part in path.split("/")[1:]:
            if not isinstance(node, dict) or part not in node:
                raise FileNotFoundError(errno.ENOENT, "No such file")
            node = node[part]
            if isinstance(node, str):
                node = self._find(node)
        return node

    def _attributes(self, node: Any, name: str = "") -> SFTPAttributes:
        if isinstance(node, dict):
            return attributes(stat.S_IFDIR | 0o755, 0, name)
        if isinstance(node, str):
            return attributes(stat.S_IFLNK | 0o777, 0, name)
        if node is None:
            return attributes(stat.S_IFIFO | 0o644, 0, name)
        return attributes(stat.S_IFREG | 0o644, len(node), name, self.modified)

    def stat(self, path: str) -> SFTPAttributes:
        return self._attributes(self._find(path))

    def listdir_attr(self, path: str) -> list[SFTPAttributes]:
        return [self._attributes(node, name) for name, node in self._find(path).items()]

    def normalize(self, path: str) -> str:
        return str(id(self._find(path)))

    def open(self, path: str, mode: str) -> FakeFile:
        return FakeFile(self._find(path))


class FakeSsh:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


Install = Callable[[FakeSftp], list[FakeSsh]]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Every connection leads to this server; returns the connections."""

    def installed(sftp: FakeSftp) -> list[FakeSsh]:
        made: list[FakeSsh] = []

        def connect(node: NasNode, known_hosts: Path) -> Any:
            made.append(FakeSsh())
            return nas._Connection(made[-1], sftp)  # type: ignore[arg-type]

        monkeypatch.setattr(nas, "_connect", connect)
        return made

    return installed


def store_of(path: str = "/data") -> SftpStore:
    return SftpStore(NODE, path, Path("/known_hosts"))


def test_walking(install: Install) -> None:
    """Everything below, links followed, circles and special files left out."""
    tree: dict[str, Any] = {
        "data": {"a": b"123", "sub": {"b": b"1"}, "l": "/data/a", "gone": "/x", "pipe": None}
    }
    tree["data"]["up"] = "/data"
    made = install(FakeSftp(tree))
    store = store_of()
    files = {file.path: file for file in store.files()}
    assert {path: file.size for path, file in files.items()} == {"a": 3, "l": 3, "sub/b": 1}
    assert (files["a"].version, files["a"].modified, files["a"].trust_time) == ("mtime:7", 7.0, True)
    assert b"".join(store.read(files["a"], 1, 2)) == b"23"
    assert store.checksum(files["a"]) is None
    assert len(made) == 1
    assert store.label == "sftp://h:22/data"
    store.close()
    assert made[0].closed


def test_a_single_file(install: Install) -> None:
    install(FakeSftp({"data": b"123"}))
    (file,) = store_of().files()
    assert (file.path, file.key) == ("data", "/data")


def test_a_file_that_changes_while_it_is_read(install: Install) -> None:
    server = FakeSftp({"data": {"a": b"123"}})
    install(server)
    store = store_of()
    (file,) = store.files()
    server.modified = 8
    with pytest.raises(DataError, match=r"/data/a on h:22 was changed while it was read"):
        store.checksum(file)


def test_names_that_cannot_be_files(install: Install) -> None:
    for name in ("..", "a/b"):
        install(FakeSftp({"data": {name: b"1"}}))
        with pytest.raises(DataError, match="cannot be a file name"):
            store_of().files()


@pytest.mark.parametrize(
    ("problem", "kind", "text"),
    [
        (FileNotFoundError(2, "x"), DataError, "/data on h:22: no such file or directory"),
        (PermissionError(13, "x"), DataError, "/data on h:22: permission denied"),
        (
            ConnectionResetError(104, "Connection reset"),
            TransientError,
            "ConnectionResetError: Connection reset",
        ),
        (EOFError(), TransientError, "EOFError: the connection was lost"),
        (paramiko.SSHException("odd\npacket"), TransientError, "SSHException: odd packet"),
        (TimeoutError(), TransientError, "no answer in time"),
    ],
)
def test_troubles(install: Install, problem: Exception, kind: type[Exception], text: str) -> None:
    """What may pass is tried again, on a new connection; what stays is said."""
    server = FakeSftp({"data": {"a": b"1"}})
    made = install(server)
    store = store_of()
    server.problems = [problem]
    with pytest.raises(kind, match=text):
        store.files()
    assert store.files()
    assert len(made) == (1 if kind is DataError else 2)
    assert made[0].closed is (kind is TransientError)


def test_a_connection_that_comes_back_after_the_end(install: Install) -> None:
    made = install(FakeSftp({"data": {"a": b"1"}}))
    store = store_of()
    (file,) = store.files()
    reading = store.read(file, 0, 1)
    next(reading)
    store.close()
    list(reading)
    assert made[0].closed


def test_a_node_that_refuses_us_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(node: NasNode, known_hosts: Path) -> None:
        raise Unusable("gone home")

    monkeypatch.setattr(nas, "_connect", refuse)
    with pytest.raises(TransientError, match="h:22: gone home"):
        store_of().files()


def test_nodes_are_asked_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 13.3: login to one node; one reason per node."""
    asked = []

    def connect(node: NasNode, known_hosts: Path) -> Any:
        asked.append((node.host, str(known_hosts)))
        if node.host != "c":
            raise Unusable(f"{node.host} sleeps")
        return nas._Connection(FakeSsh(), FakeSftp({}))  # type: ignore[arg-type]

    monkeypatch.setattr(nas, "_connect", connect)
    nodes = [{"HOST": host, "USERNAME": "u", "PASSWORD": "planted"} for host in "abcd"]
    access = Access(Path("/root"), {"NAS_NODES": json.dumps(nodes), "HOME": "/home/u"})
    source = Source("d", "nas", "/data//x/")
    store = NasProvider().connect(source, access)
    assert (store.node.host, store.path) == ("c", "/data/x")
    assert asked == [(host, "/home/u/.ssh/known_hosts") for host in "abc"]
    access = Access(Path("/root"), {"NAS_NODES": json.dumps(nodes[:2])}, known_hosts=Path("/kh"))
    with pytest.raises(Unusable, match=r"^a:22: a sleeps; b:22: b sleeps$"):
        NasProvider().connect(source, access)


def test_entries_that_cannot_work() -> None:
    with pytest.raises(Unusable, match="NAS_NODES is neither in the environment nor"):
        NasProvider().connect(Source("d", "nas", "/p"), Access(Path("/")))
    with pytest.raises(Unusable, match="'p' is not absolute"):
        NasProvider().verify(Source("d", "nas", "p"))


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (paramiko.AuthenticationException("password planted"), r"^login of u refused; check NAS_NODES$"),
        (paramiko.SSHException("no banner"), "SSHException: no banner"),
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError: Connection refused"),
    ],
)
def test_logins_that_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: Exception, text: str
) -> None:
    def connect(self: paramiko.SSHClient, *args: Any, **further: Any) -> None:
        raise problem

    monkeypatch.setattr(paramiko.SSHClient, "connect", connect)
    with pytest.raises(Unusable, match=text) as caught:
        nas.login(NODE, tmp_path / "none")
    assert "planted" not in str(caught.value)


def test_a_login_that_is_interrupted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def connect(self: paramiko.SSHClient, *args: Any, **further: Any) -> None:
        assert further["allow_agent"] is further["look_for_keys"] is True
        raise KeyboardInterrupt

    monkeypatch.setattr(paramiko.SSHClient, "connect", connect)
    with pytest.raises(KeyboardInterrupt):
        nas.login(NasNode("h", "u"), tmp_path / "none")


def test_a_server_without_sftp(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client(FakeSsh):
        def open_sftp(self) -> None:
            raise paramiko.SSHException("subsystem request failed")

    client = Client()
    monkeypatch.setattr(nas, "login", lambda node, known_hosts: client)
    with pytest.raises(Unusable, match="no SFTP: SSHException: subsystem request failed"):
        nas._connect(NODE, Path("/known_hosts"))
    assert client.closed


def test_the_sending_thread_is_quiet() -> None:
    """A broken connection is raised by the reader; the helper thread of the library prints nothing."""

    class Stream:
        def _prefetch_thread(self, chunks: object) -> None:
            raise OSError("Socket is closed")

    stream = Stream()
    nas._silence_background(stream)  # type: ignore[arg-type]
    stream._prefetch_thread([])
    nas._silence_background(object())  # type: ignore[arg-type]


# ---- host keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"h ssh-ed25519 {KEY} comment\n", ["h"]),
        (f"h,[h]:22 ssh-ed25519 {KEY}", ["h", "[h]:22"]),
        (f"# h ssh-ed25519 {KEY}\n\nx\nh ssh-ed25519 broken!\nh odd-kind {KEY}", []),
        (f"@cert-authority h ssh-ed25519 {KEY}", []),
        (f"h ssh-ed25519 {KEY}\n@revoked * ssh-ed25519 {KEY}\ng ssh-ed25519 {OTHER}", ["g"]),
        ("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-ed25519 " + KEY, ["|1|"]),
    ],
)
def test_known_hosts(text: str, expected: list[str]) -> None:
    """Defect 33: given comments, markers and damaged lines / when the file is read / then only keys that
    are really trusted count."""
    names = [name[:3] if name.startswith("|") else name for name, _ in trusted_keys(text)]
    assert names == expected


@given(st.text(alphabet="@revokd hssh-ed25519 |1=#\n" + KEY[:20], max_size=200))
def test_any_known_hosts_is_read(text: str) -> None:
    list(trusted_keys(text))


def test_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 13.3: `--mad-known-hosts`, default the user's."""
    assert known_hosts_file(Path("/given"), "/home/u") == Path("/given")
    assert known_hosts_file(None, "/home/u") == Path("/home/u/.ssh/known_hosts")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert known_hosts_file(None, "") == tmp_path / ".ssh/known_hosts"


def test_unknown_hosts_are_refused(tmp_path: Path) -> None:
    """Contract 13.3: with the fingerprint, as `ssh` prints it."""
    (_, key), *_ = trusted_keys(f"h ssh-ed25519 {KEY}")
    client = verifying_client([tmp_path / "none"], Unusable)
    with pytest.raises(
        Unusable, match=r"the host key of h is not known: ssh-ed25519 SHA256:[A-Za-z0-9+/]{43};"
    ):
        client._policy.missing_host_key(client, "h", key)
    assert fingerprint(key).startswith("ssh-ed25519 SHA256:")
    with pytest.raises(Unusable, match="Is a directory"):
        verifying_client([tmp_path], Unusable)
