"""The one border between detection and the host: files below a root, and commands as argument lists.

Everything that detection reads goes through a :class:`Probe`, so that recorded file trees and recorded tool
output test it without the hardware.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from pytest_madengine.secrets import is_secret_name

#: Limit of one probe command in seconds (contract 7.3).
TIMEOUT: Final = 180.0
#: Status of a command that is missing, cannot be executed or was ended at its limit (as shells report it).
MISSING, NOT_EXECUTABLE, TIMED_OUT = 127, 126, 124
#: More than this many bytes are never read from one file.
_MAX_FILE: Final = 1 << 20
#: Seconds to wait for the output of a command whose processes were killed.
_KILL_WAIT: Final = 5.0


@dataclass(frozen=True)
class CommandOutput:
    """Output of one command; the two streams are never mixed, so an error text cannot become a value."""

    stdout: str = ""
    stderr: str = ""
    code: int = 0

    @property
    def value(self) -> str:
        """stdout of a command that succeeded, else an empty text."""
        return self.stdout if self.code == 0 else ""


class CommandRunner(Protocol):
    """Runs one command; tests put recorded output behind this."""

    def __call__(self, argv: Sequence[str], timeout: float, environ: Mapping[str, str]) -> CommandOutput:
        """Runs ``argv`` without a shell for at most ``timeout`` seconds; never raises ``OSError``."""
        ...


def run_command(argv: Sequence[str], timeout: float, environ: Mapping[str, str]) -> CommandOutput:
    """Runs a command without shell and stdin, and kills its whole process group at the limit.

    :param timeout: seconds.
    :returns: code 127 for a missing program, 126 for one that cannot be executed, 124 at the limit.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environ),
            start_new_session=True,
        )
    except FileNotFoundError as error:
        return CommandOutput(stderr=str(error), code=MISSING)
    except (OSError, ValueError) as error:
        return CommandOutput(stderr=str(error), code=NOT_EXECUTABLE)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        out, err = _kill(process)
        note = f"{argv[0]} was ended after {timeout:g} s\n"
        return CommandOutput(_decode(out), _decode(err) + note, TIMED_OUT)
    except BaseException:
        _kill(process)
        raise
    return CommandOutput(_decode(out), _decode(err), process.returncode)


def _kill(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=_KILL_WAIT)
    except subprocess.TimeoutExpired:
        # Stuck in the driver, or a grandchild in a session of its own holds the pipes: leave it behind.
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        return b"", b""


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@dataclass(frozen=True)
class Probe:
    """Files below ``fs_root``, commands through ``run``, variables from ``environ``.

    Paths are texts as the host names them (``/sys/...``), whatever ``fs_root`` is.  No method raises
    ``OSError``: what cannot be read is absent.
    """

    fs_root: Path = Path("/")
    run: CommandRunner = field(default=run_command)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def real(cls, environ: Mapping[str, str]) -> Probe:
        """The probe of this host."""
        return cls(environ=dict(environ))

    def read_text(self, path: str) -> str:
        """The first MiB of a file as UTF-8 with replacements; empty when absent or unreadable."""
        try:
            with self._local(path).open("rb") as stream:
                return _decode(stream.read(_MAX_FILE))
        except (OSError, ValueError):
            return ""

    def exists(self, path: str) -> bool:
        """True when the path exists and may be looked at."""
        try:
            return self._local(path).exists()
        except (OSError, ValueError):
            return False

    def listdir(self, path: str) -> list[str]:
        """Sorted names in a directory; empty when absent or unreadable."""
        try:
            return sorted(entry.name for entry in self._local(path).iterdir())
        except (OSError, ValueError):
            return []

    def glob(self, pattern: str) -> list[str]:
        """Sorted absolute paths that match an absolute pattern."""
        try:
            found = [path.relative_to(self.fs_root) for path in self.fs_root.glob(pattern.lstrip("/"))]
        except (OSError, ValueError):
            return []
        return sorted(f"/{path}" for path in found)

    def realpath(self, path: str) -> str:
        """The path without symbolic links, or unchanged when a link leads out of ``fs_root``."""
        real = Path(os.path.realpath(self._local(path)))
        root = Path(os.path.realpath(self.fs_root))
        return f"/{real.relative_to(root)}" if real.is_relative_to(root) else path

    def which(self, name: str, *directories: str) -> str:
        """Absolute path of an executable on ``PATH``, then in ``directories``; empty when there is none."""
        path = self.environ.get("PATH", os.defpath)
        for directory in [*path.split(os.pathsep), *directories]:
            # A relative PATH entry would make the result depend on the current directory.
            candidate = f"{directory.rstrip('/')}/{name}"
            if directory.startswith("/") and self._is_executable(candidate):
                return candidate
        return ""

    def _is_executable(self, path: str) -> bool:
        local = self._local(path)
        try:
            return local.is_file() and os.access(local, os.X_OK)
        except (OSError, ValueError):
            return False

    def command(self, argv: Sequence[str], timeout: float = TIMEOUT) -> CommandOutput:
        """Runs a tool with English messages and without the secrets of our environment.

        :param timeout: seconds.
        """
        environ = {name: value for name, value in self.environ.items() if not is_secret_name(name)}
        return self.run(tuple(argv), timeout, {**environ, "LC_ALL": "C"})

    def _local(self, path: str) -> Path:
        return self.fs_root / path.lstrip("/")


class Tools:
    """The tools of one vendor: looked up on ``PATH``, then in given directories.

    A tool that hung once is not asked again, so that a broken driver costs one time limit, not many.
    """

    def __init__(self, probe: Probe, *directories: str) -> None:
        self._probe = probe
        self._directories = directories
        self._hung: set[str] = set()

    def has(self, name: str) -> bool:
        """True when the tool exists and has not hung."""
        return name not in self._hung and bool(self._probe.which(name, *self._directories))

    def run(self, name: str, *args: str) -> CommandOutput:
        """Output of the tool; code 127 when it does not exist."""
        path = self._probe.which(name, *self._directories)
        if not path or name in self._hung:
            return CommandOutput(code=MISSING)
        output = self._probe.command([path, *args])
        if output.code == TIMED_OUT:
            self._hung.add(name)
        return output

    @property
    def hung(self) -> tuple[str, ...]:
        """Names of tools that were ended at their limit."""
        return tuple(sorted(self._hung))
