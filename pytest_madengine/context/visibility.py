"""Which GPUs the caller may use: the ``*_VISIBLE_DEVICES`` of its environment, as the runtimes read them.

HIP and ROCR count by KFD node.  CUDA counts by PCI address with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``, and without
it the fastest first, which only CUDA itself can tell on a host with unequal GPUs.  Level Zero counts by PCI
address, tiles or whole devices.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from pytest_madengine.context.host import in_job
from pytest_madengine.context.kinds import kinds
from pytest_madengine.context.ranges import parse_ranges
from pytest_madengine.context.types import Gpu, HostFacts
from pytest_madengine.errors import ConfigError

_ROCR: Final = "ROCR_VISIBLE_DEVICES"
_HIP: Final = "HIP_VISIBLE_DEVICES"
_CUDA: Final = "CUDA_VISIBLE_DEVICES"
_ZE: Final = "ZE_AFFINITY_MASK"
_TILE: Final = re.compile(r"(\d{1,4})(?:\.(\d{1,4}))?", re.ASCII)


def visible_gpus(facts: HostFacts, environ: Mapping[str, str]) -> tuple[int, ...]:
    """The GPUs the caller may use, as indices of the host, ascending.

    NVIDIA ``CUDA_VISIBLE_DEVICES``; AMD ``ROCR_VISIBLE_DEVICES``, then ``HIP_VISIBLE_DEVICES`` (without it
    ``CUDA_VISIBLE_DEVICES``), which counts within what ROCR left; Intel ``ZE_AFFINITY_MASK``.  Entries are
    positions or UUIDs (also shortened); an empty text means none; the first entry that names no GPU ends
    the list.

    :raises ConfigError: an entry is a part of a GPU, which cannot be leased, or nobody can tell which GPU it
        means.
    """
    gpus = runtime_order(facts.gpus)
    for name in variables(facts.gpu_vendor, environ):
        if name == _ZE:
            gpus = _masked(gpus, environ)
        else:
            gpus = _narrowed(gpus, environ[name], name, _unknown_order(facts, environ))
    return tuple(sorted(gpu.index for gpu in gpus))


def caller_environ(environ: Mapping[str, str], gpus: str) -> Mapping[str, str]:
    """The environment whose variables count: none in a job that says by ``--mad-gpus`` which are its GPUs.

    There the job's script sets them for what runs inside, counted from 0.
    """
    return {} if gpus.strip() and in_job(environ) else environ


def runtime_order(gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """The GPUs as the runtime counts them; those without a known position keep theirs."""
    if any(gpu.runtime_index is None for gpu in gpus):
        return tuple(gpus)
    return tuple(sorted(gpus, key=lambda gpu: gpu.runtime_index or 0))


def variables(vendor: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that narrow the GPUs of this vendor, in the order in which they apply."""
    names: tuple[str, ...] = ()
    if vendor == "NVIDIA":
        names = (_CUDA,)
    elif vendor == "AMD":
        names = (_ROCR, _HIP if _HIP in environ else _CUDA)
    elif vendor == "INTEL":
        names = (_ZE,)
    return tuple(name for name in names if name in environ)


