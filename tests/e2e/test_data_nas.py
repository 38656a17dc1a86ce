"""The nas provider against a real SSH server (contract 13.3; done-when 3 of the data issue)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from data_servers import SshServer, cutting_proxy, ssh_server
from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.data.provider import Timing
from pytest_madengine.data.service import DataService
from pytest_madengine.errors import DataError
from pytest_madengine.secrets import Redactor
from pytest_madengine.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
MODEL = Model(name="m", dockerfile="docker/m", scripts="scripts/m/run.sh", data="d1")
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    with ssh_server() as running:
        yield running


@pytest.fixture
def files(server: SshServer, tmp_path: Path) -> Path:
    """A directory on the server: nested files, links, one file of several parts."""
    directory = server.data / tmp_path.name
    for index in range(25):
        path = directory / str(index % 4) / f"{index}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(3000 + index))
    (directory / "big").write_bytes(os.urandom(36 * MIB + 5))
    (directory / "empty").touch()
    (directory / "link").symlink_to("0/0.bin")
    (directory / "nowhere").symlink_to("absent")
    (directory / "1" / "up").symlink_to("..")
    return directory


@pytest.fixture
def known_hosts(server: SshServer, tmp_path: Path) -> Path:
    path = tmp_path / "known_hosts"
    path.write_text(server.known_hosts_line)
    return path


@pytest.fixture
def make(
    server: SshServer, known_hosts: Path, files: Path, tmp_path: Path
) -> Iterator[Callable[..., DataService]]:
    """A service for ``d1`` on the server; further node fields by keyword."""
    services = []

    def service(
        node: dict[str, Any] | None = None,
        path: Path = files,
        entry: dict[str, Any] | None = None,
        before: tuple[dict[str, Any], ...] = (),
        **settings: Any,
    ) -> DataService:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        (root / "data.json").write_text(json.dumps({"d1": {"nas": {"path": str(path), **(entry or {})}}}))
        login = {"USERNAME": server.user, "PASSWORD": server.password}
        full = {"NAME": "shelf", "HOST": "127.0.0.1", "PORT": str(server.port), **login, **(node or {})}
        values = {
            "root": root,
            "results_dir": tmp_path / "results",
            "output": root / "perf.csv",
            "environ": {"NAS_NODES": json.dumps([*before, full])},
            "known_hosts": known_hosts,
        }
        merged = Settings(**{**values, **settings})
        timing = Timing(sleep=lambda seconds: None)
        services.append(DataService(merged, Context({}), Redactor(), timing=timing))
        return services[-1]

    yield service
    for made in services:
        made.close()


def content(directory: Path) -> dict[str, str]:
    """Digest of every file, links followed unless they lead up."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_directory_arrives_whole(make: Callable[..., DataService], files: Path, tmp_path: Path) -> None:
    """Contract 13.3: SFTP with the password of the node; links are followed, never in a circle."""
    (mount,) = make().provide(MODEL, tmp_path, {})
    assert (mount.provider, mount.home, mount.read_only, mount.size) == ("nas", "/data_dlm_0", True, "37M")
    assert content(Path(mount.source)) == content(files)
    assert int((Path(mount.source) / "big").stat().st_mtime) == int((files / "big").stat().st_mtime)


def test_a_single_file_and_a_key(
    make: Callable[..., DataService], server: SshServer, files: Path, tmp_path: Path
) -> None:
    """A node without password and with `SSH_KEY_FILE`; `path` may name a file."""
    service = make({"PASSWORD": None, "SSH_KEY_FILE": str(server.key_file)}, files / "link")
    (mount,) = service.provide(MODEL, tmp_path, {})
    assert list(content(Path(mount.source))) == ["link"]


def test_a_mirror_transfers_only_what_changed(
    make: Callable[..., DataService], server: SshServer, known_hosts: Path, files: Path, tmp_path: Path
) -> None:
    """Contract 13.3: later runs transfer changed files only."""
    mirror = tmp_path / "mirror"
    with cutting_proxy(server.port) as proxy:
        known_hosts.write_text(server.known_hosts_line.replace(str(server.port), str(proxy.port)))
        entry = {"mirrorlocal": str(mirror)}
        make({"PORT": proxy.port}, entry=entry).provide(MODEL, tmp_path, {})
        assert proxy.received > 36 * MIB
        proxy.received = 0
        (files / "0" / "0.bin").write_bytes(b"changed")
        (files / "1" / "1.bin").unlink()
        make({"PORT": proxy.port}, entry=entry).provide(MODEL, tmp_path, {})
        assert proxy.received < MIB
    assert content(mirror / "d1") == content(files)


