"""What users import stands on the package itself, and its page lists it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_madengine

PROJECT = Path(__file__).resolve().parents[3]
#: An import of a room of the package.
DEEP = re.compile(r"(?:from|import) pytest_madengine\.(?!plugin\b(?!\.))[a-z_.]+")
PAGES = [
    path
    for folder in ("docs", "examples")
    for path in sorted((PROJECT / folder).rglob("*"))
    if path.suffix in {".md", ".py", ".ipynb", ".ini", ".toml"} and path.name != "architecture.md"
]


def test_every_name_can_be_imported() -> None:
    for name in pytest_madengine.__all__:
        assert getattr(pytest_madengine, name) is not None
    assert set(pytest_madengine.__all__) <= set(dir(pytest_madengine))
    with pytest.raises(AttributeError, match="has no attribute 'Metrics'"):
        pytest_madengine.Metrics  # noqa: B018


def test_the_page_lists_every_name() -> None:
    text = (PROJECT / "docs/reference/public-api.md").read_text(encoding="utf-8")
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`(\w+)`", row)
    }
    assert listed == set(pytest_madengine.__all__)


@pytest.mark.parametrize("path", [*PAGES, PROJECT / "README.md"], ids=lambda path: path.name)
def test_pages_and_examples_import_the_public_names_only(path: Path) -> None:
    assert not DEEP.findall(path.read_text(encoding="utf-8"))


def test_docstrings_of_hooks_and_fixtures_import_the_public_names_only() -> None:
    from pytest_madengine.plugin import fixtures, hookspec

    for module in (fixtures, hookspec):
        for value in vars(module).values():
            assert not DEEP.findall(getattr(value, "__doc__", None) or "")


def test_importing_the_package_imports_no_room() -> None:
    code = (
        "import sys, pytest_madengine; print([n for n in sys.modules if n.startswith('pytest_madengine.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
