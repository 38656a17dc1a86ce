"""A client of the container engine, with errors that say in one sentence what is wrong."""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.engine.answering import SILENCE, Answering, causes
from pytest_madengine.engine.cli import DockerCli, find_docker_cli
from pytest_madengine.engine.endpoint import Endpoint, find_endpoint
from pytest_madengine.errors import EngineError
from pytest_madengine.secrets import Redactor

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["DockerCli", "check_answers", "connect", "engine_error", "find_docker_cli"]

#: Seconds the engine may take to answer at all.
HANDSHAKE_TIMEOUT: Final = 60
#: Seconds between two bytes of an answer, while the engine answers pings: creating a container from a large
#: image can take minutes.
CLIENT_TIMEOUT: Final = 1800


def connect(environ: Mapping[str, str], silence: float | None = SILENCE) -> DockerClient:
    """A client of the engine that ``docker`` would use, or of Podman where Docker's socket is absent.

    The API version is negotiated.  The caller closes the client.

    :param silence: seconds without any answer after which the engine counts as hung; ``None``: no limit.
    :raises EngineError: no engine, no permission, or it does not answer.
    """
    return connect_to(find_endpoint(environ), silence)


def check_answers(client: DockerClient, doing: str) -> None:
    """Says what is wrong with the engine more clearly than the command line; waits for one that restarts.

    :param doing: what it is needed for, e.g. ``build an image``.
    :raises EngineError: it is absent or hangs.
    """
    import docker.errors
    from requests.exceptions import RequestException

    try:
        client.ping()
    except (docker.errors.DockerException, RequestException) as error:
        raise EngineError(
            f"cannot {doing}: the container engine does not answer: {' '.join(str(error).split())}",
            hint="check it with 'docker info'",
        ) from error


def connect_to(endpoint: Endpoint, silence: float | None = SILENCE) -> DockerClient:
    """A client of this engine; see :func:`connect`."""
    import docker
    from docker.errors import DockerException

    try:
        if endpoint.socket is not None:
            _try(endpoint.socket)
        client = docker.DockerClient(
            base_url=endpoint.url,
            version="auto",
            timeout=HANDSHAKE_TIMEOUT if silence is None else min(HANDSHAKE_TIMEOUT, math.ceil(silence)),
            tls=_tls(endpoint),
            use_ssh_client=endpoint.url.startswith("ssh://"),
        )
    except (DockerException, OSError, ValueError) as error:
        raise engine_error(endpoint, error) from None
    client.api.timeout = CLIENT_TIMEOUT
    # Every request of whatever part of the library goes through here.
    client.api.send = Answering(client.api, silence=silence)  # type: ignore[method-assign]
    return client


def _try(path: Path) -> None:
    """Connects once by hand: the library forgets to close a socket that it could not connect."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(HANDSHAKE_TIMEOUT)
        probe.connect(str(path))


def _tls(endpoint: Endpoint) -> Any:
    if endpoint.tls is None:
        return False
    from docker.tls import TLSConfig

    certificate, key = endpoint.tls / "cert.pem", endpoint.tls / "key.pem"
    authority = endpoint.tls / "ca.pem"
    return TLSConfig(
        client_cert=(str(certificate), str(key)) if certificate.exists() else None,
        ca_cert=str(authority) if authority.exists() else None,
        verify=endpoint.tls_verify,
    )


def engine_error(endpoint: Endpoint, error: BaseException) -> EngineError:
    """The sentence for a failed connection: absent, not permitted, refused, or what the engine says."""
    where = Redactor().text(f"{endpoint.url} ({endpoint.source})")
    found = list(causes(error))
    if any(isinstance(cause, PermissionError) for cause in found):
        return EngineError(
            f"permission denied at the container engine {where}",
            hint="add your user to the group 'docker' and log in again, or use a rootless engine",
        )
    if any(isinstance(cause, FileNotFoundError) for cause in found):
        return EngineError(
            f"no container engine at {where}: there is no such socket",
            hint="start the engine, or correct DOCKER_HOST or the docker context",
        )
    if any(isinstance(cause, ConnectionRefusedError) for cause in found):
        return EngineError(
            f"the container engine {where} refuses connections",
            hint="it is not running: start it (systemctl start docker), or correct DOCKER_HOST",
        )
    text = " ".join(Redactor().text(str(found[-1]) or str(error)).split())
    return EngineError(
        f"the container engine {where} does not answer: {text}",
        hint="check it with 'docker info'",
    )
