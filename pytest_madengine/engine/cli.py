"""The ``docker`` command line: which of those on PATH can build, and how well."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_madengine.engine.endpoint import Endpoint, find_endpoint
from pytest_madengine.errors import EngineError

#: Seconds a client may take to tell its version.
_PROBE_TIMEOUT: Final = 60
#: First docker client that has BuildKit without the buildx component and takes secrets from variables.
_INTEGRATED_BUILDKIT: Final = (20, 10)
#: First docker client that builds with the classic builder unless buildx is installed.
_BUILDX_NEEDED: Final = (23, 0)
#: First buildx with ``--build-context``.
_BUILD_CONTEXTS: Final = (0, 8)
#: First Podman with ``--build-context``.
_PODMAN_BUILD_CONTEXTS: Final = (4, 2)
#: Variables the client needs; secrets of the user's environment are none of its business.
_PASSED: Final = re.compile(
    r"PATH|HOME|USER|TMPDIR|XDG_RUNTIME_DIR|XDG_CONFIG_HOME|XDG_DATA_HOME|SSH_AUTH_SOCK|SSL_CERT_(FILE|DIR)"
    r"|DOCKER_\w+|CONTAINER_HOST|CONTAINERS_\w+|BUILDX_CONFIG|BUILDAH_\w+"
    r"|(?i:(https?|ftp|no|all)_proxy)"
)


@dataclass(frozen=True)
class DockerCli:
    """A client that can build images."""

    path: str
    #: ``RUN --mount`` and build secrets work.
    buildkit: bool = False
    #: ``--build-context`` works.
    build_contexts: bool = False
    version: str = ""
    #: ``docker`` or ``podman``.
    kind: str = "docker"

    @property
    def has_sessions(self) -> bool:
        """The engine fetches the files it wants, and keeps those that seem unchanged."""
        return self.buildkit and self.kind == "docker"

    @property
    def quality(self) -> tuple[bool, bool]:
        """What makes one client better than another."""
        return (self.build_contexts, self.buildkit)


def find_docker_cli(environ: Mapping[str, str]) -> DockerCli:
    """The best client on PATH for the engine of :func:`find_endpoint`; looked for once per environment.

    buildx beats the BuildKit of older clients, which beats the classic builder; ``DOCKER_BUILDKIT=0`` is
    respected.  Podman's own client is used for Podman's engine only.

    :raises EngineError: there is none.
    """
    endpoint = find_endpoint(environ)
    return _find(tuple(sorted(client_environ(environ).items())), endpoint)


def client_environ(environ: Mapping[str, str], endpoint: Endpoint | None = None) -> dict[str, str]:
    """The minimal environment of the client; with an endpoint found by its socket, that address."""
    passed = {name: value for name, value in environ.items() if _PASSED.fullmatch(name)}
    if endpoint is not None and endpoint.source == "socket":
        passed["DOCKER_HOST"] = endpoint.url
    return passed


@functools.lru_cache(maxsize=16)
def _find(variables: tuple[tuple[str, str], ...], endpoint: Endpoint) -> DockerCli:
    environ = dict(variables)
    names = ("podman", "docker") if endpoint.podman else ("docker",)
    found = [client for name in names for client in _clients(name, environ, endpoint)]
    if found:
        return max(found, key=lambda client: client.quality)  # the first of equals: order of PATH
    hint = "install the docker command line (Debian: docker.io or docker-ce-cli)"
    if not endpoint.podman and shutil.which("podman", path=environ.get("PATH", "")):
        hint += "; podman is installed, but the engine in use is Docker's: see DOCKER_HOST"
    raise EngineError(f"no usable command '{' or '.join(names)}' on PATH: images cannot be built", hint=hint)


def _clients(name: str, environ: Mapping[str, str], endpoint: Endpoint) -> Iterator[DockerCli]:
    seen: set[Path] = set()
    for directory in environ.get("PATH", "").split(os.pathsep):
        path = shutil.which(name, path=directory) if directory else None
        if path is None or Path(path).resolve() in seen:
            continue
        seen.add(Path(path).resolve())
        text = _output([path, "--version"], environ)
        version = _version(text)
        if version is None:
            continue
        number = _number(text)
        if "podman" in text.lower():
            # Also behind the name docker (package podman-docker): a client of Podman only.
            if endpoint.podman:
                yield DockerCli(path, True, version >= _PODMAN_BUILD_CONTEXTS, number, "podman")
        elif endpoint.podman or environ.get("DOCKER_BUILDKIT") in {"0", "false"}:
            yield DockerCli(path, version=number)
        else:
            yield _docker(path, version, number, environ)


def _docker(path: str, version: tuple[int, ...], number: str, environ: Mapping[str, str]) -> DockerCli:
    buildx = _version(_output([path, "buildx", "version"], environ))
    if buildx is not None:
        return DockerCli(path, True, buildx >= _BUILD_CONTEXTS, number)
    return DockerCli(path, _INTEGRATED_BUILDKIT <= version < _BUILDX_NEEDED, False, number)


def _output(argv: list[str], environ: Mapping[str, str]) -> str:
    """What a client prints; empty when it fails: it is then not usable."""
    try:
        done = subprocess.run(
            argv,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _number(text: str) -> str:
    match = re.search(r"\d+\.\d+(?:\.\d+)?", text)
    return match[0] if match else ""


def _version(text: str) -> tuple[int, ...] | None:
    number = _number(text)
    return tuple(map(int, number.split("."))) if number else None
