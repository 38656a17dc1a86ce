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
    with_identities,
)
from pytest_madengine.context.probe import Probe, Tools
from pytest_madengine.context.types import Gpu

_INTEL_PCI_VENDOR: Final = "0x8086"
_ROW: Final = re.compile(r"\|([^|]*)\|([^|]*)\|\s*")
_DEVICE_ID: Final = re.compile(r"0x[0-9a-f]{4}")


@dataclass(frozen=True)
class XpuDevice:
    """One device of ``xpu-smi discovery``."""

    number: int
    name: str = ""
    uuid: str = ""
    pci: str = ""


@dataclass(frozen=True)
class _RenderNode:
    minor: int
    pci: str
    device_id: str


def detect_intel(probe: Probe) -> VendorFacts | None:
    """Facts of the Intel GPUs; ``None`` when there are none.

    Integrated graphics (PCI bus 0) do not count.
    """
    tools = Tools(probe)
    nodes = _render_nodes(probe)
    devices = parse_discovery(tools.run("xpu-smi", "discovery").value)
    if not (nodes or devices):
        return None
    uuids = {device.pci: device.uuid for device in devices if device.pci}
    if nodes:
        position = {device.pci: device.number for device in devices if device.pci}
        nodes = sorted(nodes, key=lambda node: (position.get(node.pci, len(position)), node.minor))
        gpus = [Gpu(index, node.pci, node.minor, uuids.get(node.pci, "")) for index, node in enumerate(nodes)]
    else:
        gpus = [Gpu(index, device.pci, None, device.uuid) for index, device in enumerate(devices)]
    return VendorFacts(
        vendor="INTEL",
        gpus=with_identities(gpus),
        architecture=nodes[0].device_id if nodes else "",
        product_name=next((device.name for device in devices if device.name), ""),
        driver_version=_driver(probe),
        warnings=tuple(f"{name} did not answer and was ended" for name in tools.hung),
    )


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
            nodes.append(_RenderNode(int(minor), pci, device_id if known else ""))
    return nodes


def _pci_of(probe: Probe, device: str) -> str:
    match = re.search(r"^PCI_SLOT_NAME=(.*)$", probe.read_text(f"{device}/uevent"), re.M)
    return pci_address(match[1]) if match else pci_address(probe.realpath(device).rpartition("/")[2])


def _driver(probe: Probe) -> str:
    versions = (probe.read_text(f"/sys/module/{name}/version").strip() for name in ("i915", "xe"))
    return next(filter(None, versions), "")
