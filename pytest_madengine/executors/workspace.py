"""The private workspace of a run on the host, and how the MAD root appears in it (contract 10.1).

::

    <workspaces>/ws-<random>/   mode 0700, locked while its owner lives
        root/                   mounted read-write at /myworkspace
            .madengine/         control directory
            <model directory>/
            <entry>             empty mount points, so that the engine creates nothing
        scripts/                mounted read-only at /myworkspace/scripts, when needed
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from pytest_madengine.errors import PlanError
from pytest_madengine.executors.common import merge_common
from pytest_madengine.plan.runplan import Mount, Workspace
from pytest_madengine.plan.script import CONTROL_DIR, WORKSPACE
from pytest_madengine.util.files import is_temporary, remove_tree, write_atomic
from pytest_madengine.util.locks import try_take

CONTROL: Final = Path(CONTROL_DIR).name
_PREFIX: Final = "ws-"
_COMMON: Final = "common-"
_LOCK: Final = "lock"
#: Name of the directory, in the one of a session, that workspaces are made in.
WORKSPACES: Final = ".workspaces"
#: Seconds after which a directory that never got its lock was left by a process that died.
_MAKING_LIMIT: Final = 60.0


class LockedDirectory:
    """A directory below ``parent`` with a random name, private and locked until it is removed.

    The kernel drops the lock when the process dies, so that :func:`sweep` can tell a directory that was
    left behind from one in use.
    """

    def __init__(self, parent: Path, prefix: str) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=parent))
        self._lock: IO[bytes] = (self.path / _LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Only a locked directory gets the name that sweep() looks for.
        self.path = self.path.rename(parent / self.path.name[1:])

    def remove(self) -> None:
        """Removes the directory with all its content.

        :raises OSError: something in it cannot be removed.
        """
        try:
            remove_content(self.path)
        finally:
            self._lock.close()

    def keep(self) -> None:
        """Leaves the directory where it is; it is no longer swept."""
        self.path = self.path.rename(self.path.with_name(f"kept-{self.path.name}"))
        self._lock.close()


class RunWorkspace:
    """The workspace directory of one run."""

    def __init__(self, workspaces: Path, spec: Workspace, common: Path) -> None:
        self._directory = LockedDirectory(workspaces, _PREFIX)
        self._spec = spec
        self._common = common
        self.warnings: list[str] = []
        #: Names in the workspace that are only mount points or links to entries of the MAD root.
        self.foreign: frozenset[str] = frozenset()
        #: Container path -> host path and mount point, of each entry of the MAD root that is mounted.
        self._shown: dict[str, tuple[Path, Path]] = {}

    @property
    def root(self) -> Path:
        """Host directory mounted at ``/myworkspace``."""
        return self._directory.path / "root"

    @property
    def control(self) -> Path:
        """Host side of the control directory."""
        return self.root / CONTROL

    @property
    def model_dir(self) -> Path:
        """Host side of the model directory."""
        return self.root / self._spec.model_dir_name

    def prepare(self, *, make_model_dir: bool) -> list[Mount]:
        """Creates directories and mount points; returns the mounts, outer ones first.

        The inner directory is open for every user because the container may run as another one; the
        outer directory keeps other users of the host out.

        :raises PlanError: the MAD root cannot be read or cannot be shown in a workspace.
        """
        for directory in (self.root, self.control):
            directory.mkdir()
            directory.chmod(0o777)
        if make_model_dir:
            self.model_dir.mkdir()
            self.model_dir.chmod(0o777)
        mounts = [Mount(str(self.root), WORKSPACE, read_only=False, origin="workspace")]
        names = self._entries()
        if "scripts" not in names:
            raise PlanError(
                f"the model directory {self._spec.model_dir_name!r} hides the scripts of {self._spec.root}"
                if self._spec.model_dir_name == "scripts"
                else f"no scripts directory in {self._spec.root}"
            )
        for name in names:
            if name == "scripts":
                mounts += self._scripts()
            else:
                mounts += self._entry(Path(self._spec.root, name), self.root / name, f"{WORKSPACE}/{name}")
        self.foreign = frozenset(names)
        return mounts

    def add_mount_points(self, mounts: Iterable[Mount]) -> None:
        """Makes the mount points of further mounts below the workspace; the engine would make them as root.

        Mount points in an entry of the MAD root must be there already: that entry is read-only.
        """
        for mount in mounts:
            path = PurePosixPath(mount.target)
            if not path.is_relative_to(WORKSPACE) or ".." in path.parts:
                continue
            place = self.root.joinpath(*path.relative_to(WORKSPACE).parts)
            inside = place.relative_to(self.root).parts
            if not inside or inside[0] in self.foreign or os.path.lexists(place):
                continue
            directory = place.parent if Path(mount.source).is_file() else place
            directory.mkdir(parents=True, exist_ok=True)
            if directory != place:
                place.touch()

    def _entries(self) -> list[str]:
        hidden = {*self._spec.hidden, "credential.json", self._spec.model_dir_name, CONTROL}
        try:
            names = sorted(path.name for path in Path(self._spec.root).iterdir())
        except OSError as error:
            raise PlanError(f"cannot read the MAD root {self._spec.root}: {error.strerror}") from error
        return [name for name in names if name not in hidden and not is_temporary(name)]

    @property
    def visible(self) -> tuple[Path, ...]:
        """What the run sees of the MAD root, read-only."""
        return (*(source for source, _ in self._shown.values()), Path(self._spec.root, "scripts"))

    def own(self) -> list[Path]:
        """Files and directories of the run itself: neither mounts nor the control directory."""
        with os.scandir(self.root) as entries:
            return [
                Path(e.path) for e in entries if e.name not in {*self.foreign, CONTROL} and not e.is_symlink()
            ]

    def vanished(self) -> frozenset[str]:
        """Container paths of entries of the MAD root that were there in :meth:`prepare` and are not now.

        The repository lives while a run starts: editors, git and other sessions replace files in it.  What is
        gone is left out, its mount point too.
        """
        gone = {target: place for target, (source, place) in self._shown.items() if not source.exists()}
        for target, place in gone.items():
            del self._shown[target]
            with contextlib.suppress(OSError):
                if place.is_dir():
                    place.rmdir()
                else:
                    place.unlink()
        self.foreign -= {place.name for place in gone.values() if place.parent == self.root}
        return frozenset(gone)

    def _entry(self, source: Path, place: Path, target: str) -> list[Mount]:
        try:
            if source.is_symlink():
                link = self._link_target(source)
                if link is not None:
                    place.symlink_to(link)
                    return []
                source = source.resolve()
        except FileNotFoundError:  # removed a moment ago by somebody else
            return []
        return self._mount(source, place, target)

    def _link_target(self, link: Path) -> str | None:
        """What a link must contain inside the container; ``None``: mount what it leads to.

        A link within the root stays a link, so a link to a hidden file leads nowhere.  What lies outside
        is mounted, except a parent of the root, which would show everything that is hidden.
        """
        root = Path(self._spec.root).resolve()
        try:
            target = link.resolve()
        except (RuntimeError, OSError):  # a loop
            return str(link.readlink())
        if target.is_relative_to(root):
            return os.path.relpath(target, root / link.relative_to(self._spec.root).parent)
        if not target.exists() or root.is_relative_to(target):
            return str(link.readlink())
        return None

    def _mount(self, source: Path, place: Path, target: str) -> list[Mount]:
        try:
            mode = source.stat().st_mode
        except FileNotFoundError:  # removed a moment ago by somebody else
            return []
        except OSError as error:
            raise PlanError(f"cannot read {source}: {error.strerror}") from error
        if stat.S_ISDIR(mode):
            place.mkdir()
        elif stat.S_ISREG(mode):
            place.touch()
        else:
            self.warnings.append(f"{source} is neither a file nor a directory: not visible in the container")
            return []
        self._shown[target] = (source.absolute(), place)
        return [Mount(str(source.absolute()), target, read_only=True, origin="MAD root")]

    def _scripts(self) -> list[Mount]:
        """``scripts`` with the merged ``scripts/common`` in it.

        A read-only bind cannot get a new mount point.  So when the repository has no ``scripts/common``, a
        skeleton of empty mount points is mounted and each child of ``scripts`` over its own.
        """
        source = Path(self._spec.root, "scripts")
        target = f"{WORKSPACE}/scripts"
        (self.root / "scripts").mkdir()
        common = Mount(str(self._common), f"{target}/common", read_only=True, origin="built-in")
        own = source / "common"
        if own.is_dir() and not own.is_symlink():
            return [Mount(str(source.resolve()), target, read_only=True, origin="MAD root"), common]
        skeleton = self._directory.path / "scripts"
        skeleton.mkdir()
        mounts = [Mount(str(skeleton), target, read_only=True, origin="workspace"), common]
        (skeleton / "common").mkdir()
        try:
            names = sorted(path.name for path in source.iterdir())
        except OSError as error:
            raise PlanError(f"cannot read {source}: {error.strerror}") from error
        for name in names:
            if name != "common" and not is_temporary(name):
                mounts += self._entry(source / name, skeleton / name, f"{target}/{name}")
        return mounts

    def remove(self) -> None:
        """Removes the workspace.

        :raises OSError: something in it cannot be removed.
        """
        self._directory.remove()

    def keep(self) -> Path:
        """Leaves the workspace to a container that stays; returns its directory."""
        # The container's mounts follow the directory, not its name.
        self._directory.keep()
        return self._directory.path


class CommonDirectory:
    """The merged ``scripts/common`` of each MAD root, made once and shared by all runs of an executor."""

    def __init__(self, workspaces: Path, builtin: Path) -> None:
        self._workspaces, self._builtin = workspaces, builtin
        self._made: dict[str, LockedDirectory] = {}
        self._mutex = threading.Lock()

    def of(self, root: str) -> Path:
        """The merged directory for a MAD root.

        :raises PlanError: a file cannot be read.
        """
        with self._mutex:
            if root not in self._made:
                directory = LockedDirectory(self._workspaces, _COMMON)
                self._made[root] = directory
                merge_common(self._builtin, Path(root, "scripts", "common"), directory.path / "common")
            return self._made[root].path / "common"

    def remove(self) -> None:
        """Removes them all."""
        with self._mutex:
            while self._made:
                self._made.popitem()[1].remove()


def register(places: Path, workspaces: Path) -> None:
    """Notes where this process makes workspaces, so that later ones find what it leaves when it is killed.

    :param places: directory of these notes, private to the user.
    """
    with contextlib.suppress(OSError):  # the notes only help to clean up
        name = hashlib.sha256(os.fsencode(workspaces)).hexdigest()
        write_atomic(places / name, str(workspaces))


def sweep_all(places: Path, skip: Path | None = None) -> list[Path]:
    """Sweeps every noted place; a note of a place that is gone goes too.

    :returns: directories that could not be removed wholly.
    """
    failed: list[Path] = []
    with contextlib.suppress(OSError):
        for note in sorted(places.iterdir()):
            workspaces = Path(note.read_text(encoding="utf-8", errors="surrogateescape"))
            if not workspaces.is_absolute() or workspaces.name != WORKSPACES or workspaces.is_symlink():
                continue
            failed += sweep(workspaces)
            with contextlib.suppress(OSError):
                if workspaces != skip:
                    workspaces.rmdir()
            if not workspaces.exists():
                note.unlink(missing_ok=True)
    return failed


def sweep(workspaces: Path) -> list[Path]:
    """Removes directories whose owner died; returns those that could not be removed wholly."""
    failed = []
    for prefix in (_PREFIX, _COMMON, f".{_PREFIX}", f".{_COMMON}"):
        for directory in sorted(workspaces.glob(f"{prefix}*")):
            if prefix.startswith(".") and not _is_old(directory):
                continue  # one that is being made has no lock yet
            with _unlocked(directory) as free:
                if not free:
                    continue
                try:
                    remove_content(directory)
                except OSError:
                    failed.append(directory)
    return failed


def _is_old(directory: Path) -> bool:
    with contextlib.suppress(OSError):
        return time.time() - directory.stat().st_mtime > _MAKING_LIMIT
    return False


@contextlib.contextmanager
def _unlocked(directory: Path) -> Iterator[bool]:
    try:
        lock = (directory / _LOCK).open("rb")
    except FileNotFoundError:  # the lock goes last: nothing else is left in there
        yield True
        return
    with lock:
        yield try_take(lock.fileno())


def remove_content(directory: Path) -> None:
    """Removes a locked directory: its content, its lock, itself, so that it is swept when this is cut short.

    :raises OSError: something cannot be removed, e.g. a directory of another user.
    """
    with contextlib.suppress(FileNotFoundError):
        for path in directory.iterdir():
            if path.name != _LOCK:
                remove_tree(path)
        (directory / _LOCK).unlink(missing_ok=True)
        directory.rmdir()
