"""The model of a MAD repository as everything after the catalog sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_madengine.errors import Warned


@dataclass(frozen=True)
class Model:
    """One entry under its full name (contract section 3), validated, with all defaults filled in.

    Paths (``dockerfile``, ``scripts``) are POSIX texts relative to the MAD root, already normalised.
    """

    name: str
    dockerfile: str
    scripts: str
    #: -1 all GPUs the context allows, 0 none, else a count.
    n_gpus: int = 1
    args: str = ""
    tags: tuple[str, ...] = ()
    training_precision: str = ""
    owner: str = ""
    url: str = ""
    cred: str = ""
    #: Raw text of the ``data`` field; names are split at commas by the data room.
    data: str = ""
    #: Build context directory; empty means the default of contract 8.3.
    dockercontext: str = ""
    #: Seconds; 0 or -1 none; ``None`` when the entry does not say.
    timeout: int | None = None
    multiple_results: str = ""
    skip_gpu_arch: str = ""
    additional_docker_run_options: str = ""
    deprecated: bool = False
    env_vars: Mapping[str, str] = field(default_factory=dict)
    distributed: Mapping[str, Any] = field(default_factory=dict)
    slurm: Mapping[str, Any] = field(default_factory=dict)
    log_error_pattern_scan: bool | None = None
    log_error_patterns: tuple[str, ...] | None = None
    log_error_benign_patterns: tuple[str, ...] = ()
    #: The entry as it was read (after path rewriting), unknown keys included; for the manifest.
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: ``scripts/<dir>`` entries have ``<dir>`` here, root entries an empty text.
    scope: str = ""
    #: File the entry came from, relative to the MAD root, e.g. ``scripts/dummy2/models.json``.
    source: str = "models.json"
    #: Position in that file, from 0.
    index: int = 0
    dynamic: bool = False

    @property
    def short_name(self) -> str:
        """The part of the full name after ``<dir>/``."""
        return self.name[len(self.scope) + 1 :] if self.scope else self.name

    @property
    def prebuilt_image(self) -> str:
        """``env_vars.DOCKER_IMAGE_NAME`` unless absent or a ``<placeholder>`` (contract section 3)."""
        image = self.env_vars.get("DOCKER_IMAGE_NAME", "")
        return "" if image.startswith("<") and image.endswith(">") else image


@dataclass(frozen=True)
class Parameter:
    """One selector parameter; ``value`` is ``None`` for a bare flag."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


@dataclass(frozen=True)
class Selected:
    """A model chosen by the selectors, with the parameters of this item."""

    model: Model
    parameters: tuple[Parameter, ...] = ()

    @property
    def params_id(self) -> str:
        """``p=v:q=w``, or an empty text."""
        return ":".join(map(str, self.parameters))


@dataclass(frozen=True)
class Catalog:
    """All models of a MAD root in discovery order, and what looked wrong on the way."""

    root: Path
    models: tuple[Model, ...]
    warnings: tuple[Warned, ...] = ()
