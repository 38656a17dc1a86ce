"""The one reader of JSON that others wrote: repository files, contexts, manifests, output of tools.

Whatever the text is, the answer is a value that the rest of the package can handle, or one
:class:`JsonTextError` with a reason of one line.  Python's own reader is not enough: numbers of thousands of
digits raise a plain ``ValueError``, nesting raises ``RecursionError`` here or later, in whoever walks the
value, and ``1e999`` becomes an infinity that no JSON file can hold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

#: Deepest nesting of objects and lists.
MAX_DEPTH: Final = 100
#: Largest file; the models.json of 100,000 models has some 50 MB.
MAX_BYTES: Final = 256 << 20
#: Longest number: all of them fit into a float, and printing one again is cheap.
_MAX_DIGITS: Final = 300
#: Half of a surrogate pair, as an escape: no file can hold what it stands for.
_SURROGATE: Final = re.compile(r"\\u[dD][89abABcdefCDEF]")


_BOOLEANS: Final = {
    **dict.fromkeys(("true", "1", "yes", "y", "on"), True),
    **dict.fromkeys(("false", "0", "no", "n", "off"), False),
}


def boolean_of(text: str) -> bool | None:
    """The value of a boolean text (``true``, ``1``, ``yes``, ``on``, ... in any case), else ``None``."""
    return _BOOLEANS.get(text.strip().lower())


class JsonTextError(ValueError):
    """A text that is not JSON, or that no value of reasonable size can hold; ``reason`` is one line."""

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"{reason} at line {line} column {column}" if line else reason)
        self.reason = reason
        #: From 1; 0 when the place is not known.
        self.line = line
        self.column = column


def parse(text: str | bytes, *, max_depth: int = MAX_DEPTH, constants: bool = False) -> Any:
    """The value of a JSON text; bytes are UTF-8, a byte order mark is tolerated.

    :param constants: accept ``NaN`` and ``Infinity``, which Python's writer makes.
    :raises JsonTextError: whatever is wrong with it.
    """
    text = _decoded(text) if isinstance(text, bytes) else text.removeprefix("\ufeff")
    return _checked(_decoder(constants).decode, text, max_depth)


def parse_first(text: str, start: int = 0, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value that begins at ``start``; what follows it, such as a warning of a tool, does not count.

    :raises JsonTextError: whatever is wrong with it.
    """
    return _checked(lambda whole: _decoder(True).raw_decode(whole, start)[0], text, max_depth)


def _decoder(constants: bool) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_int=_whole,
        parse_float=float if constants else _finite,
        parse_constant=None if constants else _no_constant,
    )


def _checked(decode: Callable[[str], Any], text: str, max_depth: int) -> Any:
    try:
        value = decode(text)
    except json.JSONDecodeError as error:
        raise JsonTextError(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise JsonTextError(f"nested deeper than {max_depth}") from None
    # A value is never deeper than its text has brackets.
    if text.count("[") + text.count("{") > max_depth:
        _check_depth(value, max_depth)
    if _SURROGATE.search(text):
        _check_surrogates(value)
    return value


def read(path: Path, *, limit: int = MAX_BYTES, max_depth: int = MAX_DEPTH, constants: bool = False) -> Any:
    """The value of a JSON file.

    :param limit: largest number of bytes; no more than that is ever read.
    :raises JsonTextError: whatever is wrong with its content.
    :raises OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise JsonTextError(f"longer than {limit:,} bytes")
    return parse(data, max_depth=max_depth, constants=constants)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise JsonTextError("not UTF-8 text", line, error.start - data.rfind(b"\n", 0, error.start)) from None


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise JsonTextError(f"a number of {len(text.lstrip('-')):,} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonTextError("a number is too large")
    return value


def _no_constant(name: str) -> NoReturn:
    raise JsonTextError(f"{name} is not JSON")


def _check_depth(value: Any, most: int) -> None:
    level = [value]
    for _ in range(most + 1):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
            if isinstance(part, dict | list)
        ]
        if not level:
            return
    raise JsonTextError(f"nested deeper than {most}")


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise JsonTextError(f"lone surrogate {error.object[error.start]!r}") from None
