"""Predictable names below directories that everybody may write (faults 4.4)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_madengine.errors import ConfigError, LeaseError
from pytest_madengine.scheduling.lockfiles import LockDirectory
from pytest_madengine.session import session as session_module
from pytest_madengine.session.session import MadSession
from pytest_madengine.settings import Settings
from pytest_madengine.util.files import private_directory


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.mkdir(mode=0o700)
    path.symlink_to(target)


def _foreign(path: Path) -> None:
    path.mkdir(mode=0o700)
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(path, 12345, 12345)


def _open_for(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        path.chmod(mode)

    return make


MADE = {
    "a symbolic link": _link,
    "another user": _foreign,
    "other users may write": _open_for(0o777),
    "other users may write in it": _open_for(0o770),
    "not a directory": Path.touch,
}


@pytest.mark.parametrize("reason", list(MADE))
def test_what_somebody_else_made_first_is_refused(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """faults 4.4: given /tmp/pytest-madengine-UID made by somebody else first / when a session needs it /
    then it is refused with one line, and nothing is written there."""
    monkeypatch.setattr(session_module, "SHARED", tmp_path)
    path = tmp_path / f"pytest-madengine-{os.getuid()}"
    MADE[reason](path)
    settings = Settings(root=tmp_path, results_dir=tmp_path / "r", output=tmp_path / "p.csv", environ={})
    session = MadSession(settings, ())
    for use in (lambda: session.host_state, lambda: session.builder, lambda: session.transfers):
        with pytest.raises(ConfigError, match=reason) as caught:
            use()
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message + caught.value.hint
    assert path.is_file() or not list(path.iterdir())


def test_the_first_one_makes_it_private(tmp_path: Path) -> None:
    path = private_directory(tmp_path / "a/b")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert private_directory(path) == path


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_locks_that_others_could_remove_are_refused(mode: int, tmp_path: Path) -> None:
    """faults 4.4: given a lock directory without the sticky bit / then it is refused: others could remove
    locks that are held, and a GPU would have two owners."""
    path = tmp_path / "locks"
    _open_for(mode)(path)
    with pytest.raises(LeaseError, match="sticky"):
        LockDirectory(path).prepare()
    path.chmod(mode | stat.S_ISVTX)
    LockDirectory(path).prepare()


def test_locks_behind_a_link_are_refused(tmp_path: Path) -> None:
    """faults 4.4: given a symbolic link in the place of the lock directory / then it is refused."""
    _link(tmp_path / "locks")
    with pytest.raises(LeaseError, match="symbolic link"):
        LockDirectory(tmp_path / "locks").prepare()
