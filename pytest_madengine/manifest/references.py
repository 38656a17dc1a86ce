"""Secrets in a file that leaves the host: written as references, resolved again where they are used.

``{"from_env": NAME}`` and ``{"from_credential": "KEY.FIELD"}`` (contract 9.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_madengine.errors import CredentialError
from pytest_madengine.plan.expansion import is_reference
from pytest_madengine.secrets import Redactor, Secret, is_secret, is_secret_name, reveal

FROM_ENV: Final = "from_env"
FROM_CREDENTIAL: Final = "from_credential"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class References:
    """Replaces secrets in JSON-like trees by references to where this host has them.

    :param environ: variables of this host.
    :param credentials: the credential object of this host.
    :param redactor: knows every secret of this session.
    """

    def __init__(
        self, environ: Mapping[str, str], credentials: Mapping[str, Any], redactor: Redactor
    ) -> None:
        self._environ = environ
        self._credentials = {reveal(value): path for path, value in _fields(credentials)}
        self._redactor = redactor
        # Also what no item was given: a value may be copied from such a variable.
        self._variables = Redactor(value for name, value in environ.items() if is_secret(name, value))
        #: What the user must know: a value whose source nobody knows became a reference to a variable.
        self.notes: list[str] = []

    def replace(self, value: Any, name: str = "") -> Any:
        """The tree with a reference in place of every leaf that is a secret or contains one.

        :param name: name of the value in its object.
        """
        if isinstance(value, Mapping):
            if reference_of(value) is not None:
                return dict(value)
            return {str(key): self.replace(part, str(key)) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.replace(part, name) for part in value]
        if isinstance(value, Secret):
            return self._reference(value.reveal(), name)
        if isinstance(value, str) and self._is_secret(value, name):
            return self._reference(value, name)
        return value

    def _is_secret(self, value: str, name: str) -> bool:
        if not value or is_reference(value):
            return False  # "${HF_TOKEN}" says where the secret is, and the host that runs looks there
        if is_secret_name(name):
            masks = Redactor([value])
            return masks.text(value) != value
        return self._redactor.text(value) != value or self._variables.text(value) != value

    def _reference(self, value: str, name: str) -> dict[str, str]:
        if self._environ.get(name) == value:
            return {FROM_ENV: name}
        if value in self._credentials:
            return {FROM_CREDENTIAL: self._credentials[value]}
        for variable in sorted(self._environ):
            if self._environ[variable] == value and is_secret_name(variable):
                return {FROM_ENV: variable}
        wanted = name if _VARIABLE.fullmatch(name) and name.upper() == name else _invented(name)
        self.notes.append(
            f"the secret value of {name or 'an entry'} is not in the manifest: "
            f"set the environment variable {wanted} where the manifest is run"
        )
        return {FROM_ENV: wanted}


def _invented(name: str) -> str:
    return "MAD_SECRETS_" + (re.sub(r"[^A-Za-z0-9]+", "_", name).upper() or "VALUE")


def _fields(credentials: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Secret]]:
    for key, value in credentials.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{path}{key}.")
        elif isinstance(value, Secret) and value.reveal():
            yield f"{path}{key}", value


def reference_of(value: object) -> tuple[str, str] | None:
    """Kind and name of a reference; ``None`` for every other value."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    ((kind, name),) = value.items()
    return (kind, name) if kind in (FROM_ENV, FROM_CREDENTIAL) and isinstance(name, str) else None


def has_references(value: object) -> bool:
    """True when a tree holds a reference."""
    if reference_of(value) is not None:
        return True
    if isinstance(value, Mapping):
        return any(map(has_references, value.values()))
    return isinstance(value, (list, tuple)) and any(map(has_references, value))


def resolve(value: Any, environ: Mapping[str, str], credentials: Mapping[str, Any], where: str) -> Any:
    """The tree with the secret, as a :class:`Secret`, in place of every reference.

    :param where: what the tree belongs to, for the message.
    :raises CredentialError: this host has no such variable or credential.
    """
    reference = reference_of(value)
    if reference is not None:
        return _resolved(*reference, environ, credentials, where)
    if isinstance(value, Mapping):
        return {
            key: resolve(part, environ, credentials, f"{where}.{key}" if where else str(key))
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [resolve(part, environ, credentials, where) for part in value]
    return value


def _resolved(
    kind: str, name: str, environ: Mapping[str, str], credentials: Mapping[str, Any], where: str
) -> Secret:
    if kind == FROM_ENV:
        if name in environ:
            return Secret(environ[name])
        raise CredentialError(
            f"{where} needs the environment variable {name}, which is not set",
            hint=f"the manifest holds no secrets: export {name} before the run",
        )
    key, _, field = name.rpartition(".")  # a key may be the name of a registry, with dots
    entry = credentials.get(key)
    value = entry.get(field) if isinstance(entry, Mapping) else _at(credentials, name.split("."))
    if isinstance(value, (str, Secret)):
        return Secret(reveal(value))
    raise CredentialError(
        f"{where} needs {name} of credential.json, which is not there",
        hint="the manifest holds no secrets: add this field to the credentials of this host",
    )


def _at(tree: Any, path: list[str]) -> Any:
    for part in path:
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def revealed(value: Any) -> Any:
    from pytest_madengine.secrets import Secret

    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {key: revealed(part) for key, part in value.items()}
    return [revealed(part) for part in value] if isinstance(value, list) else value
