"""The small scripts, and rules that hold for every built-in file."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.resources import scripts_common

SHELL = sorted(scripts_common().rglob("*.sh"))
PYTHON = sorted(scripts_common().rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(scripts_common()))


@pytest.mark.parametrize(
    ("script", "args", "output"),
    [
        ("test_echo.sh", ["pre_script", "A"], "pre_script A\n"),
        ("test_echo.sh", ["post_script", "B"], "post_script B\n"),
        ("pre_scripts/pre_test.sh", ["1"], "Pre-Script test called 1\n"),
        ("pre_scripts/pre_test.sh", [], "Pre-Script test called 0\n"),
        ("post_scripts/post_test.sh", [], "Post-Script test called 0\n"),
        ("post_scripts/post_test.sh", ["2"], "Post-Script test called 2\n"),
    ],
)
def test_scripts_that_only_print(workspace: Any, script: str, args: list[str], output: str) -> None:
    """Contract 11.2."""
    done = workspace.step(script, *args)
    assert (done.returncode, done.stdout) == (0, output)


THEROCK = "tools/detect_therock.sh"


def test_therock_is_not_found(workspace: Any) -> None:
    """Contract 11.2: exit status 1 when nothing is found."""
    done = workspace.step(THEROCK)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no TheRock installation found" in done.stderr


@pytest.mark.parametrize(
    "where", ["HOME/rocm", "HOME/therock", "HOME/.local/rocm", "ROCM_PATH", "ROCM_HOME", "HIP_PATH"]
)
def test_therock_manifest(workspace: Any, where: str) -> None:
    """Contract 11.2: ``the_rock_commit`` and ``dist_amdgpu_targets``."""
    root = workspace.root / where.replace("HOME/", "home/", 1)
    share = root / "share/therock"
    share.mkdir(parents=True)
    (share / "therock_manifest.json").write_text(json.dumps({"the_rock_commit": "abc123"}), encoding="utf-8")
    (share / "dist_info.json").write_text(
        json.dumps({"dist_amdgpu_targets": "gfx942;gfx950"}), encoding="utf-8"
    )
    env = {} if where.startswith("HOME/") else {where: str(root)}
    done = workspace.step(THEROCK, env=env)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"TheRock: {root}: commit abc123",
        f"TheRock: {root}: GPU targets gfx942;gfx950",
    ]


def test_therock_of_the_sdk(workspace: Any) -> None:
    share = workspace.root / "sdk/share/therock"
    share.mkdir(parents=True)
    (share / "dist_info.json").write_text(
        json.dumps({"dist_amdgpu_targets": ["a", "b"]}, indent=1), encoding="utf-8"
    )
    workspace.fake("rocm-sdk", f'[[ $* == "path --root" ]] && echo {workspace.root}/sdk')
    done = workspace.step(THEROCK)
    assert done.returncode == 0
    assert "GPU targets a b" in done.stdout


def test_therock_as_a_python_package(workspace: Any) -> None:
    (workspace.root / "site/rocm_sdk").mkdir(parents=True)
    (workspace.root / "site/rocm_sdk/__init__.py").touch()
    workspace.real("python3")
    env = {"PYTHONPATH": str(workspace.root / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = workspace.step(THEROCK, env=env)
    assert done.returncode == 0
    assert "Python package rocm_sdk" in done.stdout


def test_miopen_is_built_at_the_release_of_the_image(workspace: Any) -> None:
    """Defect 41: container scripts install only pinned versions."""
    info = workspace.root / "rocm/.info"
    info.mkdir(parents=True)
    (info / "version").write_text("6.4.1-83\n", encoding="utf-8")
    for tool in ("git", "cmake"):
        workspace.fake(tool, f'echo "{tool} $*" >>"$HOME.calls"')
    done = workspace.step(
        "pre_scripts/miopen_build_latest.sh", env={"ROCM_PATH": str(workspace.root / "rocm")}
    )
    assert done.returncode == 0, done.stderr
    calls = (workspace.root / "home.calls").read_text(encoding="utf-8")
    assert "MIOpen.git rocm-6.4.1\n" in calls
    assert "cmake --install MIOpen/build" in calls


def test_miopen_of_the_user_s_revision(workspace: Any) -> None:
    for tool in ("git", "cmake"):
        workspace.fake(tool, f'echo "{tool} $*" >>"$HOME.calls"')
    assert workspace.step("pre_scripts/miopen_build_latest.sh", "develop").returncode == 0
    assert "MIOpen.git develop\n" in (workspace.root / "home.calls").read_text(encoding="utf-8")


@pytest.mark.parametrize("args", [[], ["--upload-pack=touch x"]])
def test_miopen_without_a_usable_revision(workspace: Any, args: list[str]) -> None:
    workspace.fake("git", "true")
    workspace.fake("cmake", "true")
    env = {"ROCM_PATH": str(workspace.root / "none")}
    assert workspace.step("pre_scripts/miopen_build_latest.sh", *args, env=env).returncode == 1


@pytest.mark.parametrize("path", SHELL, ids=_name)
def test_shell_files_are_whole(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(("#!/usr/bin/env bash\n", "# shellcheck shell=bash\n"))
    # A file that is sourced keeps the settings of the file that sources it.
    assert ("\nset -u\n" in text) == text.startswith("#!")
    assert "\t" not in text.replace("\\t", "")
    subprocess.run(["bash", "-n", path], check=True)


def test_shellcheck_finds_nothing() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    sources = f"{scripts_common()}/pre_scripts:{scripts_common()}/post_scripts"
    done = subprocess.run(
        [shellcheck, "-x", "-P", sources, *SHELL], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


@pytest.mark.parametrize("path", PYTHON, ids=_name)
def test_python_files_run_with_python_3_6(path: Path) -> None:
    """Images are older than we are: no syntax and no annotation that Python 3.6 does not know."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 6))
    third_party = {
        "csv",
        "fcntl",
        "json",
        "os",
        "re",
        "selectors",
        "signal",
        "subprocess",
        "sys",
        "time",
        "typing",
    }
    third_party |= {"argparse", "glob", "shutil", "datetime", "hashlib", "tempfile", "urllib"}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            names = [node.module]
        assert {name.split(".")[0] for name in names} <= third_party


#: What brings something into a container that nobody has fixed.
_UNPINNED = re.compile(
    r"\bpip3?\s+install\s+(?!--)|\bgit\s+clone\b|\b(curl|wget)\b|npm\s+install|--upgrade\b|/(main|master)\b"
)


@pytest.mark.parametrize("path", SHELL + PYTHON, ids=_name)
def test_nothing_unpinned_is_downloaded(path: Path) -> None:
    """Defect 41: given the container scripts, when read, then they install only pinned versions."""
    assert _UNPINNED.findall(path.read_text(encoding="utf-8")) == []


def test_pins_are_exact() -> None:
    """Defect 41: a commit is a full id, a release has a number."""
    text = (scripts_common() / "tools/pins.sh").read_text(encoding="utf-8")
    assert re.search(r"^RPD_REVISION=[0-9a-f]{40}$", text, re.MULTILINE)
    assert re.search(r"^RTL_RELEASE=v\d+\.\d+\.\d+$", text, re.MULTILINE)
    for address in re.findall(r"https?://\S+", text):
        assert address.startswith("https://")
        assert "@" not in address


@pytest.mark.parametrize("path", SHELL + PYTHON, ids=_name)
def test_no_secret_is_built_in(path: Path) -> None:
    """Defect 25: no user:password URL in the source tree."""
    assert not re.search(r"://[^/\s:@]+:[^/\s@*]+@", path.read_text(encoding="utf-8"))
