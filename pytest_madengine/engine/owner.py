"""Who made a container or an image: labels that name one process of one boot of one host (contract 8.2)."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_madengine.util.processes import boot_id, pid_namespace, start_time

PREFIX: Final = "pytest-madengine."
MODEL: Final = PREFIX + "model"
ITEM: Final = PREFIX + "item"
RUN_ID: Final = PREFIX + "run-id"
OWNER_PID: Final = PREFIX + "owner-pid"
OWNER_HOST: Final = PREFIX + "owner-host"
OWNER_BOOT: Final = PREFIX + "owner-boot-id"
#: Start time of the owner in clock ticks since boot: process ids are used again, this pair is not.
OWNER_START: Final = PREFIX + "owner-start"
#: Process namespace the id counts in: two containers with test processes may share host name and boot.
OWNER_NAMESPACE: Final = PREFIX + "owner-pid-namespace"
#: Identity of the installation: hosts may share a name, not this.
OWNER_MACHINE: Final = PREFIX + "owner-machine"
#: Container that stays on purpose (``--mad-keep-alive``).
KEPT: Final = PREFIX + "kept"


@dataclass(frozen=True)
class Owner:
    """One process.  ``start`` is in clock ticks since boot, 0 when unknown."""

    pid: int
    start: int
    host: str
    boot_id: str
    namespace: str = ""
    machine: str = ""

    def labels(self) -> dict[str, str]:
        """The labels by which this owner is found again."""
        return {
            OWNER_PID: str(self.pid),
            OWNER_START: str(self.start),
            OWNER_HOST: self.host,
            OWNER_BOOT: self.boot_id,
            OWNER_NAMESPACE: self.namespace,
            OWNER_MACHINE: self.machine,
        }


def current_owner() -> Owner:
    """This process."""
    pid = os.getpid()
    start = start_time(pid) or 0
    return Owner(pid, start, socket.gethostname(), boot_id(), pid_namespace(), machine_id())


def owner_labels(model: str, item: str, run_id: str) -> dict[str, str]:
    """The labels of what this process makes for an item of a session."""
    return {MODEL: model, ITEM: item, RUN_ID: run_id, **current_owner().labels()}


def machine_id(path: Path = Path("/etc/machine-id")) -> str:
    """Identity of this installation; empty where there is none.

    Derived: machine-id(5) asks not to give the id itself away.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return hashlib.sha256(f"pytest-madengine {text}".encode()).hexdigest()[:16] if text else ""


def owner_of(labels: Mapping[str, str]) -> Owner | None:
    """The owner that labels name; ``None`` when they are not complete: such a container is not ours."""
    try:
        pid, start = int(labels[OWNER_PID]), int(labels.get(OWNER_START, "0"))
        host, boot = labels[OWNER_HOST], labels[OWNER_BOOT]
        return Owner(pid, start, host, boot, labels.get(OWNER_NAMESPACE, ""), labels.get(OWNER_MACHINE, ""))
    except (KeyError, ValueError):
        return None


def is_alive(owner: Owner) -> bool:
    """True while the owner runs, also when that cannot be seen from here (another process namespace).

    Only meaningful on the owner's own host and boot.
    """
    if owner.namespace not in ("", pid_namespace()):
        return True
    start = start_time(owner.pid)
    return start is not None and owner.start in (0, start)


def is_gone(owner: Owner, here: Owner, *, running: bool) -> bool:
    """True when an owner is certainly dead, as far as this process can tell.

    Several machines may use one engine, and two of them may have one name, or the machine id of one disk
    image.  An owner of another boot is one of this machine before it was restarted only if the machine is
    the same, and then its container does not run: it ended with the host, or with its lifeline.

    :param here: this process.
    :param running: the container runs.
    """
    if owner.host != here.host or not owner.boot_id or not here.boot_id:
        return False
    if owner.boot_id == here.boot_id:
        return not is_alive(owner)
    return bool(owner.machine) and owner.machine == here.machine and not running


def is_seen(owner: Owner, here: Owner) -> bool:
    """True when this process sees that the owner runs."""
    place = (owner.host, owner.boot_id, owner.namespace or here.namespace)
    return place == (here.host, here.boot_id, here.namespace) and is_alive(owner)


def is_running(entry: Mapping[str, object]) -> bool:
    """True when something of a container runs, by its entry in the engine's list, or when that is unknown."""
    return str(entry.get("State", "running")).lower() not in ("created", "exited", "dead")
