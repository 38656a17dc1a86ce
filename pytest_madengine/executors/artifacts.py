"""What a run leaves for its user: collected files, the results file, the model directory (contract 10.1)."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from pytest_madengine.executors.before import LARGEST, Before
from pytest_madengine.executors.redaction import StreamRedactor
from pytest_madengine.executors.workspace import CONTROL
from pytest_madengine.plan.script import WORKSPACE
from pytest_madengine.secrets import Redactor
from pytest_madengine.util.files import open_regular
from pytest_madengine.util.text import file_name

#: Collected from workspace root and model directory of every run.
PATTERNS: Final = (
    "*_env.csv",
    ".*_env",
    "*_output",
    "*_output.csv",
    "library_trace.csv",
    "*_trace.csv",
    "perf_*.csv",
    "results*",
)
#: A results file larger than this many bytes is not read.
LARGEST_RESULTS: Final = LARGEST
#: Directories below one that is collected; what lies deeper is left out.
DEEPEST: Final = 64
_CHUNK: Final = 1024 * 1024


@dataclass
class Collector:
    """Moves files out of a workspace.  It never follows a symbolic link out of it.

    :param root: host directory of the workspace.
    :param model_dir: host side of the model directory.
    :param foreign: names in ``root`` that only stand for entries of the MAD root.
    :param copy: copies instead of moving, because a container still uses the workspace.
    :param keep_model_dir: the model directory is kept as a whole, besides what is collected from it.
    """

    root: Path
    model_dir: Path
    foreign: frozenset[str]
    artifacts: Path
    redactor: Redactor
    copy: bool = False
    keep_model_dir: bool = False
    warnings: list[str] = field(default_factory=list)
    _collected: list[str] = field(default_factory=list)

    def read_results(self, name: str, before: Before | None, since: int | None) -> str | None:
        """Text of a results file written by this run, from the workspace root, else the model directory.

        :param before: what existed when the script started; ``None``: it did not start.
        :param since: that moment on the clock of the file system, in nanoseconds.
        """
        for base, shown in ((self.root, WORKSPACE), (self.model_dir, f"{WORKSPACE}/{self.model_dir.name}")):
            relative = PurePosixPath(name)
            if relative.is_absolute() or ".." in relative.parts or relative.parts[0] in self._not_ours(base):
                continue
            path = self._inside(base / relative)
            if path is None:
                continue
            content, modified = _read(path)
            if content is None:
                limit = f"has more than {LARGEST_RESULTS} bytes"
                self.warnings.append(f"{shown}/{name} cannot be read or {limit}: it is not a results file")
            elif before is None or since is None or modified < since or before.had(content, since):
                self.warnings.append(f"{shown}/{name} was there before the run and is not a result of it")
            else:
                # Numbers in it were measured, words may be part of a column's name: the record masks more.
                return self.redactor.name(content.decode("utf-8-sig", "replace"))
        return None

    def collect(self, patterns: Iterable[str]) -> tuple[str, ...]:
        """Brings every match of the globs to the artifacts directory; returns their paths relative to it.

        A file of the model directory whose name is taken goes to a directory named like the model directory.
        """
        wanted = tuple(dict.fromkeys(patterns))
        self.artifacts.mkdir(parents=True, exist_ok=True)
        for base in (self.root, self.model_dir):
            for path in _links_first(self._matches(base, wanted)):
                relative = self._named(path.relative_to(base))
                target = self.artifacts / relative
                taken = base == self.model_dir and str(relative) in self._collected
                if taken or self._is_log(target):
                    target = self.artifacts / self.model_dir.name / relative
                self._bring(path, self._free(target))
        if self.keep_model_dir and self.model_dir.is_dir() and not self.model_dir.is_symlink():
            self._keep(self.artifacts / self.model_dir.name)
        return tuple(self._collected)

    def _named(self, relative: Path) -> Path:
        """The path under which a file is kept: readable for everybody, without secrets."""
        return Path(*(file_name(self.redactor.file_name(part)) for part in relative.parts))

    def _free(self, target: Path) -> Path:
        """Another name when two names became one."""
        return _apart(target, {self.artifacts / name for name in self._collected})

    def _keep(self, target: Path) -> None:
        """Brings the whole model directory to the artifacts directory, as it is."""
        if not self.copy and not os.path.lexists(target):
            with contextlib.suppress(OSError):
                _remove_special(self.model_dir)
                self.model_dir.rename(target)
                return
        try:
            shutil.copytree(
                self.model_dir, target, symlinks=True, dirs_exist_ok=True, copy_function=_copy_regular
            )
        except (OSError, RecursionError) as error:
            first = str(error).partition("\n")[0][:200]
            self._note(f"{self.model_dir.name}: {first}")

    def _not_ours(self, base: Path) -> frozenset[str]:
        return self.foreign | {CONTROL, self.model_dir.name} if base == self.root else frozenset()

    def _is_log(self, target: Path) -> bool:
        return target.name.endswith(".live.log") and target.parent == self.artifacts

    def _matches(self, base: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
        if not base.is_dir() or base.is_symlink():
            return
        excluded = self._not_ours(base)
        deepest = max((_depth(pattern) for pattern in patterns), default=0)
        with os.scandir(base) as entries:
            names = sorted(entry.name for entry in entries if entry.name not in excluded)
        for name in names:
            yield from _walk(base, PurePosixPath(name), patterns, deepest)

    def _inside(self, path: Path) -> Path | None:
        """The regular file a path leads to without leaving the workspace; links of the container count."""
        with contextlib.suppress(OSError, RuntimeError):
            real = path.resolve(strict=True)
            if real.is_relative_to(self.root.resolve()) and stat.S_ISREG(real.stat().st_mode):
                return real
        return None

    def _bring(self, source: Path, target: Path) -> None:
        try:
            self._bring_one(source, target)
        except OSError as error:
            self.warnings.append(f"cannot collect {source.relative_to(self.root)}: {error.strerror}")
            return
        if os.path.lexists(target):
            self._collected.append(str(target.relative_to(self.artifacts)))

    def _bring_one(self, source: Path, target: Path, depth: int = 0) -> None:
        mode = source.lstat().st_mode
        if stat.S_ISDIR(mode):
            if depth > DEEPEST:
                self._note(f"{source.relative_to(self.root).parts[0]} is deeper than {DEEPEST} directories")
                return
            target.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(PermissionError):  # only root gives files away
                os.chown(target, source.lstat().st_uid, source.lstat().st_gid)
            taken: set[Path] = set()
            for child in _links_first(source.iterdir()):
                place = _apart(target / self._named(Path(child.name)), taken)
                taken.add(place)
                self._bring_one(child, place, depth + 1)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISLNK(mode):
            real = self._inside(source)
            if real is None:
                self.warnings.append(
                    f"{source.relative_to(self.root)} leads out of the workspace: not collected"
                )
                return
            _replace(target)
            _copy(real, target)
        elif stat.S_ISREG(mode):
            _replace(target)
            if self.copy or (self.keep_model_dir and source.is_relative_to(self.model_dir)):
                _copy(source, target)
            else:
                shutil.move(source, target)
        else:
            return  # a pipe or a socket has no content
        self._redact(target)

    def _note(self, text: str) -> None:
        if f"{text}: not collected wholly" not in self.warnings:
            self.warnings.append(f"{text}: not collected wholly")

    def _redact(self, path: Path) -> None:
        """Rewrites a collected file that holds a secret; leaves every other file untouched."""
        if not self.redactor.longest or not self._has_secret(path):
            return
        temporary = path.with_name(f".{path.name}.redacted")
        secrets = StreamRedactor(self.redactor)
        with path.open("rb") as source, temporary.open("wb") as target:
            while chunk := source.read(_CHUNK):
                target.write(secrets.feed(chunk))
            target.write(secrets.end())
        shutil.copymode(path, temporary)
        temporary.replace(path)
        self.warnings.append(f"{path.relative_to(self.artifacts)} contained a secret: replaced by ***")

    def _has_secret(self, path: Path) -> bool:
        hold, rest = self.redactor.longest - 1, b""
        with path.open("rb") as source:
            while chunk := source.read(_CHUNK):
                data = rest + chunk
                if self.redactor.data(data) != data:
                    return True
                rest = data[-hold:] if hold else b""
        return False


def _apart(target: Path, taken: Container[Path]) -> Path:
    number, free = 1, target
    while free in taken:
        number += 1
        free = target.with_name(f"{target.name}.{number}")
    return free


def _walk(base: Path, relative: PurePosixPath, patterns: tuple[str, ...], deepest: int) -> Iterator[Path]:
    path = base / relative
    if any(_match(relative, pattern) for pattern in patterns):
        yield path
    elif len(relative.parts) < deepest and path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            yield from _walk(base, relative / child.name, patterns, deepest)


def _links_first(paths: Iterable[Path]) -> list[Path]:
    """Sorted; a link is read before the file it leads to is moved."""
    return sorted(paths, key=lambda path: (not path.is_symlink(), path))


def _depth(pattern: str) -> int:
    return 64 if "**" in pattern else len(PurePosixPath(pattern).parts)


def _match(path: PurePosixPath, pattern: str) -> bool:
    """Shell-like matching of a relative path: ``*`` stays within a name, ``**`` is any number of names.

    As in a shell, a wildcard does not match a leading dot.
    """
    return _match_parts(path.parts, PurePosixPath(pattern).parts)


def _match_parts(names: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return not names
    head, *rest = patterns
    if head == "**":
        return any(_match_parts(names[count:], tuple(rest)) for count in range(len(names) + 1))
    if not names or (names[0].startswith(".") and not head.startswith(".")):
        return False
    return fnmatchcase(names[0], head) and _match_parts(names[1:], tuple(rest))


def _replace(target: Path) -> None:
    """Makes room for a file; a file of an earlier attempt gives way."""
    if target.is_symlink() or target.is_file():
        target.unlink()


def _read(path: Path) -> tuple[bytes | None, int]:
    """Content and modification time of one and the same regular file."""
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            content = stream.read(LARGEST_RESULTS + 1)
            modified = os.fstat(stream.fileno()).st_mtime_ns
    except OSError:
        return None, 0
    return (content if len(content) <= LARGEST_RESULTS else None), modified


def _copy(source: Path, target: Path) -> None:
    """Copies a regular file with its times; never waits for what a container put in its place."""
    with os.fdopen(open_regular(source), "rb") as stream, target.open("xb") as copy:
        shutil.copyfileobj(stream, copy, _CHUNK)
        state = os.fstat(stream.fileno())
        os.utime(copy.fileno(), ns=(state.st_atime_ns, state.st_mtime_ns))
        os.fchmod(copy.fileno(), stat.S_IMODE(state.st_mode))


def _remove_special(directory: Path) -> None:
    """Removes pipes, sockets and devices below a directory: whoever reads one later would wait for ever."""
    waiting = [directory]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif not (entry.is_symlink() or entry.is_file(follow_symlinks=False)):
                    Path(entry.path).unlink()


def _copy_regular(source: str, target: str) -> None:
    """Copies regular files; a pipe or a socket would block or fail."""
    if stat.S_ISREG(os.lstat(source).st_mode):
        _replace(Path(target))
        _copy(Path(source), Path(target))
