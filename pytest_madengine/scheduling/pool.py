"""From which GPUs an item may choose: what the caller may see, then ``docker_gpus``, then ``--mad-gpus``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context, Gpu, HostFacts
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.gpus import GpuDemand, gpu_need, gpu_pool
from pytest_madengine.settings import Settings

_ROCR: Final = "ROCR_VISIBLE_DEVICES"
_HIP: Final = "HIP_VISIBLE_DEVICES"
_CUDA: Final = "CUDA_VISIBLE_DEVICES"


def visible_gpus(facts: HostFacts, environ: Mapping[str, str]) -> tuple[int, ...]:
    """The GPUs the caller may use, as indices of the host, ascending.

    As the runtimes read the variables: NVIDIA ``CUDA_VISIBLE_DEVICES``; AMD ``ROCR_VISIBLE_DEVICES``, then
    ``HIP_VISIBLE_DEVICES`` (or, without it, ``CUDA_VISIBLE_DEVICES``), which counts within what ROCR left.
    Entries are indices or UUIDs (also shortened); an empty text means none; the first entry that names no
    GPU ends the list.

    :raises ConfigError: an entry is a MIG instance, which cannot be leased.
    """
    gpus = facts.gpus
    for name in variables(facts.gpu_vendor, environ):
        gpus = _narrowed(gpus, environ[name], name)
    return tuple(sorted(gpu.index for gpu in gpus))


def variables(vendor: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that narrow the GPUs of this vendor, in the order in which they apply."""
    if vendor == "NVIDIA":
        names: tuple[str, ...] = (_CUDA,)
    elif vendor == "AMD":
        names = (_ROCR, _HIP if _HIP in environ else _CUDA)
    else:
        names = ()
    return tuple(name for name in names if name in environ)


def _narrowed(gpus: tuple[Gpu, ...], text: str, variable: str) -> tuple[Gpu, ...]:
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in text.split(",")):
        gpu = _named(gpus, entry, variable)
        if gpu is None:
            break
        if gpu not in chosen:
            chosen.append(gpu)
    return tuple(chosen)


def _named(gpus: tuple[Gpu, ...], entry: str, variable: str) -> Gpu | None:
    if entry.isascii() and entry.isdecimal():
        position = int(entry)
        return gpus[position] if position < len(gpus) else None
    if entry.upper().startswith("MIG-GPU-"):
        entry = entry[len("MIG-") :].partition("/")[0]
    elif entry.upper().startswith("MIG-"):
        raise ConfigError(
            f"{variable}: {entry} is a MIG instance; only whole GPUs can be leased",
            hint="name GPUs by index or GPU-UUID",
        )
    wanted = _plain(entry)
    found = [gpu for gpu in gpus if wanted and _plain(gpu.uuid).startswith(wanted)]
    return found[0] if len(found) == 1 else None


def _plain(uuid: str) -> str:
    """UUIDs compare without the prefix and without regard to case (ROCm prints ``GPU-`` or ``0x``)."""
    return uuid.lower().removeprefix("gpu-").removeprefix("0x")


def demand_of(context: Context, model: Model, settings: Settings) -> GpuDemand:
    """The pool and the number of GPUs of an item; nothing with ``--mad-cpu`` or without need.

    :raises PlanError: more GPUs than the pool has, or a listed GPU that does not exist.
    :raises ConfigError: a list cannot be read.
    """
    need = gpu_need(model, context)
    if need == 0 or settings.cpu:
        return GpuDemand((), 0)
    facts = context.facts
    listed = gpu_pool(context, settings)
    visible = visible_gpus(facts, settings.environ)
    pool = tuple(index for index in listed if index in visible)
    if need > len(pool) or not pool:
        hidden = len(pool) < len(listed)
        names = [f"{name}={settings.environ[name]}" for name in variables(facts.gpu_vendor, settings.environ)]
        raise PlanError(
            f"Too many gpus requested({need}). System has {facts.gpu_count} gpus. "
            f"Context has {len(pool)} gpus.",
            hint=f"the environment leaves GPUs {list(visible)}: {', '.join(names)}" if hidden else "",
        )
    return GpuDemand(pool, len(pool) if need == -1 else need)
