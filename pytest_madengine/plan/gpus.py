"""How many GPUs an item needs, and from which it may choose (contract 10.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_madengine.catalog.model import Model
from pytest_madengine.context.keys import GPU_COUNT_KEYS
from pytest_madengine.context.kinds import best_kind, named_kinds
from pytest_madengine.context.ranges import format_ranges, parse_ranges
from pytest_madengine.context.types import Context, HostFacts
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.settings import Settings

#: Deployment blocks of the context with a GPU count of their own.
_BLOCKS: Final = (("slurm", "gpus_per_node"), ("k8s", "gpu_count"), ("kubernetes", "gpu_count"))
_COUNT: Final = re.compile(r"-?\d{1,9}", re.ASCII)


@dataclass(frozen=True)
class GpuDemand:
    """What an item asks the leases for."""

    #: Indices the item may use, ascending.
    pool: tuple[int, ...]
    #: Number of GPUs it needs; 0 for a model that runs without devices.
    count: int


def parse_gpu_list(text: str) -> tuple[int, ...]:
    """Comma separated integers and ``a-b`` ranges: expanded, without repeats, ascending.

    Blanks are ignored; an empty text gives an empty list.

    :raises ConfigError: naming the part that is neither.
    """
    try:
        return parse_ranges(text) if text.strip() else ()
    except ValueError as error:
        raise ConfigError(f"GPU list {text!r} {error}", hint="write for example 0,2-4,7") from None


def gpu_need(model: Model, context: Context) -> int:
    """The GPU count of an item: context alias, ``slurm``/``k8s`` block, model; -1 means all of the pool.

    :raises ConfigError: a value of the context is no count.
    """
    for key in GPU_COUNT_KEYS:
        if context.get(key) is not None:
            return _count(context.get(key), key)
    for block, key in _BLOCKS:
        values = context.get(block)
        if isinstance(values, Mapping) and values.get(key) is not None:
            return _count(values[key], f"{block}.{key}")
    return model.n_gpus


def _count(value: Any, where: str) -> int:
    text = str(value).strip()
    if isinstance(value, (bool, float)) or not _COUNT.fullmatch(text) or int(text) < -1:
        raise ConfigError(f"context: {where} is {value!r}, not a number of GPUs (-1 all, 0 none, or a count)")
    return int(text)


def gpu_pool(context: Context, settings: Settings) -> tuple[int, ...]:
    """The GPUs that items may use: ``docker_gpus``, narrowed by ``--mad-gpus``.

    :raises ConfigError: a list cannot be read.
    :raises PlanError: a listed GPU does not exist on this host.
    """
    facts = context.facts
    given = context.get("docker_gpus")
    pool = tuple(gpu.index for gpu in facts.gpus) if given is None else parse_gpu_list(str(given))
    _check_exists(pool, "docker_gpus", facts)
    if settings.gpus.strip():
        narrowed = parse_gpu_list(settings.gpus)
        _check_exists(narrowed, "--mad-gpus", facts)
        pool = tuple(index for index in pool if index in narrowed)
    return pool


def _check_exists(indices: tuple[int, ...], where: str, facts: HostFacts) -> None:
    known = [gpu.index for gpu in facts.gpus]
    for index in indices:
        if index not in known:
            gaps = f": {format_ranges(known)}" if known and known[-1] >= len(known) else ""
            raise PlanError(f"GPU {index} of {where} does not exist (system has {len(known)}{gaps})")


def demand_in(need: int, facts: HostFacts, pool: tuple[int, ...], hint: str = "") -> GpuDemand:
    """The demand of an item that needs ``need`` GPUs (-1: all) of the pool; they are of one kind.

    :param hint: what to say when the pool is too small.
    :raises PlanError: more GPUs than the pool has of one kind.
    """
    gpus = [gpu for gpu in facts.gpus if gpu.index in pool]
    kind = tuple(gpu.index for gpu in best_kind(gpus))
    if need > len(kind) or not kind:
        mixed = len(kind) < len(gpus)
        raise PlanError(
            f"Too many gpus requested({need}). System has {facts.gpu_count} gpus. "
            f"Context has {len(kind)} gpus{' of one kind' if mixed else ''}.",
            hint=f"a run never mixes kinds ({named_kinds(gpus)}); choose with --mad-gpus" if mixed else hint,
        )
    return GpuDemand(kind, len(kind) if need == -1 else need)


def pool_and_need(context: Context, model: Model, settings: Settings) -> GpuDemand:
    """The pool and the number of GPUs of an item; nothing with ``--mad-cpu`` or without need.

    :raises PlanError: more GPUs than the pool has, or a listed GPU that does not exist.
    """
    need = gpu_need(model, context)
    if need == 0 or settings.cpu:
        return GpuDemand((), 0)
    return demand_in(need, context.facts, gpu_pool(context, settings))
