"""Where the container engine listens: ``DOCKER_HOST``, docker contexts, sockets of Docker and Podman."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import EngineError
from pytest_madengine.util import jsontext

DOCKER_SOCKET: Final = Path("/var/run/docker.sock")
PODMAN_SOCKET: Final = Path("/run/podman/podman.sock")
#: Fields of ``proxies``, and the variables they become in upper and lower case.
_PROXIES: Final[Mapping[str, str]] = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "noProxy": "NO_PROXY",
    "allProxy": "ALL_PROXY",
}


@dataclass(frozen=True)
class Endpoint:
    """An address of an engine, and how we came to it."""

    url: str
    #: ``DOCKER_HOST``, ``docker context <name>``, ``socket``.
    source: str
    #: Directory with ``ca.pem``, ``cert.pem``, ``key.pem``; ``None`` without TLS.
    tls: Path | None = None
    tls_verify: bool = False

    @property
    def podman(self) -> bool:
        """True when the address is one of Podman's: its API has no BuildKit session."""
        return "podman" in self.url

    @property
    def socket(self) -> Path | None:
        """The unix socket; ``None`` for another kind of address."""
        scheme, _, path = self.url.partition("://")
        return Path(path) if scheme == "unix" else None


def find_endpoint(
    environ: Mapping[str, str], docker_socket: Path = DOCKER_SOCKET, podman_socket: Path = PODMAN_SOCKET
) -> Endpoint:
    """The engine that ``docker`` would use; where Docker's socket is absent, a per-user one or Podman's.

    :raises EngineError: there is no socket, or the docker context named by the user cannot be read.
    """
    config = _config_directory(environ)
    if environ.get("DOCKER_HOST"):
        verify = environ.get("DOCKER_TLS_VERIFY", "") != ""
        certificates = environ.get("DOCKER_CERT_PATH", "")
        tls = Path(certificates) if certificates else config if verify else None
        return Endpoint(environ["DOCKER_HOST"], "DOCKER_HOST", tls, verify)
    name = environ.get("DOCKER_CONTEXT") or _current_context(config)
    if name and name != "default":
        return _context_endpoint(config, name)
    sockets = [docker_socket, *_user_sockets(environ), podman_socket]
    for socket in sockets:
        if _exists(socket):
            return Endpoint(f"unix://{socket}", "socket")
    raise EngineError(
        f"no container engine: there is no socket {' or '.join(map(str, sockets))}",
        hint="install and start Docker or Podman, or set DOCKER_HOST to the address of an engine",
    )


def _user_sockets(environ: Mapping[str, str]) -> list[Path]:
    """Sockets of a rootless Docker and of a rootless Podman."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    return [Path(runtime, "docker.sock"), Path(runtime, "podman/podman.sock")] if runtime else []


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # we may not look into the directory: connecting says so


def _config_directory(environ: Mapping[str, str]) -> Path:
    given = environ.get("DOCKER_CONFIG")
    return Path(given) if given else Path(environ.get("HOME") or Path.home(), ".docker")


def client_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that ``docker run`` sets because of ``proxies`` in the client's configuration."""
    try:
        url = find_endpoint(environ).url
    except EngineError:
        url = ""
    configured = _client_config(_config_directory(environ)).get("proxies")
    if not isinstance(configured, dict):
        return {}
    chosen = configured.get(url, configured.get("default"))
    found: dict[str, str] = {}
    for key, name in _PROXIES.items():
        value = chosen.get(key) if isinstance(chosen, dict) else None
        if isinstance(value, str) and value and "\0" not in value:
            found |= {name: value, name.lower(): value}
    return found


def _current_context(config: Path) -> str:
    """``currentContext`` of the client's configuration; empty when there is none that can be read."""
    name = _client_config(config).get("currentContext", "")
    return name if isinstance(name, str) else ""


def _client_config(config: Path) -> dict[str, Any]:
    try:
        value = jsontext.read(config / "config.json")
    except (OSError, ValueError):
        return {}  # the client warns and goes on with its defaults, and so do we
    return value if isinstance(value, dict) else {}


def _context_endpoint(config: Path, name: str) -> Endpoint:
    directory = hashlib.sha256(name.encode()).hexdigest()
    path = config / "contexts/meta" / directory / "meta.json"
    try:
        docker = jsontext.read(path)["Endpoints"]["docker"]
        host, insecure = str(docker["Host"]), bool(docker.get("SkipTLSVerify", False))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise EngineError(
            f"docker context {name!r} cannot be read from {path}",
            hint="choose another one with 'docker context use', or set DOCKER_HOST",
        ) from None
    tls = config / "contexts/tls" / directory / "docker"
    return Endpoint(host, f"docker context {name}", tls if _exists(tls) else None, not insecure)
