"""The floors of docs/architecture.md: who may import whom, and what an import may cost."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import pytest_madengine

PACKAGE: Final = Path(pytest_madengine.__file__).parent
MAX_LINES: Final = 420

GROUND: Final = {"secrets", "text", "errors", "settings", "files", "jsontext", "resources"}
CORE: Final = {"plan", "results", "gate", "context", "catalog"}
SERVICES: Final = {"scheduling", "executors", "images", "data", "history", "reports", "deploy"}
#: Front ends that are rooms; every other module of the top level is one as well.
FRONT: Final = {"cli", "linting"}
#: Rooms of one floor that one may import.
NEIGHBOURS: Final = {"plan": {"catalog", "context"}, "gate": {"results"}}

#: What the core must not know of: test runner, engines, network, data bases, chance.
IMPURE: Final = (
    *("pytest", "_pytest", "xdist", "docker", "kubernetes", "paramiko", "random"),
    *("socket", "ssl", "http", "urllib.request", "urllib3", "requests", "httpx"),
    *("boto3", "botocore", "sqlalchemy", "pymongo", "pandas"),
)
#: What the core must get as an argument instead of asking the process.
PROCESS_STATE: Final = {
    *(("os", name) for name in ("environ", "getenv", "getcwd")),
    *(("Path", name) for name in ("cwd", "home")),
}
#: Imported inside the function that needs them.
HEAVY: Final = {
    "pydantic",
    "docker",
    "pandas",
    "sqlalchemy",
    "pymongo",
    "boto3",
    "jinja2",
    "yaml",
    "kubernetes",
}
#: Modules that are themselves only reached by imports inside functions.
LAZY_MODULES: Final = {
    "catalog/schema.py": {"pydantic"},
    **{
        f"history/{name}.py": {"sqlalchemy"}
        for name in ("database", "migrations", "queries", "schema", "store", "upload", "writing")
    },
}


@dataclass(frozen=True)
class Import:
    """One imported module; ``eager`` when importing the file executes it."""

    module: str
    line: int
    eager: bool


def imports_of(path: Path) -> list[Import]:
    """Every import of a file, relative ones resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    package = ["pytest_madengine", *path.relative_to(PACKAGE).parent.parts]
    return list(_imports(tree, package, eager=True))


def _imports(node: ast.AST, package: list[str], eager: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, eager) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = package[: len(package) - child.level + 1] if child.level else []
            module = ".".join([*base, *filter(None, [child.module])])
            yield Import(module, child.lineno, eager)
            # ``from package import room`` imports the room as well.
            yield from (Import(f"{module}.{alias.name}", child.lineno, eager) for alias in child.names)
        else:
            yield from _imports(child, package, eager and not _is_deferred(child))


def _is_deferred(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def floor_of(room: str) -> int:
    """0 ground, 1 core, 2 services, 3 front ends (every other module of the top level)."""
    return next((floor for floor, rooms in enumerate((GROUND, CORE, SERVICES)) if room in rooms), 3)


def room_of(module: str) -> str:
    """``plan`` of ``pytest_madengine.plan.runplan``; an empty text for the package itself."""
    parts = module.split(".")
    room = parts[1] if len(parts) > 1 else ""
    return room if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file() else ""


def is_allowed(importer: str, imported: str) -> bool:
    """True when a room may import another."""
    if importer == imported or floor_of(importer) == 3:
        return True
    if floor_of(importer) == floor_of(imported):
        return floor_of(importer) == 0 or imported in NEIGHBOURS.get(importer, set())
    return floor_of(importer) > floor_of(imported)


def starts_with_any(module: str, roots: Iterable[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


FILES: Final = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    # Files under resources run in containers, not here.
    if path.relative_to(PACKAGE).parts[0] != "resources" and path != PACKAGE / "__init__.py"
)
every_file = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
core_files = pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.relative_to(PACKAGE).parts[0] in CORE],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)


def test_every_directory_is_a_known_room() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= GROUND | CORE | SERVICES | FRONT


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("plugin", "session", True),
        ("plugin", "files", True),
        ("executors", "plan", True),
        ("executors", "results", True),
        ("executors", "images", False),
        ("plan", "catalog", True),
        ("plan", "results", False),
        ("catalog", "plan", False),
        ("results", "plugin", False),
        ("files", "catalog", False),
        ("files", "errors", True),
    ],
)
def test_the_rule_itself(importer: str, imported: str, allowed: bool) -> None:
    assert is_allowed(importer, imported) is allowed


@every_file
def test_imports_run_downward_only(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    importer = relative.parts[0].removesuffix(".py")
    wrong = [
        f"{relative}:{found.line} imports {found.module}"
        for found in imports_of(path)
        if found.module.startswith("pytest_madengine.")
        and room_of(found.module)
        and not is_allowed(importer, room_of(found.module))
    ]
    assert not wrong


@every_file
def test_heavy_libraries_are_imported_where_they_are_used(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    heavy = HEAVY - LAZY_MODULES.get(relative.as_posix(), set())
    wrong = [
        f"{relative}:{found.line} imports {found.module} at module level"
        for found in imports_of(path)
        if found.eager and starts_with_any(found.module, heavy)
    ]
    assert not wrong


@every_file
def test_modules_stay_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{path.name} has {lines} lines: which noun is missing?"


@core_files
def test_the_core_knows_no_engine_and_no_network(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    wrong = [
        f"{relative}:{found.line} imports {found.module}"
        for found in imports_of(path)
        if starts_with_any(found.module, IMPURE)
    ]
    assert not wrong


@core_files
def test_the_core_asks_the_process_for_nothing(path: Path) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} uses {node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in PROCESS_STATE
    ]
    assert not wrong


IMPORT_CHECK: Final = """
import logging, sys
import pytest
handlers = list(logging.getLogger().handlers)
import pytest_madengine.plugin
assert logging.getLogger().handlers == handlers, "a global log handler was added"
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_importing_the_plugin_is_cheap_and_touches_nothing(tmp_path: Path) -> None:
    """Defect 65: given an empty directory / when the plugin is imported / then no file is created there or
    in the home directory, no log handler is added, and no heavy library is loaded."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment |= {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "DOCKER_HOST": "unix:///nowhere",
    }
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_CHECK],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    loaded = set(result.stdout.split())
    assert "pytest_madengine" in loaded
    assert not loaded & (HEAVY - {"yaml"})
    assert not list(home.iterdir())
    assert not list(work.iterdir())
