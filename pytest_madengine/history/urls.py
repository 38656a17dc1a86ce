"""Where the databases are: SQL URL and MongoDB server, from option, environment or default (contract 18)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pytest_madengine.errors import ConfigError
from pytest_madengine.secrets import MASK, Secret, is_secret_name

#: The database when nobody names one: a file in the current directory.
DEFAULT_URL: Final = "sqlite:///madengine.db"
#: Option, environment variable or default that a value came from.
OPTION, DEFAULT = "--db-url", "default"
#: Host names for which no SSH tunnel is opened.
_HERE: Final = frozenset({"localhost", "127.0.0.1"})
#: A password may hold any character when it was not escaped: it reaches to the last ``@``.
_PASSWORD: Final = re.compile(r"(?P<head>^[A-Za-z0-9+.-]+://[^:/@?]*:).*(?=@)", re.DOTALL)
_PARAMETER: Final = re.compile(r"(?P<head>[?&](?P<name>[^=&]+)=)[^&]*")


@dataclass(frozen=True)
class TunnelSettings:
    """The SSH host that reaches the database (``TUNA_SSH_*``)."""

    host: str
    port: int
    user: str
    password: Secret
    #: File of trusted host keys; ``None``: those of the user and of the system.
    known_hosts: Path | None = None


@dataclass(frozen=True)
class DatabaseUrl:
    """A SQL database.  Printing it never shows the password."""

    url: Secret
    #: ``--db-url``, ``MAD_DB_URL``, ``TUNA_DB_*`` or ``default``.
    source: str = OPTION
    tunnel: TunnelSettings | None = None

    @property
    def safe(self) -> str:
        """The URL with ``***`` for its password."""
        return masked_url(self.url.reveal())

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database; ``None`` for one in memory or on a server."""
        scheme, _, rest = self.url.reveal().partition("://")
        name = rest.removeprefix("/").partition("?")[0]
        if scheme.partition("+")[0] != "sqlite" or name in ("", ":memory:") or name.startswith("file:"):
            return None
        return Path(name)

    def option(self) -> str:
        """What a command needs to reach the same database again, for a shell; empty: nothing."""
        return f" --db-url {shlex.quote(self.safe)}" if self.source == OPTION else ""

    def __str__(self) -> str:
        return self.safe


@dataclass(frozen=True)
class MongoServer:
    """A MongoDB server.  Printing it never shows the password."""

    uri: Secret
    #: Milliseconds a server may take to be found or to accept a connection.
    timeout_ms: int = 5000
    tls: bool = False

    @property
    def safe(self) -> str:
        """The URI with ``***`` for its password."""
        return masked_url(self.uri.reveal())

    def __str__(self) -> str:
        return self.safe


def masked_url(url: str) -> str:
    """A database URL without its password and without secret parameters, for people."""
    text = _PASSWORD.sub(rf"\g<head>{MASK}", url)
    return _PARAMETER.sub(
        lambda match: match["head"] + MASK if is_secret_name(match["name"]) else match[0], text
    )


def database_url(
    given: str | None, environ: Mapping[str, str], known_hosts: Path | None = None
) -> DatabaseUrl:
    """The SQL database: option > ``MAD_DB_URL`` > ``TUNA_DB_*`` > :data:`DEFAULT_URL` (contract 18.1).

    :param given: value of ``--db-url`` or ``--mad-db``; empty counts as not given.
    :param known_hosts: trusted keys of the SSH host, instead of the user's known_hosts.
    :raises ConfigError: the value is no URL, or a port is no number.
    """
    if given:
        url, source = given, OPTION
    elif environ.get("MAD_DB_URL"):
        url, source = environ["MAD_DB_URL"], "MAD_DB_URL"
    elif any(environ.get(f"TUNA_DB_{part}") for part in _TUNA_PARTS):
        url, source = _tuna_url(environ), "TUNA_DB_*"
    else:
        url, source = DEFAULT_URL, DEFAULT
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme:
        raise ConfigError(
            f"{source}: '{masked_url(url)}' is no database URL",
            hint="use e.g. sqlite:///file.db, mysql+pymysql://user:password@host:3306/name "
            "or postgresql://user:password@host:5432/name",
        )
    tunnel = None if scheme.partition("+")[0] == "sqlite" else tunnel_settings(environ, known_hosts)
    return DatabaseUrl(Secret(url), source, tunnel)


