"""Values as quoted assignments in front of a fixed bash script: data, never code."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterable
from pathlib import Path

from pytest_madengine.errors import ConfigError


def quote(text: str) -> str:
    """One word of bash.

    :raises ConfigError: no process can be given it (NUL), or it is not valid Unicode.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"a text is not valid Unicode: {text[:60]!r}") from None
    if "\0" in text:
        raise ConfigError(f"a text contains a NUL character: {text[:60]!r}")
    return shlex.quote(text)


def assign(name: str, value: str | int) -> str:
    """``name='value'``"""
    return f"{name}={quote(str(value))}"


def array(name: str, values: Iterable[str]) -> str:
    """``name=('a' 'b')``"""
    return f"{name}=({' '.join(map(quote, values))})"


@functools.cache
def container_script(name: str) -> str:
    """The fixed part of a script that :func:`pytest_madengine.plan.script.render` makes."""
    from pytest_madengine.plan import script

    return (Path(script.__file__).parent / "container" / name).read_text(encoding="utf-8")


@functools.cache
def template(name: str) -> str:
    """A fixed script of ``resources/deploy``."""
    return (Path(__file__).parents[1] / "resources" / "deploy" / name).read_text(encoding="utf-8")
