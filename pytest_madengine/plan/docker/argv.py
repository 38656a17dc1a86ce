"""A plan as a ``docker run`` command line that a person can paste (the inverse of ``docker_flags``).

It is for reading and for trying things out; executors use the engine API.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final

from pytest_madengine.plan.runplan import Device, DockerOptions, EnvValue, Mount, RunPlan
from pytest_madengine.plan.steps import WORKSPACE
from pytest_madengine.secrets import Secret

_SCALARS: Final = (
    ("network", "network"),
    ("user", "user"),
    ("ipc", "ipc"),
    ("pid", "pid"),
    ("uts", "uts"),
    ("cgroupns", "cgroupns"),
    ("userns", "userns"),
    ("shm_size", "shm-size"),
    ("cpuset_cpus", "cpuset-cpus"),
    ("cpuset_mems", "cpuset-mems"),
    ("cpus", "cpus"),
    ("cpu_shares", "cpu-shares"),
    ("memory", "memory"),
    ("memory_swap", "memory-swap"),
    ("memory_reservation", "memory-reservation"),
    ("pids_limit", "pids-limit"),
    ("oom_score_adj", "oom-score-adj"),
    ("runtime", "runtime"),
    ("hostname", "hostname"),
    ("domainname", "domainname"),
    ("mac_address", "mac-address"),
    ("platform", "platform"),
)
_LISTS: Final = (
    ("group_add", "group-add"),
    ("cap_add", "cap-add"),
    ("cap_drop", "cap-drop"),
    ("security_opt", "security-opt"),
    ("dns", "dns"),
    ("dns_search", "dns-search"),
    ("dns_options", "dns-option"),
    ("volumes_from", "volumes-from"),
    ("device_cgroup_rules", "device-cgroup-rule"),
    ("publish", "publish"),
)
_MAPS: Final = (("sysctls", "sysctl"), ("storage_opt", "storage-opt"), ("labels", "label"))
_SWITCHES: Final = (("privileged", "privileged"), ("init", "init"), ("read_only", "read-only"))
#: ``HostConfig`` keys with a flag of their own: the inverse of the table of flags.
_HOST_CONFIG: Final = {
    "BlkioWeight": "blkio-weight",
    "CgroupParent": "cgroup-parent",
    "CpuPeriod": "cpu-period",
    "CpuQuota": "cpu-quota",
    "CpuRealtimePeriod": "cpu-rt-period",
    "CpuRealtimeRuntime": "cpu-rt-runtime",
    "MemorySwappiness": "memory-swappiness",
    "OomKillDisable": "oom-kill-disable",
    "PublishAllPorts": "publish-all",
    "VolumeDriver": "volume-driver",
}
_DEVICE_LIMITS: Final = {
    "BlkioWeightDevice": ("blkio-weight-device", "Weight"),
    "BlkioDeviceReadBps": ("device-read-bps", "Rate"),
    "BlkioDeviceReadIOps": ("device-read-iops", "Rate"),
    "BlkioDeviceWriteBps": ("device-write-bps", "Rate"),
    "BlkioDeviceWriteIOps": ("device-write-iops", "Rate"),
}
_HEALTH: Final = {
    "Interval": "interval",
    "Timeout": "timeout",
    "StartPeriod": "start-period",
    "StartInterval": "start-interval",
}


def docker_arguments(plan: RunPlan) -> list[str]:
    """The command line that starts the model's script by hand, in a workspace that docker throws away.

    Secrets appear by name only (``-e NAME``): they must be in the environment of the shell.  Clone, pre- and
    post-scripts and the built-in ``scripts/common`` are not part of it.
    """
    script = plan.script
    commands = [
        f"mkdir -p {shlex.quote(script.model_dir)}",
        f"cp -a {shlex.quote(f'{WORKSPACE}/{script.script_dir}/.')} {shlex.quote(script.model_dir)}",
        f"cd {shlex.quote(script.model_dir)}",
        script.run_line,
    ]
    return [
        "docker",
        "run",
        "--rm",
        f"--name={plan.container_name}",
        *option_arguments(plan.options),
        *_environment(plan),
        f"--volume={WORKSPACE}",
        *(_root_entry(plan, name) for name in plan.workspace.entries),
        *(mount_argument(mount) for mount in plan.mounts),
        f"--workdir={WORKSPACE}",
        plan.image.name,
        "/bin/bash",
        "-c",
        " && ".join(commands),
    ]


def _hidden(entry: EnvValue) -> bool:
    # Of a credential only the names are ever printed (contract 14.1).
    return isinstance(entry.value, Secret) or entry.origin.startswith("credential:")


def _environment(plan: RunPlan) -> list[str]:
    return [
        f"--env={name}" if _hidden(entry) else f"--env={name}={entry.value}"
        for name, entry in plan.env.items()
    ]


def _root_entry(plan: RunPlan, name: str) -> str:
    return mount_argument(Mount(f"{plan.workspace.root}/{name}", f"{WORKSPACE}/{name}"))


def mount_argument(mount: Mount) -> str:
    """A mount as ``--volume``, or as ``--mount`` when a path has a colon."""
    options = [*(["ro"] if mount.read_only else []), *mount.options]
    if not mount.source:
        return f"--volume={mount.target}"
    if ":" not in mount.source + mount.target:
        return "--volume=" + ":".join(filter(None, (mount.source, mount.target, ",".join(options))))
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    fields += ["readonly"] if mount.read_only else []
    return "--mount=" + ",".join(_csv_field(field) for field in fields)


def _csv_field(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""')) if any(sign in text for sign in ',"') else text


def option_arguments(options: DockerOptions) -> list[str]:
    """Docker run flags of typed options; ``parse_run_options`` reads them back."""
    words = [
        f"--{flag}={value}"
        for name, flag in _SCALARS
        if (value := getattr(options, name)) is not None and value != ""
    ]
    words += [f"--{flag}={value}" for name, flag in _LISTS for value in getattr(options, name)]
    words += [f"--{flag}" for name, flag in _SWITCHES if getattr(options, name)]
    words += [f"--device={_device(device)}" for device in options.devices]
    if options.gpu_ids:
        words.append(f"--gpus={_gpus(options)}")
    words += [f"--ulimit={name}={soft}:{hard}" for name, (soft, hard) in options.ulimits.items()]
    words += [f"--tmpfs={':'.join(filter(None, entry))}" for entry in options.tmpfs.items()]
    words += [f"--add-host={name}={address}" for name, address in options.extra_hosts.items()]
    words += [
        f"--{flag}={key}={value}" for name, flag in _MAPS for key, value in getattr(options, name).items()
    ]
    return [*words, *_host_config(options.extra_host_config), *_config(options.extra_config)]


def _device(device: Device) -> str:
    if device.path_on_host == device.path_in_container and device.permissions == "rwm":
        return device.path_on_host
    return f"{device.path_on_host}:{device.path_in_container}:{device.permissions}"


def _gpus(options: DockerOptions) -> str:
    fields = ["all"] if options.gpu_ids == ("all",) else [f'"device={",".join(options.gpu_ids)}"']
    if options.gpu_capabilities:
        fields.append(f'"capabilities={",".join(options.gpu_capabilities)}"')
    return ",".join(fields)


def _host_config(values: Mapping[str, Any]) -> list[str]:
    words = []
    for key, value in values.items():
        if key in _HOST_CONFIG:
            words.append(f"--{_HOST_CONFIG[key]}={str(value).lower() if isinstance(value, bool) else value}")
        elif key in _DEVICE_LIMITS:
            flag, field = _DEVICE_LIMITS[key]
            words += [f"--{flag}={entry['Path']}:{entry[field]}" for entry in value]
        elif key == "Annotations":
            words += [f"--annotation={name}={text}" for name, text in value.items()]
        elif key == "MaskedPaths":
            words.append("--security-opt=systempaths=unconfined")
    return words


def _config(values: Mapping[str, Any]) -> list[str]:
    words = [f"--expose={port}" for port in values.get("ExposedPorts", {})]
    health = values.get("Healthcheck", {})
    test = health.get("Test", [])
    if test[:1] == ["NONE"]:
        return [*words, "--no-healthcheck"]
    if test:
        words.append(f"--health-cmd={test[1]}")
    words += [f"--health-{flag}={health[key]}ns" for key, flag in _HEALTH.items() if key in health]
    return words + ([f"--health-retries={json.dumps(health['Retries'])}"] if "Retries" in health else [])
