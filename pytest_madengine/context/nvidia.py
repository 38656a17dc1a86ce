"""NVIDIA GPUs: ``nvidia-smi``, else the driver's ``/proc`` entries (contract 7.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from pytest_madengine.context.gpus import (
    VendorFacts,
    major_minor,
    pci_address,
    product_text,
    tool_text,
    unlisted,
    with_bus_order,
    with_identities,
)
from pytest_madengine.context.kinds import first_named
from pytest_madengine.context.probe import Probe, Tools
from pytest_madengine.context.types import Gpu

_PROC: Final = "/proc/driver/nvidia"
_PCI_VENDOR: Final = "0x10de"
#: 3D controllers: the GPUs without a display of servers.
_PCI_CLASSES: Final = ("0x0302",)
_DIRECTORIES: Final = ("/usr/bin", "/usr/local/cuda/bin")
# A line of -L; MIG instances are indented and are not GPUs of the host.
_LISTED: Final = re.compile(r"GPU (\d{1,5}): (.*?)(?: \(UUID: ([^()]*)\))?\s*", re.ASCII)
_INSTANCE: Final = re.compile(r"\s+MIG .*\(UUID: (MIG-[0-9a-fA-F-]{8,64})\)\s*")
_UUID: Final = re.compile(r"GPU-[0-9a-fA-F-]{8,64}")
_CUDA: Final = re.compile(r"CUDA Version:(.*)")
_NVCC: Final = re.compile(r"release (.*)")
_DRIVER: Final = re.compile(r"Kernel Module(?:\s+for\s+\S+)?\s+(\d[\w.]*)")


@dataclass(frozen=True)
class Listed:
    """One GPU as ``nvidia-smi -L`` or the driver names it."""

    index: int
    name: str = ""
    uuid: str = ""
    pci: str = ""
    instances: tuple[str, ...] = ()


def detect_nvidia(probe: Probe) -> VendorFacts | None:
    """Facts of the NVIDIA GPUs; ``None`` when there are none."""
    tools = Tools(probe, *_DIRECTORIES)
    driver_gpus = _from_proc(probe)
    listed = parse_list(tools.run("nvidia-smi", "-L").stdout)
    by_tool = bool(listed)
    listed = listed or driver_gpus
    if not listed:
        return None
    details: dict[int, tuple[str, str]] = {}
    if by_tool:
        query = "--query-gpu=index,uuid,pci.bus_id"
        details = parse_query(tools.run("nvidia-smi", query, "--format=csv,noheader").value)
    gpus = with_identities(_gpus(listed, details, driver_gpus, _products(tools, listed) if by_tool else {}))
    version = parse_nvcc(tools.run("nvcc", "--version").value)
    if not version and by_tool:
        version = parse_cuda_version(tools.run("nvidia-smi").value)
    first = first_named(gpus)
    return VendorFacts(
        vendor="NVIDIA",
        gpus=with_bus_order(gpus),
        architecture=first.architecture,
        product_name=first.product_name,
        runtime_version=version,
        driver_version=parse_driver(probe.read_text(f"{_PROC}/version")),
        warnings=(
            *(f"{name} did not answer and was ended" for name in tools.hung),
            *_ailing(probe, gpus, driver_gpus),
        ),
    )


def _products(tools: Tools, listed: tuple[Listed, ...]) -> dict[str, str]:
    """Product names by the name in ``-L``: one GPU of each is asked for."""
    products: dict[str, str] = {}
    for entry in listed:
        if entry.name not in products:
            words = ("--query-gpu=name", "--format=csv,noheader", "-i", str(entry.index))
            products[entry.name] = first_name(tools.run("nvidia-smi", *words).value)
    return products


def _ailing(probe: Probe, gpus: tuple[Gpu, ...], driver_gpus: tuple[Listed, ...]) -> list[str]:
    """Warnings about GPUs that are lost or do not say their name."""
    known = {gpu.pci for gpu in gpus}
    warnings = [
        f"GPU {gpu.index} ({gpu.identity}) does not say its name: it may be failing, see nvidia-smi and dmesg"
        for gpu in gpus
        if not gpu.architecture
    ]
    if "" in known:
        missing = len(driver_gpus) - len(gpus)
        lost = [f"{missing} of the driver's GPUs"] if missing > 0 else []
    else:
        named = {entry.pci for entry in driver_gpus} - known
        lost = [*sorted(named), *unlisted(probe, _PCI_VENDOR, _PCI_CLASSES, known | named)]
    return warnings + [
        f"lost GPU: {name}, not listed by nvidia-smi, is not used (see dmesg for Xid messages)"
        for name in lost
    ]


def parse_list(text: str) -> tuple[Listed, ...]:
    """The GPUs of ``nvidia-smi -L`` with their MIG instances; other lines and error texts are left out."""
    found: dict[int, Listed] = {}
    current: Listed | None = None
    for line in text.splitlines():
        match = _LISTED.fullmatch(line)
        if match:
            current = Listed(int(match[1]), tool_text(match[2]), _uuid(match[3] or ""))
            found.setdefault(current.index, current)
        elif (instance := _INSTANCE.fullmatch(line)) and current is not None:
            owner = found[current.index]
            found[current.index] = replace(owner, instances=(*owner.instances, instance[1]))
    return tuple(found[index] for index in sorted(found))


def parse_query(text: str) -> dict[int, tuple[str, str]]:
    """Index -> (UUID, PCI address) of ``--query-gpu=index,uuid,pci.bus_id``; unreadable parts are empty."""
    result: dict[int, tuple[str, str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and re.fullmatch(r"\d{1,5}", cells[0], re.ASCII):
            result[int(cells[0])] = (_uuid(cells[1]), pci_address(cells[2]))
    return result


def first_name(text: str) -> str:
    """The product name of ``--query-gpu=name``; empty for ``[N/A]`` and the like."""
    lines = text.strip().splitlines()
    return product_text(lines[0]) if lines else ""


def parse_nvcc(text: str) -> str:
    """``major.minor`` after ``release`` of ``nvcc --version``."""
    match = _NVCC.search(text)
    return major_minor(match[1]) if match else ""


def parse_cuda_version(text: str) -> str:
    """``major.minor`` of the ``CUDA Version`` in the head of ``nvidia-smi``."""
    match = _CUDA.search(text)
    return major_minor(match[1]) if match else ""


def parse_driver(text: str) -> str:
    """Driver version of ``/proc/driver/nvidia/version``, closed or open kernel module."""
    match = _DRIVER.search(text)
    return match[1].rstrip(".") if match else ""


def _from_proc(probe: Probe) -> tuple[Listed, ...]:
    """The driver's GPUs in the order of PCI addresses, which is the order of ``nvidia-smi``."""
    found = []
    for name in probe.listdir(f"{_PROC}/gpus"):
        pci = pci_address(name)
        if pci:
            lines = probe.read_text(f"{_PROC}/gpus/{name}/information").splitlines()
            facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
            found.append((pci, product_text(facts.get("Model", "")), _uuid(facts.get("GPU UUID", ""))))
    return tuple(Listed(index, name, uuid, pci) for index, (pci, name, uuid) in enumerate(sorted(found)))


def _gpus(
    listed: tuple[Listed, ...],
    details: dict[int, tuple[str, str]],
    driver_gpus: tuple[Listed, ...],
    products: dict[str, str],
) -> list[Gpu]:
    by_uuid = {entry.uuid: entry.pci for entry in driver_gpus if entry.uuid}
    same_count = len(driver_gpus) == len(listed)
    gpus = []
    for position, entry in enumerate(listed):
        uuid, pci = details.get(entry.index, ("", ""))
        uuid = uuid or entry.uuid
        pci = pci or by_uuid.get(uuid, "") or (driver_gpus[position].pci if same_count else "")
        gpus.append(
            Gpu(
                entry.index,
                pci,
                uuid=uuid,
                pci=pci,
                architecture=entry.name,
                product_name=products.get(entry.name, "") or entry.name,
                kind=entry.name,
                instances=entry.instances,
            )
        )
    return gpus


def _uuid(text: str) -> str:
    return text if _UUID.fullmatch(text) else ""
