from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy_site import Site, new_site
from pytest_madengine import resources


@pytest.fixture(scope="module", autouse=True)
def few_common_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two of the built-in files stand for all: writing and reading the others takes most of the time."""
    directory = tmp_path_factory.mktemp("common")
    for name in ("pre_scripts/run_rocenv_tool.sh", "pre_scripts/trace.sh"):
        (directory / name).parent.mkdir(exist_ok=True)
        shutil.copy(resources.scripts_common() / name, directory / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "scripts_common", lambda: directory)
        patch.setattr(resources, "builtin_tools", lambda: {"tools": {}})
        yield


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path / "mad")
