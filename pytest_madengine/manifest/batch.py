"""The batch manifest: which entries to build anew, and where to push them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_madengine.errors import ConfigError
from pytest_madengine.util import jsontext


@dataclass(frozen=True)
class BatchEntry:
    """One entry of a batch manifest (contract 9.3)."""

    model_name: str
    build_new: bool = False
    registry: str = ""
    registry_image: str = ""


def read_batch(path: Path) -> tuple[BatchEntry, ...]:
    """The entries of a batch manifest.

    :raises ConfigError: the file cannot be read, or an entry is wrong; the text names file and entry.
    """
    try:
        raw = jsontext.read(path)
    except OSError as error:
        raise ConfigError(f"--mad-batch-manifest {path}: {error.strerror or error}") from None
    except jsontext.JsonTextError as error:
        raise ConfigError(f"--mad-batch-manifest {path}: not JSON: {error}") from None
    if not isinstance(raw, list) or not raw:
        raise ConfigError(f"--mad-batch-manifest {path}: it must be a JSON list with at least one model")
    entries = tuple(
        _batch_entry(value, f"--mad-batch-manifest {path}: entry {n}") for n, value in enumerate(raw)
    )
    twice = [name for name, count in Counter(entry.model_name for entry in entries).items() if count > 1]
    if twice:
        raise ConfigError(f"--mad-batch-manifest {path}: {twice[0]} is listed twice")
    return entries


def _batch_entry(value: object, where: str) -> BatchEntry:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be an object")
    texts = {name: value.get(name) or "" for name in ("model_name", "registry", "registry_image")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ConfigError(f"{where}: {name} must be text")
    if not texts["model_name"].strip():
        raise ConfigError(f"{where}: model_name is required")
    build_new = value.get("build_new", False)
    if not isinstance(build_new, bool):
        raise ConfigError(f"{where}: build_new must be true or false")
    return BatchEntry(texts["model_name"].strip(), build_new, texts["registry"], texts["registry_image"])
