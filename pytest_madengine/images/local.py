"""Facts of images that the engine already has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_madengine.errors import EngineError, PullError
from pytest_madengine.images.naming import is_reference
from pytest_madengine.plan.runplan import Image

if TYPE_CHECKING:
    from docker import DockerClient


def given_image(client: DockerClient, name: str, pull: Callable[[str], None] | None = None) -> Image:
    """An image the user named (``MAD_CONTAINER_IMAGE``, ``DOCKER_IMAGE_NAME``): the local one, else pulled.

    :param pull: makes the image local; ``None`` when pulling is not wanted.
    :raises PullError: the name is not valid, or the image is not local and cannot be pulled.
    :raises EngineError: the engine broke off.
    """
    if not is_reference(name):
        raise PullError(
            f"{name!r} is not a valid image name", hint="write it as [registry/]name[:tag|@digest]"
        )
    attributes = find_image(client, name)
    if attributes is None and pull is not None:
        pull(name)
        attributes = find_image(client, name)
    if attributes is None:
        raise PullError(f"there is no local image {name}", hint=f"docker pull {name}")
    digests = repository_digests(attributes)
    digest = digests.get(repository(name)) or next(iter(digests.values()), "")
    return Image(name=name, id=str(attributes["Id"]), digest=digest, env=image_env(attributes))


def find_image(client: DockerClient, name: str) -> Mapping[str, Any] | None:
    """The engine's description of a local image; ``None`` when it has no such image.

    :raises EngineError: the engine broke off.
    """
    from docker.errors import APIError, ImageNotFound
    from requests.exceptions import RequestException

    try:
        attributes: Mapping[str, Any] = client.images.get(name).attrs
    except ImageNotFound:
        return None
    except (APIError, RequestException) as error:
        raise EngineError(f"image {name} cannot be inspected: {_line(error)}") from None
    return attributes


def add_name(client: DockerClient, image_id: str, name: str) -> bool:
    """Gives an image one more name; false when the engine has no such image.

    :raises EngineError: the engine refuses or broke off.
    """
    from docker.errors import APIError, NotFound
    from requests.exceptions import RequestException

    last = name.rpartition("/")[2]
    tag = last.partition(":")[2]
    target = name.removesuffix(f":{tag}") if tag else name
    try:
        client.api.tag(image_id, target, tag or None)
    except NotFound:
        return False
    except (APIError, RequestException) as error:
        raise EngineError(f"image {image_id} cannot be named {name}: {_line(error)}") from None
    return True


def image_env(attributes: Mapping[str, Any]) -> dict[str, str]:
    """``Config.Env`` as an object."""
    entries = (attributes.get("Config") or {}).get("Env") or []
    pairs = (entry.partition("=") for entry in entries)
    return {name: value for name, _, value in pairs}


def image_labels(attributes: Mapping[str, Any]) -> Mapping[str, str]:
    """``Config.Labels``; empty without any."""
    return (attributes.get("Config") or {}).get("Labels") or {}


def repository_digests(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Registry digests of an image by repository; empty for one that was never pulled or pushed."""
    digests = {}
    for entry in attributes.get("RepoDigests") or []:
        name, _, digest = str(entry).partition("@")
        if digest.startswith("sha256:") and "<none>" not in name:
            digests[repository(name)] = digest
    return digests


def base_digest(client: DockerClient, base: str, resolved: Mapping[str, str]) -> str:
    """Registry digest of a base image; empty when nobody knows it, never an error text.

    :param resolved: image name -> digest, as BuildKit printed them: it keeps base images to itself.
    """
    if not base or base == "scratch" or not is_reference(base):
        return ""
    if "@" in base:
        return base.partition("@")[2]
    for name, digest in resolved.items():
        if full_name(name) == full_name(base):
            return digest
    try:
        attributes = find_image(client, base)
    except EngineError:
        return ""  # contract 8.3: empty when it cannot be read
    digests = repository_digests(attributes or {})
    return digests.get(repository(base)) or next(iter(digests.values()), "")


def full_name(name: str) -> str:
    """A reference with registry and tag: ``debian`` is ``docker.io/library/debian:latest``."""
    tag = name.rpartition("/")[2].partition(":")[2] or "latest"
    return f"{repository(name)}:{tag}"


def repository(name: str) -> str:
    """Registry and path of a reference, without tag and digest."""
    name = name.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = f"{head}{slash}{last.partition(':')[0]}"
    first, slash, _ = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return name.replace("index.docker.io/", "docker.io/", 1)
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _line(error: Exception) -> str:
    text = getattr(error, "explanation", None) or error
    return " ".join(str(text).split())
