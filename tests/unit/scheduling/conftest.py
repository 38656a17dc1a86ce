"""Hosts, settings and lock directories of the scheduling tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.context.types import Gpu, HostFacts
from pytest_madengine.scheduling.leases import GpuLeases
from pytest_madengine.settings import Settings


def host(count: int = 8, vendor: str = "AMD", **fields: Any) -> HostFacts:
    """A host with GPUs at made-up PCI addresses."""
    gpus = tuple(
        Gpu(index, f"0000:{index:02x}:00.0", 128 + index, f"GPU-{index}{'ab' * 8}") for index in range(count)
    )
    return HostFacts(gpu_vendor=vendor, gpus=gpus, **{"simulated": True, **fields})


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings that keep their locks in the test's directory."""

    def make(**fields: Any) -> Settings:
        environ = {"MAD_GPU_LOCK_DIR": str(tmp_path / "locks"), **fields.pop("environ", {})}
        return Settings(tmp_path, tmp_path / "results", tmp_path / "perf.csv", environ=environ, **fields)

    return make


@pytest.fixture
def make_leases(make_settings: Callable[..., Settings]) -> Callable[..., GpuLeases]:
    """Leases on a host of 8 GPUs; each call is like another session on the same host."""

    def make(
        facts: HostFacts | None = None,
        cpus: tuple[int, ...] | None = None,
        sleep: Callable[[float], None] | None = None,
        **fields: Any,
    ) -> GpuLeases:
        def never(seconds: float) -> None:
            raise AssertionError("waits although it should not")

        return GpuLeases(facts or host(), make_settings(**fields), cpus=cpus, sleep=sleep or never)

    return make


@pytest.fixture
def make_host() -> Callable[..., HostFacts]:
    """The function :func:`host`."""
    return host
