"""The code of the child process, called in this process."""

from __future__ import annotations

import importlib
import io
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.catalog import dynamic_child
from pytest_madengine.catalog.dynamic_child import CustomModel, Models, answer, describe, install_shims, serve


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the child does to ``sys`` is undone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before, module = dict(sys.modules), CustomModel.__module__
    for name in [name for name in sys.modules if name.partition(".")[0] == "madengine"]:
        del sys.modules[name]
    yield
    sys.modules.clear()
    sys.modules.update(before)
    CustomModel.__module__ = module


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "get_models_json.py"


GOOD = """
from madengine.tools.discover_models import CustomModel
class Mine(CustomModel):
    def update_model(self): self.args += " updated"
def list_models(): return [Mine("a"), Mine("b", tags=("t",))]
"""


def test_custom_model() -> None:
    """Contract 6: to_dict() has every field; update_model() does nothing."""
    model = CustomModel("a", tags=["t"])
    model.update_model()
    assert model.to_dict() == {**CustomModel("a").to_dict(), "tags": ["t"]}
    assert CustomModel("a").tags is not CustomModel("b").tags


def test_conversation(file: Path) -> None:
    """First all models, then the updated ones that were asked for."""
    file.write_text(GOOD)
    requests: list[dict[str, Any]] = [{"file": str(file), "path": []}, {"update": [1]}]

    def next_request() -> dict[str, Any]:
        if not requests:
            raise EOFError
        return requests.pop(0)

    replies = io.StringIO()
    with pytest.raises(EOFError):
        serve(next_request, replies)
    listed, updated = (json.loads(line)["entries"] for line in replies.getvalue().splitlines())
    assert [entry["name"] for entry in listed] == ["a", "b"]
    assert [(entry["name"], entry["args"], entry["tags"]) for entry in updated] == [("b", " updated", ["t"])]


@pytest.mark.parametrize(
    "text, expected, line",
    [
        ("", dynamic_child.NO_LIST_MODELS, None),
        ("def list_models(): return [1]", dynamic_child.WRONG_ELEMENT, None),
        ("def list_models():\n  raise OSError('x')", "OSError: x", 2),
        ("(", "SyntaxError: '(' was never closed", 1),
        (
            GOOD.replace('Mine("a")', 'Mine("a", data=[{"k": object()}])'),
            "field 'data' is no JSON value",
            None,
        ),
        (
            GOOD.replace('Mine("a")', 'Mine("a", data={"k": 10 ** 5000})'),
            "field 'data' is no JSON value",
            None,
        ),
    ],
)
def test_errors(file: Path, text: str, expected: str, line: int | None) -> None:
    """Contract 6: what goes wrong becomes an error reply with the line in the user's file."""
    file.write_text(text)
    install_shims()
    error = json.loads(answer(Models(str(file)), {}))["error"]
    assert expected in error["text"]
    assert error["line"] == line
    assert len(error["traceback"]) <= 20


@pytest.mark.parametrize(
    "change", ["self.name = 'z'", "self.tags = ['new']", "del self.url", "raise SystemExit"]
)
def test_errors_of_update(file: Path, change: str) -> None:
    """Contract 6: name and tags stay; whatever update_model() raises is reported."""
    install_shims()
    file.write_text(GOOD.replace('self.args += " updated"', change))
    models = Models(str(file))
    models.list_models()
    reply = json.loads(answer(models, {"update": [0]}))
    assert ("error" in reply) == (change != "del self.url")


def test_no_python_file(tmp_path: Path) -> None:
    """Only Python files can be executed."""
    error = json.loads(answer(Models(str(tmp_path / "x.txt")), {}))["error"]
    assert error["text"].endswith("x.txt is no Python file")


def test_syntax_error_of_another_file(file: Path, tmp_path: Path) -> None:
    """The line of an error in an imported file is that of the import."""
    (tmp_path / "broken_module_of_user.py").write_text("\n\n(")
    file.write_text(f"import sys\nsys.path.append({str(tmp_path)!r})\nimport broken_module_of_user\n")
    error = json.loads(answer(Models(str(file)), {}))["error"]
    assert error["line"] == 3


def test_long_texts_are_one_line() -> None:
    """The text of an exception is one bounded line."""
    text = describe(ValueError("a\n" * 2000), "f")["text"]
    assert "\n" not in text
    assert len(text) == 500


def test_shims_keep_an_installed_package(tmp_path: Path) -> None:
    """Contract 6: CustomModel is ours whether or not madengine is installed; its other modules stay
    importable, its package code is not executed.
    """
    package = tmp_path / "madengine"
    (package / "tools").mkdir(parents=True)
    (package / "__init__.py").write_text("1/0")
    (package / "tools" / "__init__.py").write_text("1/0")
    (package / "tools" / "other.py").write_text("VALUE = 5")
    (package / "tools" / "discover_models.py").write_text("1/0")
    sys.path.insert(0, str(tmp_path))
    install_shims(["/some/where", str(tmp_path)])
    assert sys.path[-1] == "/some/where"
    assert sys.path.count(str(tmp_path)) == 1
    assert importlib.import_module("madengine.tools.other").VALUE == 5
    for name in dynamic_child.SHIMS:
        assert importlib.import_module(name).CustomModel is CustomModel
    assert isinstance(sys.modules["madengine.utils"], types.ModuleType)
    assert CustomModel.__module__ == "madengine.tools.discover_models"
