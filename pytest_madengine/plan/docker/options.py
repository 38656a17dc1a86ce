"""Docker options of a run before ``additional_docker_run_options`` (contract 10.4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from pytest_madengine.context.ranges import parse_ranges
from pytest_madengine.context.types import Context
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.docker import values as docker_values
from pytest_madengine.plan.request import HostAbilities, PlanRequest
from pytest_madengine.plan.runplan import Device, DockerOptions

FUSE: Final = "/dev/fuse"
_SECCOMP: Final = "seccomp=unconfined"
_APPARMOR: Final = "apparmor=unconfined"
_UNCONFINED: Final = (_SECCOMP, _APPARMOR)


def base_options(request: PlanRequest) -> tuple[DockerOptions, tuple[str, ...]]:
    """Base options of the vendor, GPUs of the lease, CPUs and shared memory, with notes.

    :raises ConfigError: ``SHM_SIZE`` or ``docker_cpus`` cannot be read.
    :raises PlanError: a leased GPU has no known device.
    """
    notes: list[str] = []
    options = _vendor_options(request.vendor, request.host, notes)
    options = _with_gpus(options, request, notes)
    options = dataclasses.replace(options, cpuset_cpus=request.lease.cpus or _cpus(request.context))
    size = shm_size_text(request.context)
    if size:
        try:
            options = dataclasses.replace(options, ipc="", shm_size=docker_values.size(size))
        except ValueError as error:
            raise ConfigError(f"context: SHM_SIZE: {error}") from None
    return options, tuple(notes)


def shm_size_text(context: Context) -> str:
    """``SHM_SIZE`` of the context as given; empty when it is not."""
    return str(context.get("SHM_SIZE") or "").strip()


def _vendor_options(vendor: str, host: HostAbilities, notes: list[str]) -> DockerOptions:
    if vendor == "CPU":
        return DockerOptions(cap_add=("SYS_PTRACE",), security_opt=(_SECCOMP,), ipc="host")
    nvidia = vendor == "NVIDIA"
    groups = ("video",) if not nvidia and _has_group(host, "video", notes) else ()
    if vendor == "INTEL" and "render" in host.groups:
        groups = (*groups, "render")
    devices: tuple[Device, ...] = ()
    if host.fuse:
        devices = (Device(FUSE, FUSE),)
    else:
        notes.append(f"--device {FUSE} is left out: the host has no such device")
    return DockerOptions(
        group_add=groups,
        # Not SYS_ADMIN: with it a script could mount the repository anew, read-write, and change it.
        cap_add=("SYS_PTRACE", *(("SYS_NICE",) if nvidia else ())),
        devices=devices,
        security_opt=_UNCONFINED,
        ipc="host",
    )


def _has_group(host: HostAbilities, name: str, notes: list[str]) -> bool:
    if name in host.groups:
        return True
    notes.append(f"--group-add {name} is left out: the host has no such group")
    return False


def _with_gpus(options: DockerOptions, request: PlanRequest, notes: list[str]) -> DockerOptions:
    vendor, lease = request.vendor, request.lease
    if not lease.gpus or vendor == "CPU":
        return options
    if lease.simulated:
        notes.append("the GPUs are simulated: no device is passed to the container")
        return options
    if vendor == "NVIDIA":
        return dataclasses.replace(options, gpu_ids=device_ids(request.context, lease.gpus))
    paths = ["/dev/kfd"] if vendor == "AMD" else []
    paths += [f"/dev/dri/renderD{minor}" for minor in render_minors(request.context, lease.gpus)]
    return dataclasses.replace(options, devices=(*options.devices, *(Device(path, path) for path in paths)))


def device_ids(context: Context, gpus: Sequence[int]) -> tuple[str, ...]:
    """How the engine is told of NVIDIA GPUs: by UUID, which means the same to every tool; else by index."""
    uuids = {gpu.index: gpu.uuid for gpu in context.facts.gpus}
    return tuple(uuids.get(index) or str(index) for index in gpus)


def render_minors(context: Context, gpus: Sequence[int]) -> tuple[int, ...]:
    """renderD minors of GPUs: ``gpu_renderDs`` of the context, else what detection found.

    :raises PlanError: a GPU has none.
    """
    given = context.get("gpu_renderDs")
    known = {gpu.index: gpu.render_minor for gpu in context.facts.gpus}
    if given is not None and len(given) == len(known):
        known = dict(zip(known, given, strict=True))  # one per GPU, also when the host lists 0, 2, 3
    elif given is not None:
        known = dict(enumerate(given))
    minors = []
    for index in gpus:
        minor = known.get(index)
        if minor is None:
            raise PlanError(
                f"GPU {index} has no known /dev/dri/renderD device",
                hint="give the renderD minors of all GPUs, in GPU order, as gpu_renderDs in the context",
            )
        minors.append(int(minor))
    return tuple(minors)


def _cpus(context: Context) -> str:
    text = "".join(str(context.get("docker_cpus") or "").split())
    if text:
        try:
            parse_ranges(text)
        except ValueError as error:
            raise ConfigError(f"context: docker_cpus {error}") from None
    return text


def unprivileged(options: DockerOptions) -> tuple[DockerOptions, tuple[str, ...]]:
    """The options without SYS_ADMIN, fuse, unconfined profiles and ``--privileged``, with notes.

    It is applied last, so that no entry of a models.json can undo ``--mad-unprivileged``.
    """
    kept = dataclasses.replace(
        options,
        privileged=False,
        cap_add=tuple(cap for cap in options.cap_add if _capability(cap) not in {"SYS_ADMIN", "ALL"}),
        devices=tuple(device for device in options.devices if device.path_on_host != FUSE),
        security_opt=tuple(entry for entry in options.security_opt if entry not in _UNCONFINED),
        extra_host_config={
            key: value
            for key, value in options.extra_host_config.items()
            if key not in {"MaskedPaths", "ReadonlyPaths"}
        },
    )
    if kept == options:
        return options, ()
    return kept, ("--mad-unprivileged: SYS_ADMIN, /dev/fuse and unconfined profiles are left out",)


def may_mount(options: DockerOptions) -> bool:
    """True when the container may mount: what is read-only in it can be made read-write from inside."""
    return options.privileged or any(_capability(cap) in {"SYS_ADMIN", "ALL"} for cap in options.cap_add)


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")
