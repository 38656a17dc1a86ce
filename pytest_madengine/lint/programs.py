"""Checks of get_models_json.py: read as text, or executed in its own child process when asked to."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_madengine.catalog.discovery import Source
from pytest_madengine.errors import CatalogError
from pytest_madengine.lint import rules
from pytest_madengine.lint.documents import Collector, Entry, Texts
from pytest_madengine.lint.entries import check_dynamic
from pytest_madengine.lint.findings import Place
from pytest_madengine.lint.leaks import find_assignments, find_leaks
from pytest_madengine.lint.positions import Positions


def check_program(source: Source, texts: Texts, collector: Collector) -> bool:
    """Looks at the text of a program; true when it may be worth executing."""
    text = texts.read(source.path)
    if text is None:
        return False
    positions = Positions(text)
    hint = "take it out and revoke it; secrets are not in the environment of this program"
    for leak in (*find_leaks(text), *find_assignments(text, python=True)):
        place = Place(source.path, *positions.at(leak.offset))
        rule = rules.SECRET if leak.certain else rules.SECRET_VALUE
        collector.add(rule, place, f"{leak.what}", hint=hint)
    try:
        with warnings.catch_warnings():
            # "\d" in a text is a matter of the program, not a warning about our code.
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line, column = getattr(error, "lineno", None) or 0, getattr(error, "offset", None) or 0
        reason = getattr(error, "msg", None) or str(error) or type(error).__name__
        collector.add(rules.INVALID_PYTHON, Place(source.path, line, column), f"no Python: {reason}")
        return False
    return _check_list_models(source, tree, collector)


def _check_list_models(source: Source, tree: ast.Module, collector: Collector) -> bool:
    definition: ast.stmt | None = None
    for statement in _statements(tree.body):
        if isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names):
            return True  # nobody knows without executing it
        if "list_models" in _names(statement):
            definition = statement
    if definition is None:
        text = "Please define a list_models function in get_models_json.py."
        collector.add(rules.NO_LIST_MODELS, Place(source.path, 1, 1), text)
        return False
    place = Place(source.path, definition.lineno, definition.col_offset + 1)
    if isinstance(definition, ast.AsyncFunctionDef):
        collector.add(rules.NO_LIST_MODELS, place, "list_models is an async function")
        return False
    if isinstance(definition, ast.FunctionDef) and _required(definition.args):
        needed = ", ".join(_required(definition.args))
        collector.add(
            rules.NO_LIST_MODELS, place, f"list_models is called without arguments, it needs {needed}"
        )
        return False
    return True


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of the module, also within if, try and with, but not within functions and classes."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(statement, field, []))
        for handler in getattr(statement, "handlers", []):
            yield from _statements(handler.body)


def _names(statement: ast.stmt) -> set[str]:
    """Names that a statement gives to something."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return set()


def _required(arguments: ast.arguments) -> list[str]:
    """Arguments without default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = positional[: len(positional) - len(arguments.defaults)]
    needed += [
        argument
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    ]
    return [argument.arg for argument in needed]


def run_program(
    source: Source, root: Path, environ: Mapping[str, str], limit: float, collector: Collector
) -> list[Entry]:
    """The models of a program, listed and updated in its child process (contract section 6)."""
    from pytest_madengine.catalog.dynamic import DynamicFile

    try:
        with DynamicFile(root, source, environ, limit) as child:
            count = len(child.list_models())
            values = child.update_models(list(range(count))) if count else []
    except CatalogError as error:
        text = error.message.removeprefix(f"{source.path}: ")
        detail = f": {error.log_tail[-1]}" if error.log_tail else ""
        collector.add(rules.DYNAMIC_FAILURE, Place(source.path), f"{text}{detail}", hint=error.hint)
        return []
    if not values:
        text = "list_models() returned no model; is a submodule missing?"
        collector.add(rules.NO_DYNAMIC_MODELS, Place(source.path), text)
    return check_dynamic(values, source, collector)
