"""Secrets of this host in place of the references of a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_madengine.catalog.model import Selected
from pytest_madengine.manifest.references import revealed

if TYPE_CHECKING:
    from pytest_madengine.session.items import ItemSpec
if TYPE_CHECKING:
    from pytest_madengine.session.items import ItemSpec
    from pytest_madengine.session.session import MadSession
from pytest_madengine.manifest.items import select_entry


def resolved_spec(session: MadSession, spec: ItemSpec, credentials: Mapping[str, Any]) -> ItemSpec:
    """The item with the secrets of this host in place of the references of its entry.

    :raises CredentialError: this host has no such variable or credential.
    """
    from pytest_madengine.manifest.references import has_references, resolve
    from pytest_madengine.secrets import secrets_in

    manifest = session.manifest
    if manifest is None or spec.block is None or spec.error is not None:
        return spec
    entry = next(entry for entry in manifest.entries if entry.image.key == spec.block.key)
    if not has_references(entry.model):
        return spec
    environ, selected = session.settings.environ, spec.selected
    found = resolve(dict(entry.model), environ, credentials, f"model {selected.model.name}")
    session.redactor.add(*secrets_in(found))
    full = select_entry(_as_written(found), entry.parameters, manifest.path, session.settings.root)
    return replace(spec, selected=Selected(full.model, selected.parameters))


def _as_written(entry: Mapping[str, Any]) -> Any:
    """The entry with its secrets; a ``$`` in one of them names no variable of this host."""
    from pytest_madengine.plan.expansion import escaped
    from pytest_madengine.secrets import Secret

    expanded = ("env_vars", "additional_docker_run_options")

    def safe(value: Any) -> Any:
        if isinstance(value, Secret):
            return Secret(escaped(value.reveal()))
        return {key: safe(part) for key, part in value.items()} if isinstance(value, Mapping) else value

    return revealed({key: safe(part) if key in expanded else part for key, part in entry.items()})
