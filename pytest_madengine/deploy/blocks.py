"""Reading a ``k8s`` or ``slurm`` block: each value checked, its key named in the error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.plan.wording import did_you_mean
from pytest_madengine.util.jsontext import boolean_of

_TEXTS: Final = (str, int, float)


class Block:
    """One block.  Every reader gives the default for an absent or null value.

    :param where: how messages name it, e.g. ``k8s``.
    :raises ConfigError: a value has the wrong type; names block and key.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values, self.where = values, where

    def error(self, key: str, wanted: str) -> ConfigError:
        """The error of one key."""
        return ConfigError(f"{self.where}.{key} is {self._values.get(key)!r}, not {wanted}")

    def text(self, key: str, default: str = "", pattern: str = "", wanted: str = "text") -> str:
        """Text, or a number as text.

        :param pattern: what the whole text must match.
        """
        value = self._values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, _TEXTS):
            raise self.error(key, wanted)
        text = str(value)
        if pattern and not re.fullmatch(pattern, text, re.ASCII):
            raise self.error(key, wanted)
        return text

    def number(self, key: str, default: int, least: int = 0) -> int:
        """A whole number; as text too."""
        return self.optional_number(key, least) if self._values.get(key) is not None else default

    def optional_number(self, key: str, least: int = 0) -> int:
        """A whole number of a key that is there."""
        value = self._values.get(key)
        text = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) < least:
            raise self.error(key, f"a whole number from {least}")
        return int(text)

    def flag(self, key: str, default: bool) -> bool:
        """True or false; as text too."""
        value = self._values.get(key)
        if value is None:
            return default
        if isinstance(value, str):
            value = boolean_of(value)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; one text counts as a list of one."""
        value = self._values.get(key)
        if value is None:
            return ()
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, (list, tuple)) or not all(isinstance(one, str) for one in entries):
            raise self.error(key, "a list of texts")
        return tuple(entries)

    def list_of_objects(self, key: str) -> tuple[Mapping[str, Any], ...]:
        """A list of objects."""
        value = self._values.get(key)
        if value is None:
            return ()
        if not isinstance(value, (list, tuple)) or not all(isinstance(one, Mapping) for one in value):
            raise self.error(key, "a list of objects")
        return tuple(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object."""
        value = self._values.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.error(key, "an object")
        return value

    def unknown(self, known: Iterable[str]) -> tuple[str, ...]:
        """A warning for each key that has no effect."""
        names = tuple(known)
        return tuple(
            " ".join(f"{self.where}.{key} is unknown and has no effect. {did_you_mean(key, names)}".split())
            for key in map(str, self._values)
            if key not in names and not key.startswith("_")
        )
