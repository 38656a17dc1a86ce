"""Values of docker run flags, read as the docker command line reads them.

Every function raises :class:`ValueError` with a short reason; ``docker_flags`` adds the flag's name.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from pytest_madengine.plan.runplan import Device, Mount

_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) ?([kmgtp]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_UNITS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION: Final = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_ULIMITS: Final = frozenset(
    {"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"}
    | {"rtprio", "rttime", "sigpending", "stack"}
)
_PROPAGATION: Final = ("shared", "rshared", "slave", "rslave", "private", "rprivate")
_BIND_OPTIONS: Final = frozenset(
    {"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent", *_PROPAGATION}
)
_VOLUME_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_PUBLISH: Final = re.compile(
    r"(?:(?:\[[0-9A-Fa-f:.]+\]|\d+(?:\.\d+){3}):)?(?:(?:\d+(?:-\d+)?)?:)?\d+(?:-\d+)?(?:/(?:tcp|udp|sctp))?",
    re.ASCII,
)
_EXPOSE: Final = re.compile(r"(\d+(?:-\d+)?)(?:/(tcp|udp|sctp))?", re.ASCII)


def text(value: str) -> str:
    """A text that is not empty and has no NUL."""
    if not value or "\0" in value:
        raise ValueError("needs a value")
    return value


def boolean(value: str) -> bool:
    """A boolean as Go's strconv.ParseBool reads it."""
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ValueError(f"{value!r} is not true or false")


def integer(least: int | None = None, most: int = 2**63 - 1) -> Callable[[str], int]:
    """A reader of whole numbers within limits."""

    def read(value: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,19}", value, re.ASCII):
            raise ValueError(f"{value!r} is not a whole number")
        number = int(value)
        if (least is not None and number < least) or number > most:
            raise ValueError(f"{value!r} is out of range")
        return number

    return read


def number(value: str) -> float:
    """A decimal above 0, e.g. of ``--cpus``."""
    if not re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", value, re.ASCII) or float(value) <= 0:
        raise ValueError(f"{value!r} is not a number above 0")
    return float(value)


def size(value: str) -> int:
    """Bytes of ``16G``, ``64m``, ``1.5gb``, ``1024``; units are powers of 1024, as docker has them."""
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size such as 512m or 16G")
    whole, _, fraction = match[1].partition(".")
    factor: int = 1024 ** _UNITS[match[2].lower()]
    number = int(whole) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)
    return _int64(number, value)


def size_or_unlimited(value: str) -> int:
    """A size, or -1 for none."""
    return -1 if value == "-1" else size(value)


def duration(value: str) -> int:
    """Nanoseconds of a Go duration such as ``1m30s``."""
    if value == "0":
        return 0
    parts = _DURATION.findall(value)
    if not parts or "".join(amount + unit for amount, unit in parts) != value:
        raise ValueError(f"{value!r} is not a duration such as 1m30s")
    return _int64(round(sum(Decimal(amount) * _NANOSECONDS[unit] for amount, unit in parts)), value)


def _int64(number: int, value: str) -> int:
    """A number as the engine takes it."""
    if number >= 2**63:
        raise ValueError(f"{value!r} is out of range")
    return number


def choice(*allowed: str, prefixes: tuple[str, ...] = ()) -> Callable[[str], str]:
    """A reader of one of some words, or of a word after a prefix such as ``container:``."""

    def read(value: str) -> str:
        if value in allowed or any(value.startswith(prefix) and value != prefix for prefix in prefixes):
            return value
        known = ", ".join([*allowed, *(f"{prefix}<name>" for prefix in prefixes)])
        raise ValueError(f"{value!r} is not one of {known}")

    return read


def pair(value: str) -> tuple[str, str]:
    """``key=value``; both must be there."""
    key, separator, rest = value.partition("=")
    if not key or not separator:
        raise ValueError(f"{value!r} is not of the form key=value")
    return key, rest


def label(value: str) -> tuple[str, str]:
    """``key`` or ``key=value``."""
    key, _, rest = value.partition("=")
    if key.startswith("pytest-madengine."):
        raise ValueError(f"{key!r} belongs to the plugin")
    return text(key), rest


