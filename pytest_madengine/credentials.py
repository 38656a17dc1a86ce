"""``credential.json``: read once, its secrets typed so that nothing prints them (contract section 14)."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import ConfigError, CredentialError, Warned
from pytest_madengine.secrets import Secret, secret_variables, secrets_in
from pytest_madengine.util import jsontext

#: Fields of a credential that are not secret (contract 14.2).
PUBLIC_FIELDS: Final = frozenset(
    {"username", "host", "port", "name", "repository", "endpoint", "ssh_key_file"}
)


@dataclass(frozen=True)
class Credentials:
    """The credential object; text leaves are :class:`Secret` unless their field is public."""

    values: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Warned, ...] = ()


def load_credentials(path: Path, required: bool = False) -> Credentials:
    """Reads a credential file.

    An unreadable default file only warns (items that need a credential fail then, contract 14.1); a file
    named by the user must be readable.

    :raises ConfigError: ``required`` and the file cannot be read.
    """
    try:
        values = jsontext.read(path)
        mode = path.stat().st_mode
    except FileNotFoundError:
        if required:
            raise ConfigError(f"--mad-credentials: {path} is not a file") from None
        return Credentials()
    except OSError as error:
        return _unreadable(path, required, error.strerror or "cannot be read")
    except jsontext.JsonTextError as error:  # it names the place, never the content
        return _unreadable(path, required, f"not JSON: {error}")
    if not isinstance(values, dict):
        return _unreadable(path, required, "the top level must be an object")
    warnings = []
    if mode & (stat.S_IROTH | stat.S_IRGRP):
        warnings.append(Warned("readable by others: chmod 600 it", str(path)))
    return Credentials({key: typed(value) for key, value in values.items()}, tuple(warnings))


def known_secrets(root: Path, environ: Mapping[str, str], given: Path | None = None) -> list[Secret]:
    """The secrets of this host and of a repository, before anything of it is read or executed."""
    loaded = load_credentials(given or root / "credential.json")
    return [*secret_variables(environ), *secrets_in(loaded.values)]


def typed(value: object, name: str = "") -> Any:
    """The value with every text that may be secret as a :class:`Secret`."""
    if isinstance(value, Mapping):
        return {str(key): typed(part, str(key)) for key, part in value.items()}
    if isinstance(value, list):
        return [typed(part, name) for part in value]
    if isinstance(value, str) and name.lower() not in PUBLIC_FIELDS and "endpoint" not in name.lower():
        return Secret(value)
    return value


def credential_of(credentials: Mapping[str, Any], key: str, owner: str) -> Mapping[str, Any]:
    """The credential a model names.

    :raises CredentialError: with the text of contract 10.6.
    """
    value = credentials.get(key)
    if not isinstance(value, Mapping):
        raise CredentialError(
            f"Credentials({key}) to run model not found in credential.json; "
            f"Please contact the model owner, {owner}."
        )
    return value


def _unreadable(path: Path, required: bool, why: str) -> Credentials:
    if required:
        raise ConfigError(f"--mad-credentials {path}: {why}")
    text = f"Exception encountered reading credential.json. {why}, ignoring ..."
    return Credentials(warnings=(Warned(text, str(path)),))
