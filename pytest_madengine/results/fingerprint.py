"""The key of comparable runs: what was asked for, not what it ran on (driver, host, image digest)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pytest_madengine.secrets import Secret, is_secret_name

#: Changes whenever the formula does: fingerprints of different formulas never compare equal.
_FORMULA: Final = 1
_LENGTH: Final = 16
_BLOCK: Final = 1024 * 1024


def fingerprint(
    *,
    model: str,
    args: str = "",
    parameters: Iterable[object] = (),
    scripts_hash: str = "",
    dockerfile_hash: str = "",
    build_args: Mapping[str, str | Secret] | None = None,
    n_gpus: int | str = "",
    gpu_architecture: str = "",
    training_precision: str = "",
    data: str = "",
    image: str = "",
    extra: Mapping[str, Any] | None = None,
) -> str:
    """A stable hash of 16 hexadecimal digits; equal for runs whose results may be compared.

    :param parameters: parameters of the item; their texts, in order.
    :param scripts_hash: :func:`content_hash` of the script or script directory.
    :param dockerfile_hash: :func:`content_hash` of the Dockerfile.
    :param build_args: image build arguments; of secret ones only the name counts.
    :param image: name of a given image (not its digest: that is what regresses).
    :param extra: further facts in JSON types, e.g. from a hook; other types count by their text.
    """
    facts = {
        "formula": _FORMULA,
        "model": model,
        "args": args,
        "parameters": [str(parameter) for parameter in parameters],
        "scripts": scripts_hash,
        "dockerfile": dockerfile_hash,
        "build_args": {name: _public(name, value) for name, value in (build_args or {}).items()},
        "n_gpus": str(n_gpus),
        "gpu_architecture": gpu_architecture,
        "training_precision": training_precision,
        "data": data,
        "image": image,
        "extra": dict(extra or {}),
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _public(name: str, value: str | Secret) -> str | None:
    return None if isinstance(value, Secret) or is_secret_name(name) else value


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of all files below a directory with their relative names.

    Independent of times, modes, owners and the place of the directory.  A symbolic link below the
    directory counts by its target text and is not followed.  A missing path has an empty hash.

    :raises OSError: something below the path cannot be read.
    """
    if path.is_file():
        return _file_hash(path)
    if not path.is_dir():
        return ""
    digest = hashlib.sha256()
    for name, entry in sorted(_files(path)):
        kind = f"link:{entry.readlink()}" if entry.is_symlink() else f"file:{_file_hash(entry)}"
        digest.update(f"{name}\0{kind}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files(directory: Path) -> Iterable[tuple[str, Path]]:
    """Regular files and links below a directory; caches of Python are no content."""
    for parent, directories, files in os.walk(directory, onerror=_raise):
        here = Path(parent)
        links = [name for name in directories if (here / name).is_symlink()]
        directories[:] = [name for name in directories if name not in ("__pycache__", ".git")]
        for name in (*files, *links):
            entry = here / name
            if entry.is_symlink() or entry.is_file():
                yield entry.relative_to(directory).as_posix(), entry


def _raise(error: OSError) -> None:
    raise error


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
