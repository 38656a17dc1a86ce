"""What is to be built for one item (contract 8.3), decided before anything talks to Docker."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_madengine.catalog.model import Model, Parameter
from pytest_madengine.context.types import Context
from pytest_madengine.errors import BuildError
from pytest_madengine.images.dockerfile import DockerfileMatch, read_dockerfile
from pytest_madengine.images.naming import repaired_image_name
from pytest_madengine.images.syntax import base_image, declared_args, secret_mounts
from pytest_madengine.plan.wording import as_text
from pytest_madengine.secrets import Redactor, Secret, is_secret_name, reveal
from pytest_madengine.settings import Settings

ARCHITECTURE: Final = "MAD_SYSTEM_GPU_ARCHITECTURE"
#: Build arguments the engine knows without an ``ARG``.
PREDEFINED: Final = re.compile(r"(?i:(https?|ftp|no|all)_proxy)")
_ARGUMENT: Final = re.compile(r"[^\s=\0]+")


@dataclass(frozen=True)
class BuildRequest:
    """One build as an item wants it; equal builds have equal keys (:func:`build_key`)."""

    model_name: str
    dockerfile: DockerfileMatch
    context_dir: Path
    #: Image names, each without a tag or with one.
    names: tuple[str, ...]
    #: Name -> value.  A :class:`Secret` is passed by name only.
    build_args: Mapping[str, str | Secret]
    #: Directory of the named context ``tools``; ``None`` when the MAD root has none.
    tools_context: Path | None
    pull: bool
    no_cache: bool
    #: Seconds; ``None`` is no limit.
    timeout: float | None
    log_path: Path
    labels: Mapping[str, str]
    platform: str = ""
    #: Build arguments that are passed by name although their values are plain text.
    by_name: frozenset[str] = frozenset()
    #: Secrets that are offered as build secrets only, not as build arguments.
    build_secrets: Mapping[str, str | Secret] | None = None
    base_docker: str = ""
    notes: tuple[str, ...] = ()

    @property
    def inherited(self) -> dict[str, str | Secret]:
        """Build arguments and build secrets whose values only the client's environment has."""
        hidden = {
            name: value
            for name, value in self.build_args.items()
            if isinstance(value, Secret) or name in self.by_name
        }
        return {**(self.build_secrets or {}), **hidden}


def build_key(request: BuildRequest, text: str | None = None) -> str:
    """Identity of a build: SHA-256 over what contract 8.3 names; of secrets only the names.

    :param text: content of the Dockerfile; by default it is read.
    :raises DockerfileError: the Dockerfile cannot be read.
    """
    if text is None:
        text = read_dockerfile(request.dockerfile.path, request.dockerfile.relative)
    inherited = request.inherited
    identity = {
        "dockerfile": str(request.dockerfile.path),
        "content": hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(),
        "context": str(request.context_dir),
        "tools": str(request.tools_context or ""),
        "args": sorted((k, reveal(v)) for k, v in request.build_args.items() if k not in inherited),
        "secrets": sorted(inherited),
        "platform": request.platform,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def make_build_request(
    model: Model,
    parameters: Iterable[Parameter],
    match: DockerfileMatch,
    context: Context,
    credentials: Mapping[str, str | Secret],
    settings: Settings,
    *,
    log_path: Path,
    labels: Mapping[str, str],
    platform: str = "",
    arch: str = "",
    suffix: str = "",
) -> BuildRequest:
    """The build of one item by the rules of contract 8.3.

    :param credentials: fields of the model's credential as ``<CRED>_<FIELD upper>``.
    :param arch: target architecture, when one image per architecture is built.
    :param suffix: what tells the image from one that would have the same name.
    :raises DockerfileError: the Dockerfile cannot be read.
    :raises BuildError: the build context is no directory, or a build argument has an impossible name.
    """
    text = read_dockerfile(match.path, match.relative)
    declared = declared_args(text)
    from_parameters = {
        parameter.name: "1" if parameter.value is None else parameter.value
        for parameter in parameters
        if parameter.name in declared
    }
    given = _given(context, from_parameters, arch)
    plain, hidden = _split(given)
    hidden = {**credentials, **hidden}
    passed = {name: value for name, value in hidden.items() if name in declared or PREDEFINED.fullmatch(name)}
    offered = secret_mounts(text)
    name = repaired_image_name(model.name, match.base, from_parameters, arch, suffix)
    known = {key: reveal(value) for key, value in plain.items()}
    return BuildRequest(
        model_name=model.name,
        dockerfile=match,
        context_dir=_context_directory(model, match, settings.root),
        names=(name.text,),
        build_args=_checked({**plain, **passed}, match),
        tools_context=_directory(settings.root / "docker/common"),
        pull=not settings.no_pull,
        no_cache=settings.clean_docker_cache,
        timeout=settings.timeout_build,
        log_path=log_path,
        labels=dict(labels),
        platform=platform,
        by_name=frozenset(passed),
        build_secrets={key: hidden[key] for key in sorted(offered & hidden.keys()) if key not in passed},
        base_docker=base_image(text, known),
        notes=_notes(name.note, passed, match),
    )


def _given(context: Context, parameters: Mapping[str, str], arch: str) -> dict[str, str | Secret]:
    values: dict[str, str | Secret] = {}
    if context.facts.gpu_architecture:
        values[ARCHITECTURE] = context.facts.gpu_architecture
    for name, value in (context.get("docker_build_arg") or {}).items():
        values[name] = value if isinstance(value, Secret) else as_text(value)
    values.update(parameters)
    if arch:
        values[ARCHITECTURE] = arch
    return values


def _split(
    values: Mapping[str, str | Secret],
) -> tuple[dict[str, str | Secret], dict[str, str | Secret]]:
    """Plain build arguments, and those that must never stand in an argument list (contract 14.2)."""
    hidden: dict[str, str | Secret] = {}
    masks = Redactor()
    for name, value in values.items():
        if isinstance(value, Secret):
            hidden[name] = value
        elif is_secret_name(name) or masks.text(value) != value:  # the latter: a password in a URL
            hidden[name] = Secret(value)
    return {name: value for name, value in values.items() if name not in hidden}, hidden


def _checked(arguments: dict[str, str | Secret], match: DockerfileMatch) -> dict[str, str | Secret]:
    for name, value in arguments.items():
        if not _ARGUMENT.fullmatch(name) or "\0" in reveal(value):
            raise BuildError(
                f"{match.relative}: {name!r} cannot be passed as a build argument",
                hint="a name has no blank and no '=', a value no NUL character",
            )
    return arguments


def _context_directory(model: Model, match: DockerfileMatch, root: Path) -> Path:
    if model.dockercontext:
        directory = _directory(root / model.dockercontext)
        if directory is None:
            raise BuildError(
                f"{model.source}: model {model.name}: dockercontext {model.dockercontext!r} is no directory",
                hint="it is relative to the MAD root",
            )
        return directory
    if "primus" in match.relative:
        return root
    return _directory(root / "docker") or root


def _directory(path: Path) -> Path | None:
    return path if path.is_dir() else None


def _notes(name: str, passed: Mapping[str, object], match: DockerfileMatch) -> tuple[str, ...]:
    notes = [name] if name else []
    if passed:
        notes.append(
            f"{match.relative}: {', '.join(sorted(passed))} passed as build arguments stay in the image "
            "history: read them with RUN --mount=type=secret instead of ARG"
        )
    return tuple(notes)
