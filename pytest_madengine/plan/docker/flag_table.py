"""The flags of ``docker run``: what each one asks for (contract 10.4).

Names, spellings and value forms are those of docs.docker.com/reference/cli/docker/container/run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_madengine.plan.docker import values as read
from pytest_madengine.plan.runplan import Mount


class Collected:
    """Flags read so far."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.env: dict[str, str | None] = {}
        self.mounts: list[Mount] = []
        self.notes: list[str] = []

    def add(self, name: str, *values: Any) -> None:
        self.fields[name] = (*self.fields.get(name, ()), *values)

    def put(self, name: str, key: str, value: Any) -> None:
        self.fields.setdefault(name, {})[key] = value


_Handler = Callable[[Collected, str], None]


def _nothing(_found: Collected, _value: str) -> None:
    """Flags that are refused or without effect."""


@dataclass(frozen=True)
class Flag:
    """One flag: how it takes effect, or why it is refused or has none."""

    handler: _Handler = _nothing
    #: False for a switch: ``--init``, ``--init=false``.
    takes_value: bool = True
    refusal: str = ""
    without_effect: str = ""


def _scalar(name: str, convert: Callable[[str], Any] = read.text) -> Flag:
    return Flag(lambda found, value: found.fields.__setitem__(name, convert(value)))


def _list(name: str, convert: Callable[[str], Any] = read.text) -> Flag:
    return Flag(lambda found, value: found.add(name, convert(value)))


def _map(name: str, convert: Callable[[str], tuple[str, Any]] = read.pair) -> Flag:
    return Flag(lambda found, value: found.put(name, *convert(value)))


def _switch(name: str) -> Flag:
    return Flag(lambda found, value: found.fields.__setitem__(name, read.boolean(value)), takes_value=False)


def _host(key: str, convert: Callable[[str], Any], *, takes_value: bool = True) -> Flag:
    """A flag that is sent as a key of ``HostConfig``."""
    return Flag(lambda found, value: found.put("extra_host_config", key, convert(value)), takes_value)


def _host_list(key: str, convert: Callable[[str], Any]) -> Flag:
    def handle(found: Collected, value: str) -> None:
        before = found.fields.get("extra_host_config", {}).get(key, [])
        found.put("extra_host_config", key, [*before, convert(value)])

    return Flag(handle)


def _nested(parent: str, key: str, convert: Callable[[str], tuple[str, Any]]) -> Flag:
    """A flag that adds an entry to an object below ``extra_host_config`` or ``extra_config``."""

    def handle(found: Collected, value: str) -> None:
        before = found.fields.get(parent, {}).get(key, {})
        name, entry = convert(value)
        found.put(parent, key, {**before, name: entry})

    return Flag(handle)


def _health(key: str, convert: Callable[[str], Any]) -> Flag:
    def handle(found: Collected, value: str) -> None:
        check = found.fields.get("extra_config", {}).get("Healthcheck", {})
        if check.get("Test") == ["NONE"]:
            raise ValueError("conflicts with --no-healthcheck")
        found.put("extra_config", "Healthcheck", {**check, key: convert(value)})

    return Flag(handle)


def _no_healthcheck(found: Collected, value: str) -> None:
    if read.boolean(value):
        if "Healthcheck" in found.fields.get("extra_config", {}):
            raise ValueError("conflicts with --health-* flags")
        found.put("extra_config", "Healthcheck", {"Test": ["NONE"]})


def _refused(reason: str, *, takes_value: bool = True) -> Flag:
    return Flag(refusal=reason, takes_value=takes_value)


def _ignored(reason: str, *, takes_value: bool = True) -> Flag:
    return Flag(without_effect=reason, takes_value=takes_value)


def _env(found: Collected, value: str) -> None:
    name, separator, rest = value.partition("=")
    if "\0" in value:
        raise ValueError("has a NUL byte")
    found.env[read.text(name)] = rest if separator else None