def host(value: str) -> tuple[str, str]:
    """``name:address`` or ``name=address``; the address may be IPv6."""
    match = re.fullmatch(r"([^:=\s]+)[:=](\S+)", value)
    if match is None:
        raise ValueError(f"{value!r} is not of the form name:address")
    return match[1], match[2]


def ulimit(value: str) -> tuple[str, tuple[int, int]]:
    """``name=soft[:hard]``."""
    name, limits = pair(value)
    if name not in _ULIMITS:
        raise ValueError(f"{name!r} is not a ulimit")
    soft_text, separator, hard_text = limits.partition(":")
    soft = integer(-1)(soft_text)
    hard = integer(-1)(hard_text) if separator else soft
    if hard != -1 and (soft > hard or soft == -1):
        raise ValueError(f"soft limit {soft} is above hard limit {hard}")
    return name, (soft, hard)


def device(value: str) -> Device:
    """``host[:container[:permissions]]`` or ``host:permissions``."""
    parts = value.split(":")
    if len(parts) > 3 or not parts[0].startswith("/"):
        raise ValueError(f"{value!r} is not of the form /dev/a[:/dev/b[:rwm]]")
    path, target, permissions = parts[0], parts[0], "rwm"
    if len(parts) == 2 and _permissions(parts[1]):
        permissions = parts[1]
    elif len(parts) >= 2:
        target = parts[1] or parts[0]
        permissions = parts[2] if len(parts) == 3 else permissions
    if not target.startswith("/") or not _permissions(permissions):
        raise ValueError(f"{value!r} is not of the form /dev/a[:/dev/b[:rwm]]")
    return Device(path, target, permissions)


def _permissions(value: str) -> bool:
    return re.fullmatch(r"(?!.*(.).*\1)[rwm]{1,3}", value) is not None


def limit_device(convert: Callable[[str], int]) -> Callable[[str], dict[str, Any]]:
    """A reader of ``/dev/x:<limit>`` as the engine API wants it (``DeviceReadBps`` and the like)."""

    def read(value: str) -> dict[str, Any]:
        path, separator, rate = value.partition(":")
        if not path.startswith("/dev/") or not separator:
            raise ValueError(f"{value!r} is not of the form /dev/x:<limit>")
        return {"Path": path, "Rate": convert(rate)}

    return read


def weight_device(value: str) -> dict[str, Any]:
    """``/dev/x:<weight>``."""
    read: dict[str, Any] = limit_device(integer(0, 1000))(value)
    return {"Path": read["Path"], "Weight": read["Rate"]}


