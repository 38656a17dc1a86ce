"""Translation of typed docker options into the engine API's container configuration (contract 10.4).

Key names are those of ``POST /containers/create`` (Docker Engine API 1.41 and later).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import PlanError
from pytest_madengine.plan.runplan import DockerOptions, Mount

_PROPAGATION: Final = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_CONSISTENCY: Final = frozenset({"consistent", "cached", "delegated"})
_RELABEL: Final = frozenset({"z", "Z"})
#: Field of DockerOptions -> key of HostConfig, for values that need no translation.
_PLAIN: Final = {
    "network": "NetworkMode",
    "ipc": "IpcMode",
    "pid": "PidMode",
    "uts": "UTSMode",
    "cgroupns": "CgroupnsMode",
    "userns": "UsernsMode",
    "shm_size": "ShmSize",
    "cap_add": "CapAdd",
    "cap_drop": "CapDrop",
    "group_add": "GroupAdd",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "cpu_shares": "CpuShares",
    "memory": "Memory",
    "memory_swap": "MemorySwap",
    "memory_reservation": "MemoryReservation",
    "pids_limit": "PidsLimit",
    "oom_score_adj": "OomScoreAdj",
    "privileged": "Privileged",
    "init": "Init",
    "read_only": "ReadonlyRootfs",
    "runtime": "Runtime",
    "sysctls": "Sysctls",
    "tmpfs": "Tmpfs",
    "dns": "Dns",
    "dns_search": "DnsSearch",
    "dns_options": "DnsOptions",
    "volumes_from": "VolumesFrom",
    "device_cgroup_rules": "DeviceCgroupRules",
    "storage_opt": "StorageOpt",
}


def host_config(options: DockerOptions, mounts: Iterable[Mount]) -> dict[str, Any]:
    """``HostConfig`` of a container.  Options that are not set are left to the engine.

    :raises PlanError: a port or a mount option cannot be translated.
    """
    config: dict[str, Any] = {}
    for name, key in _PLAIN.items():
        value = getattr(options, name)
        if value is None or value is False or value in ("", (), {}):
            continue  # a number 0 is said
        config[key] = _json_type(value)
    if options.cpus is not None:
        config["NanoCpus"] = round(options.cpus * 1_000_000_000)
    if options.security_opt:
        config["SecurityOpt"] = [_security_opt(text) for text in options.security_opt]
    if options.devices:
        config["Devices"] = [
            {
                "PathOnHost": device.path_on_host,
                "PathInContainer": device.path_in_container,
                "CgroupPermissions": device.permissions,
            }
            for device in options.devices
        ]
    if options.gpu_ids:
        config["DeviceRequests"] = [_gpu_request(options)]
    if options.ulimits:
        config["Ulimits"] = [
            {"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in options.ulimits.items()
        ]
    if options.extra_hosts:
        config["ExtraHosts"] = [f"{name}:{address}" for name, address in options.extra_hosts.items()]
    if options.publish:
        config["PortBindings"] = port_bindings(options.publish)
    _add_mounts(config, mounts)
    config.update(options.extra_host_config)
    return config


def container_config(
    options: DockerOptions,
    *,
    image: str,
    env: Mapping[str, str],
    labels: Mapping[str, str],
    host: Mapping[str, Any],
) -> dict[str, Any]:
    """Body of ``POST /containers/create``; ``host`` is the result of :func:`host_config`."""
    config: dict[str, Any] = {
        "Image": image,
        "Cmd": [],
        "WorkingDir": "/myworkspace",
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Labels": {**options.labels, **labels},
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "StopSignal": "SIGTERM",
        "HostConfig": dict(host),
    }
    named = {
        "User": options.user,
        "Hostname": options.hostname,
        "Domainname": options.domainname,
        "MacAddress": options.mac_address,
    }
    config.update({key: value for key, value in named.items() if value})
    if options.publish:
        config["ExposedPorts"] = {port: {} for port in port_bindings(options.publish)}
    config.update(options.extra_config)
    return config


def port_bindings(publish: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """``PortBindings`` for texts like ``8080:80``, ``127.0.0.1:53:53/udp``, ``8000-8002:80-82``.

    :raises PlanError: the text is not a port mapping.
    """
    from docker.utils.ports import split_port

    result: dict[str, list[dict[str, str]]] = {}
    for text in publish:
        try:
            inside, outside = split_port(text)
        except ValueError as error:
            raise PlanError(
                f"--publish {text}: {error}", hint="use [ip:][host port:]container port"
            ) from error
        for index, port in enumerate(inside):
            binding = outside[index] if outside is not None else None
            address, host_port = binding if isinstance(binding, tuple) else ("", binding)
            full = port if "/" in port else f"{port}/tcp"
            entry = {"HostIp": address or "", "HostPort": str(host_port or "")}
            result.setdefault(full, []).append(entry)
    return result


def _json_type(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _security_opt(text: str) -> str:
    """As the docker command line does, a seccomp profile is sent as its content, not as a path."""
    name, separator, value = (
        text.replace(":", "=", 1).partition("=") if "=" not in text else text.partition("=")
    )
    if name == "seccomp" and value not in ("unconfined", "builtin") and not value.lstrip().startswith("{"):
        try:
            return f"seccomp={Path(value).expanduser().read_text(encoding='utf-8')}"
        except OSError as error:
            raise PlanError(f"--security-opt {text}: cannot read the profile: {error.strerror}") from error
    return f"{name}{separator}{value}"


def _gpu_request(options: DockerOptions) -> dict[str, Any]:
    everything = options.gpu_ids == ("all",)
    return {
        "Driver": "",
        "Count": -1 if everything else 0,
        "DeviceIDs": None if everything else list(options.gpu_ids),
        "Capabilities": [["gpu", *(name for name in options.gpu_capabilities if name != "gpu")]],
        "Options": {},
    }


def _add_mounts(config: dict[str, Any], mounts: Iterable[Mount]) -> None:
    for mount in mounts:
        if _RELABEL.intersection(mount.options):
            config.setdefault("Binds", []).append(_bind_text(mount))
        else:
            config.setdefault("Mounts", []).append(_mount(mount))


def _mount(mount: Mount) -> dict[str, Any]:
    bind = "/" in mount.source
    entry: dict[str, Any] = {
        "Type": "bind" if bind else "volume",
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
    if mount.source:
        entry["Source"] = mount.source
    for option in mount.options:
        if option in _PROPAGATION:
            entry["BindOptions"] = {"Propagation": option}
        elif option in _CONSISTENCY:
            entry["Consistency"] = option
        elif option == "nocopy":
            entry["VolumeOptions"] = {"NoCopy": True}
        elif option not in ("ro", "rw"):
            raise PlanError(f"mount {mount.source}:{mount.target}: unknown option {option!r}")
    return entry


def _bind_text(mount: Mount) -> str:
    """SELinux labels exist only in the short form, which cannot express a colon in a path."""
    if ":" in mount.source + mount.target:
        raise PlanError(
            f"mount {mount.source} to {mount.target}: a path with ':' cannot be combined with z or Z"
        )
    access = [] if {"ro", "rw"}.intersection(mount.options) else ["ro" if mount.read_only else "rw"]
    return ":".join([mount.source, mount.target, ",".join([*access, *mount.options])])
