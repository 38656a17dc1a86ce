"""Which node id is which item: the one place that says so, for every view, sink and scheduler.

A node id is a name, not a path: that of a MAD root outside of pytest's rootdir does not lead to its file, and
a plugin may have changed it.  Nothing else takes one apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_madengine.session.items import ItemSpec
    from pytest_madengine.session.session import MadSession


class ItemIds:
    """Node ids of the files and items of a session.

    :param rootdir: pytest's rootdir.
    """

    def __init__(self, session: MadSession, rootdir: Path) -> None:
        self._session = session
        self._rootdir = rootdir
        self._collected: dict[str, ItemSpec] = {}

    def of_source(self, source: str) -> str:
        """Node id of a file of items: relative to the rootdir, or to the MAD root that lies outside of it.

        :param source: as :meth:`~pytest_madengine.session.session.MadSession.source_of` gives it.
        """
        path = self._session.settings.root / source
        try:
            return path.relative_to(self._rootdir).as_posix()
        except ValueError:
            return path.name if Path(source).is_absolute() else source

    def collected(self, items: Iterable[tuple[str, ItemSpec]]) -> None:
        """Takes the ids that collected items have: they say best what they are."""
        self._collected.update(items)

    def spec(self, nodeid: str) -> ItemSpec | None:
        """What an item stands for; ``None`` for one that is not a model."""
        return self._collected.get(nodeid) or self._given.get(nodeid) or self._grouped(nodeid)

    def name(self, nodeid: str) -> str:
        """Name of the item, as tables and logs have it; the node id itself of other tests."""
        spec = self.spec(nodeid)
        return nodeid if spec is None else spec.name

    def _grouped(self, nodeid: str) -> ItemSpec | None:
        """``--dist loadgroup`` adds ``@GROUP`` to what the worker of an item reports."""
        at = nodeid.find("@")
        while at >= 0:
            spec = self._given.get(nodeid[:at])
            if spec is not None:
                return spec
            at = nodeid.find("@", at + 1)
        return None

    @cached_property
    def _given(self) -> Mapping[str, ItemSpec]:
        """The ids that our collectors give: under xdist only workers have items."""
        return {
            f"{self.of_source(source)}::{spec.name}": spec
            for source, specs in self._session.items_by_file.items()
            for spec in specs
        }


_ids_key = pytest.StashKey[ItemIds]()


def item_ids(config: pytest.Config) -> ItemIds:
    """The ids of the session of this process, made once."""
    if _ids_key not in config.stash:
        from pytest_madengine.plugin.keys import session_key

        config.stash[_ids_key] = ItemIds(config.stash[session_key], config.rootpath)
    return config.stash[_ids_key]
