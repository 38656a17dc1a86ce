"""The control directory of a run: generated scripts, the events file, what the clone needs for ssh."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Final

from pytest_madengine.errors import CredentialError
from pytest_madengine.executors.events import LARGEST, Events, parse_events
from pytest_madengine.plan.runplan import Clone, RunPlan
from pytest_madengine.plan.script import ASK, BEFORE, GO, KNOWN_HOSTS, NONCE, SSH_KEY, guarded, render
from pytest_madengine.util.files import read_regular

#: Bytes of the list of files that were there before the script.
_LARGEST_SUMS: Final = 32 * 1024 * 1024


class ControlDirectory:
    """Host side of ``/myworkspace/.madengine``; the directory is there already."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._events = -1
        self.warnings: list[str] = []

    def write(self, plan: RunPlan, nonce: str) -> None:
        """Writes everything the container reads there.

        :raises CredentialError: the ssh key of the clone cannot be read.
        :raises PlanError: a text of the plan cannot be written into a script.
        """
        watched = (plan.multiple_results,) if plan.multiple_results else ()
        script = replace(
            plan.script,
            host_versions=plan.script.host_versions or host_versions(),
            watched=plan.script.watched or watched,
        )
        for name, content in guarded(render(script, nonce=nonce), nonce).items():
            (self._path / name).write_text(content, encoding="utf-8", errors="surrogateescape")
            (self._path / name).chmod(0o755)
        (self._path / NONCE).chmod(0o666)  # the script empties it, as whatever user it runs
        if plan.multiple_results:
            (self._path / ASK).touch()
            (self._path / BEFORE).touch()
            (self._path / BEFORE).chmod(0o666)
        # Read through this descriptor only: the workload may put anything in the place of the name.
        self._events = os.open(
            self._path / "events", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        os.fchmod(self._events, 0o666)
        if script.clone is not None:
            self._write_ssh_files(script.clone, plan.options.user.partition(":")[0])

    def events(self) -> Events:
        """What the scripts reported so far; a record masks its texts, the numbers are times of ours."""
        if self._events < 0:
            return Events()
        if not os.fstat(self._events).st_nlink:
            self.warnings.append("the run removed its events file")
        text = os.pread(self._events, LARGEST, 0).decode("utf-8", "replace")
        return parse_events(text)

    def sums(self) -> bytes:
        """Hashes of files of image and mounts; ask before the script starts, which could change them."""
        found = read_regular(self._path / BEFORE, _LARGEST_SUMS)
        if found is None:
            self.warnings.append("files of the image that look like results could not be read before the run")
        return found or b""

    def let_go(self) -> int:
        """Lets the script start; returns the moment on the clock of the file system, in nanoseconds."""
        handle = os.open(
            self._path / GO, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
        try:
            os.utime(handle)
            return os.fstat(handle).st_mtime_ns
        finally:
            os.close(handle)

    def close(self) -> None:
        """Closes what it holds open."""
        if self._events >= 0:
            os.close(self._events)
            self._events = -1

    def _write_ssh_files(self, clone: Clone, user: str) -> None:
        """Copies the key and the known hosts; the script empties the key after the clone."""
        # ssh refuses a key that others could read only when it belongs to the user it runs as.
        private = user in ("", "root", "0", str(os.getuid()))
        for source, name in ((clone.ssh_key_file, SSH_KEY), (clone.known_hosts, KNOWN_HOSTS)):
            if not source:
                continue
            target = self._path / name
            target.parent.mkdir(exist_ok=True)
            target.parent.chmod(0o755)
            try:
                content = Path(source).expanduser().read_bytes()
            except OSError as error:
                if name == SSH_KEY:
                    raise CredentialError(
                        f"cannot read ssh_key_file {source} for {clone.url}: {error.strerror}"
                    ) from error
                self.warnings.append(f"cannot read known hosts {source}: {error.strerror}")
                content = b""  # no host is known then
            target.touch(mode=0o600)
            target.write_bytes(content)
            target.chmod(0o600 if private and name == SSH_KEY else 0o666)


def host_versions() -> tuple[tuple[str, str], ...]:
    """Host column of the version table."""
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    versions = [("os", name), ("kernel", os.uname().release)]
    rocm = Path("/opt/rocm/.info/version")
    if rocm.is_file():
        versions.append(("rocm", rocm.read_text(encoding="utf-8", errors="replace").strip()))
    return tuple(versions)