def pool_of(facts: HostFacts, lists: Sequence[str], environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """What the lists (``docker_gpus``, ``--mad-gpus``) and the environment leave, for facts and reports.

    A list or a variable that cannot be read leaves everything: whoever leases refuses it with a reason.
    """
    try:
        allowed = set(visible_gpus(facts, environ))
        for text in lists:
            if text.strip():
                allowed &= set(parse_ranges(text))
    except (ConfigError, ValueError):
        return facts.gpus
    return tuple(gpu for gpu in facts.gpus if gpu.index in allowed)


def _unknown_order(facts: HostFacts, environ: Mapping[str, str]) -> bool:
    fastest_first = environ.get("CUDA_DEVICE_ORDER", "").strip().upper() != "PCI_BUS_ID"
    return facts.gpu_vendor == "NVIDIA" and fastest_first and len(kinds(facts.gpus)) > 1


def _narrowed(gpus: tuple[Gpu, ...], text: str, variable: str, unknown: bool) -> tuple[Gpu, ...]:
    chosen: list[Gpu] = []
    entries = [part.strip() for part in text.split(",")]
    for entry in entries:
        gpu = _named(gpus, entry, variable)
        if gpu is None:
            break
        if gpu not in chosen:
            chosen.append(gpu)
    if unknown and len(chosen) < len(gpus) and any(_is_position(entry) for entry in entries[: len(chosen)]):
        raise ConfigError(
            f"{variable}={text}: without CUDA_DEVICE_ORDER=PCI_BUS_ID positions count the fastest GPU first, "
            "and this host has unequal GPUs: nobody can tell which are meant",
            hint="name them by UUID (nvidia-smi -L), or set CUDA_DEVICE_ORDER=PCI_BUS_ID",
        )
    return tuple(chosen)


def _is_position(entry: str) -> bool:
    return entry.isascii() and entry.isdecimal()


def _named(gpus: tuple[Gpu, ...], entry: str, variable: str) -> Gpu | None:
    if _is_position(entry):
        # Compared as texts: no limit on their length, no number of thousands of digits.
        digits = entry.lstrip("0") or "0"
        return next((gpu for position, gpu in enumerate(gpus) if str(position) == digits), None)
    if entry.upper().startswith("MIG-GPU-"):
        entry = entry[len("MIG-") :].partition("/")[0]
    elif entry.upper().startswith("MIG-"):
        raise ConfigError(
            f"{variable}: {entry} is a MIG instance{_on(gpus, entry)}; only whole GPUs can be leased",
            hint="name GPUs by index or GPU-UUID",
        )
    wanted = _plain(entry)
    found = [gpu for gpu in gpus if wanted and _plain(gpu.uuid).startswith(wanted)]
    return found[0] if len(found) == 1 else None


def _on(gpus: tuple[Gpu, ...], instance: str) -> str:
    owners = [gpu.index for gpu in gpus if instance.lower() in map(str.lower, gpu.instances)]
    return f" of GPU {owners[0]}" if owners else ""


def _plain(uuid: str) -> str:
    """UUIDs compare without the prefix and without regard to case (ROCm prints ``GPU-`` or ``0x``)."""
    return uuid.lower().removeprefix("gpu-").removeprefix("0x")


def _masked(gpus: tuple[Gpu, ...], environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """``ZE_AFFINITY_MASK``: ``device``, ``device.tile``, or, by default, tiles counted through."""
    hierarchy = environ.get("ZE_FLAT_DEVICE_HIERARCHY", "FLAT").strip().upper()
    flat = hierarchy not in ("COMPOSITE", "COMBINED")
    every = [(gpu.index, tile) for gpu in gpus for tile in range(gpu.tiles)]
    chosen: set[tuple[int, int]] = set()
    for entry in environ[_ZE].split(","):
        match = _TILE.fullmatch(entry.strip())
        if match is None:
            break
        number = int(match[1])
        if flat and match[2] is None:
            chosen.update(every[number : number + 1])
        elif number < len(gpus):
            tiles = range(gpus[number].tiles) if match[2] is None else (int(match[2]),)
            chosen.update((gpus[number].index, tile) for tile in tiles)
    named = Counter(owner for owner, _ in chosen)
    parts = [gpu for gpu in gpus if 0 < named[gpu.index] < gpu.tiles]
    if parts:
        raise ConfigError(
            f"{_ZE}={environ[_ZE]} names tiles of GPU {parts[0].index}; only whole GPUs can be leased",
            hint="name all tiles of a GPU, or its device number with ZE_FLAT_DEVICE_HIERARCHY=COMPOSITE",
        )
    return tuple(gpu for gpu in gpus if named[gpu.index])
