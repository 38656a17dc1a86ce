"""Directories that benchmarks run pytest in: MAD repositories, plain projects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_ENTRY = {
    "url": "",
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


def entries(count: int, places: Sequence[str] = ("bench",)) -> list[dict[str, Any]]:
    """Entries as MAD repositories have them, with four tags each.

    :param places: names of Dockerfiles and script directories, used in turn.
    """
    return [
        {
            **_ENTRY,
            "dockerfile": f"docker/{places[number % len(places)]}",
            "scripts": f"scripts/{places[number % len(places)]}/run.sh",
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
    places: Sequence[str] = ("bench",),
    script: str = "echo 'performance: 1 samples_per_second'",
    image: str = "scratch",
    files: Mapping[str, str] | None = None,
) -> Path:
    """A MAD repository of models that share Dockerfiles and scripts, one of each per place."""
    base = {"models.json": json.dumps(entries(count, places), indent=1)}
    for place in places:
        base[f"docker/{place}.ubuntu.Dockerfile"] = f"# CONTEXT {{'guest_os': 'UBUNTU'}}\nFROM {image}\n"
        base[f"scripts/{place}/run.sh"] = f"{script}\n"
    return project(directory, {**base, **(files or {})})
