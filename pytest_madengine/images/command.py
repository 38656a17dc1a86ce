"""The argument lists and the environment of the docker client (contract 8.3, 14.2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_madengine.engine.cli import DockerCli, client_environ
from pytest_madengine.engine.endpoint import Endpoint
from pytest_madengine.errors import BuildError, EngineError
from pytest_madengine.images.buildfiles import BuildFiles
from pytest_madengine.images.dockerfile import references_build_context
from pytest_madengine.images.naming import is_reference
from pytest_madengine.images.request import PREDEFINED, BuildRequest
from pytest_madengine.secrets import reveal


def build_argv(
    request: BuildRequest, cli: DockerCli, text: str, id_file: Path, files: BuildFiles | None = None
) -> list[str]:
    """The argument list of a build; it never holds a secret.

    :param text: content of the Dockerfile.
    :param id_file: file into which the client writes the image id.
    :param files: names under which the client is given Dockerfile and context; by default their own.
    :raises EngineError: the Dockerfile needs the named context ``tools`` and the client has none.
    :raises BuildError: an image name is not valid.
    """
    inherited = request.inherited
    argv = [cli.path, "build"]
    if request.no_cache:
        argv.append("--no-cache")
    if not cli.buildkit:
        # The classic builder keeps the container of a failing step, with all build arguments in it.
        argv.append("--force-rm")
    argv.append("--network=host")
    if request.tools_context is not None:
        if cli.build_contexts:
            argv += ["--build-context", f"tools={request.tools_context}"]
        elif references_build_context(text, "tools"):
            raise EngineError(
                f"{request.dockerfile.relative} takes files from the build context 'tools', "
                f"which {cli.path} {cli.version} cannot give",
                hint="install the docker buildx component",
            )
    for name in request.names:
        if not is_reference(name):
            raise BuildError(f"{name!r} is not a valid image name")
        argv += ["-t", name]
    if request.pull:
        argv.append("--pull")
    argv += ["-f", str(request.dockerfile.path if files is None else files.dockerfile)]
    for name, value in request.build_args.items():
        argv += ["--build-arg", name if name in inherited else f"{name}={reveal(value)}"]
    if cli.buildkit:
        for name in sorted(inherited):
            argv += ["--secret", f"id={name},env={name}"]
    if request.platform:
        argv += ["--platform", request.platform]
    for name, label in sorted(request.labels.items()):
        argv += ["--label", f"{name}={label}"]
    context = str(request.context_dir) if files is None else files.context
    return [*argv, "--iidfile", str(id_file), context]


def build_environ(
    request: BuildRequest, cli: DockerCli, environ: Mapping[str, str], endpoint: Endpoint
) -> dict[str, str]:
    """The environment of a build: what the client needs, and the values passed by name.

    :raises BuildError: a value passed by name would replace a variable of the client.
    """
    variables = pull_environ(cli, environ, endpoint)
    for name, value in request.inherited.items():
        if (name in variables or name in client_environ({name: ""})) and not PREDEFINED.fullmatch(name):
            raise BuildError(
                f"{request.dockerfile.relative}: {name} cannot be a secret build argument: "
                "the docker client uses a variable of that name"
            )
        variables[name] = reveal(value)
    return variables


def pull_environ(cli: DockerCli, environ: Mapping[str, str], endpoint: Endpoint) -> dict[str, str]:
    """The environment of the client without anything of a build."""
    variables = client_environ(environ, endpoint)
    if cli.kind == "docker":
        variables |= {
            "DOCKER_BUILDKIT": "1" if cli.buildkit else "0",
            "BUILDKIT_PROGRESS": "plain",
            # Attestations turn an image into an index, whose id is not that of the image.
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
            "DOCKER_CLI_HINTS": "false",
        }
    return variables
