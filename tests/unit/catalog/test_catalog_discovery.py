"""Which files define models (contract sections 2 and 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.catalog.discovery import Source, find_sources, read_static
from pytest_madengine.errors import CatalogError

MINIMAL = {"name": "m", "dockerfile": "docker/m", "scripts": "run.sh"}


def test_sources_are_sorted_and_one_level_deep(make_root: Any) -> None:
    """Defect 53: given directories created in reverse order / when discovered / then sorted order."""
    root = make_root(
        {
            "scripts/zeta/models.json": [],
            "scripts/deep/below/models.json": [],
            "scripts/mid/get_models_json.py": "",
            "scripts/alpha-2/models.json": [],
            "scripts/alpha/models.json": [],
            "scripts/plain.txt": "",
        }
    )
    assert find_sources(root) == (
        Source("models.json"),
        Source("scripts/alpha/models.json", "alpha"),
        Source("scripts/alpha-2/models.json", "alpha-2"),
        Source("scripts/mid/get_models_json.py", "mid", dynamic=True),
        Source("scripts/zeta/models.json", "zeta"),
    )


def test_missing_root_file(tmp_path: Path) -> None:
    """Contract 2: exact text; also for a directory of that name."""
    for _ in range(2):
        with pytest.raises(CatalogError) as caught:
            find_sources(tmp_path)
        assert caught.value.message == "models.json file not found."
        assert str(tmp_path / "models.json") in caught.value.hint
        (tmp_path / "models.json").mkdir(exist_ok=True)


def test_both_kinds_of_file(make_root: Any) -> None:
    """Contract 2: exact text with the absolute directory."""
    root = make_root({"scripts/d/models.json": [], "scripts/d/get_models_json.py": ""})
    with pytest.raises(CatalogError) as caught:
        find_sources(root)
    expected = f"Both models.json and get_models_json.py found in {root / 'scripts' / 'd'}."
    assert caught.value.message == expected


@pytest.mark.parametrize("as_file", [False, True])
def test_missing_scripts(tmp_path: Path, as_file: bool) -> None:
    """Contract 2: a missing scripts/ is reported by its path; the root file alone does not need it."""
    (tmp_path / "models.json").write_text("[]")
    if as_file:
        (tmp_path / "scripts").write_text("")
    with pytest.raises(CatalogError, match=f"not found: {tmp_path / 'scripts'}$"):
        find_sources(tmp_path)
    assert find_sources(tmp_path, only_root=True) == (Source("models.json"),)


def test_loops_of_symbolic_links_are_errors(make_root: Any) -> None:
    """A file that cannot be looked at is an error, not an absent file."""
    root = make_root({})
    (root / "scripts" / "d").mkdir()
    (root / "scripts" / "d" / "models.json").symlink_to("models.json")
    with pytest.raises(CatalogError, match=r"scripts/d/models\.json: cannot be read: "):
        find_sources(root)


def test_unreadable_scripts(make_root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed scripts/ is an error with the reason."""
    root = make_root({})

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(CatalogError, match=r"scripts: cannot be read: Permission denied$"):
        find_sources(root)


def test_read_static(make_root: Any) -> None:
    """Contract 4: entries of scripts/<dir>/models.json."""
    root = make_root({"scripts/d/models.json": [MINIMAL]})
    source = find_sources(root)[1]
    (model,) = read_static(root, source).models
    assert (model.name, model.source, model.index) == ("d/m", "scripts/d/models.json", 0)


def test_file_that_vanished(make_root: Any) -> None:
    """A file that cannot be read is an error naming it."""
    with pytest.raises(CatalogError) as caught:
        read_static(make_root({}), Source("scripts/d/models.json", "d"))
    assert caught.value.message == "scripts/d/models.json: cannot be read: No such file or directory"
