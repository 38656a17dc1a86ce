"""Where the engine is, and which docker client builds."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pytest_madengine.engine import cli
from pytest_madengine.engine import client as engine
from pytest_madengine.engine.cli import DockerCli, client_environ, find_docker_cli
from pytest_madengine.engine.endpoint import Endpoint, client_proxies, find_endpoint
from pytest_madengine.errors import EngineError

NONE = Path("/nowhere/docker.sock")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    cli._find.cache_clear()
    yield
    cli._find.cache_clear()


# ---- proxies ------------------------------------------------------------------------------------------


def test_proxies_of_the_client(tmp_path: Path) -> None:
    """Faults 5.1: given proxies in config.json / when a container runs / then it has what docker run sets."""
    environ = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": "tcp://build:2375"}
    assert client_proxies(environ) == {}
    default = {"httpProxy": "http://p:1", "noProxy": "localhost", "httpsProxy": "", "allProxy": 5}
    proxies: dict[str, object] = {"default": default}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    expected = dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://p:1")
    assert client_proxies(environ) == {**expected, "NO_PROXY": "localhost", "no_proxy": "localhost"}
    proxies["tcp://build:2375"] = {"ftpProxy": "http://f:1"}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    assert client_proxies(environ) == {"FTP_PROXY": "http://f:1", "ftp_proxy": "http://f:1"}


@pytest.mark.parametrize("text", ["", "[]", '{"proxies": 1}', '{"proxies": {"default": []}}', "[" * 10_000])
def test_a_configuration_without_proxies(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert client_proxies({"DOCKER_CONFIG": str(tmp_path)}) == {}


# ---- endpoint -----------------------------------------------------------------------------------------


def test_docker_host_wins() -> None:
    found = find_endpoint({"DOCKER_HOST": "tcp://h:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"})
    assert found == Endpoint("tcp://h:2376", "DOCKER_HOST", Path("/c"), True)
    assert found.socket is None


def test_tls_without_a_directory_uses_the_configuration() -> None:
    found = find_endpoint({"DOCKER_HOST": "tcp://h", "DOCKER_TLS_VERIFY": "1", "DOCKER_CONFIG": "/cfg"})
    assert found.tls == Path("/cfg")
    assert find_endpoint({"DOCKER_HOST": "tcp://h", "HOME": "/h"}).tls is None


def test_sockets_in_order(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    docker, podman = tmp_path / "docker-main.sock", tmp_path / "podman-main.sock"
    (tmp_path / "podman").mkdir()
    candidates = [podman, tmp_path / "podman/podman.sock", tmp_path / "docker.sock", docker]
    for candidate in candidates:
        candidate.touch()
        found = find_endpoint(environ, docker, podman)
        assert found.socket == candidate
        assert found.source == "socket"


def test_no_engine_at_all(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no container engine: there is no socket /nowhere") as caught:
        find_endpoint({"HOME": str(tmp_path)}, NONE, NONE)
    assert "DOCKER_HOST" in caught.value.hint
    assert caught.value.infrastructure


def make_context(home: Path, name: str, meta: object, tls: bool = False) -> None:
    digest = hashlib.sha256(name.encode()).hexdigest()
    directory = home / ".docker/contexts/meta" / digest
    directory.mkdir(parents=True)
    (directory / "meta.json").write_text(json.dumps(meta))
    if tls:
        (home / ".docker/contexts/tls" / digest / "docker").mkdir(parents=True)


def test_docker_contexts(tmp_path: Path) -> None:
    make_context(tmp_path, "lab", {"Endpoints": {"docker": {"Host": "ssh://lab"}}})
    make_context(tmp_path, "far", {"Endpoints": {"docker": {"Host": "tcp://far:2376"}}}, tls=True)
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "lab"}')
    home = {"HOME": str(tmp_path)}
    assert find_endpoint(home).url == "ssh://lab"
    far = find_endpoint({**home, "DOCKER_CONTEXT": "far"})
    assert (far.url, far.tls_verify) == ("tcp://far:2376", True)
    assert far.tls is not None
    assert find_endpoint({**home, "DOCKER_HOST": "unix:///x"}).url == "unix:///x"
    with pytest.raises(EngineError, match="docker context 'none' cannot be read"):
        find_endpoint({**home, "DOCKER_CONTEXT": "none"})


@pytest.mark.parametrize("text", ["", "[]", "{", '{"currentContext": 1}', '{"currentContext": "default"}'])
def test_odd_client_configurations(tmp_path: Path, text: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(text)
    sock = tmp_path / "d.sock"
    sock.touch()
    assert find_endpoint({"HOME": str(tmp_path)}, sock, NONE).url == f"unix://{sock}"


# ---- connecting ---------------------------------------------------------------------------------------


def test_absent_socket() -> None:
    with pytest.raises(EngineError, match=r"no container engine at unix:///nowhere/d\.sock \(DOCKER_HOST\)"):
        engine.connect({"DOCKER_HOST": "unix:///nowhere/d.sock"})


def test_refused_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "d.sock"))
    with pytest.raises(EngineError, match="refuses connections"):
        engine.connect({"DOCKER_HOST": f"unix://{tmp_path}/d.sock"})


def test_permission_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(engine, "_try", denied)
    with pytest.raises(EngineError, match="permission denied at the container engine") as caught:
        engine.connect({"DOCKER_HOST": "unix:///run/d.sock"})
    assert "group 'docker'" in caught.value.hint


def test_an_address_that_makes_no_sense_shows_no_password() -> None:
    with pytest.raises(EngineError, match="does not answer") as caught:
        engine.connect({"DOCKER_HOST": "tcp://user:planted-pw@host"})
    assert "planted-pw" not in caught.value.message


class _Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"ApiVersion": "1.41", "MinAPIVersion": "1.12"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_version_is_negotiated_and_the_limit_is_long() -> None:
    """neighbours: slow creates trip the 60 s default of the library."""
    with HTTPServer(("127.0.0.1", 0), _Engine) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        client = engine.connect({"DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}"})
        thread.join()
        assert client.api.timeout == engine.CLIENT_TIMEOUT
        assert client.api.api_version == "1.41"
        client.close()


def test_tls_files_that_exist_are_used(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem", "ca.pem"):
        (tmp_path / name).touch()
    config = engine._tls(Endpoint("tcp://h", "x", tmp_path, True))
    assert config.cert == (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    assert config.ca_cert == str(tmp_path / "ca.pem")


# ---- clients ------------------------------------------------------------------------------------------


def client(directory: Path, version: str, buildx: str = "", name: str = "docker") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    answer = f'echo "github.com/docker/buildx {buildx} abc"' if buildx else "exit 1"
    path.write_text(f'#!/bin/sh\nif [ "$1" = buildx ]; then {answer}; else echo "{version}"; fi\n')
    path.chmod(0o755)
    return path


def environ_of(*directories: Path, **more: str) -> dict[str, str]:
    path = ":".join([*map(str, directories), "/usr/bin", "/bin"])
    return {"PATH": path, "DOCKER_HOST": "unix:///run/d.sock", **more}


OLD = "Docker version 20.10.24+dfsg1, build 297e128"
NEW = "Docker version 28.2.2, build e6534b4"


@pytest.mark.parametrize(
    ("version", "buildx", "buildkit", "contexts"),
    [
        pytest.param(OLD, "", True, False, id="integrated-buildkit"),
        pytest.param(NEW, "", False, False, id="new-without-buildx"),
        pytest.param(NEW, "v0.12.1", True, True, id="new-with-buildx"),
        pytest.param(NEW, "0.13.1+ds1", True, True, id="debian-buildx"),
        pytest.param(OLD, "v0.7.0", True, False, id="old-buildx"),
        pytest.param("Docker version 18.09.1, build 4c52b90", "", False, False, id="too-old"),
    ],
)
def test_abilities(tmp_path: Path, version: str, buildx: str, buildkit: bool, contexts: bool) -> None:
    path = client(tmp_path / "a", version, buildx)
    found = find_docker_cli({"PATH": f"{path.parent}", "DOCKER_HOST": "unix:///run/d.sock"})
    assert found == DockerCli(str(path), buildkit, contexts, version.split()[2].split("+")[0].rstrip(","))


def test_the_best_client_on_path_is_chosen(tmp_path: Path) -> None:
    classic = client(tmp_path / "a", NEW)
    integrated = client(tmp_path / "b", OLD)
    assert find_docker_cli({**environ_of(), "PATH": f"{tmp_path}/a:{tmp_path}/b"}).path == str(integrated)
    assert find_docker_cli({**environ_of(), "PATH": f"{tmp_path}/a::{tmp_path}/a"}).path == str(classic)
    best = client(tmp_path / "c", NEW, "v0.20.0")
    paths = f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c"
    assert find_docker_cli({**environ_of(), "PATH": paths}).path == str(best)
    respected = find_docker_cli({**environ_of(), "PATH": paths, "DOCKER_BUILDKIT": "0"})
    assert respected == DockerCli(str(classic), False, False, "28.2.2")


def test_the_client_is_looked_for_once(tmp_path: Path) -> None:
    path = client(tmp_path / "a", OLD)
    environ = {**environ_of(), "PATH": str(path.parent)}
    first = find_docker_cli(environ)
    path.unlink()
    assert find_docker_cli({**environ, "MAD_SECRETS_X": "other"}) is first


def test_no_client(tmp_path: Path) -> None:
    broken = tmp_path / "a/docker"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/docker").write_text("no program")
    (tmp_path / "b/docker").chmod(0o755)
    paths = f"{tmp_path}/a:{tmp_path}/b"
    with pytest.raises(EngineError, match="no usable command 'docker' on PATH") as caught:
        find_docker_cli({**environ_of(), "PATH": paths})
    assert "docker-ce-cli" in caught.value.hint
    client(tmp_path / "a", "podman version 4.3.1", name="podman")
    cli._find.cache_clear()
    with pytest.raises(EngineError) as caught:
        find_docker_cli({**environ_of(), "PATH": paths})
    assert "podman is installed" in caught.value.hint


def test_podman_builds_for_podman_only(tmp_path: Path) -> None:
    podman = client(tmp_path / "a", "podman version 4.3.1", name="podman")
    shim = client(tmp_path / "b", "podman version 4.0.1", name="docker")
    docker = client(tmp_path / "c", OLD)
    environ = {
        "PATH": f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c",
        "DOCKER_HOST": "unix:///run/podman/podman.sock",
    }
    assert find_docker_cli(environ) == DockerCli(str(podman), True, True, "4.3.1", "podman")
    assert find_docker_cli({**environ, "PATH": f"{tmp_path}/b"}) == DockerCli(
        str(shim), True, False, "4.0.1", "podman"
    )
    assert find_docker_cli({**environ, "PATH": f"{tmp_path}/c"}) == DockerCli(str(docker), version="20.10.24")
    others = {**environ, "DOCKER_HOST": "unix:///run/d.sock"}
    assert find_docker_cli(others).path == str(docker)


def test_the_environment_of_the_client_is_minimal() -> None:
    """Contract 14.2: secrets of the user's environment do not reach the docker client."""
    kept = {"PATH": "/bin", "HOME": "/h", "DOCKER_CONFIG": "/c", "https_proxy": "p", "NO_PROXY": "n"}
    dropped = {"MAD_SECRETS_X": "s", "AWS_SECRET_ACCESS_KEY": "s", "BUILDX_BUILDER": "b", "LD_PRELOAD": "l"}
    assert client_environ({**kept, **dropped}) == kept
    found = client_environ(kept, Endpoint("unix:///run/podman/podman.sock", "socket"))
    assert found["DOCKER_HOST"] == "unix:///run/podman/podman.sock"