def gpus(value: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Value of ``--gpus``: device ids (or ``all``) and capabilities.

    A count cannot be expressed: which GPUs an item gets is decided by its lease.
    """
    fields = _csv(value)
    ids: list[str] = []
    capabilities: list[str] = []
    for entry in fields:
        key, separator, rest = entry.partition("=")
        if entry in {"all", "count=all", "count=-1", "-1"}:
            ids.append("all")
        elif separator and key == "device" and rest:
            ids += [part.strip() for part in rest.split(",") if part.strip()]
        elif separator and key == "capabilities" and rest:
            capabilities += [part.strip() for part in rest.split(",") if part.strip()]
        elif entry == "driver=nvidia":
            continue
        elif not separator and ids and "all" not in ids:
            ids.append(entry.strip())  # device=0,1 without the inner quotes
        else:
            raise ValueError(f"{entry!r} is not supported; give n_gpus in the model entry, or device=<ids>")
    return tuple(dict.fromkeys(filter(None, ids))), tuple(dict.fromkeys(capabilities))


def _csv(value: str) -> list[str]:
    try:
        rows = list(csv.reader([value], strict=True))
    except csv.Error as error:
        raise ValueError(f"{value!r}: {error}") from None
    if len(rows) != 1 or not rows[0] or not all(rows[0]):
        raise ValueError(f"{value!r} is not a comma separated list")
    return rows[0]


def volume(value: str) -> Mount:
    """``[source:]target[:options]`` of ``-v``."""
    parts = value.split(":")
    if len(parts) == 1:
        return Mount("", _absolute(parts[0]), read_only=False, origin="model")
    if len(parts) > 3:
        raise ValueError(f"{value!r} is not of the form source:target[:options]")
    options = [word for word in parts[2].split(",") if word] if len(parts) == 3 else []
    unknown = [word for word in options if word not in _BIND_OPTIONS]
    if unknown:
        raise ValueError(f"{value!r}: unknown mount option {unknown[0]!r}")
    rest = tuple(word for word in options if word not in {"ro", "rw"})
    return Mount(_source(parts[0]), _absolute(parts[1]), "ro" in options, "model", rest)


def _source(value: str) -> str:
    if value.startswith(("/", "./", "../")) or value in {".", ".."} or _VOLUME_NAME.fullmatch(value):
        return value
    raise ValueError(f"source {value!r} is neither an absolute path nor a volume name")


def _absolute(value: str) -> str:
    if not value.startswith("/") or "\0" in value:
        raise ValueError(f"target {value!r} is not an absolute path")
    return value


def mount(value: str) -> Mount | tuple[str, str]:
    """Value of ``--mount``: a mount, or target and options of a tmpfs."""
    given: dict[str, str] = {}
    for entry in _csv(value):
        key, separator, rest = entry.partition("=")
        given[_MOUNT_KEYS.get(key, key)] = rest if separator else "true"
    kind, target = given.pop("type", "volume"), _absolute(given.pop("target", ""))
    source = given.pop("source", "")
    if kind == "tmpfs":
        options = [f"size={size(given.pop('tmpfs-size'))}"] if "tmpfs-size" in given else []
        options += [f"mode={given.pop('tmpfs-mode')}"] if "tmpfs-mode" in given else []
        _none_left(given)
        return target, ",".join(options)
    if kind not in {"bind", "volume"}:
        raise ValueError(f"type {kind!r} is not supported; known are bind, volume and tmpfs")
    read_only = boolean(given.pop("readonly", "false"))
    extra = [choice(*_PROPAGATION)(given.pop("bind-propagation"))] if "bind-propagation" in given else []
    if "volume-nocopy" in given and boolean(given.pop("volume-nocopy")):
        extra.append("nocopy")
    given.pop("consistency", None)
    _none_left(given)
    if kind == "bind" and not source:
        raise ValueError("type bind needs a source")
    if source and (kind == "bind") != _source(source).startswith(("/", ".")):
        raise ValueError(f"source {source!r} does not fit type {kind}")
    return Mount(source, target, read_only, "model", tuple(extra))


_MOUNT_KEYS: Final = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}


def _none_left(given: dict[str, str]) -> None:
    if given:
        raise ValueError(f"key {next(iter(given))!r} is not supported")


def tmpfs(value: str) -> tuple[str, str]:
    """``/path[:options]``."""
    path, _, options = value.partition(":")
    return _absolute(path), options


def publish(value: str) -> str:
    """``[address:][host port]:port[/protocol]``."""
    if not _PUBLISH.fullmatch(value):
        raise ValueError(f"{value!r} is not of the form [address:][host port:]port[/protocol]")
    return value


def expose(value: str) -> tuple[str, dict[str, Any]]:
    """``port[/protocol]`` as a key of ``ExposedPorts``."""
    match = _EXPOSE.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not of the form port[/protocol]")
    return f"{match[1]}/{match[2] or 'tcp'}", {}


def security(value: str) -> str:
    """``--security-opt``; the deprecated ``name:value`` becomes ``name=value``."""
    key, separator, rest = value.partition("=") if "=" in value else value.partition(":")
    if key == "seccomp" and rest not in {"unconfined", "builtin"}:
        raise ValueError(
            f"{value!r}: seccomp profiles from files are not supported; unconfined and builtin are"
        )
    if key not in {"seccomp", "apparmor", "label", "no-new-privileges", "systempaths", "writable-cgroups"}:
        raise ValueError(f"{value!r} is not a security option")
    return f"{key}={rest}" if separator else key
