"""Which files of a MAD root define models, and reading the static ones (contract sections 2 and 4).

Nothing of the MAD root is ever written.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_madengine.errors import CatalogError

if TYPE_CHECKING:
    from pytest_madengine.catalog.entries import Parsed

STATIC_FILE: Final = "models.json"
DYNAMIC_FILE: Final = "get_models_json.py"


@dataclass(frozen=True)
class Source:
    """One file that defines models."""

    #: POSIX path relative to the MAD root, e.g. ``scripts/dummy2/models.json``.
    path: str
    #: ``<dir>`` of ``scripts/<dir>``; empty for the root file.
    scope: str = ""
    dynamic: bool = False


def find_sources(root: Path, *, only_root: bool = False) -> tuple[Source, ...]:
    """The files that define models in discovery order: root first, then ``scripts/*`` sorted.

    Only names are looked at; no file is read.

    :param only_root: do not look into ``scripts/``.
    :raises CatalogError: a required file or directory is missing, or a directory has both kinds of file.
    """
    found = []
    for item in survey(root, only_root=only_root):
        if isinstance(item, CatalogError):
            raise item
        found.append(item)
    return tuple(found)


def survey(root: Path, *, only_root: bool = False) -> Iterator[Source | CatalogError]:
    """The files that define models, and each error where it arises; what follows an error is looked at too.

    A directory with both kinds of file gives an error and then both of them.
    """
    try:
        if not _is_file(root / STATIC_FILE):
            hint = f"expected {root.absolute() / STATIC_FILE}"
            raise CatalogError("models.json file not found.", hint=hint)
        yield Source(STATIC_FILE)
        names = [] if only_root else _directories(root / "scripts")
    except CatalogError as error:
        yield error
        return
    for name in names:
        directory = root / "scripts" / name
        try:
            static, dynamic = _is_file(directory / STATIC_FILE), _is_file(directory / DYNAMIC_FILE)
        except CatalogError as error:
            yield error
            continue
        if static and dynamic:
            message = f"Both models.json and get_models_json.py found in {directory.absolute()}."
            yield CatalogError(message, hint="remove one of the two files")
        if static:
            yield Source(f"scripts/{name}/{STATIC_FILE}", name)
        if dynamic:
            yield Source(f"scripts/{name}/{DYNAMIC_FILE}", name, True)


def read_static(root: Path, source: Source, *, image_given: bool = False) -> Parsed:
    """The models of one ``models.json``.

    :param image_given: an image is given from outside, so entries need no Dockerfile.
    :raises CatalogError: the file cannot be read, is no JSON, or an entry is wrong.
    """
    from pytest_madengine.catalog.entries import Origin, build_models, parse_json

    try:
        data = (root / source.path).read_bytes()
    except OSError as error:
        raise CatalogError(f"{source.path}: cannot be read: {error.strerror}") from None
    origin = Origin(source.path, source.scope, image_given=image_given)
    return build_models(parse_json(data, source.path), origin)


def _directories(scripts: Path) -> list[str]:
    try:
        with os.scandir(scripts) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        hint = "a MAD root has models.json and scripts/"
        raise CatalogError(f"scripts directory not found: {scripts.absolute()}", hint=hint) from None
    except OSError as error:
        raise CatalogError(f"{scripts.absolute()}: cannot be read: {error.strerror}") from None


def _is_file(path: Path) -> bool:
    """Like ``Path.is_file``, but a directory we may not enter is an error, not an absent file."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CatalogError(f"{path.absolute()}: cannot be read: {error.strerror}") from None
