"""The files of a MAD repository that a run on a target needs: small enough to be handed over with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_madengine.deploy.target import SourceFile
from pytest_madengine.errors import ConfigError
from pytest_madengine.plan.runplan import RunPlan

_COMMON: Final = "scripts/common"
_LEFT_OUT: Final = frozenset({"__pycache__", ".git"})


def files_of(plan: RunPlan) -> tuple[SourceFile, ...]:
    """The script directory of a model, the scripts of its steps, and ``scripts/common``, by path.

    Links are followed within the repository.

    :raises ConfigError: a file cannot be read, or a link leads out of the repository.
    """
    from pytest_madengine.resources import scripts_common

    root = Path(plan.workspace.root).resolve()
    found: dict[str, Path] = {}
    for source in (scripts_common(), root / _COMMON):
        if source.is_dir():
            found |= {f"{_COMMON}/{path}": source / path for path in _below(source)}
    directory = plan.script.script_dir
    found |= {f"{directory}/{path}": root / directory / path for path in _below(root / directory)}
    steps = [step.script for step in (*plan.script.pre_steps, *plan.script.post_steps)]
    for script in [*steps, *(data.script for data in plan.script.data_steps)]:
        if script not in found:
            found[script] = root / script
    inside = (root, scripts_common().resolve())
    return tuple(_read(name, found[name], inside) for name in sorted(found))


def _below(directory: Path) -> Iterator[str]:
    for current, directories, names in os.walk(directory, followlinks=True):
        directories[:] = sorted(name for name in directories if name not in _LEFT_OUT)
        if len(Path(current).relative_to(directory).parts) > 32:
            raise ConfigError(f"{directory}: its directories are nested too deeply (a link to a parent?)")
        for name in names:
            yield Path(current, name).relative_to(directory).as_posix()


def _read(name: str, path: Path, inside: tuple[Path, ...]) -> SourceFile:
    try:
        real = path.resolve(strict=True)
        if not any(real.is_relative_to(root) for root in inside):
            raise ConfigError(f"{path} leads out of the repository: it is not handed over")
        return SourceFile(name, real.read_bytes(), os.access(real, os.X_OK))
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
