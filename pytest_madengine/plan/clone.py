"""The repository a model is cloned from (contract 10.6)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from pytest_madengine.catalog.model import Model
from pytest_madengine.errors import ConfigError, CredentialError, PlanError
from pytest_madengine.plan.runplan import Clone
from pytest_madengine.secrets import Secret, reveal
from pytest_madengine.util import jsontext

#: Name of the model directory without a clone.
RUN_DIRECTORY: Final = "run_directory"
#: Used for github.com when a model names no credential (contract 10.6 and 13.4).
PUBLIC_KEY: Final = "PUBLIC_GITHUB_ROCM_KEY"
#: Names in the workspace that a clone must not take.
_RESERVED: Final = frozenset({"scripts", ".madengine"})
_SCHEMES: Final = ("https", "http", "ssh", "git", "file")
#: ``user@host:path`` without a scheme: the part before the colon has no slash (git-clone(1)).
_SCP: Final = re.compile(r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>\[[^\]/]+\]|[^@/:\s]+):(?P<path>(?!//).+)")

Credentials = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class RepositoryUrl:
    """A clone URL taken apart; credentials are not part of ``url`` any more."""

    url: str
    directory: str
    #: ``https``, ``http``, ``ssh``, ``git`` or ``file``; the scp form is ``ssh``.
    scheme: str
    host: str = ""
    username: str = ""
    password: Secret | None = None


def parse_url(url: str) -> RepositoryUrl:
    """Takes a clone URL apart.

    :raises PlanError: git could take it for something else, or it gives no directory name.
    """
    text = url.strip()
    if not text or text.startswith("-") or "::" in text.partition("/")[0] or not text.isprintable():
        raise _unusable(text, "not a repository URL")
    if "://" not in text:
        match = _SCP.fullmatch(text)
        if match is None:
            raise _unusable(text, f"neither host:path nor one of {', '.join(_SCHEMES)}")
        return RepositoryUrl(
            text, _directory(match["path"], text), "ssh", match["host"].strip("[]"), match["user"] or ""
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _unusable(text, str(error)) from None
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES:
        raise _unusable(text, f"scheme {scheme!r} is not one of {', '.join(_SCHEMES)}")
    if scheme != "file" and (not host or host.startswith("-")):
        raise _unusable(text, "it names no host")
    username, password = unquote(parts.username or ""), parts.password
    if scheme == "ssh" and password is not None:
        raise _unusable(text, "ssh takes a key file from 'cred', not a password")
    if password is not None or scheme in {"https", "http"}:
        # A login inside the URL would end up in .git/config and in argument lists.
        netloc = f"[{host}]" if ":" in host else host
        parts = parts._replace(netloc=netloc if port is None else f"{netloc}:{port}")
    secret = None if password is None else Secret(unquote(password))
    return RepositoryUrl(urlunsplit(parts), _directory(parts.path, text), scheme, host, username, secret)


def _directory(path: str, url: str) -> str:
    name = path.rstrip("/").rpartition("/")[2]
    name = name[: -len(".git")] if name.endswith(".git") else name
    if name in {"", ".", ".."} or len(name.encode("utf-8", "surrogateescape")) > 200:
        raise _unusable(url, "its last segment is no directory name")
    if name in _RESERVED:
        raise _unusable(url, f"a model directory cannot be named {name!r}")
    return name


def _unusable(url: str, why: str) -> PlanError:
    shown = re.sub(r"//[^/@]*@", "//***@", url)
    return PlanError(f"url {shown!r} cannot be cloned: {why}")


def model_directory(model: Model) -> str:
    """Name of the model directory below ``/myworkspace``.

    :raises PlanError: see :func:`parse_url`.
    """
    return parse_url(model.url).directory if model.url.strip() else RUN_DIRECTORY


def model_credential(model: Model, credentials: Credentials) -> Mapping[str, Any]:
    """The credential a model names; empty when it names none.

    :raises CredentialError: it is missing or not an object.
    """
    if not model.cred:
        return {}
    found = credentials.get(model.cred)
    if found is None:
        raise CredentialError(
            f"Credentials({model.cred}) to run model not found in credential.json; "
            f"Please contact the model owner, {model.owner}."
        )
    if not isinstance(found, Mapping):
        raise CredentialError(f"Credentials({model.cred}) in credential.json is not an object")
    return found


def build_clone(
    model: Model,
    credentials: Credentials,
    *,
    root: str,
    environ: Mapping[str, str],
    known_hosts: str = "",
) -> Clone | None:
    """How the repository of a model is cloned; ``None`` when it has none.

    :param root: MAD root on the host; a relative key file lies below it.
    :param environ: host environment (``HOME``, ``PUBLIC_GITHUB_ROCM_KEY``).
    :param known_hosts: ``--mad-known-hosts``; empty: the user's own file.
    :raises PlanError: the URL is unusable.
    :raises CredentialError: the credential is missing or has not the fields this URL needs.
    """
    if not model.url.strip():
        return None
    parsed = parse_url(model.url)
    credential = model_credential(model, credentials)
    if parsed.scheme == "ssh":
        home = environ.get("HOME", "/root")
        return Clone(
            parsed.url,
            parsed.directory,
            ssh_user=_field(credential, "username") or parsed.username,
            ssh_key_file=_key_file(model, credential, root, home),
            known_hosts=known_hosts or posixpath.join(home, ".ssh", "known_hosts"),
        )
    if credential and parsed.scheme in {"https", "http"}:
        username, password = _login(model.cred, credential, ("password",))
        return Clone(parsed.url, parsed.directory, username, password)
    if parsed.password is not None or parsed.username:
        return Clone(parsed.url, parsed.directory, parsed.username, parsed.password or "")
    public = _public_key(credentials, environ) if parsed.host == "github.com" else {}
    if public:
        username, password = _login(PUBLIC_KEY, public, ("token", "password"))
        return Clone(parsed.url, parsed.directory, username, password, anonymous_first=True)
    return Clone(parsed.url, parsed.directory)


def _key_file(model: Model, credential: Mapping[str, Any], root: str, home: str) -> str:
    if not model.cred:
        return ""
    path = _field(credential, "ssh_key_file")
    if not path or not _field(credential, "username"):
        raise CredentialError(
            f"Credentials({model.cred}) in credential.json must have 'username' and 'ssh_key_file' "
            f"to clone over ssh; Please contact the model owner, {model.owner}."
        )
    if path == "~" or path.startswith("~/"):
        path = home + path[1:]
    return posixpath.normpath(posixpath.join(root, path))


def _field(credential: Mapping[str, Any], name: str) -> str:
    value = credential.get(name, "")
    return reveal(value) if isinstance(value, (str, Secret)) else ""


def _login(key: str, credential: Mapping[str, Any], passwords: tuple[str, ...]) -> tuple[str, Secret]:
    username = _field(credential, "username")
    password = next((value for name in passwords if (value := _field(credential, name))), "")
    if not username or not password:
        wanted = "' or '".join(passwords)
        raise CredentialError(f"Credentials({key}) must have 'username' and '{wanted}' to clone over https")
    return username, Secret(password)


def _public_key(credentials: Credentials, environ: Mapping[str, str]) -> Mapping[str, Any]:
    text = environ.get(PUBLIC_KEY, "")
    if not text:
        found: Any = credentials.get(PUBLIC_KEY, {})
    else:
        try:
            found = jsontext.parse(text)
        except jsontext.JsonTextError:
            raise ConfigError(f"environment variable {PUBLIC_KEY} is not valid JSON") from None
    if not isinstance(found, Mapping):
        raise ConfigError(f"{PUBLIC_KEY} is not an object with 'username' and 'token'")
    return found
