"""The reference says what the code says: generated pages are current, nothing is left out or made up."""

from __future__ import annotations

import dataclasses
import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
import pytest_madengine
from pytest_madengine import plugin
from pytest_madengine.catalog.fields import KNOWN_FIELDS
from pytest_madengine.context.keys import KNOWN
from pytest_madengine.options import OPTIONS
from pytest_madengine.plan.env import COMPUTED
from pytest_madengine.plugin import hookspec, junit
from pytest_madengine.reports.ci.openmetrics import FAMILIES
from pytest_madengine.results.columns import V1_COLUMNS, V2_COLUMNS
from pytest_madengine.results.patterns import DEFAULT
from pytest_madengine.results.record import Metric, Outcome, RunRecord

from docs_pages import DOCS, PROJECT, README, pages

REFERENCE = DOCS / "reference"
PACKAGE = Path(pytest_madengine.__file__).parent
OPTION_NAMES = {name for option in OPTIONS for name in option.names}
INI_NAMES = {option.dest for option in OPTIONS} | {"mad", "mad_junit_properties"}
every_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(PROJECT)))


def read(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def generator() -> ModuleType:
    """scripts/generate-reference as a module."""
    loader = SourceFileLoader("generate_reference", str(PROJECT / "scripts/generate-reference"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    # dataclasses look their module up there.
    import sys

    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def test_generated_pages_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    stale = [path.name for path, text in generator().pages().items() if path.read_text("utf-8") != text]
    assert not stale, "run scripts/generate-reference"


@every_page
def test_options_that_pages_name_exist(page: Path) -> None:
    named = re.findall(r"--mad-[a-z][a-z-]*[a-z]", page.read_text(encoding="utf-8"))
    assert set(named) <= OPTION_NAMES


@every_page
def test_variables_and_ini_options_that_pages_name_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"\bMAD_PYTEST_[A-Z_]+[A-Z]\b", text)) <= {option.env for option in OPTIONS}
    hooks = {name for name in vars(hookspec) if name.startswith("pytest_mad_")}
    known = INI_NAMES | set(plugin.__all__) | hooks | set(FAMILIES)
    assert set(re.findall(r"(?<![\w.-])mad_[a-z_]+[a-z](?![\w(]|\.[a-z])", text)) <= known


def test_every_option_and_twin_is_documented() -> None:
    text = read("options.md")
    for option in OPTIONS:
        assert all(f"`{word}" in text for word in (f"--mad-{option.name}", option.dest, option.env))
    assert all(f"`{name}`" in text for name in INI_NAMES)


def test_every_fixture_is_documented() -> None:
    assert re.findall(r"^## (mad_\w+)", read("fixtures.md"), re.MULTILINE)
    assert set(re.findall(r"^## (mad_\w+)", read("fixtures.md"), re.MULTILINE)) == set(plugin.__all__)


def test_every_hook_is_documented_with_an_example() -> None:
    sections = re.split(r"^## ", read("hooks.md"), flags=re.MULTILINE)[1:]
    hooks = {name for name in vars(hookspec) if name.startswith("pytest_mad_")}
    assert {section.splitlines()[0] for section in sections} == hooks
    assert all(section.count("```python") == 2 for section in sections)


def test_every_field_of_an_entry_is_documented() -> None:
    fields = read("models-json.md").partition("## Static checks")[0]
    assert all(f"`{name}`" in fields for name in KNOWN_FIELDS)


def test_every_context_key_is_documented() -> None:
    keys = read("context.md").partition("## Keys")[2]
    assert all(f"`{name}`" in keys for name in KNOWN)


def test_every_computed_variable_is_documented() -> None:
    variables = read("container.md").partition("## Environment variables")[2]
    assert all(f"`{name}`" in variables for name in COMPUTED)


def test_both_headers_and_every_column_are_documented() -> None:
    text = read("formats.md")
    assert ",".join(V2_COLUMNS) in text
    assert ",".join(V1_COLUMNS) in text
    table = text.partition("| Column | Content |")[2].partition("## Side files")[0]
    assert all(f"`{name}`" in table for name in V2_COLUMNS)


def test_every_field_of_a_record_is_documented() -> None:
    table = read("formats.md").partition("## record.json")[2].partition("## journal.jsonl")[0]
    assert all(f"`{field.name}`" in table for field in dataclasses.fields(RunRecord))
    assert all(f"`{field.name}`" in table for field in dataclasses.fields(Metric))


def test_every_junit_property_is_documented() -> None:
    record = RunRecord("r", "i", "m", Outcome.SUCCESS, metrics=(Metric("1", "sps"),))
    table = read("formats.md").partition("## JUnit properties")[2]
    for name, _ in junit.case_properties(record, "a"):
        assert f"`{name.replace('.sps', '.<name>')}`" in table


def test_error_patterns_and_their_order_are_documented() -> None:
    section = read("formats.md").partition("## Error patterns")[2].partition("## perf.csv")[0]
    positions = [section.find(f"`{pattern}`") for pattern in DEFAULT]
    assert -1 not in positions
    assert positions == sorted(positions)


def test_side_files_are_documented() -> None:
    source = (PACKAGE / "perfcsv/sidefiles.py").read_text(encoding="utf-8")
    text = read("formats.md")
    assert all(f"`{name}`" in text for name in re.findall(r'"(\w+\.(?:json|csv))"', source))


def test_the_architecture_names_every_module_and_room() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    modules = {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    missing = [name for name in sorted(modules) if f"`{name}`" not in text]
    missing += [name for name in sorted(rooms) if f"`{name}/`" not in text]
    assert not missing


def test_the_architecture_explains_every_dependency() -> None:
    section = (DOCS / "architecture.md").read_text(encoding="utf-8").partition("## Dependencies")[2]
    listed = re.search(r"^dependencies = \[(.*?)^\]", (PROJECT / "pyproject.toml").read_text(), re.M | re.S)
    assert listed is not None
    names = re.findall(r'^ *"([a-z0-9-]+)', listed[1], re.MULTILINE)
    assert [name for name in names if f"`{name}`" not in section] == []


def test_the_readme_starts_with_the_two_commands() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines[:8] if line.startswith("$ ")]
    assert [line.split()[1:3] for line in commands] == [["make", "demo"], ["make", "test"]]
