"""The services of the catalog on trees with static files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.catalog.service import list_models, list_tags, select_models
from pytest_madengine.errors import CatalogError

ENTRY = {"name": "m", "dockerfile": "docker/m", "scripts": "run.sh"}


def test_list_all(tree: Path) -> None:
    """Contract 4: discovery order; the root file comes first."""
    catalog = list_models(tree, environ={})
    assert [model.name for model in catalog.models] == [
        "dummy",
        "dummy2",
        "dummy3",
        "dummy2/model1",
        "dummy2/model2",
        "dummy3/model3",
        "dummy3/model4",
    ]
    assert catalog.root == tree
    assert catalog.warnings == ()
    assert [model.index for model in catalog.models] == [0, 1, 2, 0, 1, 0, 1]


def test_list_some_files(tree: Path) -> None:
    """Only the files asked for are read; the root file needs no scripts/ at all."""
    (tree / "scripts/dummy3/get_models_json.py").write_text("1/0")
    found = list_models(tree, environ={}, files={"scripts/dummy2/models.json"})
    assert [model.name for model in found.models] == ["dummy2/model1", "dummy2/model2"]
    (tree / "scripts/dummy2/models.json").write_text("no json")
    assert len(list_models(tree, environ={}, files={"models.json"}).models) == 3
    assert len(list_models(tree, environ={}, files=["models.json"]).models) == 3
    assert list_models(tree, environ={}, files=[]).models == ()
    with pytest.raises(CatalogError, match=r"scripts/x/models\.json: no such"):
        list_models(tree, environ={}, files={"scripts/x/models.json", "models.json"})


def test_tags(tree: Path) -> None:
    """All tags with their models, sorted by tag."""
    tags = list_tags(list_models(tree, environ={}))
    assert list(tags) == sorted(tags)
    assert tags["dummy_group_1"] == ["dummy", "dummy2"]
    assert tags["dummy_test_group_3"] == ["dummy3/model3", "dummy3/model4"]


def test_errors_of_several_files(make_root: Any) -> None:
    """Contract 3: every entry of every file is validated; several broken files are one error."""
    root = make_root({"models.json": [ENTRY], "scripts/a/models.json": "[", "scripts/b/models.json": "{}"})
    for call in (lambda: list_models(root, environ={}), lambda: select_models(root, ["m"], environ={})):
        with pytest.raises(CatalogError) as caught:
            call()
        assert caught.value.message.startswith("scripts/a/models.json: invalid JSON at line 1, column 2")
        assert caught.value.log_tail == (
            "scripts/b/models.json: should be a JSON array of entries, not an object",
        )


def test_warnings_of_entries(make_root: Any) -> None:
    """Warnings of the files are warnings of the selection."""
    root = make_root({"models.json": [{**ENTRY, "env": {}}]})
    selection = select_models(root, ["m"], environ={})
    assert selection.warnings == selection.catalog.warnings
    assert selection.warnings[0].file == "models.json"


def test_image_given(make_root: Any) -> None:
    """Contract 3: dockerfile is not required when an image is given."""
    root = make_root({"models.json": [{"name": "m", "scripts": "run.sh"}]})
    with pytest.raises(CatalogError, match="field 'dockerfile'"):
        select_models(root, ["m"], environ={})
    assert len(select_models(root, ["m"], environ={}, image_given=True).items) == 1
    assert len(list_models(root, environ={}, image_given=True).models) == 1


def test_root_is_used_in_place(tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Defect 58: given another MAD root / when models are selected from an empty directory / then the
    root is used where it is, nothing is copied or written.
    """
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    assert len(select_models(tree, ["all"], environ={}).items) == 7
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before
    assert list(empty.iterdir()) == []


def test_names_of_a_tree_do_not_depend_on_creation_order(make_root: Any) -> None:
    """Defect 53: given directories created in reverse order / when discovered / then sorted order."""
    files = {f"scripts/{name}/models.json": [ENTRY] for name in "cba"}
    models = list_models(make_root(files), environ={}).models
    assert [model.name for model in models] == ["a/m", "b/m", "c/m"]
