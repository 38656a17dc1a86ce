"""Labels by which containers and images of the plugin are known (contract 8.2)."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

PREFIX: Final = "pytest-madengine."
MODEL: Final = f"{PREFIX}model"
ITEM: Final = f"{PREFIX}item"
RUN_ID: Final = f"{PREFIX}run-id"
OWNER_PID: Final = f"{PREFIX}owner-pid"
OWNER_HOST: Final = f"{PREFIX}owner-host"
OWNER_BOOT_ID: Final = f"{PREFIX}owner-boot-id"

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def owner_labels(model: str, item: str, run_id: str) -> dict[str, str]:
    """The labels of something this process makes, for this model and item.

    Process id, host and boot id together say whether the owner is still alive: a process id alone may
    belong to another host or to the time before a restart.
    """
    return {
        MODEL: model,
        ITEM: item,
        RUN_ID: run_id,
        OWNER_PID: str(os.getpid()),
        OWNER_HOST: socket.gethostname(),
        OWNER_BOOT_ID: boot_id(),
    }


def boot_id(source: Path = _BOOT_ID) -> str:
    """Identity of the running kernel's start; empty where there is none."""
    try:
        return source.read_text(encoding="ascii").strip()
    except OSError:
        return ""
