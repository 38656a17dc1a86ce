"""An engine of a test's own, which may be stopped, hung and restarted: a second dockerd."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from docker import DockerClient

#: Seconds it may take to start or to stop.
LIMIT = 90.0


@dataclass
class Engine:
    """One dockerd with everything of its own: bridge, socket, data."""

    place: Path
    bridge: str = field(default_factory=lambda: "mad" + secrets.token_hex(3))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.place}/s"

    def start(self) -> None:
        argv = ["dockerd", "-b", self.bridge, "--iptables=false", "--ip6tables=false", "-H", self.url]
        argv += [f"--data-root={self.place}/data", f"--exec-root={self.place}/exec"]
        argv += [f"--pidfile={self.place}/pid", "--storage-driver=vfs", "--shutdown-timeout=3"]
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + LIMIT
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = (self.place / "log").read_text(errors="replace")[-2000:]
                pytest.fail(f"the second dockerd does not start:\n{text}", pytrace=False)
            time.sleep(0.1)

    def _answers(self) -> bool:
        # By hand: the library forgets to close a socket that it could not connect.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(self.url.removeprefix("unix://"))
                probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b"200 OK" in probe.recv(100)
            except OSError:
                return False

    def client(self) -> DockerClient:
        import docker

        return docker.DockerClient(self.url, timeout=60)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Ends it in order; its containers go with it."""
        if self.process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None


def _unmount(place: Path) -> None:
    """dockerd leaves the network name space of its containers mounted, and its data when it was killed."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((one for one in points if one.startswith(f"{place}/")), reverse=True):
        subprocess.run(["umount", "-l", point], check=False)


@contextmanager
def second_engine(image: str, source: DockerClient) -> Iterator[Engine]:
    """A running engine that has this image."""
    if os.getuid() or not shutil.which("dockerd") or not shutil.which("ip"):
        pytest.skip("needs root, dockerd and ip for an engine of its own")
    # Short: a socket's path has at most 107 bytes.
    place = Path("/tmp", "mad-engine-" + secrets.token_hex(4))
    place.mkdir(mode=0o700)
    engine = Engine(place)
    subnet = f"172.31.{secrets.randbelow(200) + 20}.1/24"
    for words in (
        ["link", "add", engine.bridge, "type", "bridge"],
        ["addr", "add", subnet, "dev", engine.bridge],
        ["link", "set", engine.bridge, "up"],
    ):
        subprocess.run(["ip", *words], check=True)
    try:
        engine.start()
        client = engine.client()
        client.api.post(
            f"{client.api.base_url}/images/load",
            data=source.api.get_image(image),
            headers={"Content-Type": "application/x-tar"},
        ).raise_for_status()
        client.close()
        yield engine
    finally:
        engine.stop()
        subprocess.run(["ip", "link", "del", engine.bridge], check=False)
        _unmount(place)
        shutil.rmtree(place)
