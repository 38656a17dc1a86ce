"""What earlier sessions left in the engine: containers, images and networks with our labels.

Nothing without our labels is ever looked at (contract 10.3).  Objects of a living owner stay.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.engine.owner import (
    KEPT,
    OWNER_PID,
    RUN_ID,
    current_owner,
    is_gone,
    is_running,
    owner_of,
)
from pytest_madengine.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from docker import DockerClient

_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")
_ORDER: Final = ("container", "network", "image")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Leftover:
    """One object of an earlier session."""

    #: ``container``, ``image`` or ``network``.
    kind: str
    id: str
    name: str
    run_id: str
    #: Seconds since it was made.
    age: float
    #: Bytes; 0 when unknown.
    size: int = 0
    #: Why it is still there, e.g. ``owner gone``, ``kept on purpose``.
    why: str = ""


def parse_age(text: str) -> float:
    """``90``, ``30m``, ``2h``, ``7d`` as seconds.

    :raises ConfigError: anything else.
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"--older: {text!r} is not an age", hint="write 30m, 2h or 7d")
    return float(match[1]) * _UNITS[match[2]]


def find(
    client: DockerClient, *, older: float = 0, images: bool = False, kept: bool = True, run_id: str = ""
) -> tuple[Leftover, ...]:
    """Everything of sessions that are over: containers before the images they hold, the oldest first.

    :param older: only what is at least this old, in seconds.
    :param images: also images; they serve as a build cache, so they are asked for.
    :param run_id: only what this session left.
    :param kept: also containers that were left running on purpose (``--mad-keep-alive``).
    :raises EngineError: the engine does not answer.
    """
    import docker.errors
    from requests.exceptions import RequestException

    try:
        found = [*_containers(client, kept), *_networks(client), *(_images(client) if images else ())]
    except (docker.errors.DockerException, RequestException) as error:
        raise EngineError(f"cannot list what is in the engine: {error}") from error
    wanted = [one for one in found if one.age >= older and run_id in ("", one.run_id)]
    return tuple(sorted(wanted, key=lambda one: (_ORDER.index(one.kind), -one.age)))


def remove(client: DockerClient, leftover: Leftover) -> str:
    """Removes one object; returns why it could not be removed, or an empty text."""
    import docker.errors

    try:
        if leftover.kind == "container":
            client.api.remove_container(leftover.id, force=True, v=True)
        elif leftover.kind == "image":
            client.api.remove_image(leftover.name or leftover.id)
        else:
            client.api.remove_network(leftover.id)
    except docker.errors.NotFound:
        return ""
    except docker.errors.APIError as error:
        return str(error.explanation or error)
    return ""


def _containers(client: DockerClient, kept: bool) -> Iterator[Leftover]:
    for entry in client.api.containers(all=True, filters={"label": [OWNER_PID]}, size=False):
        labels = entry.get("Labels") or {}
        if (KEPT in labels and not kept) or (
            _owner_lives(labels, running=is_running(entry)) and KEPT not in labels
        ):
            continue
        name = (entry.get("Names") or [entry["Id"]])[0].lstrip("/")
        why = "kept on purpose" if KEPT in labels else "owner gone"
        yield Leftover("container", entry["Id"], name, labels.get(RUN_ID, ""), _age(entry), why=why)


def _images(client: DockerClient) -> Iterator[Leftover]:
    for entry in client.api.images(filters={"label": [RUN_ID]}):
        labels = entry.get("Labels") or {}
        names = [name for name in entry.get("RepoTags") or () if name != "<none>:<none>"] or [""]
        for name in names:
            run_id, size = labels.get(RUN_ID, ""), int(entry.get("Size") or 0)
            yield Leftover("image", entry["Id"], name, run_id, _age(entry), size, "built for a model")


def _networks(client: DockerClient) -> Iterator[Leftover]:
    for entry in client.api.networks(filters={"label": [RUN_ID]}):
        labels = entry.get("Labels") or {}
        if not _owner_lives(labels, running=False):
            yield Leftover("network", entry["Id"], entry["Name"], labels.get(RUN_ID, ""), _age(entry))


def _owner_lives(labels: Mapping[str, str], *, running: bool) -> bool:
    owner = owner_of(labels)
    return owner is None or not is_gone(owner, current_owner(), running=running)


def _age(entry: Mapping[str, Any]) -> float:
    created = entry.get("Created", 0)
    if isinstance(created, str):
        # The engine's RFC 3339 has more digits than Python reads.
        text = re.sub(r"\.\d+", "", created).replace("Z", "+00:00")
        created = datetime.fromisoformat(text).timestamp()
    return max(time.time() - float(created), 0.0)
