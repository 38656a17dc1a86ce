"""Logins of the providers: environment variable, then ``credential.json``, then default (contract 13.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_madengine.data.provider import Access, Unusable
from pytest_madengine.errors import ConfigError
from pytest_madengine.secrets import Redactor, Secret, reveal
from pytest_madengine.util import jsontext

AWS: Final = "MAD_AWS_S3"
MINIO: Final = "MAD_MINIO"
NAS: Final = "NAS_NODES"
#: What each variable must hold.
VARIABLES: Final[Mapping[str, type]] = {AWS: dict, MINIO: dict, NAS: list}
#: Fields that are not secret, in small letters (contract 14.2).
_PUBLIC: Final = frozenset(
    {"username", "host", "port", "name", "repository", "endpoint", "ssh_key_file"}
    | {"minio_endpoint", "aws_endpoint_url_s3"}
)


@dataclass(frozen=True)
class S3Login:
    """Keys of an S3 server; without ``username`` there are none."""

    username: str = ""
    password: Secret = Secret("")  # noqa: RUF009 - never changes
    #: Empty: not given.
    endpoint: str = ""


@dataclass(frozen=True)
class NasNode:
    """One server that holds the data."""

    host: str
    username: str
    password: Secret | None = None
    name: str = ""
    port: int = 22
    ssh_key_file: str = ""

    @property
    def label(self) -> str:
        """``name (host:port)``, for messages."""
        place = f"{self.host}:{self.port}"
        return f"{self.name} ({place})" if self.name else place


def check_variables(environ: Mapping[str, str], redactor: Redactor) -> None:
    """Reads all variables with logins and makes their secrets known.

    :raises ConfigError: one of them is no JSON of its type.
    """
    for variable in VARIABLES:
        if variable in environ:
            redactor.add(*_secrets(_from_environment(variable, environ)))


def s3_login(variable: str, access: Access) -> S3Login | None:
    """The keys of ``MAD_AWS_S3`` or ``MAD_MINIO``; ``None`` when neither place has the entry.

    :raises ConfigError: the variable is no JSON object.
    :raises Unusable: the entry of the credential file is wrong, or half of the keys is missing.
    """
    found = _find(variable, access)
    if found is None:
        return None
    value, where = found
    fields = _lower(value, where)
    username, password = _text(fields, "username", where), _text(fields, "password", where)
    if bool(username) != bool(password):
        raise Unusable(f"{where} has no {'PASSWORD' if username else 'USERNAME'}")
    endpoint = _text(fields, "aws_endpoint_url_s3", where) or _text(fields, "minio_endpoint", where)
    return S3Login(username, Secret(password), endpoint)


def nas_nodes(access: Access) -> list[NasNode]:
    """The servers of ``NAS_NODES`` in their order; none when neither place has the entry.

    :raises ConfigError: the variable is no JSON list.
    :raises Unusable: a node is wrong.
    """
    found = _find(NAS, access)
    if found is None:
        return []
    values, where = found
    return [_node(value, f"{where}[{index}]") for index, value in enumerate(values)]


def _node(value: object, where: str) -> NasNode:
    fields = _lower(value, where)
    host, username = _text(fields, "host", where), _text(fields, "username", where)
    if not host or not username:
        raise Unusable(f"{where} has no {'USERNAME' if host else 'HOST'}")
    password = _text(fields, "password", where)
    port = fields.get("port", 22)
    number = reveal(port) if isinstance(port, (str, Secret)) else str(port)
    number = number.strip() or "22"
    if not (number.isascii() and number.isdecimal()) or not 0 < int(number[:6]) < 65536:
        raise Unusable(f"{where}.PORT is no port number")
    return NasNode(
        host,
        username,
        Secret(password) if password else None,
        name=_text(fields, "name", where),
        port=int(number),
        ssh_key_file=_text(fields, "ssh_key_file", where),
    )


def _find(variable: str, access: Access) -> tuple[Any, str] | None:
    """The entry and how messages call it; its secrets are made known."""
    if variable in access.environ:
        value = _from_environment(variable, access.environ)
        where = f"environment variable {variable}"
    elif variable in access.credentials:
        value, where = access.credentials[variable], f"{variable} of the credential file"
        if not isinstance(value, Mapping if VARIABLES[variable] is dict else (list, tuple)):
            raise Unusable(f"{where} must be {_kind(variable)}")
    else:
        return None
    access.redactor.add(*_secrets(value))
    return value, where


def _from_environment(variable: str, environ: Mapping[str, str]) -> Any:
    try:
        value = jsontext.parse(environ[variable])
    except jsontext.JsonTextError as error:  # it names the place, never the content
        raise ConfigError(
            f"environment variable {variable} is no valid JSON ({error})", hint=f"give {_kind(variable)}"
        ) from None
    if not isinstance(value, VARIABLES[variable]):
        raise ConfigError(f"environment variable {variable} must be {_kind(variable)}")
    return value


def _kind(variable: str) -> str:
    if VARIABLES[variable] is list:
        return 'a list of objects: [{"HOST": ..., "USERNAME": ..., "PASSWORD": ...}]'
    return 'an object: {"USERNAME": ..., "PASSWORD": ...}'


def _lower(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Unusable(f"{where} must be an object")
    return {str(key).lower(): part for key, part in value.items()}


def _text(fields: Mapping[str, Any], key: str, where: str) -> str:
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, (str, Secret)):
        raise Unusable(f"{where}.{key.upper()} must be a text")
    return reveal(value)


def _secrets(value: object, name: str = "") -> Iterator[str | Secret]:
    """Every text of an entry that is not known to be public."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _secrets(part, str(key).lower())
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _secrets(part, name)
    elif isinstance(value, Secret) or (isinstance(value, str) and name not in _PUBLIC):
        yield value
