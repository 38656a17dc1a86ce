"""Reading context text: JSON or a Python literal, from people we do not know (contract 7.1)."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import ContextError
from pytest_madengine.secrets import Secret
from pytest_madengine.util import jsontext
from pytest_madengine.util.text import escaped

#: Longest context text, in characters.
MAX_LENGTH: Final = 1 << 20
#: Deepest nesting of objects and lists.
MAX_DEPTH: Final = 50
#: Quoted text of JSON or Python, or one bracket.  The optional closing quote keeps the scan linear.
_TOKEN: Final = re.compile(r""""(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|[][{}()]""")


def parse_string(text: str, source: str) -> dict[str, Any]:
    """The object of a context string: JSON first, then a Python literal; blank text is an empty object.

    :raises ContextError: unparsable, not an object, too long or too deep.
    """
    if not text.strip():
        return {}
    _check_size(text, source)
    try:
        return as_object(_json(text), source)
    except jsontext.JsonTextError as error:
        problem = str(error)
    try:
        value = _python(text)
    except SyntaxError as error:
        raise ContextError(
            f"{source} is neither JSON ({problem}) nor a Python literal ({error.msg})",
            hint="quote keys and texts, and mind the quoting of your shell",
        ) from None
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise ContextError(
            f"{source} is neither JSON ({problem}) nor a Python literal",
            hint="only texts, numbers, true/false, lists and objects are allowed",
        ) from None
    return as_object(value, source)


def parse_file(path: Path, source: str) -> dict[str, Any]:
    """The JSON object of a context file.

    :raises ContextError: unreadable, not UTF-8, not JSON, not an object, too long or too deep.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            text = stream.read(MAX_LENGTH + 1)
    except OSError as error:
        raise ContextError(f"{source} cannot be read: {error.strerror or 'error'}") from None
    except UnicodeDecodeError as error:
        raise ContextError(f"{source} is not UTF-8 text: bad byte at position {error.start}") from None
    _check_size(text, source)
    try:
        value = _json(text)
    except jsontext.JsonTextError as error:
        raise ContextError(
            f"{source} is not JSON: {error}",
            hint="a file holds a JSON object; Python literals are accepted on the command line only",
        ) from None
    return as_object(value, source)


def as_object(value: object, source: str) -> dict[str, Any]:
    """A copy of the value as a tree of JSON types; :class:`Secret` leaves are kept.

    :raises ContextError: not an object, a key that is not text, a type JSON does not have, too deep.
    """
    if not isinstance(value, Mapping):
        raise ContextError(f"{source} must be an object {{...}}, not {type_name(value)}")
    tree = _tree(value, source, "", 0)
    assert isinstance(tree, dict)
    return tree


def one_line(text: str) -> str:
    """The text with control characters escaped: keys are untrusted and appear in messages."""
    return escaped(text)


def type_name(value: object) -> str:
    """The name of a value's type in words of JSON."""
    names: dict[type, str] = {bool: "true/false", int: "a number", float: "a number", str: "text"}
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    return names.get(type(value), type(value).__name__)


def _tree(value: object, source: str, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ContextError(f"{source}: {path.split('.')[0]} is nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        result = {}
        for key, entry in value.items():
            if not isinstance(key, str):
                raise ContextError(f"{source}: keys{f' of {path}' if path else ''} must be text, one is not")
            name = one_line(key)
            result[key] = _tree(entry, source, f"{path}.{name}" if path else name, depth + 1)
        return result
    if isinstance(value, (list, tuple)):
        return [_tree(entry, source, path, depth + 1) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ContextError(f"{source}: {path} must be a finite number")
    if value is None or isinstance(value, (str, bool, int, float, Secret)):
        return value
    raise ContextError(f"{source}: {path} has a value of type {type_name(value)}, which JSON does not have")


def _check_size(text: str, source: str) -> None:
    if len(text) > MAX_LENGTH:
        raise ContextError(f"{source} is longer than {MAX_LENGTH} characters")
    depth = 0
    # Checked before parsing: the parsers themselves recurse.
    for match in _TOKEN.finditer(text):
        token = match[0]
        depth += (token in "[{(") - (token in ")}]")
        if depth > MAX_DEPTH:
            raise ContextError(f"{source} is nested deeper than {MAX_DEPTH}")


def _json(text: str) -> object:
    return jsontext.parse(text, max_depth=MAX_DEPTH)


def _python(text: str) -> object:
    with warnings.catch_warnings():
        # Invalid escapes in a literal are the user's, not a warning of ours.
        warnings.simplefilter("ignore")
        return ast.literal_eval(text.strip())
