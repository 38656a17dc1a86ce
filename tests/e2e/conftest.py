"""What every end-to-end test with a container engine needs: a client and a tiny image."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from docker import DockerClient

TINY_IMAGE: Final = "mad-test/tiny:latest"
BUSYBOX: Final = Path("/bin/busybox")
BASH: Final = Path("/bin/bash-static")
_DIGEST_LABEL: Final = "mad-test.digest"
#: Raise it when the recipe below changes: an image of an older recipe is then replaced.
_RECIPE: Final = "1"


def _unavailable(reason: str) -> NoReturn:
    """Skips on a developer's machine; in CI a missing service is a failure, never a silent skip."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def docker_client() -> Iterator[DockerClient]:
    """A client of the running container engine."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=600)
        client.ping()
    except (DockerException, OSError) as error:
        _unavailable(f"no container engine answers: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def tiny_image(docker_client: DockerClient) -> str:
    """Name of an image with static bash and all BusyBox applets; made once, kept for later sessions."""
    from docker.errors import ImageNotFound

    for path, package in ((BUSYBOX, "busybox-static"), (BASH, "bash-static")):
        if not path.is_file():
            _unavailable(f"{path} is missing: install the Debian package {package}")
    digest = hashlib.sha256(_RECIPE.encode() + BUSYBOX.read_bytes() + BASH.read_bytes()).hexdigest()
    try:
        if docker_client.images.get(TINY_IMAGE).labels.get(_DIGEST_LABEL) == digest:
            return TINY_IMAGE
    except ImageNotFound:
        pass
    repository, _, tag = TINY_IMAGE.partition(":")
    docker_client.api.import_image_from_data(
        _root_filesystem(),
        repository=repository,
        tag=tag,
        changes=[
            "ENV PATH=/usr/local/bin:/usr/bin:/bin",
            f"LABEL {_DIGEST_LABEL}={digest}",
            'CMD ["/bin/sh"]',
        ],
    )
    return TINY_IMAGE


def _root_filesystem() -> bytes:
    """A tar of a minimal root: applets as links, users, a world-writable ``/tmp``."""
    listing = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, mode in (("bin", 0o755), ("usr", 0o755), ("usr/bin", 0o755), ("usr/local", 0o755)):
            _add(archive, name, mode, kind=tarfile.DIRTYPE)
        for name, mode in (("etc", 0o755), ("root", 0o700), ("home", 0o755), ("tmp", 0o1777), ("var", 0o755)):
            _add(archive, name, mode, kind=tarfile.DIRTYPE)
        _add(archive, "bin/busybox", 0o755, BUSYBOX.read_bytes())
        _add(archive, "bin/bash", 0o755, BASH.read_bytes())
        for applet in listing.stdout.split():
            if applet not in {"busybox", "bash"}:
                _add(archive, f"bin/{applet}", 0o777, kind=tarfile.SYMTYPE, target="busybox")
        _add(archive, "usr/bin/env", 0o777, kind=tarfile.SYMTYPE, target="/bin/busybox")
        _add(archive, "etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/bash\n")
        _add(archive, "etc/group", 0o644, b"root:x:0:\nvideo:x:44:\nrender:x:105:\n")
    return buffer.getvalue()


def _add(
    archive: tarfile.TarFile,
    name: str,
    mode: int,
    content: bytes = b"",
    kind: bytes = tarfile.REGTYPE,
    target: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.type, entry.linkname, entry.size = mode, kind, target, len(content)
    archive.addfile(entry, io.BytesIO(content))
