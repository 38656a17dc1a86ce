"""What a conftest gives in place of our fixtures."""

from __future__ import annotations

from typing import Any, TypeVar

from pytest_madengine.errors import FixtureError

T = TypeVar("T")


def checked(name: str, value: Any, kind: type[T]) -> T:
    """What a fixture gave, which a conftest may have overridden.

    :raises FixtureError: it has another type.
    """
    if isinstance(value, kind):
        return value
    given = "nothing" if value is None else f"a value of type {type(value).__name__}"
    raise FixtureError(
        f"fixture {name} gives {given}, not a {kind.__name__}",
        hint=f"return or yield a {kind.__name__} in the override of {name} in your conftest",
    )
