"""Files that lie elsewhere: the provider made of a store (contract 13.3)."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path

from pytest_madengine.data.config import Source
from pytest_madengine.data.mirror import Mirror, mirror_directory
from pytest_madengine.data.provider import Access, Delivery, Unusable
from pytest_madengine.data.store import Budget, Store


class RemoteProvider(ABC):
    """A provider whose data is downloaded to this host: into a mirror, or for one run.

    A class of a user gives ``name``, ``fields``, ``limit`` and :meth:`connect`.
    """

    name: str
    fields: frozenset[str] = frozenset()
    #: Seconds for the whole transfer.
    limit: float = 3600.0

    @abstractmethod
    def connect(self, source: Source, access: Access) -> Store:
        """A store that was found usable within :data:`~pytest_madengine.data.store.PROBE_LIMIT` seconds.

        :raises Unusable: why the next provider must be asked.
        """

    def verify(self, source: Source) -> None:
        """Looks at the entry alone.

        :raises Unusable: it cannot work.
        """

    def plan(self, source: Source, access: Access) -> Delivery:
        """Where the data would lie."""
        self.verify(source)
        mirror = access.mirror_of(source)
        if mirror is None:
            path = f"/<download of {self.name} for this run>"
        else:
            path = str(mirror_directory(mirror, source.name))
        return Delivery(path, read_only=not source.read_write)

    def deliver(self, source: Source, access: Access) -> Delivery:
        """Downloads what is not there yet.

        :raises Unusable: the store cannot be used; nothing was changed.
        :raises DataError: the transfer failed.
        """
        self.verify(source)
        mirror = access.mirror_of(source)
        if mirror is not None:
            place = Mirror(mirror, source.name)  # a wrong name is found before the network is asked
        limits = [limit for limit in (self.limit, access.limit) if limit is not None and limit > 0]
        with contextlib.closing(self.connect(source, access)) as store:
            budget = Budget(access.timing, min(limits, default=None))
            if mirror is None:
                place = Mirror(_private(access), "data")
            size = place.synchronise(store, self.name, source.name, budget, access)
            return Delivery(
                str(place.directory),
                read_only=not source.read_write,
                size=size,
                duration=budget.elapsed,
            )


def _private(access: Access) -> Path:
    if access.private is None:
        raise Unusable("has no 'mirrorlocal', and there is no directory for private downloads")
    return access.private()
