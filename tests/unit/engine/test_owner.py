"""Labels of what a process makes, and whether its owner is seen alive."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_madengine.engine.owner import Owner, current_owner, is_seen, owner_labels, owner_of
from pytest_madengine.util.processes import start_time


def test_owner_labels() -> None:
    """Contract 8.2, labels."""
    found = owner_labels("dummy", "models.json::dummy", "run-1")
    assert (
        found.items()
        >= {
            "pytest-madengine.model": "dummy",
            "pytest-madengine.item": "models.json::dummy",
            "pytest-madengine.run-id": "run-1",
            "pytest-madengine.owner-pid": str(os.getpid()),
            "pytest-madengine.owner-host": socket.gethostname(),
            "pytest-madengine.owner-boot-id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "pytest-madengine.owner-start": str(start_time(os.getpid())),
        }.items()
    )
    assert owner_of(found) == current_owner()


HERE = current_owner()


@pytest.mark.parametrize(
    ("owner", "seen"),
    [
        (HERE, True),
        (replace(HERE, namespace=""), True),
        (replace(HERE, start=HERE.start + 1), False),
        (replace(HERE, pid=2**22 + 1), False),
        (replace(HERE, host="other"), False),
        (replace(HERE, boot_id="other"), False),
        (replace(HERE, namespace="pid:[1]"), False),
    ],
)
def test_who_is_seen_alive(owner: Owner, seen: bool) -> None:
    assert is_seen(owner, HERE) is seen
