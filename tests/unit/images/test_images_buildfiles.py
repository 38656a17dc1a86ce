"""The state of a build context as a name, and Dockerfiles that prove their image (faults 1.6)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_madengine.engine.cli import DockerCli
from pytest_madengine.images import buildfiles
from pytest_madengine.images.buildfiles import state_of

DAY = 86400 * 10**9


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose files are older than the tick of the clock."""
    monkeypatch.setattr(time, "time_ns", lambda real=time.time_ns: real() + DAY)
    directory = tmp_path / "context"
    (directory / "sub").mkdir(parents=True)
    (directory / "sub/f").write_text("1")
    os.utime(directory / "sub/f", (0, 0))
    return directory


def _same_size_and_time(context: Path) -> None:
    (context / "sub/f").write_text("2")
    os.utime(context / "sub/f", (0, 0))


def _cloned_again(context: Path) -> None:
    context.rename(context.with_name("old"))
    shutil.copytree(context.with_name("old"), context)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_same_size_and_time, id="same-size-and-time"),
        pytest.param(_cloned_again, id="cloned-again"),
        pytest.param(lambda context: (context / "sub/f").chmod(0o755), id="mode"),
        pytest.param(lambda context: (context / "sub/g").symlink_to("f"), id="link"),
        pytest.param(lambda context: (context / "sub/f").rename(context / "sub/g"), id="renamed"),
        pytest.param(lambda context: (context / "sub/f").unlink(), id="removed"),
    ],
)
def test_every_change_gives_another_name(context: Path, change: Callable[[Path], None]) -> None:
    """Faults 1.6: given a context / when a file changes in any way / then it has another name."""
    before = state_of([context])
    assert state_of([context]) == before
    change(context)
    assert state_of([context]) != before


@pytest.mark.parametrize(
    ("client", "sessions"),
    [
        (DockerCli("docker", buildkit=True), True),
        (DockerCli("docker"), False),
        (DockerCli("podman", buildkit=True, kind="podman"), False),
    ],
)
def test_who_is_given_names_of_ours(client: DockerCli, sessions: bool) -> None:
    """Podman reads files itself, and may not follow a link that is the context."""
    assert client.has_sessions is sessions


def test_equal_contexts_of_two_repositories_have_two_names(context: Path, tmp_path: Path) -> None:
    """Faults 1.6: given two clones of equal names, sizes and times / then two names."""
    shutil.copytree(context, tmp_path / "other/context")
    assert state_of([context]) != state_of([tmp_path / "other/context"])


def test_every_directory_counts(context: Path, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    before = state_of([context, tmp_path / "tools"])
    (tmp_path / "tools/f").touch()
    assert state_of([context, tmp_path / "tools"]) != before


def test_where_times_prove_nothing_every_build_is_new(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_of([context], fresh=True) != state_of([context], fresh=True)
    assert state_of([context / "none"]) != state_of([context / "none"])
    with monkeypatch.context() as patch:
        patch.setattr(buildfiles, "MAX_ENTRIES", 1)
        assert state_of([context]) != state_of([context])
    monkeypatch.undo()
    (context / "sub/f").touch()
    assert state_of([context]) != state_of([context]), "a file may change twice within a tick"
