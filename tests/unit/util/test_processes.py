"""Which process: boot, start, parent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pytest_madengine.util.processes import boot_id, parent_of, pid_namespace, start_time


def test_boot_id_of_a_system_without_one(tmp_path: Path) -> None:
    assert boot_id(tmp_path / "none") == ""
    (tmp_path / "odd").write_bytes(b"\xff\n")
    assert boot_id(tmp_path / "odd") == ""
    (tmp_path / "even").write_bytes(b"abc\n")
    assert boot_id(tmp_path / "even") == "abc"


def test_this_process() -> None:
    assert start_time(os.getpid())
    assert parent_of(os.getpid()) == os.getppid()
    assert pid_namespace().startswith("pid:[")


def test_a_process_that_ended_has_no_start_and_no_parent() -> None:
    """Also while its parent has not asked for its status."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert (start_time(child.pid), parent_of(child.pid)) == (None, None)
    assert (start_time(child.pid), parent_of(child.pid)) == (None, None)
