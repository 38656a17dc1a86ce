"""Everything a plan is made from, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_madengine.catalog.model import Model, Selected
from pytest_madengine.context.types import Context
from pytest_madengine.plan.runplan import DataMount, Image, Lease
from pytest_madengine.plan.tools import ToolsConfig
from pytest_madengine.secrets import Secret
from pytest_madengine.settings import Settings


@dataclass(frozen=True)
class HostAbilities:
    """What the host can give to a container."""

    #: ``/dev/fuse`` exists.
    fuse: bool = True
    #: Names of the groups of the host, e.g. ``video``, ``render``.
    groups: frozenset[str] = frozenset()
    #: ``rocprofv3`` is there; asked only for runs on several nodes.
    rocprofv3: bool = True


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """Input of :func:`pytest_madengine.plan.builder.build_plan`."""

    selected: Selected
    item_id: str
    run_id: str
    #: Dockerfile file name without ``.Dockerfile``; empty for a given image.
    base: str
    image: Image
    context: Context
    settings: Settings
    lease: Lease
    #: True when a path of the host exists; ``<dir>/.`` asks for a directory.
    path_exists: Callable[[str], bool]
    #: 8 random hex digits.
    container_suffix: str
    data: tuple[DataMount, ...] = ()
    #: The object of credential.json; texts may be :class:`~pytest_madengine.secrets.Secret`.
    credentials: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    tools: ToolsConfig = field(default_factory=ToolsConfig)
    #: Names of the top-level entries of the MAD root.
    root_entries: tuple[str, ...] = ()
    host: HostAbilities = field(default_factory=HostAbilities)
    #: uid:gid that own the files afterwards.
    owner: tuple[int, int] = (0, 0)
    #: Environment of the host.
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Variables that the docker client of this host sets in every container.
    proxies: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)
    #: False: another host will run it, and its variables are not known here (see ``plan.expansion``).
    expand: bool = True

    @property
    def model(self) -> Model:
        """The model of the item."""
        return self.selected.model

    @property
    def vendor(self) -> str:
        """Vendor whose docker options apply; ``CPU`` with ``--mad-cpu``."""
        return "CPU" if self.settings.cpu else self.context.gpu_vendor

    @property
    def where(self) -> str:
        """Place of the entry, for messages."""
        return f"{self.model.source}: model {self.model.name!r}"
