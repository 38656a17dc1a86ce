"""Where the MAD repository is (contract section 1).  Knows no pytest: the command lines start without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_madengine.errors import ConfigError


def choose_root(
    given: Path | None,
    environ: Mapping[str, str],
    *,
    here: Path,
    candidates: Sequence[Path] = (),
    by_manifest: bool = False,
) -> Path:
    """The MAD root: what was given, else ``MODEL_DIR``, else the first candidate that has a ``models.json``.

    :param here: the working directory; relative paths are below it.
    :param candidates: directories to look in; default: ``here``.
    :param by_manifest: a manifest has the entries itself; only the scripts must be there.
    :raises ConfigError: there is none.
    """
    if given is not None:
        return existing_root((here / given.expanduser()).resolve(), by_manifest)
    if environ.get("MODEL_DIR"):
        return existing_root((here / environ["MODEL_DIR"]).resolve(), by_manifest)
    places = list(dict.fromkeys(candidates or (here,)))
    for candidate in places:
        if (candidate / "models.json").is_file():
            return candidate.resolve()
    if by_manifest:
        return here.resolve()
    raise ConfigError(
        f"models.json file not found. Looked in {' and '.join(map(str, places))}",
        hint="run this in a MAD repository, set MODEL_DIR, or give --mad-root DIR (--root DIR of madengine)",
    )


def existing_root(root: Path, by_manifest: bool = False) -> Path:
    """The root itself.  :raises ConfigError: it is no directory, or has no ``models.json``."""
    if not root.is_dir():
        raise ConfigError(f"MAD root {root} is not a directory")
    if not by_manifest and not (root / "models.json").is_file():
        raise ConfigError(f"models.json file not found. Looked in {root}")
    return root


def root_of_file(path: Path) -> Path:
    """The MAD root that a models.json or get_models_json.py belongs to."""
    if path.parent.parent.name == "scripts" and (path.parent.parent.parent / "models.json").is_file():
        return path.parent.parent.parent
    return path.parent
