"""Models that are not run, contract 7.5 and 10.9."""

from __future__ import annotations

import pytest
from plan_samples import context, facts, model, settings
from pytest_madengine.plan.skips import skip_reason


@pytest.mark.parametrize(
    ("unsupported", "vendor", "detected", "name"),
    [
        ("gfx908, gfx942", "AMD", "gfx942", "gfx942"),
        ("gfx94", "AMD", "gfx942", ""),
        ("A100, H100", "NVIDIA", "NVIDIA H100 80GB HBM3", "H100"),
        ("A100", "NVIDIA", "NVIDIA A100-SXM4-40GB", "A100"),
        ("H100", "NVIDIA", "NVIDIA H100 PCIe", "H100"),
    ],
)
def test_contract_10_9_architectures(unsupported: str, vendor: str, detected: str, name: str) -> None:
    """Contract 10.9; defects 16 and 44: a reason in these words."""
    entry = model(skip_gpu_arch=unsupported)
    chosen = context(host=facts(vendor, architecture=detected))
    expected = f"Skipping model dummy as it is not supported on {name} architecture." if name else ""
    assert skip_reason(entry, chosen, settings()) == expected
    assert skip_reason(entry, chosen, settings(disable_skip_gpu_arch=True)) == ""


def test_contract_10_9_no_architecture() -> None:
    """Contract 10.9: `gfx942` with nothing detected is not skipped for its architecture."""
    entry = model(skip_gpu_arch="gfx942", n_gpus=0)
    assert skip_reason(entry, context(host=facts("CPU", 0)), settings()) == ""


def test_deprecated() -> None:
    """Defect 16: given a deprecated model / when it is selected / then it is skipped with this reason."""
    entry = model(deprecated=True)
    assert skip_reason(entry, context(), settings()) == "Model dummy has been deprecated."
    assert skip_reason(entry, context(), settings(ignore_deprecated=True)) == ""


@pytest.mark.parametrize(
    ("need", "cpu", "skipped"), [(1, False, True), (-1, False, True), (0, False, False), (1, True, False)]
)
def test_contract_7_5_host_without_gpu(need: int, cpu: bool, skipped: bool) -> None:
    """Contract 7.5."""
    reason = skip_reason(model(n_gpus=need), context(host=facts("CPU", 0)), settings(cpu=cpu))
    text = f"host has no GPU (n_gpus={need}); use --mad-cpu to run without devices"
    assert reason == (text if skipped else "")


def test_remote_nodes_have_their_own_gpus() -> None:
    assert skip_reason(model(), context(host=facts("CPU", 0)), settings(executor="slurm")) == ""
