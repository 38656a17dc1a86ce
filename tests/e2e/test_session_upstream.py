"""A repository of 38 models as the public ones are built, alone and with workers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from session_support import CONTEXT, Repository

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

#: What a dynamic directory needs beside its ``get_models_json.py``: a package with another one inside.
HELPER = {
    "helpers/__init__.py": "from .naming import sizes\n",
    "helpers/naming/__init__.py": "sizes = ('7b', '13b', '70b', '405b')\n",
    "settings.py": "SCRIPT = 'run/start.sh'\n",
}
LISTING = """
from dataclasses import dataclass

import settings
from helpers import sizes
from madengine.tools.discover_models import CustomModel


@dataclass
class Llm(CustomModel):
    def update_model(self):
        from helpers.naming import sizes as again

        assert again is sizes
        self.scripts = settings.SCRIPT


def list_models():
    for kind in ("train", "serve"):
        for size in sizes:
            yield Llm(f"llm_{kind}_{size}", "docker/TOKEN_dyn", n_gpus="0", timeout=60, tags=["all_of_it"])
"""


def _write(path: Path, text: str) -> Path:
    """All files have one modification time, as some checkouts give them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def _dockerfile(repository: Repository, path: str, who: str) -> None:
    text = f"{CONTEXT}\nFROM mad-test/tiny:latest\nRUN echo {who} > /who\n"
    _write(repository.root / path, text)


def _fill(repository: Repository) -> dict[str, str]:
    """Makes the repository; the number that each item must report, by item.

    Dockerfiles have one size and differ by the number in them.
    """
    token, root = repository.token, repository.root
    script = 'echo "performance: $(cat /who) sps"\n'
    expected = {}
    # 14 models at the root: one Dockerfile each, every second a link to a shared one.
    for number in range(14):
        own, who = f"docker/{token}_r{number:02}.ubuntu.Dockerfile", 100 + number
        _dockerfile(repository, own, str(who))
        if number % 2:
            (root / own).rename(root / f"docker/shared_{token}_{number:02}")
            (root / own).symlink_to(f"shared_{token}_{number:02}")
        repository.model(f"root_{number}", script, dockerfile=f"docker/{token}_r{number:02}")
        expected[f"root_{number}"] = str(who)
    # 2 models with several Dockerfiles each.
    for number in range(2):
        for os_name, who in (("ubuntu", 200 + number), ("jammy", 300 + number), ("noble", 400 + number)):
            _dockerfile(repository, f"docker/{token}_s{number}.{os_name}.Dockerfile", str(who))
            expected[f"several_{number}[{token}_s{number}.{os_name}]"] = str(who)
        repository.model(f"several_{number}", script, dockerfile=f"docker/{token}_s{number}")
    # 14 models in directories of their own, with equal file names; the Dockerfile is a link out of scripts/.
    for number in range(7):
        home, entries = root / f"scripts/dir{number}", []
        for variant in "ab":
            who = (500 if variant == "a" else 600) + number
            _dockerfile(repository, f"docker/of/dir{number}/{variant}_{token}", str(who))
            link = home / f"docker/{token}_{variant}.ubuntu.amd.Dockerfile"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"../../../docker/of/dir{number}/{variant}_{token}")
            name = f"nested_{variant}"
            shared = "lib/say.sh" if variant == "a" else f"../scripts/dir{number}/train/lib/say.sh"
            _write(home / f"train/deep/{variant}/run.sh", f". {shared}\n")
            where = {"dockerfile": f"docker/{token}_{variant}", "scripts": f"train/deep/{variant}/run.sh"}
            entries.append({"name": name, **where, "n_gpus": "0", "tags": ["all_of_it"], "timeout": 60})
            expected[f"dir{number}/{name}"] = str(who)
        _write(home / "train/deep/a/lib/say.sh", script)
        _write(home / "train/lib/say.sh", script)
        _write(home / "models.json", json.dumps(entries))
    # 8 dynamic models whose package is beside get_models_json.py.
    home = root / "scripts/llm"
    for path, text in {**HELPER, "get_models_json.py": LISTING.replace("TOKEN", token)}.items():
        _write(home / path, text)
    _write(home / "run/start.sh", script)
    _dockerfile(repository, f"scripts/llm/docker/{token}_dyn.ubuntu.Dockerfile", "700")
    sizes = ("7b", "13b", "70b", "405b")
    expected |= {f"llm/llm_{kind}_{size}": "700" for kind in ("train", "serve") for size in sizes}
    return expected


@pytest.mark.parametrize("workers", ["", "-n4"], ids=["alone", "workers"])
def test_a_repository_of_38_models(repository: Repository, workers: str) -> None:
    """Given 38 models (links, packages beside get_models_json.py, several Dockerfiles a model, nested script
    directories, dynamic ones) / when all are run / then each reports the number of its own Dockerfile."""
    expected = _fill(repository)
    session = repository.run(*filter(None, [workers]))
    assert session.code == 0, session.output
    records = repository.records()
    assert {item: record["metrics"][0]["value"] for item, record in records.items()} == expected
    assert len({record["model"] for record in records.values()}) == 38
    assert {record["outcome"] for record in records.values()} == {"SUCCESS"}
    assert len(repository.rows()) == len(expected)
    repository.assert_nothing_left()
