"""What is rendered: a plan made for a target, and what only the target needs beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_madengine.plan.launchers import NodeLayout, launcher_variables, master_port
from pytest_madengine.plan.runplan import RunPlan
from pytest_madengine.secrets import Secret, reveal

#: Start of the values that stand for secrets while files are generated: ``<prefix>env:NAME``.
PLACEHOLDER: Final = "madengine-secret-of:"
#: Stands for the place where a target has the data of a model.
TARGET_DATA: Final = "madengine-data"
#: Stand for the rank of a node and the address of the first one until a renderer knows how to write them.
RANK_MARK: Final = "\x02rank\x02"
ADDRESS_MARK: Final = "\x02address\x02"


@dataclass(frozen=True)
class SourceFile:
    """A file of the MAD repository that a run needs; ``path`` is relative to the workspace."""

    path: str
    content: bytes
    executable: bool = False


@dataclass(frozen=True)
class TargetModel:
    """One model on its way to a target."""

    plan: RunPlan
    #: Reference with digest; empty when the target finds the image itself.
    image: str
    #: ``AMD``, ``NVIDIA``, ``INTEL``, ``CPU``, or empty when nobody said.
    vendor: str
    nodes: int
    gpus_per_node: int
    #: Merged block of the target (contract 16.1): defaults are the renderer's.
    block: Mapping[str, Any] = field(default_factory=dict)
    #: Merged ``distributed`` object.
    distributed: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[SourceFile, ...] = ()
    #: Server to log in to for the image; empty: Docker Hub.
    registry: str = ""
    #: Entry of the manifest: key and the text users know it by, ``model[params]``.
    key: str = ""
    title: str = ""
    #: Tools wrap the run.
    uses_tools: bool = False

    @property
    def processes_per_node(self) -> int:
        """``distributed.nproc_per_node``, else one per GPU; at least 1."""
        given = self.distributed.get("nproc_per_node")
        if isinstance(given, int) and not isinstance(given, bool) and given > 0:
            return given
        return max(1, self.gpus_per_node)

    @property
    def port(self) -> int:
        """Rendezvous port.

        :raises ConfigError: not a port number.
        """
        return master_port(self.distributed)

    def launcher_environment(
        self, platform: str, *, hostfile: str = "hostfile", node_ips: tuple[str, ...] = ()
    ) -> dict[str, str]:
        """Variables of the launcher (contract 15.3) that no one gave; rank and address are marks.

        :raises PlanError: a layout the launcher cannot use.
        """
        variables = launcher_variables(
            self.plan.launcher,
            NodeLayout(
                nodes=self.nodes,
                gpus_per_node=self.processes_per_node,
                platform=platform,
                port=self.port,
                hostfile=hostfile,
                node_ips=node_ips,
                node_rank=RANK_MARK,
                master_addr=ADDRESS_MARK,
                model=self.plan.model,
                distributed=self.distributed,
            ),
        )
        return {name: value for name, value in variables.items() if not self.is_given(name)}

    def is_given(self, name: str) -> bool:
        """True when model, user or data set a container variable: it is then not replaced by a default."""
        entry = self.plan.env.get(name)
        return entry is not None and entry.origin != "plan"


def secret_source(value: str | Secret) -> str | None:
    """Where a secret comes from, as ``env:NAME`` or ``credential:KEY.FIELD``; empty when only it itself is
    known; ``None`` for a value that is no secret."""
    text = reveal(value)
    if text.startswith(PLACEHOLDER):
        return text[len(PLACEHOLDER) :]
    return "" if isinstance(value, Secret) else None
