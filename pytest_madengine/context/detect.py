"""What this host is: one value from all detections.  Nothing here raises (contract 7.3, 7.4)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from pytest_madengine.context import host
from pytest_madengine.context.amd import detect_amd
from pytest_madengine.context.gpus import VendorFacts
from pytest_madengine.context.intel import detect_intel
from pytest_madengine.context.nvidia import detect_nvidia
from pytest_madengine.context.probe import Probe
from pytest_madengine.context.rocm import host_rocm_root
from pytest_madengine.context.types import Gpu, HostFacts
from pytest_madengine.errors import ConfigError

#: Vendors in the order in which they are looked for.
_ORDER: Final = ("NVIDIA", "AMD", "INTEL")
_MAX_SIMULATED: Final = 1024
_FIRST_RENDER_MINOR: Final = 128
#: Simulated architectures by vendor; AMD also by product name.
_GFX: Final = re.compile(r"gfx[0-9a-f]{3,5}")
_AMD_PRODUCTS: Final = (
    (re.compile(r"MI100", re.I), "gfx908"),
    (re.compile(r"MI2\d\d[A-Z]?", re.I), "gfx90a"),
    (re.compile(r"MI3[0-2]\d[A-Z]?", re.I), "gfx942"),
    (re.compile(r"MI35\d[A-Z]?", re.I), "gfx950"),
)
_INTEL_ID: Final = re.compile(r"0x[0-9a-f]{4}")
_NVIDIA_NAME: Final = re.compile(
    r"(?:(?:NVIDIA|Tesla|GeForce|Quadro|RTX|GTX|TITAN)\b.*|(?!MI\d)[A-Z]{1,2}\d{1,3}[A-Z]{0,2}(?:[ -].*)?)",
    re.I,
)


def detect_host(probe: Probe, root: Path | None, *, rocm_path: str = "", gpu_vendor: str = "") -> HostFacts:
    """The facts of the host behind ``probe``.

    :param root: the MAD root, for ``ctx_test``; ``None`` when there is none.
    :param rocm_path: context ``MAD_ROCM_PATH``; empty when not given.
    :param gpu_vendor: vendor given by the user: only its GPUs are looked for, ``CPU`` means none.
    """
    host_os, os_warning = host.host_os(probe)
    numa, numa_warning = host.numa_balancing(probe)
    facts = HostFacts(
        host_os=host_os,
        numa_balancing=numa,
        ctx_test=host.ctx_test(root),
        hostname=host.hostname(probe),
        rocm_path=rocm_path.strip(),
        warnings=tuple(filter(None, (os_warning, numa_warning))),
    )
    found, rocm_root = _find(probe, rocm_path, gpu_vendor.strip().upper())
    if found is None:
        return facts
    return replace(
        facts,
        gpu_vendor=found.vendor,
        gpus=found.gpus,
        gpu_architecture=found.architecture,
        gpu_product_name=found.product_name,
        runtime_version=found.runtime_version,
        driver_version=found.driver_version,
        rocm_path=rocm_root or facts.rocm_path,
        warnings=facts.warnings + found.warnings,
    )


def _find(probe: Probe, rocm_path: str, wanted: str) -> tuple[VendorFacts | None, str]:
    for vendor in (wanted,) if wanted in (*_ORDER, "CPU") else _ORDER:
        found, rocm_root = None, ""
        if vendor == "NVIDIA":
            found = detect_nvidia(probe)
        elif vendor == "AMD":
            rocm_root = host_rocm_root(probe, rocm_path)
            found = detect_amd(probe, rocm_root)
        elif vendor == "INTEL":
            found = detect_intel(probe)
        if found is not None:
            return found, rocm_root
    return None, ""


def simulated_host(text: str, facts: HostFacts) -> HostFacts:
    """The facts with the GPUs of ``--mad-simulate-gpus=N[:ARCH]`` instead of the real ones.

    ``ARCH`` decides the vendor and is kept as written: ``gfx942`` or ``MI300X`` is AMD, ``0x0bd5`` INTEL,
    ``H100`` or ``NVIDIA H100 80GB HBM3`` NVIDIA; without it AMD gfx942.  ``0`` simulates a host without GPU.

    :raises ConfigError: the text is malformed.
    """
    count_text, colon, architecture = text.strip().partition(":")
    architecture = architecture.strip()
    vendor, architecture, product = _simulated_gpu(architecture if colon else "gfx942")
    valid = re.fullmatch(r"\d{1,4}", count_text.strip(), re.ASCII)
    if not valid or int(count_text) > _MAX_SIMULATED or not vendor:
        raise ConfigError(
            f"--mad-simulate-gpus={text}: expected N or N:ARCH with N from 0 to {_MAX_SIMULATED}",
            hint="for example 8:gfx942, 2:H100 or 4:0x0bd5",
        )
    count = int(count_text)
    if count == 0:
        vendor = architecture = product = ""
    renders = vendor in ("AMD", "INTEL")
    gpus = tuple(
        Gpu(index, f"sim:{index}", _FIRST_RENDER_MINOR + index if renders else None) for index in range(count)
    )
    return replace(
        facts,
        gpu_vendor=vendor or "CPU",
        gpus=gpus,
        gpu_architecture=architecture,
        gpu_product_name=product,
        runtime_version="",
        driver_version="",
        simulated=True,
    )


def _simulated_gpu(architecture: str) -> tuple[str, str, str]:
    """Vendor, architecture and product name; an empty vendor for a text that names none."""
    if _GFX.fullmatch(architecture.lower()):
        return "AMD", architecture.lower(), ""
    for pattern, gfx in _AMD_PRODUCTS:
        if pattern.fullmatch(architecture):
            return "AMD", gfx, f"AMD Instinct {architecture.upper()}"
    if _INTEL_ID.fullmatch(architecture.lower()):
        return "INTEL", architecture.lower(), ""
    if _NVIDIA_NAME.fullmatch(architecture):
        return "NVIDIA", architecture, architecture
    return "", "", ""
