"""The context of a session: merged run settings with the origin of every leaf (contract section 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """One physical GPU of this host; equal when it is the same one, whatever else is known of it."""

    #: Number by which ``docker_gpus`` and the vendor's tool name it; a host may list 0, 2, 3.
    index: int
    #: Stable identity for leases: PCI address (``0000:c1:00.0``) or UUID; ``index:<n>`` as a last resort.
    identity: str
    #: renderD minor (AMD, INTEL), e.g. 128.
    render_minor: int | None = None
    uuid: str = ""
    #: PCI address; empty where it is unknown.
    pci: str = field(default="", compare=False)
    #: Position by which the runtime counts it: HIP and ROCR by KFD node, CUDA and Level Zero by PCI address.
    runtime_index: int | None = field(default=None, compare=False)
    architecture: str = field(default="", compare=False)
    product_name: str = field(default="", compare=False)
    #: The same text for GPUs that can stand for each other; empty where it is unknown.
    kind: str = field(default="", compare=False)
    #: Part of the processor; used only where there is no other.
    integrated: bool = field(default=False, compare=False)
    #: Compute units or what stands for them, to compare kinds of one host; 0 where it is unknown.
    strength: int = field(default=0, compare=False)
    #: UUIDs of the MIG instances on it (NVIDIA).
    instances: tuple[str, ...] = field(default=(), compare=False)
    #: Tiles that Level Zero can count as devices (Intel).
    tiles: int = field(default=1, compare=False)


@dataclass(frozen=True)
class HostFacts:
    """What detection found; empty text or 0 where nothing could be read, never an error text."""

    host_os: str = ""
    numa_balancing: str | bool = False
    gpu_vendor: str = "CPU"
    gpus: tuple[Gpu, ...] = ()
    gpu_architecture: str = ""
    gpu_product_name: str = ""
    #: ``major.minor`` of HIP or CUDA.
    runtime_version: str = ""
    driver_version: str = ""
    rocm_path: str = ""
    ctx_test: str = "None"
    hostname: str = ""
    #: True with ``--mad-simulate-gpus``: devices are not passed to containers.
    simulated: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def gpu_count(self) -> int:
        """Number of GPUs of the host."""
        return len(self.gpus)


@dataclass(frozen=True)
class Context:
    """The merged context.  ``values`` is a JSON-like tree; never change it, copy it.

    ``origins`` maps the dotted path of a leaf (``docker_env_vars.A``) to its origin: ``string``,
    ``file:<name>``, ``env:<NAME>``, ``tools``, ``model``, ``manifest``, ``detected:<probe>``.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)
    facts: HostFacts = field(default_factory=HostFacts)
    #: True when ``gpu_vendor`` was given by the user: it is then always compared (contract 7.5).
    vendor_given: bool = False
    warnings: tuple[str, ...] = ()

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a top-level key."""
        return self.values.get(key, default)

    def origin(self, path: str) -> str:
        """Origin of a dotted path, or of the nearest parent that has one."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path.rpartition(".")[0]
        return "default"

    @property
    def gpu_vendor(self) -> str:
        """``AMD``, ``NVIDIA``, ``INTEL`` or ``CPU``."""
        return str(self.values.get("gpu_vendor") or self.facts.gpu_vendor)
