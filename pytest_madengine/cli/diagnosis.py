"""What ``doctor`` finds out: one JSON-like value of facts, and the problems with what to do about them."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from pytest_madengine.context.types import Gpu, HostFacts
from pytest_madengine.errors import MadError

#: Format of the JSON text; it changes when a field changes its meaning or goes.
SCHEMA: Final = 1
_PACKAGES: Final = ("pytest-madengine", "pytest", "pytest-xdist", "docker", "typer")
#: Less than this many bytes do not hold one large image.
_LITTLE_SPACE: Final = 20 << 30


#: Says what this user may do with a device node.
Access = Callable[[str], str]


@dataclass
class Diagnosis:
    """Facts by topic, in the order in which they are shown."""

    facts: dict[str, Any] = field(default_factory=lambda: {"schema": SCHEMA})
    problems: list[dict[str, str]] = field(default_factory=list)

    def problem(self, level: str, what: str, advice: str) -> None:
        """``error``: runs cannot work; ``warning``: some may not."""
        self.problems.append({"level": level, "what": what, "do": advice})

    @property
    def healthy(self) -> bool:
        """True when runs would work."""
        return all(problem["level"] != "error" for problem in self.problems)


def diagnose(
    environ: Mapping[str, str], results: Path, facts: HostFacts, access: Access | None = None
) -> Diagnosis:
    """Looks at this host; nothing is started or changed.

    :param results: the results directory that runs would use.
    :param facts: what detection found.
    """
    found = Diagnosis()
    found.facts["versions"] = _versions()
    found.facts["host"] = {
        "hostname": facts.hostname,
        "os": facts.host_os,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "uid": os.getuid(),
        "numa_balancing": facts.numa_balancing,
    }
    found.facts["gpus"] = _gpus(facts, environ, access or access_of, found)
    found.facts["leases"] = _leases(facts, environ, results, found)
    found.facts["engine"] = _engine(environ, facts, found)
    found.facts["builder"] = _builder(environ, found)
    found.facts["registries"] = registries(environ)
    found.facts["results"] = _results(results, found)
    return found


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "executable": sys.executable}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = ""
    return versions


def _gpus(facts: HostFacts, environ: Mapping[str, str], access: Access, found: Diagnosis) -> dict[str, Any]:
    from pytest_madengine.context.kinds import named_by
    from pytest_madengine.context.visibility import pool_of, variables, visible_gpus

    try:
        visible: tuple[int, ...] = visible_gpus(facts, environ)
    except MadError as error:
        visible = tuple(gpu.index for gpu in facts.gpus)
        found.problem("error", error.message, error.hint)
    names = {name: environ[name] for name in variables(facts.gpu_vendor, environ)}
    if facts.gpus and not visible:
        text = ", ".join(f"{name}={value}" for name, value in names.items())
        found.problem("error", f"the environment leaves none of {facts.gpu_count} GPUs: {text}", "unset it")
    if not facts.gpus:
        found.problem(
            "warning",
            "no GPU was found: models that need one are skipped",
            "if there is one, check its driver (/dev/kfd, nvidia-smi -L, xpu-smi discovery)",
        )
    for text in named_by(facts, pool_of(facts, (), environ)).warnings:
        found.problem("warning", text, "see the GPUs above")
    return {
        "vendor": facts.gpu_vendor,
        "runtime": facts.runtime_version,
        "driver": facts.driver_version,
        "rocm_path": facts.rocm_path,
        "variables": names,
        "devices": _devices(facts, environ, visible, access, found),
    }


def _devices(
    facts: HostFacts, environ: Mapping[str, str], visible: tuple[int, ...], access: Access, found: Diagnosis
) -> list[dict[str, Any]]:
    from pytest_madengine.context.kinds import best_kind
    from pytest_madengine.context.visibility import pool_of, runtime_order

    used = {gpu.index for gpu in best_kind(pool_of(facts, (), environ))}
    order = [gpu.index for gpu in runtime_order(facts.gpus)]
    by_bus = [gpu.index for gpu in sorted(facts.gpus, key=lambda gpu: gpu.pci or gpu.identity)]
    return [
        {
            "index": gpu.index,
            "runtime_index": order.index(gpu.index),
            "bus_index": by_bus.index(gpu.index),
            "identity": gpu.identity,
            "uuid": gpu.uuid,
            "pci": gpu.pci,
            "architecture": gpu.architecture,
            "product": gpu.product_name,
            "integrated": gpu.integrated,
            "visible": gpu.index in visible,
            "used_by_default": gpu.index in used,
            **_node(gpu, access, found),
        }
        for gpu in facts.gpus
    ]


def _node(gpu: Gpu, access: Access, found: Diagnosis) -> dict[str, Any]:
    if gpu.render_minor is None:
        return {"node": "", "node_access": ""}
    path = f"/dev/dri/renderD{gpu.render_minor}"
    state = access(path)
    if state == "missing":
        found.problem("error", f"GPU {gpu.index}: {path} is missing", "load the driver, or pass the device")
    return {"node": path, "node_access": state}


def access_of(path: str) -> str:
    """``ok``, ``denied`` or ``missing``: what this user may do with a device."""
    if os.access(path, os.R_OK | os.W_OK):
        return "ok"
    return "denied" if Path(path).exists() else "missing"


def _leases(facts: HostFacts, environ: Mapping[str, str], results: Path, found: Diagnosis) -> dict[str, Any]:
    from pytest_madengine.scheduling.leases import GpuLeases
    from pytest_madengine.settings import Settings

    leases = GpuLeases(facts, Settings(results, results, results / "perf.csv", environ=dict(environ)))
    held: list[dict[str, Any]] = []
    try:
        for index, info in (leases.holders() or {}).items():
            keys = ("pid", "uid", "since", "session", "item")
            held.append({"gpu": index, **{key: info.get(key, "") for key in keys}})
    except MadError as error:
        found.problem("error", error.message, error.hint)
    return {"directory": str(leases.directory.path), "held": held}


def _engine(environ: Mapping[str, str], facts: HostFacts, found: Diagnosis) -> dict[str, Any]:

    from pytest_madengine.engine.client import connect
    from pytest_madengine.engine.endpoint import find_endpoint
    from pytest_madengine.secrets import Redactor

    result: dict[str, Any] = {"answers": False, "endpoint": "", "source": ""}
    try:
        endpoint = find_endpoint(environ)
        result |= {"endpoint": Redactor().text(endpoint.url), "source": endpoint.source}
        client = connect(environ)
    except MadError as error:
        found.problem("error", error.message, error.hint)
        return result
    try:
        client.api.timeout = 10
        info = client.info()
        result |= {
            "answers": True,
            "version": info.get("ServerVersion", ""),
            "storage": info.get("Driver", ""),
            "cgroup": info.get("CgroupVersion", ""),
            "runtimes": sorted(info.get("Runtimes") or {}),
            "rootless": any("rootless" in str(option) for option in info.get("SecurityOptions") or ()),
        }
    except OSError as error:
        found.problem(
            "error", f"the container engine does not answer: {error}", "check it with 'docker info'"
        )
    finally:
        client.close()
    if result["answers"] and facts.gpu_vendor == "NVIDIA" and "nvidia" not in result["runtimes"]:
        found.problem(
            "warning",
            "the engine lists no NVIDIA runtime",
            "install the NVIDIA container toolkit and restart the engine, if --gpus does not work",
        )
    return result


def _builder(environ: Mapping[str, str], found: Diagnosis) -> dict[str, Any]:
    from pytest_madengine.engine.cli import find_docker_cli

    try:
        client = find_docker_cli(environ)
    except MadError as error:
        found.problem("error", error.message, error.hint)
        return {"client": "", "version": "", "kind": "", "buildkit": False, "build_contexts": False}
    if not client.buildkit:
        found.problem(
            "warning",
            "this docker client cannot use BuildKit: build secrets and RUN --mount do not work",
            "install the buildx component",
        )
    return {
        "client": client.path,
        "version": client.version,
        "kind": client.kind,
        "buildkit": client.buildkit,
        "build_contexts": client.build_contexts,
    }


def registries(environ: Mapping[str, str]) -> list[str]:
    """Names of the registries for which the docker client has credentials; never the credentials."""
    home = environ.get("DOCKER_CONFIG") or f"{environ.get('HOME', '')}/.docker"
    try:
        value = json.loads(Path(home, "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    names: set[str] = set()
    for key in ("auths", "credHelpers"):
        part = value.get(key) if isinstance(value, dict) else None
        # A name may be an address with a password in it.
        names |= {name.rpartition("@")[2] for name in part} if isinstance(part, dict) else set()
    return sorted(names)


def _results(results: Path, found: Diagnosis) -> dict[str, Any]:
    place = results
    while not place.exists() and place != place.parent:
        place = place.parent
    writable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    if not writable:
        found.problem(
            "error",
            f"results cannot be written: {place} is not a directory this user may write",
            "give another one with --results-dir",
        )
    free = _quietly(lambda: shutil.disk_usage(place).free)
    if writable and 0 <= free < _LITTLE_SPACE:
        found.problem("warning", f"{place} has {free >> 30} GiB left", "make room, or choose another place")
    return {"directory": str(results), "exists": results.is_dir(), "writable": writable, "free_bytes": free}


def _quietly(ask: Callable[[], int]) -> int:
    try:
        return ask()
    except OSError:
        return -1
