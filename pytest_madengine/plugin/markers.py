"""Marks of models: their tags."""

from __future__ import annotations

import pytest

from pytest_madengine.session.session import MadSession


class Markers:
    """The marks of tags, made once: making one costs more than attaching it.

    :param names: marker name of each tag that can be one.
    """

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._made: dict[tuple[str, ...], list[pytest.Mark]] = {}

    def of(self, tags: tuple[str, ...]) -> list[pytest.Mark]:
        """The marks of those tags that can be markers."""
        made = self._made.get(tags)
        if made is None:
            names = [self._names[tag] for tag in tags if tag in self._names]
            made = self._made[tags] = [getattr(pytest.mark, name).mark for name in names]
        return made


markers_key = pytest.StashKey[Markers]()


def register_markers(config: pytest.Config, session: MadSession) -> dict[str, str]:
    """Registers every tag of the selected models once, so that ``--strict-markers`` accepts them.

    :return: the marker name of each tag; one that no expression could hold is repaired.
    """
    names: dict[str, str] = {}
    for selected in session.selected:
        for tag in selected.model.tags:
            # pytest.mark refuses names that start with an underscore; -k still finds such a tag.
            if tag not in names and not tag.startswith("_"):
                names[tag] = "".join(char if char not in " (),'\"" else "_" for char in tag)
                config.addinivalue_line("markers", f"{names[tag]}: tag of MAD models")
    return names