_TUNA_PARTS: Final = ("USER_NAME", "USER_PASSWORD", "HOSTNAME", "PORT", "NAME")


def _tuna_url(environ: Mapping[str, str]) -> str:
    user = environ.get("TUNA_DB_USER_NAME", "")
    password = environ.get("TUNA_DB_USER_PASSWORD", "")
    host = environ.get("TUNA_DB_HOSTNAME") or "localhost"
    port = _port("TUNA_DB_PORT", environ.get("TUNA_DB_PORT") or "3306")
    name = environ.get("TUNA_DB_NAME") or "dlm_db"
    login = _escaped(user) + (f":{_escaped(password)}" if password else "")
    return f"mysql+pymysql://{login}{'@' if login else ''}{_host(host)}:{port}/{_database(name)}"


def _database(name: str) -> str:
    # SQLAlchemy decodes this part only since 2.1: nothing is escaped that need not be.
    return name.replace("%", "%25").replace("?", "%3F")


def tunnel_settings(environ: Mapping[str, str], known_hosts: Path | None = None) -> TunnelSettings | None:
    """The SSH tunnel of ``TUNA_SSH_*``; ``None`` when the SSH host is this host.

    :raises ConfigError: the port is no number.
    """
    host = environ.get("TUNA_SSH_HOSTNAME") or "localhost"
    if host in _HERE:
        return None
    return TunnelSettings(
        host=host,
        port=_port("TUNA_SSH_PORT", environ.get("TUNA_SSH_PORT") or "22"),
        user=environ.get("TUNA_SSH_USER", ""),
        password=Secret(environ.get("TUNA_SSH_PASSWORD", "")),
        known_hosts=known_hosts,
    )


def mongo_server(uri: str | None, environ: Mapping[str, str], tls: bool = False) -> MongoServer:
    """The MongoDB server: option > ``MONGO_URI`` > ``MONGO_HOST`` and its companions (contract 18.2).

    :raises ConfigError: a port or timeout is no number, or the URI is none.
    """
    timeout = _number("MONGO_TIMEOUT_MS", environ.get("MONGO_TIMEOUT_MS") or "5000")
    text = uri or environ.get("MONGO_URI") or _mongo_uri(environ)
    if not text.startswith(("mongodb://", "mongodb+srv://")):
        raise ConfigError(
            f"{'--uri' if uri else 'MONGO_URI'}: '{masked_url(text)}' is no MongoDB URI",
            hint="it begins with mongodb:// or mongodb+srv://",
        )
    return MongoServer(Secret(text), timeout, tls)


def _mongo_uri(environ: Mapping[str, str]) -> str:
    host = environ.get("MONGO_HOST") or "localhost"
    port = _port("MONGO_PORT", environ.get("MONGO_PORT") or "27017")
    user, password = environ.get("MONGO_USER", ""), environ.get("MONGO_PASSWORD", "")
    if not user:
        return f"mongodb://{_host(host)}:{port}/"
    source = _escaped(environ.get("MONGO_AUTH_SOURCE") or "admin")
    return f"mongodb://{_escaped(user)}:{_escaped(password)}@{_host(host)}:{port}/?authSource={source}"


def _escaped(text: str) -> str:
    return quote(text, safe="")


def _host(host: str) -> str:
    """An IPv6 address needs brackets; nothing else of a host name may change the URL."""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return f"[{host}]" if ":" in host else _escaped(host)


def _port(name: str, text: str) -> int:
    number = _number(name, text)
    if number > 65535:
        raise ConfigError(f"{name}: {number} is no port", hint="a port is a number from 1 to 65535")
    return number


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or int(text) < 1:
        raise ConfigError(f"{name}: '{text}' is no positive whole number")
    return int(text)
