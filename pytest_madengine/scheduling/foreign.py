"""Foreign use of leased GPUs: memory or processes of somebody who takes no leases.

Looked for after the lease is taken and before the run, when nothing of ours can be on these GPUs.

Sources: AMD ``/sys/class/drm/renderD<minor>/device/mem_info_vram_used`` (bytes, amdgpu driver) and
``/sys/class/kfd/kfd/proc/<pid>/vram_<gpu id>`` (bytes per process; the GPU id is the file ``gpu_id`` of the
KFD topology node with that ``drm_render_minor``); NVIDIA ``nvidia-smi --query-gpu`` and
``--query-compute-apps`` (MiB).  For other vendors nothing is known and nothing is reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_madengine.context.probe import Probe, Tools
from pytest_madengine.context.types import Gpu, HostFacts
from pytest_madengine.errors import LeaseError
from pytest_madengine.plan.runplan import Lease

if TYPE_CHECKING:
    from pytest_madengine.settings import Settings

#: Memory that drivers hold on an idle GPU stays below this; bytes.
IDLE_MEMORY: Final = 1 << 30
#: Seconds between two looks while waiting.
_PAUSE: Final = 5.0
_MIB: Final = 1 << 20
_KFD_NODES: Final = "/sys/devices/virtual/kfd/kfd/topology/nodes"
_KFD_PROCESSES: Final = "/sys/class/kfd/kfd/proc"


@dataclass
class Usage:
    """What others do on one GPU."""

    gpu: int
    #: Bytes in use, whoever uses them.
    memory: int = 0
    #: Process ids that hold memory on the GPU, with their names where known.
    processes: dict[int, str] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """True when somebody works on the GPU, or left memory on it."""
        return bool(self.processes) or self.memory >= IDLE_MEMORY

    def __str__(self) -> str:
        processes = ", ".join(f"{pid} {name}".strip() for pid, name in sorted(self.processes.items())[:4])
        text = f"GPU {self.gpu}: {self.memory / (1 << 30):.1f} GiB in use"
        return text + (f" (processes: {processes})" if processes else "")


def foreign_use(probe: Probe, facts: HostFacts, gpus: tuple[int, ...]) -> tuple[Usage, ...]:
    """The GPUs of a lease on which somebody else works; empty for simulated GPUs."""
    if facts.simulated or not gpus:
        return ()
    leased = [gpu for gpu in facts.gpus if gpu.index in gpus]
    if facts.gpu_vendor == "AMD":
        found = _amd(probe, leased)
    elif facts.gpu_vendor == "NVIDIA":
        found = _nvidia(probe, leased)
    else:
        found = []
    return tuple(usage for usage in found if usage.busy)


def settle_foreign_use(
    facts: HostFacts,
    lease: Lease,
    settings: Settings,
    on_wait: Callable[[str], None],
    sleep: Callable[[float], None],
    *,
    probe: Probe | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[str, ...]:
    """Applies ``--mad-gpu-busy`` to a lease just taken; returns warnings.

    ``warn`` tells, ``fail`` refuses, ``wait`` waits up to ``--mad-gpu-wait`` seconds (without it: without
    limit) and then refuses.  A given ``--mad-gpu-wait`` alone means ``wait``.

    :raises LeaseError: refused; names the GPUs, the memory and the processes.
    """
    probe = probe or Probe.real(settings.environ)
    policy = settings.gpu_busy
    if policy == "warn" and settings.gpu_wait is not None:
        policy = "wait"
    start = clock()
    told = False
    while busy := foreign_use(probe, facts, lease.gpus):
        text = "; ".join(map(str, busy))
        waited = clock() - start
        if policy == "warn":
            return tuple(f"foreign use of a leased GPU: {usage}" for usage in busy)
        if policy == "fail" or (settings.gpu_wait is not None and waited >= settings.gpu_wait):
            after = f" after {waited:.0f} s" if policy == "wait" else ""
            raise LeaseError(
                f"foreign use of leased GPUs{after}: {text}",
                hint="end these processes, narrow the pool with --mad-gpus, or use --mad-gpu-busy=warn",
            )
        if not told:
            on_wait(f"waiting for foreign work to end: {text}")
            told = True
        sleep(_PAUSE if settings.gpu_wait is None else min(_PAUSE, settings.gpu_wait - waited))
    return ()


def _amd(probe: Probe, gpus: list[Gpu]) -> list[Usage]:
    ids = _kfd_ids(probe)
    names = probe.listdir(_KFD_PROCESSES)
    found = []
    for gpu in gpus:
        if gpu.render_minor is None:
            continue
        path = f"/sys/class/drm/renderD{gpu.render_minor}/device/mem_info_vram_used"
        usage = Usage(gpu.index, _number(probe.read_text(path)))
        kfd_id = ids.get(gpu.render_minor)
        for pid in names if kfd_id else ():
            if pid.isdecimal() and _number(probe.read_text(f"{_KFD_PROCESSES}/{pid}/vram_{kfd_id}")):
                usage.processes[int(pid)] = probe.read_text(f"/proc/{pid}/comm").strip()
        found.append(usage)
    return found


def _kfd_ids(probe: Probe) -> dict[int, int]:
    """render minor -> KFD GPU id."""
    ids = {}
    for node in probe.listdir(_KFD_NODES):
        properties = dict(
            line.split(maxsplit=1)
            for line in probe.read_text(f"{_KFD_NODES}/{node}/properties").splitlines()
            if len(line.split()) == 2
        )
        minor = _number(properties.get("drm_render_minor", ""))
        gpu_id = _number(probe.read_text(f"{_KFD_NODES}/{node}/gpu_id"))
        if minor and gpu_id:
            ids[minor] = gpu_id
    return ids


def _nvidia(probe: Probe, gpus: list[Gpu]) -> list[Usage]:
    tools = Tools(probe, "/usr/bin", "/usr/local/cuda/bin")
    usages = {gpu.index: Usage(gpu.index) for gpu in gpus}
    by_uuid = {gpu.uuid: usages[gpu.index] for gpu in gpus if gpu.uuid}
    form = "--format=csv,noheader,nounits"
    for index, used in _rows(tools.run("nvidia-smi", "--query-gpu=index,memory.used", form).value, 2):
        if index.isdecimal() and int(index) in usages:
            usages[int(index)].memory = _number(used) * _MIB
    query = "--query-compute-apps=gpu_uuid,pid,process_name"
    for uuid, pid, name in _rows(tools.run("nvidia-smi", query, form).value, 3):
        if uuid in by_uuid and pid.isdecimal():
            by_uuid[uuid].processes[int(pid)] = name.rpartition("/")[2]
    return list(usages.values())


def _rows(text: str, columns: int) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.split(",", columns - 1)] for line in text.splitlines()]
    return [row for row in rows if len(row) == columns]


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() else 0
