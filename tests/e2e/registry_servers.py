"""A real registry with passwords on loopback, and a wire to it that can be cut."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from session_support import wait_until

USER = "builder"
PASSWORD = "correct-horse-battery-5"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Registry:
    """``docker-registry`` with its own configuration and storage."""

    directory: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Registry:
        self.directory.mkdir(exist_ok=True)
        passwords = self.directory / "htpasswd"
        subprocess.run(["htpasswd", "-Bbc", passwords, USER, PASSWORD], check=True, capture_output=True)
        config = self.directory / "config.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.directory}/storage}}}}\n"
            f"http: {{addr: '{self.host}'}}\n"
            f"auth: {{htpasswd: {{realm: test, path: {passwords}}}}}\n"
        )
        with (self.directory / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
        wait_until(self.answers, "the registry answers")
        return self

    def answers(self) -> bool:
        try:
            urlopen(f"http://{self.host}/v2/", timeout=5).close()
        except HTTPError as error:
            return error.code == 401
        except (URLError, OSError):
            return False
        return True

    def kill(self) -> None:
        """Ends it like a power failure."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class Wire:
    """Forwards connections to a server; after some bytes it calls ``on_cut`` once and drops everything."""

    target: int
    #: Bytes through the wire, both directions, until the cut; 0: never.
    limit: int = 0
    on_cut: Callable[[], None] = lambda: None
    #: New connections are refused after the cut until this is set again.
    open: bool = True

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._passed = 0
        self.cuts = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        # Wakes the thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client:
            if not self.open:
                return
            try:
                with socket.create_connection(("127.0.0.1", self.target)) as server:
                    self._pump(client, server)
            except OSError:
                return

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data or self._cut(len(data)):
                        return
                    key.data.sendall(data)

    def _cut(self, size: int) -> bool:
        self._passed += size
        if not self.limit or self._passed < self.limit:
            return False
        self.limit, self.cuts = 0, self.cuts + 1
        self.on_cut()
        return True


@contextmanager
def running_registry(directory: Path) -> Iterator[Registry]:
    """A registry that is gone afterwards."""
    for command, package in (("docker-registry", "docker-registry"), ("htpasswd", "apache2-utils")):
        if not shutil.which(command):
            reason = f"{command} is missing: install the Debian package {package}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
    registry = Registry(directory)
    try:
        yield registry.start()
    finally:
        registry.kill()


@contextmanager
def wire_to(registry: Registry) -> Iterator[Wire]:
    wire = Wire(registry.port)
    try:
        yield wire
    finally:
        wire.close()
