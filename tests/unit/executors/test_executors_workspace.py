"""The workspace on the host: what is mounted where, and that all of it goes away again (section 10.1)."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from pytest_madengine.engine.owner import Owner, current_owner, is_alive, owner_of
from pytest_madengine.errors import PlanError
from pytest_madengine.executors.common import merge_common
from pytest_madengine.executors.workspace import CommonDirectory, RunWorkspace, register, sweep, sweep_all
from pytest_madengine.plan.runplan import Mount, Workspace
from pytest_madengine.util.files import remove_tree
from pytest_madengine.util.processes import start_time


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "mad"
    for directory in ("scripts/m", "scripts/common", "docker", ".git"):
        (root / directory).mkdir(parents=True)
    for name in ("models.json", "credential.json", "data.json"):
        (root / name).write_text("{}")
    return root


@pytest.fixture
def builtin(tmp_path) -> Path:
    directory = tmp_path / "builtin"
    directory.mkdir()
    return directory


def open_workspace(tmp_path: Path, builtin: Path, spec: Workspace) -> tuple[RunWorkspace, dict[str, Mount]]:
    workspace = RunWorkspace(tmp_path / "spaces", spec, builtin)
    return workspace, {mount.target: mount for mount in workspace.prepare(make_model_dir=True)}


def test_every_entry_is_mounted_read_only(tmp_path, root, builtin):
    workspace, mounts = open_workspace(tmp_path, builtin, Workspace(str(root), hidden=("data.json",)))
    assert set(mounts) == {
        "/myworkspace", "/myworkspace/.git", "/myworkspace/docker", "/myworkspace/models.json",
        "/myworkspace/scripts", "/myworkspace/scripts/common",
    }  # fmt: skip
    assert [target for target, mount in mounts.items() if not mount.read_only] == ["/myworkspace"]
    assert mounts["/myworkspace/scripts/common"].source == str(builtin)
    assert sorted(path.name for path in workspace.root.iterdir()) == [
        ".git", ".madengine", "docker", "models.json", "run_directory", "scripts",
    ]  # fmt: skip
    assert workspace.root.parent.stat().st_mode & 0o777 == 0o700
    assert workspace.model_dir.stat().st_mode & 0o777 == 0o777
    workspace.remove()
    assert list((tmp_path / "spaces").iterdir()) == []


def test_temporary_files_of_sessions_are_not_shown(tmp_path, root, builtin):
    """faults 1.1: given unfinished files of other sessions in the root, then no mount of them."""
    (root / ".madengine").mkdir()
    (root / ".madengine-0123456789abcdef.tmp").touch()
    workspace, mounts = open_workspace(tmp_path, builtin, Workspace(str(root)))
    workspace.remove()
    assert not [target for target in mounts if target.startswith("/myworkspace/.madengine")]


def test_a_root_without_common_gets_a_skeleton(tmp_path, root, builtin):
    (root / "scripts/common").rmdir()
    (root / "scripts/note").touch()
    (root / "scripts/link").symlink_to("m")
    (root / "scripts/absolute").symlink_to(root / "scripts/m")
    workspace, mounts = open_workspace(tmp_path, builtin, Workspace(str(root)))
    skeleton = Path(mounts["/myworkspace/scripts"].source)
    assert sorted(path.name for path in skeleton.iterdir()) == ["absolute", "common", "link", "m", "note"]
    assert str((skeleton / "link").readlink()) == "m"
    assert str((skeleton / "absolute").readlink()) == "m"
    assert mounts["/myworkspace/scripts/m"].source == str(root / "scripts/m")
    assert mounts["/myworkspace/scripts/common"].source == str(builtin)
    workspace.remove()


def test_links_at_the_top(tmp_path, root, builtin):
    outside = tmp_path / "outside"
    outside.mkdir()
    for name, target in (
        ("inner", "scripts/m"), ("absolute", str(root / "docker")),
        ("outer", str(outside)), ("dangling", "nowhere"),
        ("secret", "credential.json"), ("parent", ".."), ("loop", "loop"), ("self", "."),
    ):  # fmt: skip
        (root / name).symlink_to(target)
    workspace, mounts = open_workspace(tmp_path, builtin, Workspace(str(root)))
    links = {path.name: str(path.readlink()) for path in workspace.root.iterdir() if path.is_symlink()}
    assert links == {
        "inner": "scripts/m", "absolute": "docker", "dangling": "nowhere",
        "secret": "credential.json", "parent": "..", "loop": "loop", "self": ".",
    }  # fmt: skip
    assert mounts["/myworkspace/outer"].source == str(outside)
    workspace.remove()


def test_things_that_cannot_be_shown(tmp_path, root, builtin, monkeypatch):
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    workspace, mounts = open_workspace(tmp_path, builtin, Workspace(str(root)))
    assert not {"/myworkspace/pipe", "/myworkspace/socket"} & set(mounts)
    assert len(workspace.warnings) == 2
    workspace.remove()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"model_dir_name": "scripts"}, "hides the scripts"),
        ({"hidden": ("scripts",)}, "no scripts directory"),
        ({"root": "/no/such/root"}, "cannot read the MAD root"),
    ],
)
def test_roots_that_cannot_be_shown(tmp_path, root, builtin, spec, words):
    workspace = RunWorkspace(tmp_path / "spaces", Workspace(**{"root": str(root), **spec}), builtin)
    with pytest.raises(PlanError, match=words):
        workspace.prepare(make_model_dir=False)
    workspace.remove()


def test_an_entry_named_like_the_model_directory_is_not_mounted(tmp_path, root, builtin):
    workspace, mounts = open_workspace(tmp_path, builtin, Workspace(str(root), model_dir_name="docker"))
    assert "/myworkspace/docker" not in mounts
    workspace.remove()


def test_mount_points_of_further_mounts(tmp_path, root, builtin):
    workspace, _ = open_workspace(tmp_path, builtin, Workspace(str(root)))
    file = tmp_path / "file"
    file.touch()
    workspace.add_mount_points(
        [
            Mount(str(file), "/myworkspace/run_directory/deep/f"),
            Mount("/data", "/myworkspace/data"),
            Mount("/data", "/elsewhere"),
            Mount("/data", "/myworkspace"),
            Mount("/data", "/myworkspace/docker/new"),
            Mount("/data", "/myworkspace/../etc"),
        ]
    )
    assert (workspace.root / "run_directory/deep/f").is_file()
    assert (workspace.root / "data").is_dir()
    assert not (workspace.root / "docker/new").exists()
    workspace.remove()


def test_sweep_spares_the_living(tmp_path, root, builtin):
    spaces = tmp_path / "spaces"
    alive, _ = open_workspace(tmp_path, builtin, Workspace(str(root)))
    dead = spaces / "ws-dead"
    (dead / "root/deep").mkdir(parents=True)
    (dead / "lock").touch()
    (spaces / "common-half-removed").mkdir()
    (spaces / "kept-ws-x").mkdir()
    assert sweep(spaces) == []
    assert sorted(path.name for path in spaces.iterdir()) == ["kept-ws-x", alive.root.parent.name]
    alive.remove()


def test_a_kept_workspace_is_not_swept(tmp_path, root, builtin):
    workspace, _ = open_workspace(tmp_path, builtin, Workspace(str(root)))
    kept = workspace.keep()
    assert sweep(tmp_path / "spaces") == []
    assert (kept / "root/models.json").exists()


def killed_workspace(parent: Path) -> Path:
    """A workspace whose owner died: nobody holds its lock."""
    left = parent / "ws-left"
    (left / "root/.madengine").mkdir(parents=True)
    (left / "lock").touch()
    return left


def test_workspaces_of_other_results_directories_are_swept(tmp_path, root, builtin):
    """faults 2.10: given killed sessions of several results directories, when another session begins, then
    their workspaces go, those in use stay, and so does whatever is not noted or has another name.
    """
    places = tmp_path / "state/workspaces"
    dead, alive, other = (tmp_path / name / "run" / ".workspaces" for name in ("dead", "alive", "other"))
    lefts = [killed_workspace(directory) for directory in (dead, alive, other)]
    wrong = killed_workspace(tmp_path / "precious")
    for directory in (dead, alive, tmp_path / "precious", tmp_path / "gone/.workspaces"):
        register(places, directory)
    held = RunWorkspace(alive, Workspace(str(root)), builtin)
    assert sweep_all(places) == []
    assert [left.exists() for left in (*lefts, wrong)] == [False, False, True, True]
    assert held.root.parent.exists()
    held.remove()
    assert sweep_all(places) == []
    assert [note.read_text() for note in places.iterdir()] == [str(tmp_path / "precious")]


def test_a_directory_that_never_got_its_lock_is_swept_when_it_is_old(tmp_path):
    """faults 2.10: given a process killed while it made a workspace, then that goes, a new one stays."""
    for name, age in ((".ws-old", 3600), (".ws-new", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert sweep(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == [".ws-new"]


def test_a_deep_tree_is_swept(tmp_path):
    """faults 2.9: given a workspace deeper than any path may be long, then it is removed."""
    left = killed_workspace(tmp_path)
    deep = os.open(left / "root", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 30, dir_fd=deep)
        below = os.open("d" * 30, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=deep))
    os.fchmod(deep, 0o500)
    os.close(deep)
    assert sweep(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_remove_tree_of_anything(tmp_path):
    tree = tmp_path / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed/file").touch()
    (tree / "link").symlink_to(tmp_path)
    (tree / "closed").chmod(0)
    remove_tree(tree)
    assert not tree.exists()
    assert tmp_path.exists()
    remove_tree(tmp_path / "nothing")


def test_common_directory_is_made_once(tmp_path, root, builtin):
    (builtin / "a.sh").write_text("builtin")
    common = CommonDirectory(tmp_path / "spaces", builtin)
    first = common.of(str(root))
    assert common.of(str(root)) == first
    assert (first / "a.sh").read_text() == "builtin"
    common.remove()
    assert list((tmp_path / "spaces").iterdir()) == []


def test_own_files_win(tmp_path):
    builtin, own, target = tmp_path / "b", tmp_path / "o", tmp_path / "t"
    for path, text in (
        (builtin / "tools/x.sh", "b"), (builtin / "keep.sh", "b"), (builtin / "dir/f", "b"),
        (builtin / "file", "b"), (builtin / "__pycache__/x.pyc", "b"),
        (own / "tools/x.sh", "o"), (own / "dir", "o"), (own / "file/deep", "o"),
    ):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (own / "link").symlink_to("../m/x")
    os.mkfifo(own / "pipe")
    (own / "tools/x.sh").chmod(0o700)
    merge_common(builtin, own, target)
    files = {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}
    assert files == {"tools/x.sh": "o", "keep.sh": "b", "dir": "o", "file/deep": "o"}
    assert str((target / "link").readlink()) == "../m/x"
    assert (target / "tools/x.sh").stat().st_mode & 0o777 == 0o755
    assert not (target / "pipe").exists()


def test_common_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()

    def refuse(_):
        raise PermissionError(13, "Permission denied", str(tmp_path / "own"))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PlanError, match="own: Permission denied"):
        merge_common(tmp_path / "none", tmp_path / "own", tmp_path / "t")


def test_owners():
    mine = current_owner()
    assert is_alive(mine)
    assert owner_of(mine.labels()) == mine
    assert not is_alive(Owner(mine.pid, mine.start + 1, mine.host, mine.boot_id))
    assert is_alive(Owner(mine.pid, 0, mine.host, mine.boot_id))
    assert is_alive(Owner(2**22 + 1, 1, mine.host, mine.boot_id, "pid:[another]"))
    assert start_time(2**22 + 1) is None
    assert owner_of({}) is None
    assert owner_of({**mine.labels(), "pytest-madengine.owner-pid": "x"}) is None
