"""How many items can run at once: the number of workers of ``-n auto``."""

from __future__ import annotations

from collections.abc import Iterable


def worker_count(gpu_needs: Iterable[int], gpus: int, cpus: int) -> int:
    """Workers that can be busy at once, at least 1 and at most one per item.

    As many items as fit on the GPUs together when the narrow ones come first; items that need no GPU get
    workers of their own, up to the number of CPUs in all.

    :param gpu_needs: GPUs of each item; 0 for one that needs none.
    """
    needs = sorted(gpu_needs)
    free = [need for need in needs if need <= 0]
    on_gpus, left = 0, gpus
    for need in needs[len(free) :]:
        if need > left:
            break
        on_gpus, left = on_gpus + 1, left - need
    return max(1, on_gpus + min(len(free), max(0, cpus - on_gpus)))
