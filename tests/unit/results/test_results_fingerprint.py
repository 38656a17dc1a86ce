"""The key of comparable runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.catalog.model import Parameter
from pytest_madengine.results.fingerprint import content_hash, fingerprint
from pytest_madengine.secrets import Secret

BASE: dict[str, Any] = {
    "model": "m",
    "args": "--a 1",
    "parameters": (Parameter("bs", "1"),),
    "scripts_hash": "s",
    "dockerfile_hash": "d",
    "build_args": {"BASE": "ubuntu", "TOKEN": "t1"},
    "n_gpus": 1,
    "gpu_architecture": "gfx942",
    "training_precision": "fp16",
    "data": "d1",
    "image": "i",
    "extra": {"k": 1},
}


def test_it_is_stable() -> None:
    """A changed formula must be a decision: histories are keyed by this value."""
    assert fingerprint(**BASE) == fingerprint(**BASE)
    assert fingerprint(model="m") == "b0f23db6e7ba7c71"


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"args": "--a 2"},
        {"parameters": (Parameter("bs", "2"),)},
        {"parameters": ()},
        {"scripts_hash": "t"},
        {"dockerfile_hash": "e"},
        {"build_args": {"BASE": "debian", "TOKEN": "t1"}},
        {"build_args": {"BASE": "ubuntu"}},
        {"n_gpus": 2},
        {"gpu_architecture": "gfx90a"},
        {"training_precision": "fp32"},
        {"data": "d2"},
        {"image": "j"},
        {"extra": {"k": 2}},
    ],
)
def test_every_fact_counts(change: dict[str, Any]) -> None:
    assert fingerprint(**{**BASE, **change}) != fingerprint(**BASE)


def test_secrets_and_types_do_not_count() -> None:
    for arguments in ({"TOKEN": "t2", "BASE": "ubuntu"}, {"BASE": "ubuntu", "TOKEN": Secret("t3")}):
        assert fingerprint(**{**BASE, "build_args": arguments}) == fingerprint(**BASE)
    assert fingerprint(**{**BASE, "n_gpus": "1"}) == fingerprint(**BASE)


def test_content_hash_of_a_directory(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "run.sh").write_text("echo 1")
        (tmp_path / name / "sub/x").write_text("x")
        (tmp_path / name / "link").symlink_to("run.sh")
        (tmp_path / name / "loop").symlink_to(".")
    (tmp_path / "two/__pycache__").mkdir()
    (tmp_path / "two/__pycache__/x.pyc").write_text("cache")
    (tmp_path / "two/run.sh").chmod(0o755)
    os.mkfifo(tmp_path / "two/fifo")
    first = content_hash(tmp_path / "one")
    assert first == content_hash(tmp_path / "two")
    (tmp_path / "two/sub/x").rename(tmp_path / "two/sub/y")
    renamed = content_hash(tmp_path / "two")
    (tmp_path / "two/link").unlink()
    (tmp_path / "two/link").symlink_to("sub")
    assert len({first, renamed, content_hash(tmp_path / "two")}) == 3


def test_content_hash_of_files(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    assert content_hash(path) == ""
    path.write_text("a")
    first = content_hash(path)
    path.write_text("b")
    assert first
    assert content_hash(path) != first


def test_unreadable_directory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    real = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        content_hash(tmp_path)
