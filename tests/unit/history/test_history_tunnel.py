"""The SSH tunnel, against an SSH server in this process; test_history_sql_tunnel has a real sshd."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from pytest_madengine.errors import HistoryError
from pytest_madengine.history.database import Database
from pytest_madengine.history.tunnel import open_tunnel
from pytest_madengine.history.urls import DatabaseUrl, TunnelSettings
from pytest_madengine.secrets import Secret
from pytest_madengine.util.hostkeys import fingerprint

KEY = paramiko.ECDSAKey.generate()
OTHER_KEY = paramiko.ECDSAKey.generate()
PASSWORD = "tunnel p@ss"


class Rules(paramiko.ServerInterface):
    """One user with one password, who may reach port 3306 of `db`."""

    def check_auth_password(self, username: str, password: str) -> int:
        good = (username, password) == ("mad", PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        if destination == ("db", 3306):
            return paramiko.OPEN_SUCCEEDED
        return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED


class SshServer:
    """Answers every forwarded byte in upper case."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.transports: list[paramiko.Transport] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            self.transports.append(transport)
            threading.Thread(target=self._answer, args=(transport,), daemon=True).start()

    def _answer(self, transport: paramiko.Transport) -> None:
        transport.add_server_key(KEY)
        try:
            transport.start_server(server=Rules())
        except (paramiko.SSHException, EOFError, OSError):
            return
        while (channel := transport.accept(30)) is not None:
            while block := channel.recv(1024):
                channel.sendall(block.upper())
            channel.close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        for transport in self.transports:
            transport.close()


@pytest.fixture
def server() -> Iterator[SshServer]:
    server = SshServer()
    yield server
    server.close()


def settings(
    server: SshServer, tmp_path: Path, key: paramiko.PKey | None = KEY, password: str = PASSWORD
) -> TunnelSettings:
    known = tmp_path / "known_hosts"
    line = f"[127.0.0.1]:{server.port} {key.get_name()} {key.get_base64()}\n" if key else ""
    known.write_text(line)
    return TunnelSettings("127.0.0.1", server.port, "mad", Secret(password), known)


def test_bytes_pass_in_both_directions(server: SshServer, tmp_path: Path) -> None:
    with open_tunnel(settings(server, tmp_path), ("db", 3306)) as address:
        for _ in range(2):
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(b"hello")
                assert connection.recv(100) == b"HELLO"
    with pytest.raises(OSError):
        socket.create_connection(address, timeout=1)


def test_a_destination_that_is_refused(server: SshServer, tmp_path: Path) -> None:
    with (
        open_tunnel(settings(server, tmp_path), ("elsewhere", 1)) as address,
        socket.create_connection(address, timeout=10) as connection,
    ):
        assert connection.recv(100) == b""


def test_a_changed_key_is_refused(server: SshServer, tmp_path: Path) -> None:
    """Defect 33: given an SSH host with a changed key / when the tunnel is opened / then it is refused."""
    with pytest.raises(HistoryError, match="its key has changed") as raised:
        open_tunnel(settings(server, tmp_path, OTHER_KEY), ("db", 3306)).__enter__()
    assert fingerprint(KEY) in str(raised.value)


def test_an_unknown_key_is_refused(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verification stays on; also with the known_hosts of the user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(HistoryError, match=r"is not known: .*; refused") as raised:
        open_tunnel(settings(server, tmp_path, None), ("db", 3306)).__enter__()
    assert fingerprint(KEY) in str(raised.value)
    own = TunnelSettings("127.0.0.1", server.port, "mad", Secret(PASSWORD))
    with pytest.raises(HistoryError, match=r"is not known: .*; refused"):
        open_tunnel(own, ("db", 3306)).__enter__()
    (tmp_path / ".ssh").mkdir()
    settings(server, tmp_path).known_hosts.rename(tmp_path / ".ssh/known_hosts")  # type: ignore[union-attr]
    with open_tunnel(own, ("db", 3306)):
        pass


def test_a_wrong_password(server: SshServer, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="Authentication failed") as raised:
        open_tunnel(settings(server, tmp_path, password="hush-hush"), ("db", 3306)).__enter__()
    assert "hush" not in str(raised.value)


def test_nobody_there_and_no_keys(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    (tmp_path / "keys").touch()
    missing = TunnelSettings("127.0.0.1", port, "", Secret(""), tmp_path / "absent")
    with pytest.raises(HistoryError, match="absent"):
        open_tunnel(missing, ("db", 1)).__enter__()
    nobody = TunnelSettings("127.0.0.1", port, "", Secret(""), tmp_path / "keys")
    with pytest.raises(HistoryError, match=f"SSH host 127.0.0.1:{port}"):
        open_tunnel(nobody, ("db", 1)).__enter__()


def test_the_error_of_a_tunnel_keeps_the_command(server: SshServer, tmp_path: Path) -> None:
    target = DatabaseUrl(Secret("mysql://u:pw-pw@db/d"), "TUNA_DB_*", settings(server, tmp_path, OTHER_KEY))
    with Database(target) as database, pytest.raises(HistoryError, match="key has changed") as raised:
        database.read(lambda connection: None, hint="run later: x")
    assert raised.value.hint == "run later: x"
    with Database(target) as database, pytest.raises(HistoryError) as raised:
        database.read(lambda connection: None)
    assert "known_hosts" in raised.value.hint


def test_a_database_behind_the_tunnel(server: SshServer, tmp_path: Path) -> None:
    """The driver talks to the far end: here to somebody who is no database."""
    target = DatabaseUrl(Secret("mysql://u:pw-pw@db/d"), "TUNA_DB_*", settings(server, tmp_path))
    with Database(target, retries=0) as database:
        database._url = database._url.update_query_dict({"connect_timeout": "2", "read_timeout": "1"})
        with pytest.raises(HistoryError, match=r"mysql://u:\*\*\*@db/d"):
            database.read(lambda connection: None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("@revoked * {key}\n[127.0.0.1]:{port} {key}", "is revoked in"),
        ("@cert-authority * {key}", "is not known"),
        ("@revoked {key}\n\xff\n|1|broken {key}\n@unheard-of * {key}", "is not known"),
    ],
)
def test_markers_of_known_hosts(server: SshServer, tmp_path: Path, line: str, reason: str) -> None:
    """faults 5.11: given @revoked, @cert-authority or damaged lines, then the host is refused."""
    given = settings(server, tmp_path)
    assert given.known_hosts is not None
    key = f"{KEY.get_name()} {KEY.get_base64()}"
    given.known_hosts.write_text(line.format(key=key, port=server.port), encoding="latin-1")
    with pytest.raises(HistoryError, match=reason):
        open_tunnel(given, ("db", 3306)).__enter__()
