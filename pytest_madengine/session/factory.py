"""Sessions whose items come from a build manifest or a batch manifest, and which options exclude which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_madengine.catalog.model import Selected
from pytest_madengine.errors import ConfigError, Warned
from pytest_madengine.manifest.batch import BatchEntry, read_batch
from pytest_madengine.manifest.items import choose
from pytest_madengine.options import DEFAULT_MANIFEST
from pytest_madengine.session.session import MadSession
from pytest_madengine.settings import Settings


def check_options(settings: Settings, here: Path) -> Settings:
    """The settings with their registry checked and the default of ``--mad-manifest-out`` filled in.

    :param here: directory of the default.
    :raises ConfigError: options exclude each other, or the registry is none.
    """
    from pytest_madengine.images.registry import check_registry

    registry = check_registry(settings.registry)
    manifest = settings.manifest if settings.manifest and settings.manifest.exists() else None
    for first, second, excluded in (
        ("--mad-batch-manifest", "--mad-tags", settings.batch_manifest and settings.tags),
        ("--mad-batch-manifest", "--mad-manifest", settings.batch_manifest and settings.manifest),
        ("--mad-use-image", "--mad-registry", settings.use_image and registry),
        ("--mad-use-image", "--mad-manifest", settings.use_image and settings.manifest),
        ("--mad-build-only", "--mad-manifest", settings.build_only and manifest),
    ):
        if excluded:
            raise ConfigError(f"{first} and {second} exclude each other")
    if settings.require_pinned and settings.manifest is None:
        raise ConfigError("--mad-require-pinned compares with a manifest", hint="give --mad-manifest FILE")
    if settings.use_image and settings.use_image != "auto":
        from pytest_madengine.images.naming import is_reference

        if not is_reference(settings.use_image):
            raise ConfigError(f"--mad-use-image: {settings.use_image!r} is not a valid image name")
    default = here / DEFAULT_MANIFEST if settings.build_only else None
    return replace(settings, registry=registry, manifest_out=settings.manifest_out or default)


def check_images(session: MadSession) -> None:
    """``--mad-use-image auto``: every selected model names its image.

    :raises ConfigError: models that do not, or only a placeholder.
    """
    if session.settings.use_image != "auto":
        return
    without = [one.model.name for one in session.selected if not one.model.prebuilt_image]
    if without:
        raise ConfigError(
            f"--mad-use-image auto: no image in env_vars.DOCKER_IMAGE_NAME of {', '.join(without[:10])}",
            hint="set it in the entry, or name the image: --mad-use-image NAME",
        )


def session_of_files(settings: Settings, plan_only: bool) -> MadSession | None:
    """The session whose items come from a manifest; ``None`` when they come from the repository.

    :raises ConfigError: a file or a selector is wrong; there is neither manifest nor selector.
    """
    if settings.batch_manifest is not None:
        return _batch_session(settings, settings.batch_manifest, plan_only)
    path = settings.manifest
    if path is None or (not path.exists() and settings.tags):
        return None
    from pytest_madengine.manifest.reader import read_manifest

    manifest = read_manifest(path)
    chosen, warned = choose(manifest, settings.tags, settings.root)
    selected = tuple(one.selected for one in chosen)
    return MadSession(
        settings, selected, plan_only=plan_only, warnings=list(warned), manifest=manifest, chosen=chosen
    )


def _batch_session(settings: Settings, path: Path, plan_only: bool) -> MadSession:
    from pytest_madengine.catalog.service import select_models

    selected: list[Selected] = []
    warned: list[Warned] = []
    batch: dict[str, BatchEntry] = {}
    for entry in read_batch(path):
        found = select_models(
            settings.root, [entry.model_name], no_dynamic=settings.no_dynamic, environ=settings.environ
        )
        warned += [one for one in found.warnings if one not in warned]
        for one in found.items:
            if batch_key(one) not in batch:
                selected.append(one)
                batch[batch_key(one)] = entry
    return MadSession(settings, tuple(selected), plan_only=plan_only, warnings=warned, batch=batch)


def batch_key(selected: Selected) -> str:
    """How an entry of a batch manifest is found for an item."""
    return f"{selected.model.name}[{selected.params_id}]"


def session_of_worker(session: MadSession, data: Mapping[str, Any]) -> MadSession:
    """The session of an xdist worker with the manifests of the controlling process, not read again."""
    from pytest_madengine.manifest.reader import parse_manifest

    session.settings = check_options(session.settings, session.settings.root)
    session.batch = {key: BatchEntry(**entry) for key, entry in data["batch"].items()}
    if data["manifest"]:
        path, raw = data["manifest"]
        session.manifest = parse_manifest(raw, Path(path))
        session.chosen, _ = choose(session.manifest, session.settings.tags, session.settings.root)
        session.selected = tuple(one.selected for one in session.chosen)
    return session
