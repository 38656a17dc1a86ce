"""Pushing images to registries and pulling them from there (contract 9.1)."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_madengine.engine.cli import DockerCli, find_docker_cli
from pytest_madengine.engine.client import check_answers
from pytest_madengine.engine.endpoint import find_endpoint
from pytest_madengine.engine.process import run_streaming
from pytest_madengine.errors import CredentialError, EngineError, ImageError, MadError, PullError
from pytest_madengine.images.buildlog import BuildLog, open_build_log
from pytest_madengine.images.command import pull_environ
from pytest_madengine.images.local import add_name, find_image, repository, repository_digests
from pytest_madengine.images.locking import host_lock
from pytest_madengine.images.naming import is_reference
from pytest_madengine.images.registry import (
    RegistryCredential,
    credential_key,
    invalid_credential,
    login_server,
    missing_credential,
)
from pytest_madengine.images.verdict import engine_failure, failure_line, timed_out
from pytest_madengine.secrets import Redactor

if TYPE_CHECKING:
    from docker import DockerClient

#: Seconds between attempts when a registry cannot be reached.
DELAYS: Final = (1.0, 4.0)
#: Seconds a login may take.
LOGIN_TIMEOUT: Final = 120
_DIGEST: Final = re.compile(r"\bdigest: (sha256:[0-9a-f]{64})")
#: The registry wants to know who we are, or does not like whom it sees.
_REFUSED: Final = re.compile(
    r"unauthorized|denied|no basic auth credentials|authentication required|forbidden|401", re.IGNORECASE
)
#: Worth another attempt: the network, or a registry that is busy or being restarted.
_TRANSIENT: Final = re.compile(
    r"connection refused|connection reset|broken pipe|i/o timeout|tls handshake timeout|\bEOF\b"
    r"|toomanyrequests|too many requests|no route to host|network is unreachable|temporary failure"
    r"|deadline exceeded|request canceled|server misbehaving|unexpected http status: 5\d\d|\b50[0234]\b"
    r"|short read|use of closed network connection|unexpected status code 5\d\d",
    re.IGNORECASE,
)
_log = logging.getLogger("pytest_madengine.registry")


@dataclass(frozen=True)
class Place:
    """A registry with what is needed to get in."""

    registry: str
    credential: RegistryCredential | None = None


class Transfers:
    """Pushes and pulls through the docker client, with a login of its own.

    Safe to use from several processes of a host: one reference is transferred by one of them at a time.

    :param state_dir: private directory of this user, for the client's temporary configuration and locks.
    :param delays: seconds before each further attempt after a failure of network or registry.
    """

    def __init__(
        self,
        client_factory: Callable[[], DockerClient],
        environ: Mapping[str, str],
        redactor: Redactor,
        state_dir: Path,
        *,
        delays: Sequence[float] = DELAYS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client_factory = client_factory
        self._environ = environ
        self._redactor = redactor
        self._state_dir = state_dir
        self._delays = tuple(delays)
        self._sleep = sleep

    def push(self, image: str, reference: str, place: Place, *, timeout: float | None, log_path: Path) -> str:
        """Pushes a local image; returns its digest in the registry, ``sha256:...``.

        :param timeout: limit in seconds of all attempts together.
        :raises CredentialError: the registry does not let us in.
        :raises PullError: the image cannot be pushed.
        :raises EngineError: no engine, no client, or the engine broke off.
        """
        self._engine_answers("push")
        client = self._client_factory()
        if not add_name(client, image, reference):
            raise PullError(f"there is no local image {image} to push")
        tail = self._transfer("push", reference, place, timeout, log_path)
        for line in reversed(tail):
            if match := _DIGEST.search(line):
                return match[1]
        digest = repository_digests(find_image(client, reference) or {}).get(repository(reference), "")
        if not digest:
            raise PullError(f"{reference} was pushed, but its digest in the registry is not known")
        return digest

    def pull(
        self, reference: str, image: str, place: Place, *, timeout: float | None, log_path: Path
    ) -> None:
        """Pulls a reference and gives it the name of the image; errors as :meth:`push`."""
        _log.info("Pulling image from registry: %s", reference)
        self._engine_answers("pull")
        self._transfer("pull", reference, place, timeout, log_path)
        client = self._client_factory()
        attributes = find_image(client, reference)
        if attributes is None:
            raise PullError(f"{reference} was pulled, but the engine has no such image")
        add_name(client, str(attributes["Id"]), image)
        _log.info("Successfully pulled and tagged as: %s", image)

    # ---- steps --------------------------------------------------------------------------------------

    def _transfer(
        self, verb: str, reference: str, place: Place, timeout: float | None, log_path: Path
    ) -> tuple[str, ...]:
        """The last lines of a push or pull that succeeded at last."""
        if not is_reference(reference):
            raise ImageError(f"{reference!r} is not a valid image reference")
        deadline = None if timeout is None else time.monotonic() + timeout
        key = hashlib.sha256(f"{verb} {reference}".encode()).hexdigest()
        with (
            _as_engine_error(log_path),
            host_lock(self._state_dir / f"{key}.lock"),
            open_build_log(log_path, self._redactor) as log,
        ):
            for delay in (*self._delays, None):
                try:
                    with self._logged_in(place) as (cli, environ):
                        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
                        self._once(cli, environ, verb, reference, place, left, timeout, log)
                    return log.tail
                except MadError as error:
                    late = deadline is not None and time.monotonic() + (delay or 0) >= deadline
                    if delay is None or late or not is_transient(error):
                        raise
                    log.note(f"{error.message}; again in {delay:g} s\n")
                    self._sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def _once(
        self,
        cli: DockerCli,
        environ: Mapping[str, str],
        verb: str,
        reference: str,
        place: Place,
        left: float | None,
        timeout: float | None,
        log: BuildLog,
    ) -> None:
        log.note(f"$ {cli.path} {verb} {reference}\n")
        ended = run_streaming(
            [cli.path, verb, reference],
            environ=environ,
            cwd=self._state_dir,
            output=log.write,
            timeout=left,
            watch=lambda: self._engine_answers(verb),
        )
        log.finish()
        if ended.timed_out and timeout is not None:
            raise timed_out(timeout, log.tail, pull=True)
        if ended.code != 0:
            raise self._failure(verb, reference, place, ended.code, log.tail)

    def _engine_answers(self, verb: str) -> None:
        check_answers(self._client_factory(), f"{verb} an image")

    def _failure(self, verb: str, reference: str, place: Place, code: int, tail: tuple[str, ...]) -> MadError:
        line = self._redactor.text(failure_line(tail)) or f"exit status {code} without any output"
        engine = engine_failure(f"docker {verb} {reference}", line, tail)
        if engine is not None and not is_transient(engine):
            return engine
        if _REFUSED.search(line) and not _TRANSIENT.search(line):
            if place.credential is None or place.credential.anonymous:
                error = missing_credential(place.registry)
                return CredentialError(error.message, hint=f"docker {verb} {reference}: {line}")
            return CredentialError(
                f"docker {verb} {reference}: {line}",
                hint=f"user {place.credential.username} may not do this: check the credential "
                f"{place.credential.key}",
                log_tail=tail,
            )
        return PullError(
            f"docker {verb} {reference} failed: {line}",
            hint="check the name of the registry and that it runs",
            log_tail=tail,
        )

    @contextlib.contextmanager
    def _logged_in(self, place: Place) -> Iterator[tuple[DockerCli, dict[str, str]]]:
        """The client, and an environment in which it is logged in; nothing of that is left afterwards.

        Without a credential the client uses what the user's own configuration knows.
        """
        endpoint = find_endpoint(self._environ)
        cli = find_docker_cli(self._environ)
        environ = pull_environ(cli, self._environ, endpoint)
        credential = place.credential
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if credential is None or credential.anonymous:
            yield cli, environ
            return
        if not credential.usable:
            raise invalid_credential(credential.key)
        with tempfile.TemporaryDirectory(prefix="login-", dir=self._state_dir) as directory:
            # The user's configuration is out of sight: what it says about the engine is said again.
            environ.pop("DOCKER_CONTEXT", None)
            environ["DOCKER_HOST"] = endpoint.url
            if endpoint.tls is not None:
                environ["DOCKER_CERT_PATH"] = str(endpoint.tls)
                environ |= {"DOCKER_TLS_VERIFY": "1"} if endpoint.tls_verify else {}
            environ["DOCKER_CONFIG"] = directory
            environ["REGISTRY_AUTH_FILE"] = f"{directory}/auth.json"  # Podman's
            # Any helper entry keeps the client from putting the password into the user's key ring.
            Path(directory, "config.json").write_text('{"credHelpers": {"unused.invalid": "none"}}')
            self._login(cli, environ, place.registry, credential)
            yield cli, environ

    def _login(
        self, cli: DockerCli, environ: Mapping[str, str], registry: str, credential: RegistryCredential
    ) -> None:
        assert credential.password is not None
        self._redactor.add(credential.password)
        server = login_server(registry)
        argv = [cli.path, "login", f"--username={credential.username}", "--password-stdin"]
        shown = server or credential_key(registry)
        try:
            done = subprocess.run(
                [*argv, server] if server else argv,
                input=credential.password.reveal().encode(),
                env=dict(environ),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=LOGIN_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PullError(f"docker login to {shown} did not end within {LOGIN_TIMEOUT} s") from None
        if done.returncode == 0:
            return
        lines = tuple(self._redactor.text(done.stdout.decode("utf-8", "replace")).splitlines())
        line = failure_line(lines) or f"exit status {done.returncode}"
        text = f"docker login to {shown} as {credential.username} failed: {line}"
        if _TRANSIENT.search(line) or not _REFUSED.search(line):
            raise PullError(text, hint="check the name of the registry and that it runs", log_tail=lines)
        raise CredentialError(
            text, hint=f"check username and password of the credential {credential.key}", log_tail=lines
        )


def is_transient(error: MadError) -> bool:
    """True for a failure that another attempt may get over."""
    return isinstance(error, EngineError) and _TRANSIENT.search(error.message) is not None


@contextlib.contextmanager
def _as_engine_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(f"{error.filename or path}: {error.strerror or error}") from None
