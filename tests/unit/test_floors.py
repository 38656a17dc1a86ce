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

#: From the ground to the front: a room imports what lies on lower floors, nothing of its own floor or above.
FLOORS: Final = (
    {"needles"},
    {"errors", "secrets", "resources"},
    {"util"},
    {"credentials", "settings", "options"},
    {"results", "catalog", "context"},
    {"plan", "gate"},
    {"engine", "manifest", "data", "scheduling", "deploy", "history", "perfcsv"},
    {"images", "executors", "reports"},
    {"session"},
    {"pipeline"},
    {"sinks", "generate", "lint"},
    {"plugin"},
    {"cli"},
    {"__init__", "__main__"},
)
CORE: Final = {"results", "catalog", "context", "plan", "gate"}

#: Imports that run up or sideways and await their cut.  This list only gets shorter.
UPWARD: Final[tuple[str, ...]] = ()
#: Modules that import each other and await their cut.  This list only gets shorter.
CIRCLES: Final[tuple[str, ...]] = (
    "pipeline.fingerprint pipeline.image pipeline.plan pipeline.pull pipeline.push pipeline.record "
    "pipeline.run",
)

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
        for name in ["baselines", "database", "migrations", "queries", "schema", "store", "upload", "writing"]
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
            # ``from room import module`` imports a module of the room, not what the room itself defines.
            names = [f"{module}.{alias.name}" for alias in child.names]
            modules = [name for name in names if is_module(name)]
            yield from (Import(name, child.lineno, eager) for name in modules)
            if len(modules) < len(names):
                yield Import(module, child.lineno, eager)
        else:
            yield from _imports(child, package, eager and not _is_deferred(child))


def is_module(name: str) -> bool:
    """True for a module or package of ours."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _is_deferred(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def floor_of(room: str) -> int:
    """The number of the floor of a room; unknown rooms are an error."""
    return next(floor for floor, rooms in enumerate(FLOORS) if room in rooms)


def module_of(path: Path) -> str:
    """``plan.runplan`` of ``plan/runplan.py``, ``plan`` of ``plan/__init__.py``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def is_allowed(importer: str, imported: str) -> bool:
    """True when a room may import another."""
    return importer == imported or floor_of(importer) > floor_of(imported)


def arrows() -> dict[str, set[str]]:
    """Which modules of the package each of its modules imports, wherever in its text."""
    modules = {module_of(path): path for path in FILES}
    prefix = f"{PACKAGE.name}."
    return {
        module: {
            found.module.removeprefix(prefix)
            for found in imports_of(path)
            if found.module.startswith(prefix) and found.module.removeprefix(prefix) in modules
        }
        - {module}
        for module, path in modules.items()
    }


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Modules that import each other, directly or by others: components of more than one (Kosaraju)."""
    reverse: dict[str, set[str]] = {node: set() for node in graph}
    for node, targets in graph.items():
        for target in targets:
            reverse[target].add(node)
    seen: set[str] = set()
    ended = [node for start in sorted(graph) for node in visit(start, graph, seen)]
    seen = set()
    components = [visit(node, reverse, seen) for node in reversed(ended)]
    return sorted(sorted(component) for component in components if len(component) > 1)


def visit(start: str, graph: dict[str, set[str]], seen: set[str]) -> list[str]:
    """What can be reached from ``start`` and was not seen, in the order in which the visits end."""
    if start in seen:
        return []
    seen.add(start)
    ended: list[str] = []
    stack = [(start, iter(sorted(graph[start])))]
    while stack:
        node, rest = stack[-1]
        following = next((target for target in rest if target not in seen), None)
        if following is None:
            stack.pop()
            ended.append(node)
        else:
            seen.add(following)
            stack.append((following, iter(sorted(graph[following]))))
    return ended


def starts_with_any(module: str, roots: Iterable[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


FILES: Final = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    # Files under resources run in containers, not here.
    if path.relative_to(PACKAGE).parts[0] != "resources" and path != PACKAGE / "__init__.py"
)
CORE_FILES: Final = [path for path in FILES if path.relative_to(PACKAGE).parts[0] in CORE]


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_every_room_has_a_floor() -> None:
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()} - {"__pycache__", "py.typed"}
    assert rooms == set().union(*FLOORS)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("plugin", "session", True),
        ("plugin", "util", True),
        ("executors", "plan", True),
        ("executors", "engine", True),
        ("executors", "images", False),
        ("plan", "catalog", True),
        ("catalog", "plan", False),
        ("results", "plugin", False),
        ("util", "catalog", False),
        ("settings", "options", False),
        ("plan", "plan", True),
    ],
)
def test_the_rule_itself(importer: str, imported: str, allowed: bool) -> None:
    assert is_allowed(importer, imported) is allowed


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}, [["b", "c"]]),
        ({"a": {"b"}, "b": {"a"}, "c": {"a", "d"}, "d": {"c"}}, [["a", "b"], ["c", "d"]]),
        ({"a": {"b", "d"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c", "d"]]),
    ],
)
def test_circles_are_found(graph: dict[str, set[str]], expected: list[list[str]]) -> None:
    assert circles(graph) == expected


def test_imports_run_downward_only() -> None:
    """Lazy imports and those of types count."""
    wrong = {
        f"{importer} -> {target}"
        for importer, targets in arrows().items()
        for target in targets
        if not is_allowed(importer.partition(".")[0], target.partition(".")[0])
    }
    assert sorted(wrong) == sorted(UPWARD)


def test_no_module_imports_itself_by_others() -> None:
    """Lazy imports and those of types count."""
    assert circles(arrows()) == [sorted(circle.split()) for circle in CIRCLES]


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    wrong = [
        f"{name_of(path)}:{found.line} imports {found.module} at module level"
        for path in FILES
        for found in imports_of(path)
        if found.eager and starts_with_any(found.module, HEAVY - LAZY_MODULES.get(name_of(path), set()))
    ]
    assert not wrong


def test_modules_stay_small() -> None:
    """One that is longer lacks a noun: which?"""
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: count for name, count in lines.items() if count > MAX_LINES}


def test_the_core_imports_no_engine_and_no_network() -> None:
    wrong = [
        f"{name_of(path)}:{found.line} imports {found.module}"
        for path in CORE_FILES
        for found in imports_of(path)
        if starts_with_any(found.module, IMPURE)
    ]
    assert not wrong


def test_the_core_asks_the_process_for_nothing() -> None:
    wrong = [
        f"{name_of(path)}:{node.lineno} uses {node.value.id}.{node.attr}"
        for path in CORE_FILES
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
