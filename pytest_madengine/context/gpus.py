"""What the vendors' detections have in common: their result, PCI addresses, identities for leases."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from pytest_madengine.context.probe import Probe
from pytest_madengine.context.types import Gpu

_PCI: Final = re.compile(
    r"(?:(?P<domain>[0-9a-f]{1,8}):)?(?P<bus>[0-9a-f]{1,2}):(?P<device>[0-9a-f]{1,2})\.(?P<function>[0-7])",
    re.IGNORECASE,
)
#: What tools print where a value is unknown; none of it is a value.
_ERROR: Final = re.compile(
    r"(?i)\[.*\]|\W*n/?a\W*|none|unknown( error)?|(function )?not (supported|available|found)|err(or)?\W*|-+"
)
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]+|\d+")


@dataclass(frozen=True)
class VendorFacts:
    """What was found of one vendor; empty texts where nothing could be read."""

    vendor: str
    gpus: tuple[Gpu, ...]
    architecture: str = ""
    product_name: str = ""
    #: ``major.minor`` of HIP or CUDA.
    runtime_version: str = ""
    driver_version: str = ""
    warnings: tuple[str, ...] = ()


def pci_address(text: str) -> str:
    """A PCI address as ``dddd:bb:dd.f``; empty when the text is none.

    Tools write the domain with eight digits (``00000000:1B:00.0``) or leave it out.
    """
    match = _PCI.fullmatch(text.strip())
    if match is None:
        return ""
    numbers = [int(match[part] or "0", 16) for part in ("domain", "bus", "device", "function")]
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*numbers)


def pci_from_location(domain: int, location: int) -> str:
    """The PCI address of KFD's ``domain`` and ``location_id``; empty when there is none.

    ``location_id`` is ``bus << 8 | device << 3 | function``; a partitioned GPU has the number of the
    partition in bits 28-31 (Linux, ``kfd_topology.c``), which becomes a suffix ``/<n>``.
    """
    bus, device, function = location >> 8 & 0xFF, location >> 3 & 0x1F, location & 0x7
    if domain < 0 or location <= 0 or not (bus or device or function):
        return ""
    partition = location >> 28 & 0xF
    suffix = f"/{partition}" if partition else ""
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function:x}{suffix}"


def with_identities(gpus: Iterable[Gpu]) -> tuple[Gpu, ...]:
    """The GPUs with their identities made complete and distinct.

    Without an identity the UUID serves, then ``index:<n>``; two GPUs of one identity (partitions of a
    device) get a suffix, because each of them can be leased alone.
    """
    result: list[Gpu] = []
    taken: set[str] = set()
    for gpu in gpus:
        base = gpu.identity or gpu.uuid or f"index:{gpu.index}"
        identity, count = base, 1
        while identity in taken:
            identity, count = f"{base}/{count}", count + 1
        taken.add(identity)
        result.append(replace(gpu, identity=identity))
    return tuple(result)


def product_text(text: str) -> str:
    """A product name as printed by a tool or sysfs; empty for numbers and what :func:`tool_text` drops."""
    text = " ".join(tool_text(text).split())
    return "" if _NUMBER.fullmatch(text) else text


def tool_text(text: str) -> str:
    """A field of a tool's output; empty for what is no value: ``N/A``, ``ERR!``, ``[Not Supported]``."""
    text = text.strip()
    return "" if _ERROR.fullmatch(" ".join(text.split())) else text


def with_bus_order(gpus: Iterable[Gpu]) -> tuple[Gpu, ...]:
    """The GPUs with the positions of a runtime that counts by PCI address; unknown when one has none."""
    gpus = tuple(gpus)
    # Of equal length and lower case: texts sort like numbers.
    order = sorted(gpu.pci for gpu in gpus)
    if not all(order) or len(set(order)) < len(order):
        return gpus
    return tuple(replace(gpu, runtime_index=order.index(gpu.pci)) for gpu in gpus)


def unlisted(probe: Probe, vendor: str, classes: tuple[str, ...], known: Collection[str]) -> tuple[str, ...]:
    """PCI addresses of GPUs that sysfs has and ``known`` has not, without those of virtual machines.

    :param vendor: PCI vendor, e.g. ``0x10de``.
    :param classes: starts of PCI classes, e.g. ``0x0302``.
    """
    addresses = {address.partition("/")[0] for address in known}
    found = []
    for path in probe.glob("/sys/bus/pci/devices/*"):
        address = pci_address(path.rpartition("/")[2])
        if (
            address
            and address not in addresses
            and probe.read_text(f"{path}/vendor").strip().lower() == vendor
            and probe.read_text(f"{path}/class").strip().lower().startswith(classes)
            and not probe.realpath(f"{path}/driver").endswith("/vfio-pci")
        ):
            found.append(address)
    return tuple(found)


def major_minor(text: str) -> str:
    """``major.minor`` from the start of a version text; empty when it does not start with one."""
    match = re.match(r"\s*(\d{1,4}\.\d{1,4})(?!\d)", text, re.ASCII)
    return match[1] if match else ""


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which ``node10`` comes after ``node2``."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts)
