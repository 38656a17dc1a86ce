"""MAD roots on disk for the tests of the catalog."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: A ``get_models_json.py`` from (name, tags) pairs.
DYNAMIC = """
from madengine.tools.discover_models import CustomModel

def list_models():
    return [
        CustomModel(name=name, tags=tags, dockerfile="../../docker/dummy", scripts="run.sh")
        for name, tags in {models!r}
    ]
"""


def entry(name: str, *tags: str, prefix: str = "", **more: Any) -> dict[str, Any]:
    """A complete entry."""
    values = {"name": name, "dockerfile": f"{prefix}docker/dummy", "scripts": "run.sh", "tags": list(tags)}
    return {**values, **more}


def scoped(name: str, *tags: str, **more: Any) -> dict[str, Any]:
    """A complete entry of ``scripts/<dir>/models.json``."""
    return entry(name, *tags, prefix="../../", **more)


MakeRoot = Callable[[dict[str, Any]], Path]


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    """Writes files below a new MAD root: text as it is, anything else as JSON."""

    def make(files: dict[str, Any]) -> Path:
        root = tmp_path / "mad"
        (root / "scripts").mkdir(parents=True)
        for name, content in {"models.json": [], **files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return root

    return make


TREE_T: dict[str, Any] = {
    "models.json": [
        entry("dummy", "dummies", "dummy_test_group_1", "dummy_group_1"),
        entry("dummy2", "dummies", "dummy_group_1", "dummy_group_2"),
        entry("dummy3", "dummies", "dummy_group_2"),
    ],
    "scripts/dummy2/models.json": [
        scoped("model1", "dummies", "dummy_test_group_2"),
        scoped("model2", "dummies", "dummy_test_group_2"),
    ],
    "scripts/dummy3/get_models_json.py": DYNAMIC.format(
        models=[(name, ["dummies", "dummy_test_group_3"]) for name in ("model3", "model4")]
    ),
}
TREE_R: dict[str, Any] = {
    "models.json": [entry("dummy"), entry("pyt_huggingface_bert")],
    "scripts/dummy2/models.json": [scoped("dummy_2")],
    "scripts/dummy3/get_models_json.py": DYNAMIC.format(models=[("dummy_3", [])]),
}


@pytest.fixture
def tree(make_root: MakeRoot, request: pytest.FixtureRequest) -> Path:
    """Tree T or R of contract 5.1 (indirect parameter; T by default)."""
    return make_root({"T": TREE_T, "R": TREE_R}[getattr(request, "param", "T")])
