"""Intel GPUs: render nodes of sysfs, and ``xpu-smi`` for the name (contract 7.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pytest_madengine.context.gpus import (
    VendorFacts,
    natural_key,
    pci_address,
    product_text,
    with_bus_order,
    with_identities,
)
from pytest_madengine.context.kinds import first_named
from pytest_madengine.context.probe import Probe, Tools
from pytest_madengine.context.types import Gpu

_INTEL_PCI_VENDOR: Final = "0x8086"
_ROW: Final = re.compile(r"\|([^|]*)\|([^|]*)\|\s*")
_INTEGRATED: Final = re.compile(r"\b(U?HD|Iris)\b.*\bGraphics\b|\bIris\b", re.IGNORECASE)
_DEVICE_ID: Final = re.compile(r"0x[0-9a-f]{4}")


@dataclass(frozen=True)
class XpuDevice:
    """One device of ``xpu-smi discovery``."""

    number: int
    name: str = ""
    uuid: str = ""
    pci: str = ""

    @property
    def integrated(self) -> bool:
        """True for graphics of the processor: PCI bus 0, or by name where there is no address."""
        return self.pci.split(":")[1] == "00" if self.pci else bool(_INTEGRATED.search(self.name))


@dataclass(frozen=True)
class _RenderNode:
    minor: int
    pci: str
    device_id: str
    tiles: int = 1


def detect_intel(probe: Probe) -> VendorFacts | None:
    """Facts of the Intel GPUs; ``None`` when there are none.

    Integrated graphics (PCI bus 0) do not count.
    """
    tools = Tools(probe)
    nodes = _render_nodes(probe)
    listed = parse_discovery(tools.run("xpu-smi", "discovery").value)
    devices = tuple(device for device in listed if not device.integrated)
    if not (nodes or devices):
        return None
    uuids = {device.pci: device.uuid for device in devices if device.pci}
    if nodes:
        position = {device.pci: device.number for device in devices if device.pci}
        nodes = sorted(nodes, key=lambda node: (position.get(node.pci, len(position)), node.minor))
        names = {device.pci: device.name for device in devices if device.pci}
        gpus = [
            Gpu(
                index,
                node.pci,
                node.minor,
                uuids.get(node.pci, ""),
                pci=node.pci,
                architecture=node.device_id,
                product_name=names.get(node.pci, ""),
                kind=node.device_id,
                tiles=node.tiles,
            )
            for index, node in enumerate(nodes)
        ]
    else:
        gpus = [
            Gpu(device.number, device.pci, uuid=device.uuid, pci=device.pci, product_name=device.name)
            for device in devices
        ]
    first = first_named(gpus)
    return VendorFacts(
        vendor="INTEL",
        gpus=with_bus_order(with_identities(gpus)),
        architecture=first.architecture,
        product_name=first.product_name or _only_name(devices),
        driver_version=_driver(probe),
        warnings=(
            *(f"{name} did not answer and was ended" for name in tools.hung),
            *_lost(nodes, devices),
        ),
    )


def _only_name(devices: tuple[XpuDevice, ...]) -> str:
    names = {device.name for device in devices if device.name}
    return names.pop() if len(names) == 1 else ""


def _lost(nodes: list[_RenderNode], devices: tuple[XpuDevice, ...]) -> list[str]:
    present = {node.pci for node in nodes}
    return [
        f"lost GPU: {device.pci}, listed by xpu-smi, has no render node and is not used"
        for device in devices
        if nodes and device.pci and device.pci not in present
    ]


def parse_discovery(text: str) -> tuple[XpuDevice, ...]:
    """The devices in the table of ``xpu-smi discovery``; empty for any other text."""
    found: dict[int, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        match = _ROW.fullmatch(line.strip())
        if match is None:
            continue
        number = match[1].strip()
        if re.fullmatch(r"\d{1,5}", number, re.ASCII):
            current = found.setdefault(int(number), {})
        elif number:
            current = {}
        key, _, value = match[2].partition(":")
        current.setdefault(key.strip().lower(), value.strip())
    return tuple(_device(number, found[number]) for number in sorted(found))


def _device(number: int, fields: dict[str, str]) -> XpuDevice:
    uuid = fields.get("soc uuid") or fields.get("uuid") or ""
    return XpuDevice(
        number,
        product_text(fields.get("device name", "")),
        uuid.lower() if re.fullmatch(r"[0-9a-fA-F-]{8,64}", uuid) else "",
        pci_address(fields.get("pci bdf address", "")),
    )


def _render_nodes(probe: Probe) -> list[_RenderNode]:
    nodes = []
    for path in sorted(probe.glob("/sys/class/drm/renderD*"), key=natural_key):
        minor = path.rpartition("renderD")[2]
        pci = _pci_of(probe, f"{path}/device")
        intel = probe.read_text(f"{path}/device/vendor").strip().lower() == _INTEL_PCI_VENDOR
        if intel and pci and pci.split(":")[1] != "00" and minor.isascii() and minor.isdigit():
            device_id = probe.read_text(f"{path}/device/device").strip().lower()
            known = _DEVICE_ID.fullmatch(device_id) is not None
            tiles = probe.glob(f"{path}/device/tile*") or probe.glob(f"{path}/device/drm/card*/gt/gt*")
            nodes.append(_RenderNode(int(minor), pci, device_id if known else "", max(1, len(tiles))))
    return nodes


def _pci_of(probe: Probe, device: str) -> str:
    match = re.search(r"^PCI_SLOT_NAME=(.*)$", probe.read_text(f"{device}/uevent"), re.M)
    return pci_address(match[1]) if match else pci_address(probe.realpath(device).rpartition("/")[2])


def _driver(probe: Probe) -> str:
    versions = (probe.read_text(f"/sys/module/{name}/version").strip() for name in ("i915", "xe"))
    return next(filter(None, versions), "")
