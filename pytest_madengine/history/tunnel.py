"""An SSH tunnel to a database, to a host whose key is known (``TUNA_SSH_*``, contract 18.1)."""

from __future__ import annotations

import contextlib
import os
import select
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.errors import HistoryError
from pytest_madengine.history.urls import TunnelSettings
from pytest_madengine.secrets import Redactor
from pytest_madengine.util.hostkeys import fingerprint, known_hosts_file, verifying_client

if TYPE_CHECKING:
    from paramiko import SSHClient, Transport

_TIMEOUT: Final = 15
_BLOCK: Final = 64 * 1024
_SYSTEM_HOSTS: Final = Path("/etc/ssh/ssh_known_hosts")


@contextlib.contextmanager
def open_tunnel(settings: TunnelSettings, remote: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """Yields the local address that leads to ``remote`` as the SSH host sees it.

    :raises HistoryError: the host is not reached, its key is unknown or another one, the login fails.
    """
    client = _connect(settings)
    try:
        transport = client.get_transport()
        if transport is None:
            raise HistoryError(f"SSH host {settings.host}: the connection broke off")
        with _Forwarder(transport, remote) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield "127.0.0.1", int(server.server_address[1])
            finally:
                server.shutdown()
                thread.join()
    finally:
        client.close()


def _connect(settings: TunnelSettings) -> SSHClient:
    import paramiko

    where = f"SSH host {settings.host}:{settings.port}"
    password = settings.password.reveal()

    def refused(reason: str) -> HistoryError:
        hint = "compare the fingerprint, then correct known_hosts (see ssh-keyscan)"
        return HistoryError(f"{where}: {reason}; refused", hint=hint)

    given = settings.known_hosts
    if given is not None and not given.exists():
        raise refused(f"{given} is not a file")
    client = verifying_client(_files(settings), refused)
    try:
        client.connect(
            settings.host,
            port=settings.port,
            username=settings.user or None,
            password=password or None,
            timeout=_TIMEOUT,
            banner_timeout=_TIMEOUT,
            auth_timeout=_TIMEOUT,
            # With a password no key of the user is tried: servers count failed tries.
            allow_agent=not password,
            look_for_keys=not password,
        )
    except paramiko.BadHostKeyException as error:
        client.close()
        raise HistoryError(
            f"{where}: its key has changed ({fingerprint(error.key)}); refused",
            hint="ask its administrator; if the new key is right, correct it in known_hosts",
        ) from None
    except (paramiko.SSHException, OSError, ValueError) as error:
        client.close()
        reason = Redactor([password]).text(" ".join(str(error).split())) or type(error).__name__
        raise HistoryError(f"{where}: {reason}", hint="see TUNA_SSH_HOSTNAME and its companions") from None
    except BaseException:
        client.close()
        raise
    return client


def _files(settings: TunnelSettings) -> list[Path]:
    if settings.known_hosts is not None:
        return [settings.known_hosts]
    return [_SYSTEM_HOSTS, known_hosts_file(None, os.environ.get("HOME", ""))]


class _Forwarder(socketserver.ThreadingTCPServer):
    """Takes connections on a free port of this host's loopback and carries them over the transport."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, transport: Transport, remote: tuple[str, int]) -> None:
        self.transport = transport
        self.remote = remote
        super().__init__(("127.0.0.1", 0), _Carrier)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A broken connection is what the database client reports; nothing is printed here."""


class _Carrier(socketserver.BaseRequestHandler):
    server: _Forwarder

    def handle(self) -> None:
        """Carries bytes in both directions until one side closes."""
        try:
            channel = self.server.transport.open_channel(
                "direct-tcpip", self.server.remote, self.client_address, timeout=_TIMEOUT
            )
        except Exception:
            # The client sees its connection closed, and says so.
            self.request.close()
            raise
        with contextlib.closing(channel):
            while True:
                ready, _, _ = select.select([self.request, channel], [], [])
                if self.request in ready and not _carry(self.request, channel):
                    return
                if channel in ready and not _carry(channel, self.request):
                    return


def _carry(source: Any, target: Any) -> bool:
    block = source.recv(_BLOCK)
    if block:
        target.sendall(block)
    return bool(block)
