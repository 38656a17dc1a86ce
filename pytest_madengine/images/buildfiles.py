"""The files of a build under names that tell their content, and the proof that the image is made of them.

BuildKit takes a file for unchanged when name, size and modification time are those of an earlier build.  For
Dockerfiles it compares file names without their directory, for contexts the name of the directory as it was
given to the client.  A fresh clone has many files of equal size and time, so the names given are ours: a
Dockerfile is named after its content, a context after the state of its files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pytest_madengine.errors import BuildError
from pytest_madengine.images.request import BuildRequest, build_key
from pytest_madengine.images.syntax import takes_another_instruction

#: Label of an image with the key of its build: Dockerfile and arguments.
PROOF: Final = "pytest-madengine.build"
#: A directory with more entries than this is a new one for every build.
MAX_ENTRIES: Final = 20_000
#: Nanoseconds within which a second change of a file may leave no trace in its times.
_TICK: Final = 2_000_000_000
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class BuildFiles:
    """What the client is given."""

    dockerfile: Path
    #: Directory the client is started in.
    directory: Path
    #: The build context, perhaps relative to :attr:`directory`.
    context: str
    #: Labels of the command line; empty when the Dockerfile itself sets the proof.
    labels: tuple[tuple[str, str], ...] = ()

    def apply(self, request: BuildRequest) -> BuildRequest:
        """The request with the labels that prove the build."""
        return replace(request, labels={**request.labels, **dict(self.labels)})


@contextlib.contextmanager
def build_files(
    request: BuildRequest, key: str, directory: Path, *, buildkit: bool, fresh: bool = False
) -> Iterator[BuildFiles]:
    """The files of a build, for as long as it lasts.

    Podman reads every file itself, and the classic builder is sent all of them every time: they are given the
    files where they lie.  A Dockerfile from outside of the context would make the classic builder change
    ``.dockerignore``, and with it the layers of ``COPY . .``.

    :param key: of :func:`build_key`.
    :param directory: ours alone during the build; removed afterwards.
    :param fresh: let the engine read every file again.
    :raises BuildError: the Dockerfile was changed since the key was made.
    :raises OSError: the files cannot be written.
    """
    proof: tuple[tuple[str, str], ...] = ((PROOF, key),)
    source = request.dockerfile.path.resolve()
    if not buildkit:
        yield BuildFiles(source, request.context_dir, str(request.context_dir), proof)
        check_unchanged(request, key)
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        content, ignore = source.read_bytes(), _ignore_file(request)
        check_unchanged(request, key, content)
        if takes_another_instruction(content.decode("utf-8-sig", "replace")):
            content += f"\nLABEL {PROOF}={key}\n".encode("ascii")
            proof = ()
        dockerfile = directory / _name_of(request, content, ignore)
        dockerfile.write_bytes(content)
        if ignore is not None:
            dockerfile.with_name(f"{dockerfile.name}.dockerignore").write_bytes(ignore)
        tops = [request.context_dir, *([request.tools_context] if request.tools_context else [])]
        context = f"context-{state_of(tops, fresh=fresh)}"
        (directory / context).symlink_to(request.context_dir.resolve())
        yield BuildFiles(dockerfile, directory, context, proof)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def check_unchanged(request: BuildRequest, key: str, content: bytes | None = None) -> None:
    """Makes sure that the Dockerfile is still the one that the key was made of.

    :raises BuildError: it is not.
    """
    text = None if content is None else content.decode("utf-8-sig", "replace")
    if build_key(request, text) != key:
        raise BuildError(
            f"{request.dockerfile.relative} was changed while it was built", hint="start the session again"
        )


def _ignore_file(request: BuildRequest) -> bytes | None:
    """Content of ``NAME.dockerignore`` beside the Dockerfile, or beside the file that a link names."""
    for path in (request.dockerfile.path, request.dockerfile.path.resolve()):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return path.with_name(f"{path.name}.dockerignore").read_bytes()
    return None


def _name_of(request: BuildRequest, content: bytes, ignore: bytes | None) -> str:
    digest = hashlib.sha256(content + (b"" if ignore is None else b"\0" + ignore)).hexdigest()[:32]
    name = _UNSAFE.sub("-", request.dockerfile.path.name)[-100:]
    return f"{digest}.{name}"


def state_of(directories: Iterable[Path], *, fresh: bool = False) -> str:
    """A name for the files of directories: the same only as long as none of them is touched in any way.

    It holds inode and change time, which nobody can set: two files of equal size and modification time
    differ in them.  Where they prove nothing (a file that is younger than the clock's tick, a directory that
    cannot be read, very many files) the name is a random one.
    """
    digest = hashlib.sha256()
    newest = count = 0
    try:
        for path, status in _entries(directories):
            count += 1
            newest = max(newest, status.st_ctime_ns)
            if fresh or count > MAX_ENTRIES:
                break
            numbers = (status.st_dev, status.st_ino, status.st_mode, status.st_size)
            digest.update(repr((path, *numbers, status.st_mtime_ns, status.st_ctime_ns)).encode())
    except OSError:
        fresh = True
    if fresh or count > MAX_ENTRIES or newest > time.time_ns() - _TICK:
        return secrets.token_hex(16)
    return digest.hexdigest()[:32]


def _entries(directories: Iterable[Path]) -> Iterator[tuple[str, os.stat_result]]:
    pending = [str(path.resolve()) for path in directories]
    yield from ((path, Path(path).stat()) for path in list(pending))
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                yield entry.path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
