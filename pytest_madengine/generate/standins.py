"""Stand-ins for secrets while files for other machines are made: each says where the value is known from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.deploy.target import PLACEHOLDER
from pytest_madengine.errors import ConfigError
from pytest_madengine.secrets import Secret

if TYPE_CHECKING:
    from pytest_madengine.catalog.model import Selected
    from pytest_madengine.manifest.reader import Manifest, ManifestEntry

#: Objects of the context whose values are variables.
_VARIABLES: Final = ("docker_env_vars", "docker_build_arg", "env_vars")
#: Fields of a credential that nobody has described here: what a clone needs.
_LOGIN: Final = ("username", "password")


@dataclass(frozen=True)
class Stand:
    """Environment and credentials of a host that has everything, without one real value."""

    environ: Mapping[str, str]
    credentials: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def context(self, manifest: Manifest) -> dict[str, Any]:
        """The context of a manifest.

        :raises ConfigError: something else than a variable is a secret.
        """
        from pytest_madengine.manifest.references import has_references

        for key, value in manifest.context.items():
            if key not in _VARIABLES and has_references(value):
                raise ConfigError(
                    f"manifest {manifest.path}: context.{key} is a secret: it cannot be in a generated file",
                    hint="pass it to the model in a variable (docker_env_vars, credential, MAD_SECRETS_*)",
                )
        return dict(manifest.context)

    def selected(self, entry: ManifestEntry, selected: Selected, path: Path, root: Path) -> Selected:
        """The model of an entry with stand-ins in place of the references among its variables.

        :raises ConfigError: something else of the entry is a secret.
        """
        from pytest_madengine.catalog.model import Selected
        from pytest_madengine.manifest.items import select_entry
        from pytest_madengine.manifest.references import has_references, resolve

        if not has_references(entry.model):
            return selected
        for key, value in entry.model.items():
            if key != "env_vars" and has_references(value):
                raise ConfigError(
                    f"model {selected.model.name}: {key} is a secret: it cannot be in a generated file",
                    hint="pass it to the model in a variable: env_vars, docker_env_vars or its credential",
                )
        variables = resolve(entry.model["env_vars"], self.environ, self.credentials, selected.model.name)
        plain = {name: v.reveal() if isinstance(v, Secret) else v for name, v in variables.items()}
        full = select_entry({**entry.model, "env_vars": plain}, entry.parameters, path, root)
        return Selected(full.model, selected.parameters)


def stand_ins(manifest: Manifest, environ: Mapping[str, str], credentials: Mapping[str, Any]) -> Stand:
    """Stand-ins for everything that a manifest needs.

    Of this host only names are taken: of ``MAD_SECRETS*`` and of the fields of its credentials.
    """
    from pytest_madengine.context.keys import is_variable_name

    names = {name for kind, name in references_in(manifest.raw) if kind == "from_env"}
    names |= {name for name in environ if "MAD_SECRETS" in name and is_variable_name(name)}
    stand = {key: _stood_in(value, key) for key, value in credentials.items()}
    for kind, name in references_in(manifest.raw):
        if kind == "from_credential":
            key, _, field_name = name.rpartition(".")
            entry = stand.setdefault(key, {})
            if isinstance(entry, dict):
                entry[field_name] = _secret(f"credential:{name}")
    notes = []
    for cred in sorted({str(entry.model.get("cred") or "") for entry in manifest.entries} - {""}):
        if cred not in stand:
            stand[cred] = {name: _secret(f"credential:{cred}.{name}") for name in _LOGIN}
            notes.append(
                f"credential {cred} is not in credential.json here: its fields are taken to be "
                f"{' and '.join(_LOGIN)}"
            )
    return Stand({name: f"{PLACEHOLDER}env:{name}" for name in names}, stand, tuple(notes))


def _stood_in(value: Any, path: str) -> Any:
    if isinstance(value, Secret):
        return _secret(f"credential:{path}")
    if isinstance(value, Mapping):
        return {key: _stood_in(part, f"{path}.{key}") for key, part in value.items()}
    return value


def _secret(source: str) -> Secret:
    return Secret(PLACEHOLDER + source)


def references_in(value: object) -> Iterator[tuple[str, str]]:
    from pytest_madengine.manifest.references import reference_of

    found = reference_of(value)
    if found is not None:
        yield found
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from references_in(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from references_in(part)
