"""GPUs of one kind can stand for each other; a host may have several kinds.

A run never mixes kinds: its result would be that of neither.  The best kind of a pool is used: cards before
integrated graphics, then the kind with the most GPUs, the strongest, the lowest index.  Which one that is
depends on the host and the user's choice alone, so that the image is built for what will run it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from pytest_madengine.context.ranges import format_ranges
from pytest_madengine.context.types import Gpu, HostFacts


def kinds(gpus: Iterable[Gpu]) -> tuple[tuple[Gpu, ...], ...]:
    """The GPUs by kind, best kind first."""
    found: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        found.setdefault(gpu.kind, []).append(gpu)
    return tuple(sorted(map(tuple, found.values()), key=_rank))


def _rank(gpus: tuple[Gpu, ...]) -> tuple[bool, bool, int, int, int]:
    first = gpus[0]
    # What nobody can name is broken more often than new.
    unnamed = not first.kind
    return first.integrated, unnamed, -len(gpus), -max(gpu.strength for gpu in gpus), first.index


def best_kind(gpus: Iterable[Gpu]) -> tuple[Gpu, ...]:
    """The GPUs of the best kind; empty when there are none."""
    found = kinds(gpus)
    return found[0] if found else ()


def first_named(gpus: Sequence[Gpu]) -> Gpu:
    """The first GPU whose architecture is known, else the first: what stands for a host as a whole."""
    return next((gpu for gpu in gpus if gpu.architecture), gpus[0])


def named_kinds(gpus: Iterable[Gpu]) -> str:
    """One line for people: ``0-3: gfx90a AMD Instinct MI210; 4: gfx1100``."""
    return "; ".join(f"{format_ranges(gpu.index for gpu in kind)}: {_name(kind[0])}" for kind in kinds(gpus))


def _name(gpu: Gpu) -> str:
    names = dict.fromkeys((gpu.architecture, gpu.product_name))
    text = " ".join(filter(None, names)) or "unknown"
    return f"{text} (integrated)" if gpu.integrated else text


def gpu_names(facts: HostFacts, indices: Collection[int]) -> tuple[str, str]:
    """Architecture and product name of these GPUs; those of the host when nothing is known of them alone."""
    chosen = [gpu for gpu in facts.gpus if gpu.index in indices]
    architectures = dict.fromkeys(gpu.architecture for gpu in chosen if gpu.architecture)
    products = dict.fromkeys(gpu.product_name for gpu in chosen if gpu.product_name)
    return (
        ", ".join(architectures) or facts.gpu_architecture,
        ", ".join(products)
        or ("" if architectures and len(kinds(facts.gpus)) > 1 else facts.gpu_product_name),
    )


def named_by(facts: HostFacts, pool: Iterable[Gpu]) -> HostFacts:
    """The facts with the architecture and the product of the GPUs that models will run on.

    A pool of several kinds gets a warning that says which is used.
    """
    pool = tuple(pool)
    best = best_kind(pool)
    if not best:
        return facts
    architecture, product = gpu_names(facts, {gpu.index for gpu in best})
    warnings = facts.warnings
    if len(best) < len(pool):
        used = format_ranges(gpu.index for gpu in best)
        warnings += (
            f"the GPUs are of different kinds ({named_kinds(pool)}): models run on {used}; "
            "choose others with --mad-gpus",
        )
    return replace(facts, gpu_architecture=architecture, gpu_product_name=product, warnings=warnings)
