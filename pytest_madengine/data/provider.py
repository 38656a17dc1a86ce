"""What a data provider is: the protocol, what it is given and what it gives back (contract 13.3).

A provider of a user is any object with this protocol.  One that transfers files is best made from
:class:`~pytest_madengine.data.remote.RemoteProvider`: it then only has to list and read files, and cache,
resume, retries, verification and progress come with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_madengine.data.config import Source
from pytest_madengine.data.progress import Progress, no_progress
from pytest_madengine.secrets import Redactor


class Unusable(Exception):  # noqa: N818 - no error: the next provider is asked
    """A provider cannot be used for a source; the text is the reason, in one line."""


@dataclass(frozen=True)
class Timing:
    """Clock and pauses, so that tests need not wait."""

    #: Seconds, monotonic.
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Access:
    """What a provider may use to deliver a source."""

    #: MAD root.
    root: Path
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: ``credential.json``; text leaves are :class:`~pytest_madengine.secrets.Secret`.
    credentials: Mapping[str, Any] = field(default_factory=dict, repr=False)
    known_hosts: Path | None = None
    #: ``--mad-force-mirror-local``
    force_mirror: Path | None = None
    #: Makes a directory for data that is not kept; the service removes it.
    private: Callable[[], Path] | None = field(default=None, repr=False)
    #: Seconds; limit of the prepare phase, ``None`` without one.
    limit: float | None = None
    redactor: Redactor = field(default_factory=Redactor, repr=False)
    timing: Timing = field(default_factory=Timing, repr=False)
    progress: Progress = field(default=no_progress, repr=False)

    def mirror_of(self, source: Source) -> Path | None:
        """Directory below which the data of a source is kept, if it is."""
        if self.force_mirror is not None:
            return self.force_mirror
        return self.root / source.mirror if source.mirror else None


@dataclass(frozen=True)
class Delivery:
    """Data that is ready to be mounted."""

    #: Host path; empty when a script makes the data in the container.
    source: str = ""
    read_only: bool = True
    #: Bytes; ``None``: not known.
    size: int | None = None
    #: Seconds spent on transferring.
    duration: float = 0.0
    #: Custom provider: script relative to the MAD root, and its arguments.
    script: str = ""
    args: str = ""


class Provider(Protocol):
    """A kind of place that data can lie in."""

    @property
    def name(self) -> str:
        """Key of the provider in ``data.json``."""

    @property
    def fields(self) -> frozenset[str]:
        """Fields of its entries besides the common ones of contract 13.1."""

    def plan(self, source: Source, access: Access) -> Delivery:
        """What :meth:`deliver` would give, without network and without a change on the host.

        :raises Unusable: the source cannot be used for a reason that is known already.
        """

    def deliver(self, source: Source, access: Access) -> Delivery:
        """Makes the data available on this host.

        :raises Unusable: nothing was transferred; the next provider is asked.
        :raises DataError: the transfer failed; the next provider is asked, and without one the item fails.
        """
