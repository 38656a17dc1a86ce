"""Where the databases are (contract 18.1, 18.2, section 20)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError
from pytest_madengine.history.urls import (
    DatabaseUrl,
    database_url,
    masked_url,
    mongo_server,
    tunnel_settings,
)
from pytest_madengine.secrets import Secret
from sqlalchemy import make_url

TUNA = {
    "TUNA_DB_USER_NAME": "us@er",
    "TUNA_DB_USER_PASSWORD": "p@ss/:#?",
    "TUNA_DB_HOSTNAME": "db.example",
    "TUNA_DB_PORT": "3307",
    "TUNA_DB_NAME": "dlm",
}


@pytest.mark.parametrize(
    ("option", "environ", "url", "source"),
    [
        ("sqlite:///x.db", {"MAD_DB_URL": "sqlite:///y.db", **TUNA}, "sqlite:///x.db", "--db-url"),
        (None, {"MAD_DB_URL": "sqlite:///y.db", **TUNA}, "sqlite:///y.db", "MAD_DB_URL"),
        ("", {"MAD_DB_URL": "", **TUNA}, "us%40er:p%40ss%2F%3A%23%3F@db.example:3307/dlm", "TUNA_DB_*"),
        (None, {"TUNA_DB_NAME": "d b"}, "mysql+pymysql://localhost:3306/d b", "TUNA_DB_*"),
        (None, {"TUNA_DB_USER_NAME": "u"}, "mysql+pymysql://u@localhost:3306/dlm_db", "TUNA_DB_*"),
        (None, {"TUNA_DB_HOSTNAME": "::1"}, "mysql+pymysql://[::1]:3306/dlm_db", "TUNA_DB_*"),
        (None, {"TUNA_DB_HOSTNAME": "[::1]"}, "mysql+pymysql://[::1]:3306/dlm_db", "TUNA_DB_*"),
        (None, {}, "sqlite:///madengine.db", "default"),
    ],
)
def test_precedence(option: str | None, environ: dict[str, str], url: str, source: str) -> None:
    """18.1: option > MAD_DB_URL > TUNA_DB_* > default."""
    found = database_url(option, environ)
    assert found.url.reveal().endswith(url)
    assert found.source == source


def test_the_parts_arrive_as_they_are() -> None:
    """Defect 41, SQL side: special characters of a password change nothing."""
    url = make_url(database_url(None, TUNA).url.reveal())
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "us@er",
        "p@ss/:#?",
        "db.example",
        3307,
        "dlm",
    )


@given(user=st.text(min_size=1), password=st.text(min_size=1), name=st.text(min_size=1))
def test_any_text_is_one_part(user: str, password: str, name: str) -> None:
    parts = {"TUNA_DB_USER_NAME": user, "TUNA_DB_USER_PASSWORD": password, "TUNA_DB_NAME": name}
    encodable = all(character < "\ud800" or character > "\udfff" for character in user + password + name)
    undecoded = sqlalchemy.__version__.startswith("2.0.") and ("%" in name or "?" in name)
    if not encodable or undecoded:
        return
    url = make_url(database_url(None, parts).url.reveal())
    assert (url.username, url.password, url.database) == (user, password, name)
    assert url.host == "localhost"


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "99999999999"])
def test_a_wrong_port_is_named(port: str) -> None:
    with pytest.raises(ConfigError, match="TUNA_DB_PORT"):
        database_url(None, {"TUNA_DB_PORT": port})


@pytest.mark.parametrize("text", ["perf.db", "://x", ""])
def test_no_url(text: str) -> None:
    if not text:
        assert database_url(text, {}).source == "default"
        return
    with pytest.raises(ConfigError, match="is no database URL"):
        database_url(text, {})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql+pymysql://u:secret@h:1/d", "mysql+pymysql://u:***@h:1/d"),
        ("postgresql://u:p/a@ss:wo@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?user=u&password=secret&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("mongodb://u:p%40@h/?authSource=admin", "mongodb://u:***@h/?authSource=admin"),
        ("sqlite:///a:b.db", "sqlite:///a:b.db"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgresql://[::1]:5432/d", "postgresql://[::1]:5432/d"),
    ],
)
def test_the_password_is_never_shown(url: str, shown: str) -> None:
    """18.1, 14.2: a URL is printed without its password, also when that was not escaped."""
    target = DatabaseUrl(Secret(url))
    assert masked_url(url) == target.safe == str(target) == shown
    assert "secret" not in repr(target)


def test_the_option_of_a_later_command() -> None:
    """A URL from the environment is there again; one with a password is shown without it."""
    assert database_url(None, TUNA).option() == ""
    assert database_url("sqlite:///a b.db", {}).option() == " --db-url 'sqlite:///a b.db'"
    assert database_url("mysql://u:pw@h/d", {}).option() == " --db-url 'mysql://u:***@h/d'"


@pytest.mark.parametrize("host", ["", "localhost", "127.0.0.1"])
def test_no_tunnel_to_this_host(host: str) -> None:
    assert tunnel_settings({"TUNA_SSH_HOSTNAME": host}) is None


def test_the_tunnel_of_a_network_database() -> None:
    """18.1: TUNA_SSH_* open a tunnel; a file needs none."""
    environ = {"TUNA_SSH_HOSTNAME": "gate", "TUNA_SSH_USER": "u", "TUNA_SSH_PASSWORD": "hush", **TUNA}
    tunnel = database_url(None, environ, Path("/keys")).tunnel
    assert tunnel is not None
    assert (tunnel.host, tunnel.port, tunnel.user, tunnel.password.reveal()) == ("gate", 22, "u", "hush")
    assert tunnel.known_hosts == Path("/keys")
    assert "hush" not in repr(tunnel)
    assert database_url("sqlite:///x.db", environ).tunnel is None
    with pytest.raises(ConfigError, match="TUNA_SSH_PORT"):
        database_url(None, {**environ, "TUNA_SSH_PORT": "ssh"})


@pytest.mark.parametrize(
    ("option", "environ", "uri"),
    [
        ("mongodb://a/", {"MONGO_URI": "mongodb://b/"}, "mongodb://a/"),
        (None, {"MONGO_URI": "mongodb://b/", "MONGO_HOST": "c"}, "mongodb://b/"),
        (None, {"MONGO_HOST": "c", "MONGO_PORT": "1"}, "mongodb://c:1/"),
        (None, {}, "mongodb://localhost:27017/"),
        (None, {"MONGO_PASSWORD": "unused"}, "mongodb://localhost:27017/"),
        (
            None,
            {"MONGO_USER": "u:s", "MONGO_PASSWORD": "p@ss/:"},
            "mongodb://u%3As:p%40ss%2F%3A@localhost:27017/?authSource=admin",
        ),
        (
            None,
            {"MONGO_USER": "u", "MONGO_PASSWORD": "p", "MONGO_AUTH_SOURCE": "o&x=1"},
            "mongodb://u:p@localhost:27017/?authSource=o%26x%3D1",
        ),
    ],
)
def test_mongo_server(option: str | None, environ: dict[str, str], uri: str) -> None:
    """18.2, defect 41: precedence, defaults, escaping."""
    server = mongo_server(option, environ)
    assert server.uri.reveal() == uri
    assert server.timeout_ms == 5000
    assert not server.tls
    password = environ.get("MONGO_PASSWORD", "-")
    assert password not in str(server) + repr(server) or password == "p"


def test_mongo_extras() -> None:
    server = mongo_server(None, {"MONGO_TIMEOUT_MS": "100"}, tls=True)
    assert (server.timeout_ms, server.tls) == (100, True)


@pytest.mark.parametrize(
    ("option", "environ", "named"),
    [
        ("http://u:hush@x", {}, "--uri"),
        (None, {"MONGO_URI": "x"}, "MONGO_URI"),
        (None, {"MONGO_PORT": "x"}, "MONGO_PORT"),
        (None, {"MONGO_TIMEOUT_MS": "1.5"}, "MONGO_TIMEOUT_MS"),
    ],
)
def test_wrong_mongo_settings(option: str | None, environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as raised:
        mongo_server(option, environ)
    assert "hush" not in str(raised.value)


@given(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1))
def test_any_mongo_password_is_one_part(password: str) -> None:
    uri = mongo_server(None, {"MONGO_USER": "u", "MONGO_PASSWORD": password}).uri.reveal()
    login = uri.removeprefix("mongodb://").partition("@")[0]
    assert unquote(login) == f"u:{password}"
