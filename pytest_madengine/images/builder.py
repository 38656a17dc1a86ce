"""Builds images: equal builds once per session, whatever the number of processes (contract 8.3)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_madengine.engine.cli import DockerCli, find_docker_cli
from pytest_madengine.engine.client import check_answers
from pytest_madengine.engine.endpoint import find_endpoint
from pytest_madengine.engine.process import run_streaming
from pytest_madengine.errors import EngineError, MadError, PullError
from pytest_madengine.images.buildfiles import PROOF, build_files
from pytest_madengine.images.buildlog import open_build_log
from pytest_madengine.images.command import build_argv, build_environ, pull_environ
from pytest_madengine.images.dockerfile import read_dockerfile
from pytest_madengine.images.dockerlines import directives
from pytest_madengine.images.local import (
    add_name,
    base_digest,
    find_image,
    given_image,
    image_env,
    image_labels,
)
from pytest_madengine.images.locking import host_lock
from pytest_madengine.images.memory import Built, Failed, forget, recall, remember
from pytest_madengine.images.naming import is_reference
from pytest_madengine.images.request import BuildRequest, build_key, make_build_request
from pytest_madengine.images.verdict import build_failure, pull_failure, registry_is_silent, timed_out
from pytest_madengine.plan.runplan import Image
from pytest_madengine.secrets import Redactor, Secret
from pytest_madengine.util.clock import utc_precise

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["BuildRequest", "ImageBuilder", "build_key", "given_image", "make_build_request"]


class ImageBuilder:
    """Makes images ready to run.  Safe to use from several threads and processes of a session.

    :param client_factory: gives a client of the engine; called only when one is needed.
    :param state_dir: directory of the session, shared by its processes: results of builds.
    :param host_lock_dir: directory of the host: no two sessions make the same build at once.
    """

    def __init__(
        self,
        client_factory: Callable[[], DockerClient],
        environ: Mapping[str, str],
        redactor: Redactor,
        state_dir: Path,
        host_lock_dir: Path,
    ) -> None:
        self._client_factory = client_factory
        self._environ = environ
        self._redactor = redactor
        self._state_dir = state_dir
        self._host_lock_dir = host_lock_dir

    def ensure(
        self, request: BuildRequest, *, retry: bool = False, warn: Callable[[str], object] = str
    ) -> Image:
        """The image of a request: built now, or by an equal request of this session before.

        A failed build fails every equal request with the same error, without building again.

        :param retry: build again when the earlier failure was one of the machine, not of the Dockerfile.
        :param warn: told what the record should say about the image.
        :raises BuildError: the Dockerfile cannot be built, or the limit expired.
        :raises PullError: a base image cannot be pulled.
        :raises EngineError: no engine, no client, or the engine broke off.
        """
        self._redactor.add(*(v for v in request.inherited.values() if isinstance(v, Secret)))
        key = build_key(request)
        state = self._state_dir / f"{key}.json"
        with self._locked(key):
            known = recall(state)
            if isinstance(known, Failed) and retry and known.infrastructure:
                forget(state)
                known = None
            if isinstance(known, Built) and not self._named(known, request):
                known = None  # removed from the engine behind our back
            if known is None:
                known = self._build(request, key)
                remember(state, known)
            else:
                _share_log(known.build_log, request.log_path)
        if isinstance(known, Failed):
            raise known.error()
        for text in known.warnings:
            warn(text)
        return Image(
            name=request.names[0],
            id=known.id,
            dockerfile=request.dockerfile.relative,
            base_docker=request.base_docker,
            docker_sha=known.docker_sha,
            build_duration=known.build_duration,
            build_started=known.build_started,
            build_finished=known.build_finished,
            build_log=str(request.log_path),
            env=known.env,
            context=request.dockerfile.context,
        )

    def given(
        self, name: str, *, pull: bool = True, timeout: float | None = None, log_path: Path | None = None
    ) -> Image:
        """An image the user named: the local one, else pulled, once for all processes of the host.

        :param timeout: limit of the pull in seconds.
        :raises PullError: it is neither local nor can it be pulled in time.
        """
        client = self._client_factory()
        key = hashlib.sha256(f"pull {name}".encode("utf-8", "surrogateescape")).hexdigest()
        log = log_path or self._state_dir / f"{key}.pull.log"

        def pull_once(reference: str) -> None:
            with self._locked(key):
                if find_image(client, reference) is None:
                    self._pull(reference, timeout, log)

        return given_image(client, name, pull_once if pull else None)

    def local_id(self, name: str) -> str:
        """The id of an image that is here by a name; empty when there is none, or no engine answers."""
        if not is_reference(name):
            return ""
        try:
            attributes = find_image(self._client_factory(), name)
        except MadError:  # whoever asks treats it as another image; a run says what is wrong with the engine
            return ""
        return "" if attributes is None else str(attributes["Id"])

    # ---- steps --------------------------------------------------------------------------------------

    def _build(self, request: BuildRequest, key: str) -> Built | Failed:
        self._engine_answers("build an image")
        cli = find_docker_cli(self._environ)
        known = self._build_once(request, key, cli)
        if isinstance(known, Failed) and self._has_base(request, known):
            local = self._build_locally(request, key, cli, known)
            return known if local is None else local
        if known is None:
            known = self._build_once(replace(request, no_cache=True), key, cli, again=True)
        if known is None:
            raise EngineError(
                f"{request.dockerfile.relative} ({request.model_name}): the engine gave an image that was "
                "not built from this Dockerfile and these arguments, also without its cache",
                hint="empty the engine's build cache with 'docker builder prune'",
            )
        return known

    def _has_base(self, request: BuildRequest, failed: Failed) -> bool:
        """True when a build failed only because no registry answers, and the base image is here."""
        silent = failed.kind == PullError.__name__ and registry_is_silent(failed.message)
        if not (request.pull and silent and is_reference(request.base_docker)):
            return False
        return find_image(self._client_factory(), request.base_docker) is not None

    def _build_locally(self, request: BuildRequest, key: str, cli: DockerCli, failed: Failed) -> Built | None:
        """The build with base images as they are here; ``None`` when it fails as well."""
        built = self._build_once(replace(request, pull=False), key, cli)
        if not isinstance(built, Built):
            return None
        text = f"the local base image {request.base_docker} was used: {failed.message}"
        return replace(built, warnings=(*built.warnings, text))

    def _build_once(
        self, request: BuildRequest, key: str, cli: DockerCli, *, again: bool = False
    ) -> Built | Failed | None:
        """Builds, and proves the image; ``None`` when it is another one than was asked for."""
        text = read_dockerfile(request.dockerfile.path, request.dockerfile.relative)
        id_file = self._state_dir / f"{key}.iid"
        environ = build_environ(request, cli, self._environ, find_endpoint(self._environ))
        # Checked before anything is written; the log shows the names users know.
        shown = build_argv(request, cli, text, id_file)
        began, started = utc_precise(), time.monotonic()
        with (
            _log_errors(request.log_path),
            open_build_log(request.log_path, self._redactor) as log,
            build_files(
                request, key, self._state_dir / f"{key}.files", buildkit=cli.has_sessions, fresh=again
            ) as files,
        ):
            if again:
                log.note("the engine gave another image than the one asked for: built again, without cache\n")
            log.note(f"$ {shlex.join(shown)}\n")
            id_file.parent.mkdir(parents=True, exist_ok=True)
            id_file.unlink(missing_ok=True)
            ended = run_streaming(
                build_argv(files.apply(request), cli, text, id_file, files),
                environ=environ,
                cwd=files.directory,
                output=log.write,
                timeout=request.timeout,
                watch=lambda: self._engine_answers("build an image"),
            )
            duration = time.monotonic() - started
            log.finish()
            log.note(f"docker build ended with status {ended.code} after {duration:.1f} s\n")
        if ended.timed_out and request.timeout is not None:
            return self._failed(timed_out(request.timeout, log.tail), request)
        if ended.code != 0:
            where, frontend = request.dockerfile.relative, directives(text).syntax
            failure = build_failure(request.model_name, where, ended.code, log.tail, frontend)
            return self._failed(failure, request)
        built = self._built(request, key, id_file, duration, log.resolved)
        return built and replace(built, build_started=began, build_finished=utc_precise())

    def _built(
        self, request: BuildRequest, key: str, id_file: Path, duration: float, resolved: Mapping[str, str]
    ) -> Built | None:
        """The image that was built; ``None`` when its label does not say that it is this one."""
        client = self._client_factory()
        image_id = id_file.read_text(encoding="ascii").strip() if id_file.exists() else ""
        id_file.unlink(missing_ok=True)
        attributes = find_image(client, image_id or request.names[0])
        if attributes is None:
            raise EngineError(
                f"docker build of {request.dockerfile.relative} succeeded, but the engine has no image "
                f"{image_id or request.names[0]}",
                hint="the docker client may talk to another engine: see DOCKER_HOST and 'docker buildx ls'",
            )
        if image_labels(attributes).get(PROOF) != key:
            return None
        return Built(
            id=str(attributes["Id"]),
            names=request.names,
            docker_sha=base_digest(client, request.base_docker, resolved),
            build_duration=round(duration, 3),
            build_log=str(request.log_path),
            env=image_env(attributes),
        )

    def _failed(self, error: MadError, request: BuildRequest) -> Failed:
        return Failed(
            kind=type(error).__name__,
            message=self._redactor.text(error.message),
            hint=error.hint,
            log_tail=error.log_tail,
            infrastructure=error.infrastructure,
            build_log=str(request.log_path),
        )

    def _named(self, built: Built, request: BuildRequest) -> bool:
        """Gives the image the names of this request as well; false when the image is gone."""
        client = self._client_factory()
        return all(add_name(client, built.id, name) for name in request.names)

    def _pull(self, name: str, timeout: float | None, log_path: Path) -> None:
        self._engine_answers("pull an image")
        cli = find_docker_cli(self._environ)
        environ = pull_environ(cli, self._environ, find_endpoint(self._environ))
        with _log_errors(log_path), open_build_log(log_path, self._redactor) as log:
            ended = run_streaming(
                [cli.path, "pull", name],
                environ=environ,
                cwd=log_path.parent,
                output=log.write,
                timeout=timeout,
                watch=lambda: self._engine_answers("pull an image"),
            )
            log.finish()
        if ended.timed_out and timeout is not None:
            raise timed_out(timeout, log.tail, pull=True)
        if ended.code != 0:
            raise pull_failure(name, ended.code, log.tail)

    def _engine_answers(self, doing: str) -> None:
        check_answers(self._client_factory(), doing)

    def _locked(self, key: str) -> AbstractContextManager[None]:
        return host_lock(self._host_lock_dir / f"{key}.lock")


@contextlib.contextmanager
def _log_errors(log_path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(f"{error.filename or log_path}: {error.strerror or error}") from None


def _share_log(source: str, target: Path) -> None:
    """Every item of a shared build has the log among its artifacts."""
    if target.exists() or not Path(source).exists():
        return
    with _log_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)
