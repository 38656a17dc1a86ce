"""Plan requests for the tests of the plan room, and the comparison with golden files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_madengine.catalog.model import Model, Parameter, Selected
from pytest_madengine.context.types import Context, Gpu, HostFacts
from pytest_madengine.plan.builder import HostAbilities, PlanRequest
from pytest_madengine.plan.runplan import Image, Lease
from pytest_madengine.plan.tools import ToolsConfig, load_tools
from pytest_madengine.settings import Settings

GOLDEN = Path(__file__).with_name("golden")
ROOT = Path("/srv/mad")

BUILTIN = {
    "tools": {
        "test_tools_A": {
            "pre_scripts": [{"path": "scripts/common/test_echo.sh", "args": "pre_script A"}],
            "cmd": "echo cmd_A && ",
            "post_scripts": [{"path": "scripts/common/test_echo.sh", "args": "post_script A"}],
        },
        "test_tools_B": {
            "pre_scripts": [{"path": "scripts/common/test_echo.sh", "args": "pre_script B"}],
            "cmd": "echo cmd_B && ",
            "post_scripts": [{"path": "scripts/common/test_echo.sh", "args": "post_script B"}],
        },
        "rocprof": {"cmd": "bash ../scripts/common/tools/rocprof_wrapper.sh --runtime-trace --"},
        "rocprofv3": {"cmd": "rocprofv3 --runtime-trace --", "env_vars": {"RCCL_DEBUG": "INFO"}},
        "rocm_trace_lite": {"cmd": "bash ../scripts/common/tools/rtl_trace_wrapper.sh "},
        "miopen_trace": {
            "cmd": "python3 ../scripts/common/tools/get_library_trace.py",
            "env_vars": {"MIOPEN_TRACE": "1"},
        },
        "rccl_trace": {
            "cmd": "python3 ../scripts/common/tools/get_library_trace.py",
            "env_vars": {"RCCL_TRACE": "1"},
        },
        "gpu_info_power_profiler": {
            "cmd": "",
            "env_vars": {"POWER_DEVICE": "all", "POWER_OUTPUT_FILE": "power.csv"},
        },
    }
}


def facts(
    vendor: str = "AMD", count: int = 8, *, architecture: str = "", simulated: bool = False
) -> HostFacts:
    """A host with some GPUs."""
    names = {"AMD": "gfx942", "NVIDIA": "NVIDIA H100 80GB HBM3", "INTEL": "0x0bd5", "CPU": ""}
    gpus = tuple(Gpu(index, f"0000:{index:02x}:00.0", 128 + 8 * index) for index in range(count))
    return HostFacts(
        host_os="HOST_UBUNTU",
        gpu_vendor=vendor,
        gpus=gpus,
        gpu_architecture=architecture or names[vendor],
        gpu_product_name="Example" if count else "",
        runtime_version="6.4" if count else "",
        simulated=simulated,
    )


def context(
    values: Mapping[str, Any] | None = None,
    *,
    host: HostFacts | None = None,
    origin: str = "string",
    origins: Mapping[str, str] | None = None,
) -> Context:
    """A context whose user values have one origin; detected values are added as detection adds them."""
    host = host or facts()
    detected: dict[str, Any] = {"gpu_vendor": host.gpu_vendor}
    if host.gpus:
        detected["docker_gpus"] = f"0-{host.gpu_count - 1}"
    found = f"detected:{host.gpu_vendor.lower()}"
    given = dict(values or {})
    where = dict.fromkeys(detected, found) | dict.fromkeys(given, origin) | dict(origins or {})
    variables = {
        "MAD_GPU_VENDOR": given.get("gpu_vendor", host.gpu_vendor),
        "MAD_SYSTEM_NGPUS": str(host.gpu_count),
        "MAD_SYSTEM_GPU_ARCHITECTURE": host.gpu_architecture,
        "MAD_SYSTEM_GPU_PRODUCT_NAME": host.gpu_product_name,
        "MAD_SYSTEM_HIP_VERSION": host.runtime_version,
    }
    for name in variables:
        where.setdefault(f"docker_env_vars.{name}", found)
    own = given.get("docker_env_vars", {})
    for name in own:
        where[f"docker_env_vars.{name}"] = (origins or {}).get(f"docker_env_vars.{name}", origin)
    return Context({**detected, **given, "docker_env_vars": {**variables, **own}}, where, host)


def settings(**changes: Any) -> Settings:
    """Settings of a session in the MAD root."""
    base = Settings(root=ROOT, results_dir=ROOT / "mad-results", output=ROOT / "perf.csv")
    return replace(base, **changes)


def model(name: str = "dummy", **changes: Any) -> Model:
    """A model as the catalog gives it."""
    scope = name.partition("/")[0] if "/" in name else ""
    values: dict[str, Any] = {
        "dockerfile": "docker/dummy",
        "scripts": "scripts/dummy/run.sh",
        "scope": scope,
        **changes,
    }
    return Model(name, **values)


def request(
    entry: Model | None = None,
    given: Mapping[str, Any] | None = None,
    *,
    parameters: Mapping[str, str | None] | None = None,
    **changes: Any,
) -> PlanRequest:
    """A plan request for AMD, one GPU, nothing else; ``given`` is the user's context."""
    entry = entry or model()
    chosen = tuple(Parameter(key, value) for key, value in (parameters or {}).items())
    values: dict[str, Any] = {
        "selected": Selected(entry, chosen),
        "item_id": f"models.json::{entry.name}",
        "run_id": "20261123T210000Z-1a2b",
        "base": "dummy.ubuntu.amd",
        "image": Image(
            "ci-dummy_dummy.ubuntu.amd",
            id="sha256:" + "0" * 64,
            dockerfile="docker/dummy.ubuntu.amd.Dockerfile",
            base_docker="rocm/pytorch:latest",
        ),
        "context": context(given),
        "settings": settings(),
        "lease": Lease(gpus=(0,)),
        "path_exists": lambda path: not path.endswith("/."),
        "container_suffix": "9a0b1c2d",
        "tools": tools_config(),
        "root_entries": (".git", "credential.json", "docker", "mad-results", "models.json", "scripts"),
        "host": HostAbilities(fuse=True, groups=frozenset({"video", "render"})),
        "owner": (1000, 1000),
        "environ": {"HOME": "/home/user"},
        "labels": {"pytest-madengine.model": entry.name},
        **changes,
    }
    return PlanRequest(**values)


def tools_config(repo_text: str | None = None) -> ToolsConfig:
    """The tools of these tests."""
    return load_tools(BUILTIN, repo_text, "scripts/common/tools.json")


def check_golden(name: str, text: str) -> None:
    """Compares a text with ``golden/<name>.txt``; UPDATE_GOLDEN=1 writes it."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
