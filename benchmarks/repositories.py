"""Directories that benchmarks run pytest in: MAD repositories, plain projects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ENTRY = {
    "url": "",
    "dockerfile": "docker/bench",
    "scripts": "scripts/bench/run.sh",
    "data": "",
    "n_gpus": "0",
    "owner": "bench@example.org",
    "training_precision": "fp16",
    "timeout": 600,
    "args": "",
}

#: A collector of bare items: the least that pytest can do for the entries of a JSON file.
BARE_CONFTEST = """
import json

import pytest


class BareFile(pytest.File):
    def collect(self):
        for entry in json.loads(self.path.read_text()):
            yield BareItem.from_parent(self, name=entry["name"])


class BareItem(pytest.Item):
    def runtest(self):
        pass


def pytest_collect_file(file_path, parent):
    if file_path.name == "models.json":
        return BareFile.from_parent(parent, path=file_path)
"""


def entries(count: int) -> list[dict[str, Any]]:
    """Entries as MAD repositories have them, with four tags each."""
    return [
        {
            **_ENTRY,
            "name": f"pyt_model_{number:05d}",
            "tags": ["pyt", f"family_{number % 20}", f"team_{number % 7}", "fp16"],
            "args": f"--batch-size {number}",
        }
        for number in range(count)
    ]


def project(directory: Path, files: Mapping[str, str]) -> Path:
    """A project with a pytest.ini of its own and these files."""
    for name, text in {"pytest.ini": "[pytest]\n", **files}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def mad_repository(
    directory: Path,
    count: int,
    *,
    script: str = "echo 'performance: 1 samples_per_second'",
    image: str = "scratch",
    files: Mapping[str, str] | None = None,
) -> Path:
    """A MAD repository of models that share one Dockerfile and one script."""
    base = {
        "models.json": json.dumps(entries(count), indent=1),
        "docker/bench.ubuntu.Dockerfile": f"# CONTEXT {{'guest_os': 'UBUNTU'}}\nFROM {image}\n",
        "scripts/bench/run.sh": f"{script}\n",
    }
    return project(directory, {**base, **(files or {})})