def _mount(found: Collected, value: str) -> None:
    parsed = read.mount(value)
    if isinstance(parsed, Mount):
        found.mounts.append(parsed)
    else:
        found.put("tmpfs", *parsed)


def _gpus(found: Collected, value: str) -> None:
    ids, capabilities = read.gpus(value)
    found.add("gpu_ids", *ids)
    found.add("gpu_capabilities", *capabilities)


def _security(found: Collected, value: str) -> None:
    option = read.security(value)
    if option == "systempaths=unconfined":
        # The docker command line, not the engine, knows this word.
        found.put("extra_host_config", "MaskedPaths", [])
        found.put("extra_host_config", "ReadonlyPaths", [])
    else:
        found.add("security_opt", option)


def _restart(_found: Collected, value: str) -> None:
    if value != "no":
        raise ValueError("is not allowed: a run happens once")


_WINDOWS: Final = "it exists on Windows only"
_ADDRESS: Final = "container addresses are not supported; the run uses the network of the host"

FLAGS: Final[Mapping[str, Flag]] = {
    "add-host": _map("extra_hosts", read.host),
    "annotation": _nested("extra_host_config", "Annotations", read.pair),
    "attach": _refused("the plugin attaches to the streams itself"),
    "blkio-weight": _host("BlkioWeight", read.integer(0, 1000)),
    "blkio-weight-device": _host_list("BlkioWeightDevice", read.weight_device),
    "cap-add": _list("cap_add"),
    "cap-drop": _list("cap_drop"),
    "cgroup-parent": _host("CgroupParent", read.text),
    "cgroupns": _scalar("cgroupns", read.choice("host", "private")),
    "cidfile": _refused("the plugin keeps track of the container"),
    "cpu-count": _refused(_WINDOWS),
    "cpu-percent": _refused(_WINDOWS),
    "cpu-period": _host("CpuPeriod", read.integer(0)),
    "cpu-quota": _host("CpuQuota", read.integer(-1)),
    "cpu-rt-period": _host("CpuRealtimePeriod", read.integer(0)),
    "cpu-rt-runtime": _host("CpuRealtimeRuntime", read.integer(-1)),
    "cpu-shares": _scalar("cpu_shares", read.integer(0)),
    "cpus": _scalar("cpus", read.number),
    "cpuset-cpus": _scalar("cpuset_cpus"),
    "cpuset-mems": _scalar("cpuset_mems"),
    "detach": _refused("the plugin waits for the run", takes_value=False),
    "detach-keys": _ignored("the run has no terminal"),
    "device": _list("devices", read.device),
    "device-cgroup-rule": _list("device_cgroup_rules"),
    "device-read-bps": _host_list("BlkioDeviceReadBps", read.limit_device(read.size)),
    "device-read-iops": _host_list("BlkioDeviceReadIOps", read.limit_device(read.integer(0))),
    "device-write-bps": _host_list("BlkioDeviceWriteBps", read.limit_device(read.size)),
    "device-write-iops": _host_list("BlkioDeviceWriteIOps", read.limit_device(read.integer(0))),
    "disable-content-trust": _ignored("the image is there already", takes_value=False),
    "dns": _list("dns"),
    "dns-option": _list("dns_options"),
    "dns-search": _list("dns_search"),
    "domainname": _scalar("domainname"),
    "entrypoint": _refused("the container starts the script that performs the phases"),
    "env": Flag(_env),
    "env-file": _refused("its variables would escape the plan and the redaction; use env_vars"),
    "expose": _nested("extra_config", "ExposedPorts", read.expose),
    "gpus": Flag(_gpus),
    "group-add": _list("group_add"),
    "health-cmd": _health("Test", lambda value: ["CMD-SHELL", read.text(value)]),
    "health-interval": _health("Interval", read.duration),
    "health-retries": _health("Retries", read.integer(0)),
    "health-start-interval": _health("StartInterval", read.duration),
    "health-start-period": _health("StartPeriod", read.duration),
    "health-timeout": _health("Timeout", read.duration),
    "help": _refused("it is no option of a run", takes_value=False),
    "hostname": _scalar("hostname"),
    "init": _switch("init"),
    "interactive": _refused("stdin is the plugin's lifeline of the container", takes_value=False),
    "io-maxbandwidth": _refused(_WINDOWS),
    "io-maxiops": _refused(_WINDOWS),
    "ip": _refused(_ADDRESS),
    "ip6": _refused(_ADDRESS),
    "ipc": _scalar("ipc", read.choice("host", "none", "private", "shareable", prefixes=("container:",))),
    "isolation": _refused(_WINDOWS),
    "kernel-memory": _refused("kernels and engines have dropped it"),
    "label": _map("labels", read.label),
    "label-file": _refused("use --label"),
    "link": _refused("legacy links are not supported; use --network"),
    "link-local-ip": _refused(_ADDRESS),
    "log-driver": _ignored("the plugin writes the log itself"),
    "log-opt": _ignored("the plugin writes the log itself"),
    "mac-address": _scalar("mac_address"),
    "memory": _scalar("memory", read.size),
    "memory-reservation": _scalar("memory_reservation", read.size),
    "memory-swap": _scalar("memory_swap", read.size_or_unlimited),
    "memory-swappiness": _host("MemorySwappiness", read.integer(-1, 100)),
    "mount": Flag(_mount),
    "name": _refused("the plugin gives every container a name of its own"),
    "network": _scalar("network"),
    "network-alias": _refused("network aliases are not supported"),
    "no-healthcheck": Flag(_no_healthcheck, takes_value=False),
    "oom-kill-disable": _host("OomKillDisable", read.boolean, takes_value=False),
    "oom-score-adj": _scalar("oom_score_adj", read.integer(-1000, 1000)),
    "pid": _scalar("pid", read.choice("host", prefixes=("container:",))),
    "pids-limit": _scalar("pids_limit", read.integer(-1)),
    "platform": _scalar("platform"),
    "privileged": _switch("privileged"),
    "publish": _list("publish", read.publish),
    "publish-all": _host("PublishAllPorts", read.boolean, takes_value=False),
    "pull": _ignored("the image is there already"),
    "quiet": _ignored("the plugin pulls images itself", takes_value=False),
    "read-only": _switch("read_only"),
    "restart": Flag(_restart),
    "rm": _refused(
        "the plugin always removes the container; use --mad-keep-alive to keep it", takes_value=False
    ),
    "runtime": _scalar("runtime"),
    "security-opt": Flag(_security),
    "shm-size": _scalar("shm_size", read.size),
    "sig-proxy": _ignored("the plugin stops the container itself", takes_value=False),
    "stop-signal": _ignored("the plugin stops the container itself"),
    "stop-timeout": _ignored("the plugin stops the container itself"),
    "storage-opt": _map("storage_opt"),
    "sysctl": _map("sysctls"),
    "tmpfs": _map("tmpfs", read.tmpfs),
    "tty": _refused("the log is a plain stream, not a terminal", takes_value=False),
    "ulimit": _map("ulimits", read.ulimit),
    "use-api-socket": _refused("the docker socket is never given to a run", takes_value=False),
    "user": _scalar("user"),
    "userns": _scalar("userns", read.choice("host", "private")),
    "uts": _scalar("uts", read.choice("host")),
    "volume": Flag(lambda found, value: found.mounts.append(read.volume(value))),
    "volume-driver": _host("VolumeDriver", read.text),
    "volumes-from": _list("volumes_from"),
    "workdir": _ignored("the run line starts in the model directory"),
}
SYNONYMS: Final = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}
SHORT: Final = {
    "a": "attach",
    "c": "cpu-shares",
    "d": "detach",
    "e": "env",
    "h": "hostname",
    "i": "interactive",
    "l": "label",
    "m": "memory",
    "p": "publish",
    "P": "publish-all",
    "q": "quiet",
    "t": "tty",
    "u": "user",
    "v": "volume",
    "w": "workdir",
}
