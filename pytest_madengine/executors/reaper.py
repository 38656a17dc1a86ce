"""Containers whose owner died before it could remove them (contract 10.3).

Nothing without our labels is ever looked at, and containers of living owners, other hosts, or kept on
purpose are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_madengine.engine.owner import KEPT, OWNER_PID, RUN_ID, Owner, is_gone, is_running, owner_of
from pytest_madengine.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True)
class Leftover:
    """A container of a dead owner."""

    id: str
    name: str
    run_id: str
    owner: Owner
    #: It was kept on purpose.
    kept: bool = False


def find_leftovers(client: DockerClient, here: Owner, *, include_kept: bool = False) -> tuple[Leftover, ...]:
    """Containers with our labels whose owner, a process of this host, is gone.

    :param here: this process; containers of other hosts are never returned.
    :param include_kept: also those that ``--mad-keep-alive`` left running.
    :raises EngineError: the engine does not answer.
    """
    import docker.errors
    from requests.exceptions import RequestException

    try:
        listed = client.api.containers(all=True, filters={"label": [OWNER_PID]})
    except (docker.errors.DockerException, RequestException) as error:
        raise EngineError(f"cannot list containers: {error}") from error
    found = (_leftover(entry, here) for entry in listed)
    return tuple(entry for entry in found if entry is not None and (include_kept or not entry.kept))


def remove_leftovers(client: DockerClient, leftovers: Iterable[Leftover]) -> tuple[Leftover, ...]:
    """Kills and removes them; returns those that were removed by this call.

    :raises EngineError: one of them cannot be removed.
    """
    import docker.errors
    from requests.exceptions import RequestException

    removed = []
    for leftover in leftovers:
        try:
            client.api.remove_container(leftover.id, force=True, v=True)
        except docker.errors.NotFound:
            continue  # another process was faster
        except docker.errors.APIError as error:
            if error.status_code == 409:  # its removal is in progress
                continue
            raise EngineError(f"cannot remove container {leftover.name}: {error.explanation}") from error
        except (docker.errors.DockerException, RequestException) as error:
            raise EngineError(f"cannot remove container {leftover.name}: {error}") from error
        removed.append(leftover)
    return tuple(removed)


def _leftover(entry: dict[str, Any], here: Owner) -> Leftover | None:
    labels = entry.get("Labels") or {}
    owner = owner_of(labels)
    if owner is None or not is_gone(owner, here, running=is_running(entry)):
        return None
    names = entry.get("Names") or [entry["Id"]]
    return Leftover(entry["Id"], names[0].lstrip("/"), labels.get(RUN_ID, ""), owner, KEPT in labels)
