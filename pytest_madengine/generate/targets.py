"""The models of a manifest on their way to a target, and what must hold for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_madengine.deploy.target import TargetModel
from pytest_madengine.errors import ConfigError
from pytest_madengine.secrets import Redactor
from pytest_madengine.settings import Settings

if TYPE_CHECKING:
    from pytest_madengine.manifest.reader import Manifest
    from pytest_madengine.manifest.references import References
    from pytest_madengine.session.session import MadSession


@dataclass
class Targets:
    """The models of a manifest on their way to a target."""

    session: MadSession
    manifest: Manifest
    models: list[TargetModel] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: Real secrets of this host, which no generated file may hold.
    redactor: Redactor = field(default_factory=Redactor)

    @property
    def references(self) -> References:
        """Replaces what is secret by references."""
        from pytest_madengine.manifest.references import References

        return References(self.session.settings.environ, self.session.credentials, self.redactor)


def target_settings(
    manifest: Path,
    *,
    root: Path | None = None,
    context: str = "",
    context_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings for generating files: what the options of ``generate`` say, defaults otherwise.

    :raises ConfigError: there is no such directory or manifest.
    """
    from pytest_madengine.catalog.root import choose_root

    if not manifest.is_file():
        raise ConfigError(
            f"manifest {manifest} is not a file",
            hint="make it with: madengine-cli build --tags ... --registry HOST[:PORT]/PATH",
        )
    variables = dict(os.environ if environ is None else environ)
    place = manifest.resolve().parent
    found = choose_root(root, variables, here=Path.cwd(), candidates=(Path.cwd(), place), by_manifest=True)
    return Settings(
        root=found,
        results_dir=found / "mad-results",
        output=found / "perf.csv",
        context=context,
        context_file=context_file,
        manifest=manifest.resolve(),
        environ=variables,
    )


def require_pinned(targets: Targets) -> None:
    """Every model has an image that the target can pull and that is exactly the one of the manifest.

    :raises ConfigError: naming those that have none.
    """
    missing = [model.title for model in targets.models if not model.image]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ConfigError(
            f"manifest {targets.manifest.path}: no registry digest for the image of "
            f"{', '.join(missing[:5])}{more}: another machine could not know which image to run",
            hint="push the images when they are built: madengine-cli build --registry HOST[:PORT]/PATH ..., "
            "or name an image as NAME@sha256:...",
        )


def unrevealed(targets: Targets, texts: Iterator[tuple[str, str]]) -> None:
    """No text that goes into a file holds a secret of this host.

    :param texts: where a text stands, and the text.
    :raises ConfigError: one does; its value is not shown.
    """
    for where, text in texts:
        clean = targets.redactor.text(text)
        if clean != Redactor().text(text):
            raise ConfigError(
                f"{where} contains a secret of this host, which must not be in a generated file",
                hint="pass it to the model in a variable (docker_env_vars, credential, MAD_SECRETS_*)",
            )
