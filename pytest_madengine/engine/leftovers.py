"""What earlier sessions left in the engine: containers, images and networks with our labels.

Nothing without our labels is ever looked at (contract 10.3).  Objects of a living owner stay.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.engine.failures import engine_failures
from pytest_madengine.engine.owner import (
    KEPT,
    OWNER_PID,
    RUN_ID,
    Owner,
    current_owner,
    is_gone,
    is_running,
    is_seen,
    owner_of,
)
from pytest_madengine.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from docker import DockerClient

_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")
_ORDER: Final = ("container", "network", "image")
_KEPT: Final = "kept on purpose"
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

    @property
    def kept(self) -> bool:
        """True for a container that stays on purpose (``--mad-keep-alive``)."""
        return self.why == _KEPT


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
    here = current_owner()
    try:
        found = [
            *(one for one in _containers(client, here) if kept or not one.kept),
            *_networks(client, here),
            *(_images(client) if images else ()),
        ]
    except engine_failures() as error:
        raise EngineError(f"cannot list what is in the engine: {error}") from error
    wanted = [one for one in found if one.age >= older and run_id in ("", one.run_id)]
    return tuple(sorted(wanted, key=lambda one: (_ORDER.index(one.kind), -one.age)))


def remove(client: DockerClient, leftover: Leftover) -> bool:
    """Removes one object; false when another process was faster.

    :raises EngineError: why it cannot be removed.
    """
    import docker.errors

    try:
        if leftover.kind == "container":
            client.api.remove_container(leftover.id, force=True, v=True)
        elif leftover.kind == "image":
            client.api.remove_image(leftover.name or leftover.id)
        else:
            client.api.remove_network(leftover.id)
    except docker.errors.NotFound:
        return False
    except docker.errors.APIError as error:
        # The removal of a container is in progress; of an image: a container uses it.
        if error.status_code == 409 and leftover.kind == "container":
            return False
        raise EngineError(str(error.explanation or error)) from error
    except engine_failures() as error:
        raise EngineError(str(error)) from error
    return True


def find_leftovers(client: DockerClient, here: Owner, *, include_kept: bool = False) -> tuple[Leftover, ...]:
    """Containers with our labels whose owner, a process of this host, is gone: what every session removes.

    :param here: this process; containers of other hosts are never returned.
    :param include_kept: also those that ``--mad-keep-alive`` left running.
    :raises EngineError: the engine does not answer.
    """
    try:
        return tuple(one for one in _containers(client, here) if include_kept or not one.kept)
    except engine_failures() as error:
        raise EngineError(f"cannot list containers: {error}") from error


def remove_leftovers(client: DockerClient, leftovers: Iterable[Leftover]) -> tuple[Leftover, ...]:
    """Kills and removes them; returns those that were removed by this call.

    :raises EngineError: one of them cannot be removed.
    """
    removed = []
    for leftover in leftovers:
        try:
            if remove(client, leftover):
                removed.append(leftover)
        except EngineError as error:
            raise EngineError(f"cannot remove container {leftover.name}: {error.message}") from error
    return tuple(removed)


def _containers(client: DockerClient, here: Owner) -> Iterator[Leftover]:
    for entry in client.api.containers(all=True, filters={"label": [OWNER_PID]}):
        labels = entry.get("Labels") or {}
        if KEPT in labels:
            # Its owner may be out of sight for ever, e.g. in a container that was removed.
            owner = owner_of(labels)
            leave, why = owner is not None and is_seen(owner, here), _KEPT
        else:
            leave, why = _owner_lives(labels, here, running=is_running(entry)), "owner gone"
        if not leave:
            name = (entry.get("Names") or [entry["Id"]])[0].lstrip("/")
            yield Leftover("container", entry["Id"], name, labels.get(RUN_ID, ""), _age(entry), why=why)


def _images(client: DockerClient) -> Iterator[Leftover]:
    for entry in client.api.images(filters={"label": [RUN_ID]}):
        labels = entry.get("Labels") or {}
        names = [name for name in entry.get("RepoTags") or () if name != "<none>:<none>"] or [""]
        for name in names:
            run_id, size = labels.get(RUN_ID, ""), int(entry.get("Size") or 0)
            yield Leftover("image", entry["Id"], name, run_id, _age(entry), size, "built for a model")


def _networks(client: DockerClient, here: Owner) -> Iterator[Leftover]:
    for entry in client.api.networks(filters={"label": [RUN_ID]}):
        labels = entry.get("Labels") or {}
        if not _owner_lives(labels, here, running=False):
            yield Leftover("network", entry["Id"], entry["Name"], labels.get(RUN_ID, ""), _age(entry))


def _owner_lives(labels: Mapping[str, str], here: Owner, *, running: bool) -> bool:
    owner = owner_of(labels)
    return owner is None or not is_gone(owner, here, running=running)


def _age(entry: Mapping[str, Any]) -> float:
    created = entry.get("Created", 0)
    if isinstance(created, str):
        # The engine's RFC 3339 has more digits than Python reads.
        text = re.sub(r"\.\d+", "", created).replace("Z", "+00:00")
        created = datetime.fromisoformat(text).timestamp()
    return max(time.time() - float(created), 0.0)
