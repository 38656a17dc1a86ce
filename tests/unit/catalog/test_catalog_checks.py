"""Static checks of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.catalog.checks import check_models
from pytest_madengine.catalog.model import Model

CONTEXT = "# CONTEXT {'gpu_vendor': 'AMD'}\nFROM x\n"
FILES: dict[str, Any] = {
    "docker/m.ubuntu.Dockerfile": CONTEXT,
    "docker/m.ubuntu.Dockerfile.bak": "",
    "docker/mm.Dockerfile": "FROM x\n",
    "docker/late.Dockerfile": "#\n" * 5 + CONTEXT,
    "docker/old.orig": "",
    "docker/tree.d/x": "",
    "scripts/m/run.sh": "",
    "scripts/empty/other.sh": "",
    "run.sh": "",
    "top.Dockerfile": CONTEXT,
}


@pytest.fixture
def root(make_root: Any) -> Path:
    path: Path = make_root(FILES)
    return path


def model(name: str = "m", **values: Any) -> Model:
    fields: dict[str, Any] = {"dockerfile": "docker/m", "scripts": "scripts/m/run.sh", **values}
    return Model(name=name, **fields)


def messages(root: Path, *models: Model) -> list[str]:
    return [warning.message for warning in check_models(root, models)]


@pytest.mark.parametrize("scripts", ["scripts/m/run.sh", "scripts/m", "run.sh", "."])
def test_good_models(root: Path, scripts: str) -> None:
    """Nothing to say: a file, a directory with run.sh, also of the root itself."""
    assert messages(root, model(scripts=scripts), model("t", dockerfile="top")) == []


@pytest.mark.parametrize("prefix", ["docker/none", "docker/old", "docker/tree", "nowhere/m", "docker/m.u"])
def test_no_dockerfile(root: Path, prefix: str) -> None:
    """Contract 8.1: candidates are regular files `<dockerfile>.*` without backups."""
    (warning,) = check_models(
        root, [model("d/m", dockerfile=prefix, scope="d", source="scripts/d/models.json")]
    )
    place = "scripts/d/models.json: entry 1 ('m')"
    assert warning.message == f"{place}: no Dockerfile matches {prefix}.*"
    assert warning.file == "scripts/d/models.json"


def test_prebuilt_image_needs_no_dockerfile(root: Path) -> None:
    """Contract 3: a model with an image is not built."""
    assert messages(root, model(dockerfile="docker/none", env_vars={"DOCKER_IMAGE_NAME": "i"})) == []
    assert messages(root, model(dockerfile="")) == []


def test_scripts(root: Path) -> None:
    """Contract 3: a missing script; a directory means its run.sh."""
    found = messages(root, model("a", scripts="scripts/m/no.sh"), model("b", scripts="scripts/empty"))
    assert found == [
        "models.json: entry 1 ('a'): script scripts/m/no.sh does not exist",
        "models.json: entry 1 ('b'): directory scripts/empty has no run.sh",
    ]


def test_context_line(root: Path) -> None:
    """Contract 8.1: a Dockerfile without CONTEXT in its first five lines, told once per file."""
    found = messages(root, model("a", dockerfile="docker/mm"), model("b", dockerfile="docker/mm"))
    assert found == [
        "docker/mm.Dockerfile has no CONTEXT line in its first five lines: it matches every host"
    ]
    assert "docker/late.Dockerfile" in messages(root, model(dockerfile="docker/late"))[0]


def test_unreadable_dockerfile_is_left_to_the_build(root: Path) -> None:
    """What cannot be read is not called a file without CONTEXT."""
    (root / "docker/gone.Dockerfile").symlink_to("/proc/self/mem")
    assert messages(root, model(dockerfile="docker/gone")) == []


def test_shared_results_file(root: Path) -> None:
    """Two models that share a results file name; items of one model do not count."""
    several = [model(f"m{i}", multiple_results="r.csv") for i in range(7)]
    (text,) = messages(root, *several, several[0], model("x", multiple_results="x.csv"))
    expected = "models 'm0', 'm1', 'm2', 'm3', 'm4' and 2 more share the results file name 'r.csv'"
    assert text == expected


@pytest.mark.parametrize(
    "tag, text",
    [
        ("two words", "cannot be typed after pytest -m"),
        ("_private", "cannot be typed after pytest -m"),
        ("a,b", "cannot be selected: it has a comma"),
        ("all", "hides the selector 'all'"),
    ],
)
def test_odd_tags(root: Path, tag: str, text: str) -> None:
    """Tags that selectors or `pytest -m` cannot name; ordinary ones are silent."""
    (found,) = messages(root, model("a", tags=(tag, "llama-3.1-8b", "2gpu")), model("b", tags=(tag,)))
    assert found.startswith(f"tag {tag!r} of 'a', 'b' ")
    assert text in found


@pytest.mark.parametrize("name", ["a,b", " a"])
def test_odd_names(root: Path, name: str) -> None:
    """Names no selector can name."""
    (found,) = messages(root, model(name))
    assert "no selector can name it" in found


def test_nothing_is_written(root: Path) -> None:
    """Checks only read."""
    before = sorted(path for path in root.rglob("*"))
    check_models(root, [model()])
    assert sorted(path for path in root.rglob("*")) == before
