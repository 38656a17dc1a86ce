"""The repository under examples/mad is complete and says what the documentation says about it."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2] / "examples" / "mad"
ENTRIES: Final[list[dict[str, Any]]] = json.loads((ROOT / "models.json").read_text(encoding="utf-8"))
every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry["name"]))


@dataclass
class CustomModel:
    """The base class that a get_models_json.py finds (contract section 6)."""

    name: str
    dockerfile: str = ""
    dockercontext: str = ""
    scripts: str = ""
    url: str = ""
    cred: str = ""
    owner: str = ""
    data: str = ""
    n_gpus: str = "-1"
    timeout: int = 7200
    training_precision: str = ""
    tags: list[str] = field(default_factory=list)
    args: str = ""
    multiple_results: str = ""
    skip_gpu_arch: str = ""

    def update_model(self) -> None:
        """Does nothing, as in the original."""


@pytest.fixture
def dynamic_models(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What ``list_models()`` of the dynamic directory returns."""
    for name in ("madengine", "madengine.tools"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    shim = types.ModuleType("madengine.tools.discover_models")
    shim.CustomModel = CustomModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, shim.__name__, shim)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("example", ROOT / "scripts/demo_dynamic/get_models_json.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "example", module)
    spec.loader.exec_module(module)
    models: list[Any] = module.list_models()
    return models


def dockerfiles(prefix: str) -> list[Path]:
    return sorted(ROOT.glob(f"{prefix}.*"))


@every_entry
def test_every_file_of_an_entry_exists(entry: dict[str, Any]) -> None:
    assert (ROOT / entry["scripts"]).is_file()
    assert len(dockerfiles(entry["dockerfile"])) == 1


@every_entry
def test_needs_no_gpu_unless_it_is_there_to_be_skipped(entry: dict[str, Any]) -> None:
    assert entry["n_gpus"] == ("8" if entry["name"] == "demo_eight_gpus" else "0")


def test_broken_models_stay_out_of_the_demo() -> None:
    tags = {entry["name"]: set(entry["tags"]) for entry in ENTRIES}
    assert {name for name, of_entry in tags.items() if "demo" not in of_entry} == {
        "demo_fails",
        "demo_timeout",
        "demo_silent",
        "demo_unbuildable",
    }
    assert [tags[f"demo_{name}"] for name in ("fails", "timeout", "silent", "unbuildable")] == [
        {"failing"},
        {"slow"},
        {"silent"},
        {"unbuildable"},
    ]


def test_names_and_results_files_are_unique() -> None:
    names = [entry["name"] for entry in ENTRIES]
    results = [entry["multiple_results"] for entry in ENTRIES if entry.get("multiple_results")]
    assert len(names) == len(set(names))
    assert results
    assert len(results) == len(set(results))


@pytest.mark.parametrize("path", sorted((ROOT / "docker").iterdir()), ids=lambda path: str(path.name))
def test_dockerfiles_fit_every_host_and_use_the_common_base(path: Path) -> None:
    """Contract 8.1: a CONTEXT line without a vendor matches hosts with any GPU and with none."""
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    assert ast.literal_eval(first.removeprefix("# CONTEXT ")) == {"guest_os": "UBUNTU"}
    assert "ARG BASE_DOCKER=debian:bookworm-slim" in rest


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.sh")), ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_scripts_parse(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_python_files_compile(path: Path) -> None:
    compile(path.read_text(encoding="utf-8"), str(path), "exec")


def test_the_dynamic_directory_makes_models_with_parameters(dynamic_models: list[Any]) -> None:
    directory = ROOT / "scripts/demo_dynamic"
    assert [model.name for model in dynamic_models] == ["md5", "sha256"]
    for model in dynamic_models:
        assert isinstance(model, CustomModel)
        assert "demo" in model.tags
        assert (directory / model.scripts).is_file()
        assert dockerfiles((directory / model.dockerfile).resolve().relative_to(ROOT).as_posix())
        assert model.args == ""
        model.update_model()
        assert model.args.startswith("--command ")
