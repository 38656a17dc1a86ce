"""Registries: the tag under which an image is pushed, and its credential (contract 9.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_madengine.errors import ConfigError, CredentialError
from pytest_madengine.images.naming import is_reference
from pytest_madengine.secrets import Secret, reveal
from pytest_madengine.util.names import shortened

#: Key of Docker Hub in ``credential.json``.
DOCKER_HUB: Final = "dockerhub"
#: Names of Docker Hub, compared without regard to case.
HUB_NAMES: Final = frozenset({"docker.io", DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
HUB_USER: Final = "MAD_DOCKERHUB_USER"
HUB_PASSWORD: Final = "MAD_DOCKERHUB_PASSWORD"
HUB_REPOSITORY: Final = "MAD_DOCKERHUB_REPO"
#: Longest tag docker accepts, in characters.
MAX_TAG: Final = 128
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class RegistryCredential:
    """What ``credential.json`` or the environment says about a registry."""

    key: str
    username: str = ""
    password: Secret | None = None
    #: ``org/repo``: all images go there, the image name becomes the tag.
    repository: str = ""

    @property
    def usable(self) -> bool:
        """True when one can log in with it."""
        return bool(self.username and self.password is not None and self.password.reveal())

    @property
    def anonymous(self) -> bool:
        """True when it names no user at all."""
        return not self.username and self.password is None

    def checked(self) -> RegistryCredential:
        """The credential itself.

        :raises CredentialError: user or password is missing, with the text of contract 9.1.
        """
        if not self.usable:
            raise invalid_credential(self.key)
        return self


def is_hub(registry: str) -> bool:
    """True when a registry, or the registry part of a path in it, is Docker Hub."""
    return registry.strip().partition("/")[0].lower() in HUB_NAMES


def login_server(registry: str) -> str:
    """The server to log in to; empty for Docker Hub, whose name is omitted."""
    return "" if is_hub(registry) else registry.strip().partition("/")[0]


def check_registry(registry: str) -> str:
    """The registry as given, without blanks and slashes around it.

    :raises ConfigError: docker would not accept it in front of an image name.
    """
    text = registry.strip().rstrip("/")
    if text and not is_hub(text) and not (is_reference(f"{text}/x") and _is_server(text)):
        raise ConfigError(
            f"--mad-registry: {registry!r} is not a registry",
            hint="write it as host[:port][/path] without a scheme, or docker.io",
        )
    return text


def _is_server(text: str) -> bool:
    """Docker takes a first component without dot, port or ``localhost`` for a path in Docker Hub."""
    host = text.partition("/")[0]
    return host == "localhost" or "." in host or ":" in host


def find_credential(
    registry: str, credentials: Mapping[str, Any], environ: Mapping[str, str]
) -> RegistryCredential | None:
    """The credential of a registry: that of its full path, else of its host; ``None`` without one.

    ``MAD_DOCKERHUB_USER`` with ``MAD_DOCKERHUB_PASSWORD`` replace the entry of Docker Hub,
    ``MAD_DOCKERHUB_REPO`` sets its repository.
    """
    text = registry.strip().rstrip("/")
    if not text:
        return None
    hub = is_hub(text)
    names = [text, text.partition("/")[0]]
    lowered = {str(key).lower(): key for key in credentials}
    wanted = dict.fromkeys([*names, DOCKER_HUB, "docker.io"] if hub else names)
    for name in wanted:
        key = name if name in credentials else lowered.get(name.lower()) if hub else None
        if key is not None and isinstance(credentials[key], Mapping):
            found = _credential(credential_key(text) if hub else key, credentials[key])
            break
    else:
        found = None
    return _with_environment(found, environ) if hub else found


def credential_key(registry: str) -> str:
    """The key that messages name: ``dockerhub`` for Docker Hub in all its spellings."""
    text = registry.strip().rstrip("/")
    return DOCKER_HUB if is_hub(text) else text


def _credential(key: str, entry: Mapping[str, Any]) -> RegistryCredential:
    def text(name: str) -> str:
        value = entry.get(name)
        return reveal(value).strip() if isinstance(value, (str, Secret)) else ""

    password = entry.get("password")
    return RegistryCredential(
        key=key,
        username=text("username"),
        password=Secret(reveal(password)) if isinstance(password, (str, Secret)) else None,
        repository=text("repository").strip("/"),
    )


def _with_environment(
    found: RegistryCredential | None, environ: Mapping[str, str]
) -> RegistryCredential | None:
    user, password = environ.get(HUB_USER, ""), environ.get(HUB_PASSWORD, "")
    repository = environ.get(HUB_REPOSITORY, "").strip().strip("/") or (found.repository if found else "")
    if user and password:
        return RegistryCredential(DOCKER_HUB, user, Secret(password), repository)
    if found is not None:
        return RegistryCredential(found.key, found.username, found.password, repository)
    return RegistryCredential(DOCKER_HUB, repository=repository) if repository else None


def registry_tag(
    registry: str, image: str, credential: RegistryCredential | None = None, registry_image: str = ""
) -> str:
    """The reference under which an image is pushed to a registry and pulled from it.

    :param registry_image: the reference that a batch manifest names instead.
    :return: empty without a registry: the image is then not pushed.
    :raises ConfigError: docker would not accept the reference.
    """
    text = registry.strip().rstrip("/")
    repository = credential.repository if credential is not None else ""
    if registry_image:
        reference = registry_image
    elif not text:
        return ""
    elif is_hub(text):
        path = text.partition("/")[2]
        owner = path or (credential.username if credential is not None else "")
        plain = f"{owner}/{image}" if owner else image
        reference = f"{repository}:{tag_of(image)}" if repository else plain
    elif repository:
        reference = f"{text}/{repository}:{tag_of(image)}"
    else:
        reference = f"{text}/{image}"
    # Docker would take an owner in capitals for the name of another registry.
    foreign = is_hub(text) and not registry_image and not _is_lower(reference, image)
    if foreign or not is_reference(reference):
        raise ConfigError(
            f"{reference!r} is not a valid image reference",
            hint="check --mad-registry and the repository of its credential: docker wants lower case",
        )
    return reference


def _is_lower(reference: str, image: str) -> bool:
    """Only a tag may have capitals."""
    head = reference.removesuffix(f":{tag_of(image)}")
    return head == head.lower()


def tag_of(image: str) -> str:
    """An image name as a tag; one that is too long is cut, and a hash keeps two such tags apart."""
    tag = shortened(image.replace("/", "_").replace(":", "_"), MAX_TAG, strip="")
    return tag if _TAG.fullmatch(tag) else re.sub(r"[^A-Za-z0-9_.-]", "_", tag)


def missing_credential(registry: str) -> CredentialError:
    """The error of an operation that a registry refused to an unknown user (contract 9.1)."""
    key = credential_key(registry)
    return CredentialError(
        f"No credentials found for registry: {key}\n"
        f"Please add {key} credentials to credential.json:\n"
        "{\n"
        f'  "{key}": {{\n'
        f'    "username": "your-{key}-username",\n'
        f'    "password": "your-{key}-password{"-or-token" if key == DOCKER_HUB else ""}"\n'
        "  }\n"
        "}"
    )


def invalid_credential(key: str) -> CredentialError:
    """The error of a credential without user or password (contract 9.1)."""
    return CredentialError(
        f"Invalid credentials format for registry: {key}\n"
        "Credentials must contain 'username' and 'password' fields"
    )
