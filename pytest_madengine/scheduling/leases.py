"""Leases: no two items of this host use one GPU at a time, whoever runs them.

One lock file per GPU, named by its identity, in a host-wide directory (:mod:`.lockfiles`), held together
with a name that no tmp cleaner can remove.  An item takes
all its GPUs at once or none, so holding some while waiting for others, and with it deadlock, cannot
happen.  Decisions are made under one short lock, the gate.  An item that must wait leaves a ticket, a
locked file with its request; tickets give wide items their turn (:func:`.choice.grant`).

Waiting is polling, from 50 ms up to 250 ms: what an item waits for is "enough of these locks", which no
system call can wait for.  A poll costs a fraction of a millisecond.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.context.types import HostFacts
from pytest_madengine.errors import LeaseError
from pytest_madengine.plan.gpus import GpuDemand
from pytest_madengine.plan.runplan import Lease
from pytest_madengine.scheduling.choice import Request, Want, choose_all, grant
from pytest_madengine.scheduling.foreign import settle_foreign_use
from pytest_madengine.scheduling.lockfiles import LockDirectory, LockFile, default_directory
from pytest_madengine.scheduling.tickets import Tickets, is_resource
from pytest_madengine.util.clock import utc_now
from pytest_madengine.util.names import safe_name
from pytest_madengine.util.text import clip, escaped

if TYPE_CHECKING:
    from pytest_madengine.settings import Settings

_GATE: Final = "gate.lock"
#: Seconds between two polls: first, longest.
_POLL: Final = (0.05, 0.25)
#: Seconds of waiting after which is looked again for whom.
_RENEWAL: Final = 5.0


class HeldLease:
    """GPUs (and CPUs) held by this process until :meth:`release`, or until it dies."""

    def __init__(self, lease: Lease, files: Iterable[LockFile] = (), notes: tuple[str, ...] = ()) -> None:
        self.lease = lease
        #: Warnings, e.g. about foreign memory on a leased GPU.
        self.notes = notes
        #: An earlier holder died with the lease: its container may still be on the GPUs for a moment.
        self.after_death = False
        self._files = list(files)

    def release(self) -> None:
        """Gives everything back; more than once does no harm."""
        while self._files:
            file = self._files.pop()
            file.write({})
            file.close()

    def __enter__(self) -> HeldLease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class GpuLeases:
    """Leases of the GPUs of this host, and of its CPUs with ``--mad-cpus-per-model``.

    :param directory: of the lock files; default :func:`.lockfiles.default_directory`.
    :param cpus: CPUs that may be shared out; default those this process may use.
    """

    def __init__(
        self,
        facts: HostFacts,
        settings: Settings,
        directory: Path | None = None,
        *,
        cpus: tuple[int, ...] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.facts = facts
        self.settings = settings
        self.directory = LockDirectory(directory or default_directory(settings.environ))
        self._cpus = cpus
        self._sleep = sleep

    def acquire(
        self,
        demand: GpuDemand,
        *,
        plan_only: bool = False,
        holder: Mapping[str, str] | None = None,
        on_wait: Callable[[str], None] = lambda text: None,
    ) -> HeldLease:
        """Takes the GPUs of an item, waiting as long as others hold them.

        :param plan_only: say which would be taken on a host without other users; nothing is locked.
        :param holder: who holds, for people who look (``session``, ``item``); no secrets.
        :param on_wait: called with what is waited for when not everything is free, and when that changes.
        :raises LeaseError: more is wanted than there is, the lock directory cannot be used, or foreign use
            of a leased GPU with ``--mad-gpu-busy=fail`` (``wait``: after ``--mad-gpu-wait`` seconds).
        """
        request = self._request(demand)
        if plan_only:
            chosen = choose_all(request, request.names)
            assert chosen is not None
            return HeldLease(self._lease(chosen))
        if not request.wants:
            return HeldLease(Lease(simulated=self.facts.simulated))
        self.directory.prepare()
        files = self._take(request, on_wait)
        held = HeldLease(self._lease(file.name for file in files), files)
        try:
            # A release empties the file; the kernel, which frees the lock of a dead process, does not.
            held.after_death = any("pid" in file.read() for file in files)
            self._describe(files, held.lease, holder or {})
            held.notes = settle_foreign_use(self.facts, held.lease, self.settings, on_wait, self._sleep)
        except BaseException:
            held.release()
            raise
        return held

    def needs_lease(self, demand: GpuDemand) -> bool:
        """True when an item holds something while it runs: GPUs or CPUs."""
        return demand.count > 0 or self.settings.cpus_per_model > 0

    def holders(self, gpus: Iterable[int] | None = None) -> dict[int, dict[str, Any]] | None:
        """GPUs of this host that somebody holds, with what the holder wrote down; nobody is waited for.

        :param gpus: only these indices.
        :returns: ``None`` when another process decides at this moment.
        :raises LeaseError: the lock directory cannot be used.
        """
        wanted = None if gpus is None else set(gpus)
        self.directory.prepare()
        found: dict[int, dict[str, Any]] = {}
        with self.directory.locked_if_free(_GATE) as decided:
            if not decided:
                return None
            for gpu in self.facts.gpus:
                if wanted is not None and gpu.index not in wanted:
                    continue
                file = self.directory.open(_gpu_name(gpu.identity), claim=True)
                assert file is not None
                try:
                    if not file.try_lock():
                        found[gpu.index] = file.read()
                finally:
                    file.close()
        return found

    # ---- what is wanted -----------------------------------------------------------------------------

    def _request(self, demand: GpuDemand) -> Request:
        gpus = {gpu.index: gpu.identity for gpu in self.facts.gpus}
        wants = []
        if demand.count:
            missing = [index for index in demand.pool if index not in gpus]
            if missing or demand.count > len(demand.pool):
                raise LeaseError(
                    f"{demand.count} GPUs of {list(demand.pool)} wanted; this host has {self.facts.gpu_count}"
                )
            wants.append(Want(tuple(_gpu_name(gpus[index]) for index in demand.pool), demand.count))
        if self.settings.cpus_per_model:
            cpus = self._cpu_pool()
            count = self.settings.cpus_per_model
            if count > len(cpus):
                raise LeaseError(
                    f"--mad-cpus-per-model={count}: only {len(cpus)} CPUs may be used",
                    hint="lower it, or widen docker_cpus",
                )
            wants.append(Want(tuple(_cpu_name(cpu) for cpu in cpus), count))
        return Request(tuple(wants))

    def _cpu_pool(self) -> tuple[int, ...]:
        usable = os.sched_getaffinity(0)
        return tuple(sorted(usable if self._cpus is None else usable & set(self._cpus)))

    def _lease(self, names: Iterable[str]) -> Lease:
        chosen = set(names)
        gpus = tuple(gpu.index for gpu in self.facts.gpus if _gpu_name(gpu.identity) in chosen)
        cpus = [cpu for cpu in sorted(os.sched_getaffinity(0)) if _cpu_name(cpu) in chosen]
        return Lease(gpus, self.facts.simulated, ",".join(map(str, cpus)))

    # ---- taking -------------------------------------------------------------------------------------

    def _take(self, request: Request, on_wait: Callable[[str], None]) -> list[LockFile]:
        tickets = Tickets(self.directory)
        pause, longest = _POLL
        told, since = "", 0.0
        try:
            while True:
                with self.directory.locked(_GATE):
                    tickets.keep(request)
                    files = self._try(request, tickets)
                    if files is None and tickets.mine is None:
                        tickets.draw(request)
                if files is not None:
                    return files
                if not told or since >= _RENEWAL:
                    text, since = self._waiting_for(request), 0.0
                    if text != told:
                        told = text
                        on_wait(text)
                self._sleep(pause)
                since += pause
                pause = min(pause * 1.5, longest)
        finally:
            tickets.leave()

    def _try(self, request: Request, tickets: Tickets) -> list[LockFile] | None:
        """One attempt under the gate: everything, or nothing and no lock kept."""
        ahead = tickets.ahead()
        locked: dict[str, LockFile] = {}
        keep: tuple[str, ...] = ()
        try:
            free = set()
            for name in request.names.union(*(older.names for older in ahead)):
                file = self._lock_of(name, own=name in request.names)
                if file is None or file.try_lock():
                    free.add(name)
                    if file is not None:
                        locked[name] = file
                else:
                    file.close()
            granted = grant(request, ahead, free)
            if granted is None:
                return None
            for older in granted.overtaken:
                tickets.note_overtaken(older)
            keep = granted.names
            return [locked[name] for name in keep]
        finally:
            for name, file in locked.items():
                if name not in keep:
                    file.close()

    def _lock_of(self, name: str, own: bool) -> LockFile | None:
        """The lock file of a resource; what only others ask for is not made, and not our trouble."""
        try:
            return self.directory.open(name, create=own, claim=True)
        except LeaseError:
            if own:
                raise
            return None

    # ---- for people ---------------------------------------------------------------------------------

    def _describe(self, files: list[LockFile], lease: Lease, holder: Mapping[str, str]) -> None:
        info: dict[str, Any] = {"pid": os.getpid(), "uid": os.getuid(), "since": utc_now(), **holder}
        info |= {"gpus": list(lease.gpus), "cpus": lease.cpus, "simulated": lease.simulated}
        for file in files:
            file.write(info)

    def _waiting_for(self, request: Request) -> str:
        """One line: how many GPUs are wanted, and who holds which."""
        holders: dict[str, None] = {}
        for name in sorted(request.names):
            file = self.directory.open(name, create=False, claim=True)
            if file is None:
                continue
            info = {} if file.try_lock() else file.read()
            file.close()
            if info:
                holders[_holder(info)] = None
        wanted = " and ".join(
            f"{want.count} {'GPUs' if is_gpu(want.pool[0]) else 'CPUs'}" for want in request.wants
        )
        return f"waiting for {wanted}" + (f"; held by {'; '.join(holders)}" if holders else "")


def is_gpu(name: str) -> bool:
    """True for the lock of a GPU, false for that of a CPU."""
    return is_resource(name) and name.startswith("gpu-")


def _gpu_name(identity: str) -> str:
    return f"gpu-{safe_name(identity)}.lock"


def _cpu_name(cpu: int) -> str:
    return f"cpu-{cpu}.lock"


def _holder(info: Mapping[str, Any]) -> str:
    """Written by anyone: printable, and short."""
    parts = [f"pid {info.get('pid')}"] + [str(info[key]) for key in ("session", "item") if info.get(key)]
    return clip(escaped(" ".join(parts)), 200)