def test_a_reset_connection_is_taken_up(
    make: Callable[..., DataService], server: SshServer, known_hosts: Path, files: Path, tmp_path: Path
) -> None:
    """Done-when 3: connections reset in the middle; the transfer succeeds and reads little twice."""
    with cutting_proxy(server.port, after=4 * MIB, cuts=2) as proxy:
        known_hosts.write_text(server.known_hosts_line.replace(str(server.port), str(proxy.port)))
        (mount,) = make({"PORT": proxy.port}).provide(MODEL, tmp_path, {})
        assert proxy.reset == 2
        assert proxy.received < 47 * MIB
    assert content(Path(mount.source)) == content(files)


def test_a_wrong_password(make: Callable[..., DataService], server: SshServer, tmp_path: Path) -> None:
    """Done-when 3, defect 32: given a wrong password / when data is wanted / then the node is unusable,
    and no password is shown."""
    service = make({"PASSWORD": "wrong-planted-secret"})
    assert service.provide(MODEL, tmp_path, {}) == ()
    (note,) = service.notes(MODEL)
    assert f"login of {server.user} refused" in note
    assert "planted" not in note


def test_the_next_node_is_asked(make: Callable[..., DataService], tmp_path: Path) -> None:
    """Contract 13.3: one node that lets us in is enough."""
    dead = {"HOST": "127.0.0.1", "PORT": 1, "USERNAME": "u", "PASSWORD": "pw-of-nobody"}
    assert make(before=(dead,)).provide(MODEL, tmp_path, {})


def test_an_unknown_host(make: Callable[..., DataService], known_hosts: Path, tmp_path: Path) -> None:
    """Defect 33: given a host that known_hosts does not have / when data is wanted / then it is refused,
    with the fingerprint, before a password is sent."""
    for text in ("", None):
        known_hosts.unlink() if text is None else known_hosts.write_text(text)
        service = make()
        assert service.provide(MODEL, tmp_path, {}) == ()
        (note,) = service.notes(MODEL)
        assert "is not known: ssh-ed25519 SHA256:" in note


def test_a_changed_host_key(make: Callable[..., DataService], server: SshServer, tmp_path: Path) -> None:
    """Defect 33: given a host whose key has changed / when data is wanted / then it is refused, with both
    fingerprints."""
    service = make()
    server.new_host_key()
    assert service.provide(MODEL, tmp_path, {}) == ()
    (note,) = service.notes(MODEL)
    assert "the host key has changed" in note
    assert note.count("SHA256:") == 2


def test_a_revoked_host_key(
    make: Callable[..., DataService], server: SshServer, known_hosts: Path, tmp_path: Path
) -> None:
    """Defect 33: a key that is also marked as revoked is refused."""
    known_hosts.write_text(server.known_hosts_line + "@revoked " + server.known_hosts_line)
    service = make()
    assert service.provide(MODEL, tmp_path, {}) == ()
    assert "host key" in service.notes(MODEL)[0]


def test_a_missing_directory(make: Callable[..., DataService], server: SshServer, tmp_path: Path) -> None:
    """Done-when 3: a path that is not there is named."""
    with pytest.raises(DataError, match=r"/absent on shelf \(127\.0\.0\.1:\d+\): no such file or directory"):
        make(path=server.data / "absent").provide(MODEL, tmp_path, {})


def test_a_directory_that_may_not_be_read(
    make: Callable[..., DataService], server: SshServer, files: Path, tmp_path: Path
) -> None:
    (files / "0").chmod(0o700)
    with pytest.raises(DataError, match=r"0 on shelf .* permission denied"):
        make().provide(MODEL, tmp_path, {})


def test_an_address_without_ssh(make: Callable[..., DataService], server: SshServer, tmp_path: Path) -> None:
    """Contract 13.2: nobody answers; the model runs without data and with a reason."""
    service = make({"PORT": 1})
    assert service.provide(MODEL, tmp_path, {}) == ()
    assert "nas: not usable: shelf (127.0.0.1:1): " in service.notes(MODEL)[0]
