"""AMD GPUs: KFD topology first, tools second (contract 7.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pytest_madengine.context.amd_tools import (
    SmiGpu,
    first_gfx,
    gfx_name,
    parse_amd_smi_json,
    parse_list_csv,
    parse_market_name,
    parse_product_name,
    parse_properties,
    parse_unique_ids,
)
from pytest_madengine.context.gpus import (
    VendorFacts,
    natural_key,
    pci_from_location,
    product_text,
    unlisted,
    with_identities,
)
from pytest_madengine.context.kinds import first_named, kinds
from pytest_madengine.context.probe import Probe, Tools
from pytest_madengine.context.rocm import hip_version, rocm_release
from pytest_madengine.context.types import Gpu

_NODES: Final = "/sys/devices/virtual/kfd/kfd/topology/nodes"
_AMD_PCI_VENDOR: Final = "0x1002"
#: Accelerators and display controllers without a display: what servers have.
_PCI_CLASSES: Final = ("0x1200", "0x0380")
#: From this ROCm release on, ``amd-smi list -e --json`` maps GPU indices to KFD nodes.
_AMD_SMI_MAPS: Final = (6, 4, 1)


@dataclass(frozen=True)
class KfdNode:
    """A GPU node of the KFD topology."""

    number: int
    properties: Mapping[str, int]
    #: Number that the tools give it; see :func:`index_order`.
    index: int = 0

    @property
    def architecture(self) -> str:
        """``gfx...``, or empty."""
        return gfx_name(self.properties.get("gfx_target_version", 0))

    @property
    def render_minor(self) -> int | None:
        """Minor of ``/dev/dri/renderD<minor>``."""
        return self.properties.get("drm_render_minor") or None

    @property
    def kind(self) -> str:
        """What GPUs that can stand for each other have in common."""
        parts = (self.properties.get(name, 0) for name in ("device_id", "simd_count"))
        return " ".join([self.architecture, *(f"{part:x}" for part in parts)]) if self.architecture else ""

    @property
    def integrated(self) -> bool:
        """True for a GPU that is part of the processor: its node has the cores as well."""
        return self.properties.get("cpu_cores_count", 0) > 0

    @property
    def pci(self) -> str:
        """PCI address, or empty."""
        return pci_from_location(self.properties.get("domain", 0), self.properties.get("location_id", 0))

    @property
    def unique_id(self) -> int:
        """0 when the GPU has none."""
        return self.properties.get("unique_id", 0)


def detect_amd(probe: Probe, rocm_root: str) -> VendorFacts | None:
    """Facts of the AMD GPUs; ``None`` when there are none."""
    tools = Tools(probe, f"{rocm_root}/bin")
    nodes = gpu_nodes(probe)
    if not (nodes and probe.exists("/dev/kfd")):
        listed = _listed(tools)
        if not listed:
            return None
        if not nodes:
            return _facts(probe, tools, rocm_root, _gpus_of_tools(tools, listed))
    ordered, warnings = index_order(nodes, tools, rocm_release(probe, rocm_root))
    positions = {node.number: position for position, node in enumerate(nodes)}
    gpus = [
        Gpu(
            node.index,
            node.pci,
            node.render_minor,
            f"{node.unique_id:016x}" if node.unique_id else "",
            pci=node.pci,
            runtime_index=positions[node.number],
            architecture=node.architecture,
            kind=node.kind,
            integrated=node.integrated,
            strength=node.properties.get("simd_count", 0),
        )
        for node in ordered
    ]
    lost = [
        f"lost GPU: {address} has no node in the KFD topology and is not used (see dmesg for amdgpu messages)"
        for address in unlisted(probe, _AMD_PCI_VENDOR, _PCI_CLASSES, {node.pci for node in nodes})
    ]
    return _facts(probe, tools, rocm_root, gpus, (*warnings, *lost))


def gpu_nodes(probe: Probe) -> tuple[KfdNode, ...]:
    """The GPU nodes of the KFD topology in node order; nodes that cannot be read are not ours to use."""
    nodes = []
    for name in sorted(probe.listdir(_NODES), key=natural_key):
        if name.isascii() and name.isdigit():
            properties = parse_properties(probe.read_text(f"{_NODES}/{name}/properties"))
            if properties.get("simd_count", 0) > 0:
                nodes.append(KfdNode(int(name), properties))
    return tuple(nodes)


def index_order(
    nodes: tuple[KfdNode, ...], tools: Tools, release: tuple[int, int, int] | None
) -> tuple[tuple[KfdNode, ...], tuple[str, ...]]:
    """The nodes with their GPU indices in the order of these, and warnings.

    ``amd-smi`` knows the indices from ROCm 6.4.1 on (an unknown release is tried); before, and without it,
    the order of ``rocm-smi`` counts, matched by unique id; else node order with a warning.
    """
    if len(nodes) < 2:
        return _counted(nodes), ()
    if tools.has("amd-smi") and (release is None or release >= _AMD_SMI_MAPS):
        entries = parse_amd_smi_json(tools.run("amd-smi", "list", "-e", "--json").value)
        if entries:
            return _by_amd_smi(nodes, entries)
    if tools.has("rocm-smi"):
        ids = parse_unique_ids(tools.run("rocm-smi", "--showuniqueid").value)
        if ids:
            return _by_unique_id(nodes, ids)
    text = "neither amd-smi nor rocm-smi gives the order of the GPUs: KFD node order is used"
    return _counted(nodes), (text,)


def _counted(nodes: Sequence[KfdNode]) -> tuple[KfdNode, ...]:
    return _numbered(dict(enumerate(nodes)))


def _numbered(nodes: Mapping[int, KfdNode]) -> tuple[KfdNode, ...]:
    return tuple(replace(node, index=index) for index, node in nodes.items())


def _by_amd_smi(
    nodes: tuple[KfdNode, ...], entries: Sequence[SmiGpu]
) -> tuple[tuple[KfdNode, ...], tuple[str, ...]]:
    if len(entries) != len(nodes):
        return _counted(nodes), (_different_count("amd-smi", len(entries), len(nodes)),)
    by_number = {node.number: node for node in nodes}
    by_minor = {node.render_minor: node for node in nodes if node.render_minor is not None}
    ordered: dict[int, KfdNode] = {}
    warnings: list[str] = []
    for entry in entries:
        node = by_number.get(entry.node_id) if entry.node_id is not None else None
        if node is None and entry.render_minor is not None:
            node = by_minor.get(entry.render_minor)
        if node is None or node in ordered.values():
            return _counted(nodes), (_no_match("amd-smi", "node_id"),)
        if entry.render_minor not in (None, node.render_minor):
            warnings.append(
                f"amd-smi says renderD{entry.render_minor} for GPU {entry.gpu}, "
                f"KFD says renderD{node.render_minor}: KFD is used"
            )
        ordered[entry.gpu] = node
    return _numbered(ordered), tuple(warnings)


def _by_unique_id(
    nodes: tuple[KfdNode, ...], ids: Mapping[int, int]
) -> tuple[tuple[KfdNode, ...], tuple[str, ...]]:
    if len(ids) != len(nodes):
        return _counted(nodes), (_different_count("rocm-smi", len(ids), len(nodes)),)
    by_id = {node.unique_id: node for node in nodes if node.unique_id}
    ordered = {index: by_id[unique_id] for index, unique_id in ids.items() if unique_id in by_id}
    if len({node.number for node in ordered.values()}) != len(nodes):
        return _counted(nodes), (_no_match("rocm-smi", "unique id"),)
    return _numbered(ordered), ()


def _different_count(tool: str, listed: int, nodes: int) -> str:
    return f"{tool} lists {listed} GPUs, KFD has {nodes}: KFD node order is used"


def _no_match(tool: str, what: str) -> str:
    return f"the GPUs of {tool} cannot be matched with KFD nodes by {what}: KFD node order is used"


def _listed(tools: Tools) -> tuple[SmiGpu, ...]:
    """The GPUs the tools know, for hosts whose KFD we cannot see."""
    return parse_list_csv(tools.run("amd-smi", "list", "--csv").value) or parse_list_csv(
        tools.run("rocm-smi", "--showid", "--csv").value
    )


def _gpus_of_tools(tools: Tools, listed: Sequence[SmiGpu]) -> list[Gpu]:
    detailed = {
        entry.gpu: entry for entry in parse_amd_smi_json(tools.run("amd-smi", "list", "-e", "--json").value)
    }
    found = []
    for entry in listed:
        more = detailed.get(entry.gpu, entry)
        pci = entry.bdf or more.bdf
        found.append((more.node_id, Gpu(entry.gpu, pci, more.render_minor, entry.uuid or more.uuid, pci=pci)))
    numbers = [number for number, _ in found if number is not None]
    if len(set(numbers)) < len(found):
        return [gpu for _, gpu in found]
    order = sorted(numbers)
    return [replace(gpu, runtime_index=order.index(number or 0)) for number, gpu in found]


def _facts(
    probe: Probe,
    tools: Tools,
    rocm_root: str,
    gpus: Sequence[Gpu],
    warnings: tuple[str, ...] = (),
) -> VendorFacts:
    named = with_identities(_with_products(gpus, probe, tools))
    first = first_named(named)
    architecture = first.architecture or first_gfx(tools.run("rocminfo").value)
    version = hip_version(probe, tools, rocm_root)
    hung = tuple(f"{name} did not answer and was ended" for name in tools.hung)
    return VendorFacts(
        vendor="AMD",
        gpus=named,
        architecture=architecture,
        product_name=first.product_name,
        runtime_version=version,
        driver_version=probe.read_text("/sys/module/amdgpu/version").strip(),
        warnings=warnings + hung,
    )


def _with_products(gpus: Sequence[Gpu], probe: Probe, tools: Tools) -> list[Gpu]:
    """The GPUs with their product names; one GPU of each kind is asked for."""
    groups = kinds(gpus)
    names = {group[0].kind: _product_name(group, probe, tools, alone=len(groups) == 1) for group in groups}
    return [replace(gpu, product_name=names[gpu.kind]) for gpu in gpus]


def _product_name(group: Sequence[Gpu], probe: Probe, tools: Tools, *, alone: bool) -> str:
    name = parse_market_name(tools.run("amd-smi", "static", "-g", str(group[0].index)).value)
    if not name and alone:
        # It counts in an order of its own, so it can only speak for all.
        name = parse_product_name(tools.run("rocm-smi", "--showproductname").value)
    for gpu in group:
        path = f"/sys/class/drm/renderD{gpu.render_minor}/device/product_name"
        name = name or product_text(probe.read_text(path))
    return name or (_product_of_sysfs(probe) if alone else "")


def _product_of_sysfs(probe: Probe) -> str:
    for path in sorted(probe.glob("/sys/class/drm/card*/device/product_name"), key=natural_key):
        vendor = probe.read_text(path.rpartition("/")[0] + "/vendor").strip()
        # A card of another vendor, e.g. of the board's management controller.
        if vendor in ("", _AMD_PCI_VENDOR):
            name = product_text(probe.read_text(path))
            if name:
                return name
    return ""
