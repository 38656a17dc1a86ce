"""AMD GPUs: KFD topology first, tools second (contract 7.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    with_identities,
)
from pytest_madengine.context.probe import Probe, Tools
from pytest_madengine.context.rocm import hip_version, rocm_release
from pytest_madengine.context.types import Gpu

_NODES: Final = "/sys/devices/virtual/kfd/kfd/topology/nodes"
_AMD_PCI_VENDOR: Final = "0x1002"
#: From this ROCm release on, ``amd-smi list -e --json`` maps GPU indices to KFD nodes.
_AMD_SMI_MAPS: Final = (6, 4, 1)


@dataclass(frozen=True)
class KfdNode:
    """A GPU node of the KFD topology."""

    number: int
    properties: Mapping[str, int]

    @property
    def architecture(self) -> str:
        """``gfx...``, or empty."""
        return gfx_name(self.properties.get("gfx_target_version", 0))

    @property
    def render_minor(self) -> int | None:
        """Minor of ``/dev/dri/renderD<minor>``."""
        return self.properties.get("drm_render_minor") or None

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
    warnings: tuple[str, ...] = ()
    if not (nodes and probe.exists("/dev/kfd")):
        listed = _listed(tools)
        if not listed:
            return None
        if not nodes:
            return _facts(probe, tools, rocm_root, _gpus_of_tools(tools, listed), "")
    nodes, warnings = index_order(nodes, tools, rocm_release(probe, rocm_root))
    gpus = [
        Gpu(index, node.pci, node.render_minor, f"{node.unique_id:016x}" if node.unique_id else "")
        for index, node in enumerate(nodes)
    ]
    return _facts(probe, tools, rocm_root, gpus, nodes[0].architecture, warnings)


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
    """The nodes in the order of GPU indices, and warnings.

    ``amd-smi`` knows the order from ROCm 6.4.1 on (an unknown release is tried); before, and without it, the
    order of ``rocm-smi`` counts, matched by unique id; else node order with a warning.
    """
    if len(nodes) < 2:
        return nodes, ()
    if tools.has("amd-smi") and (release is None or release >= _AMD_SMI_MAPS):
        entries = parse_amd_smi_json(tools.run("amd-smi", "list", "-e", "--json").value)
        if entries:
            return _by_amd_smi(nodes, entries)
    if tools.has("rocm-smi"):
        ids = parse_unique_ids(tools.run("rocm-smi", "--showuniqueid").value)
        if ids:
            return _by_unique_id(nodes, tuple(ids.values()))
    return nodes, ("neither amd-smi nor rocm-smi gives the order of the GPUs: KFD node order is used",)


def _by_amd_smi(
    nodes: tuple[KfdNode, ...], entries: Sequence[SmiGpu]
) -> tuple[tuple[KfdNode, ...], tuple[str, ...]]:
    if len(entries) != len(nodes):
        return nodes, (_different_count("amd-smi", len(entries), len(nodes)),)
    by_number = {node.number: node for node in nodes}
    by_minor = {node.render_minor: node for node in nodes if node.render_minor is not None}
    ordered: list[KfdNode] = []
    warnings: list[str] = []
    for entry in entries:
        node = by_number.get(entry.node_id) if entry.node_id is not None else None
        if node is None and entry.render_minor is not None:
            node = by_minor.get(entry.render_minor)
        if node is None or node in ordered:
            return nodes, (_no_match("amd-smi", "node_id"),)
        if entry.render_minor not in (None, node.render_minor):
            warnings.append(
                f"amd-smi says renderD{entry.render_minor} for GPU {entry.gpu}, "
                f"KFD says renderD{node.render_minor}: KFD is used"
            )
        ordered.append(node)
    return tuple(ordered), tuple(warnings)


def _by_unique_id(
    nodes: tuple[KfdNode, ...], ids: Sequence[int]
) -> tuple[tuple[KfdNode, ...], tuple[str, ...]]:
    if len(ids) != len(nodes):
        return nodes, (_different_count("rocm-smi", len(ids), len(nodes)),)
    by_id = {node.unique_id: node for node in nodes if node.unique_id}
    ordered = [by_id[unique_id] for unique_id in dict.fromkeys(ids) if unique_id in by_id]
    if len(ordered) != len(nodes):
        return nodes, (_no_match("rocm-smi", "unique id"),)
    return tuple(ordered), ()


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
    gpus = []
    for index, entry in enumerate(listed):
        more = detailed.get(entry.gpu, entry)
        gpus.append(Gpu(index, entry.bdf or more.bdf, more.render_minor, entry.uuid or more.uuid))
    return gpus


def _facts(
    probe: Probe,
    tools: Tools,
    rocm_root: str,
    gpus: Sequence[Gpu],
    architecture: str,
    warnings: tuple[str, ...] = (),
) -> VendorFacts:
    architecture = architecture or first_gfx(tools.run("rocminfo").value)
    product = _product_name(probe, tools)
    version = hip_version(probe, tools, rocm_root)
    hung = tuple(f"{name} did not answer and was ended" for name in tools.hung)
    return VendorFacts(
        vendor="AMD",
        gpus=with_identities(gpus),
        architecture=architecture,
        product_name=product,
        runtime_version=version,
        driver_version=probe.read_text("/sys/module/amdgpu/version").strip(),
        warnings=warnings + hung,
    )


def _product_name(probe: Probe, tools: Tools) -> str:
    return (
        parse_market_name(tools.run("amd-smi", "static", "-g", "0").value)
        or parse_product_name(tools.run("rocm-smi", "--showproductname").value)
        or _product_of_sysfs(probe)
    )


def _product_of_sysfs(probe: Probe) -> str:
    for path in sorted(probe.glob("/sys/class/drm/card*/device/product_name"), key=natural_key):
        vendor = probe.read_text(path.rpartition("/")[0] + "/vendor").strip()
        # A card of another vendor, e.g. of the board's management controller.
        if vendor in ("", _AMD_PCI_VENDOR):
            name = product_text(probe.read_text(path))
            if name:
                return name
    return ""
