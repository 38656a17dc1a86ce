"""What the tests of the data room share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.data.service import DataService
from pytest_madengine.secrets import Redactor
from pytest_madengine.settings import Settings


def model_of(data: str, name: str = "m") -> Model:
    return Model(name=name, dockerfile="docker/m", scripts="scripts/m/run.sh", data=data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A MAD root."""
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def make_service(tmp_path: Path, root: Path) -> Callable[..., DataService]:
    """Makes a service for a data.json (``None``: no file) and a context."""

    def make(
        config: object = None,
        context: Mapping[str, Any] | None = None,
        redactor: Redactor | None = None,
        settings: Mapping[str, Any] | None = None,
        **further: Any,
    ) -> DataService:
        if config is not None:
            (root / "data.json").write_text(json.dumps(config), encoding="utf-8")
        merged = Settings(
            **{
                "root": root,
                "results_dir": tmp_path / "results",
                "output": root / "perf.csv",
                **(settings or {}),
            }
        )
        return DataService(merged, Context(context or {}), redactor or Redactor(), **further)

    return make
