"""Whose GPU a session uses and names, on hosts made of a fake nvidia-smi."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

UUID = "GPU-0000000{}-1111-2222-3333-444444444444"
SMI = """#!/bin/sh
case "$*" in
-L) printf '%s' "{listing}" ;;
*index,uuid,pci.bus_id*) printf '%s' "{query}" ;;
*-i*) eval "last=\\${{$#}}"; sed -n "s/^GPU $last: \\(.*\\) (UUID.*/\\1/p" "{place}/listing" ;;
*memory.used*|*compute-apps*) ;;
*) exit 9 ;;
esac
"""


@pytest.fixture
def nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``nvidia({0: "A", 2: "B"})``: a host with these GPUs, on PATH."""

    def make(gpus: dict[int, str]) -> None:
        listing = "".join(
            f"GPU {index}: {name} (UUID: {UUID.format(index)})\n" for index, name in gpus.items()
        )
        query = "".join(f"{index}, {UUID.format(index)}, 00000000:0{index}:00.0\n" for index in gpus)
        (tmp_path / "listing").write_text(listing)
        tool = tmp_path / "nvidia-smi"
        tool.write_text(SMI.format(listing=listing, query=query, place=tmp_path))
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
            monkeypatch.delenv(name, raising=False)

    return make


ECHO = 'echo "performance: 1 x"; echo "IN: $MAD_SYSTEM_GPU_ARCHITECTURE"'


def test_the_leased_gpu_is_recorded(repo: Any, nvidia: Any) -> None:
    """faults 3.4: given GPUs 0, 2 and 3 of two kinds / then records and rows name what was leased."""
    nvidia({0: "NVIDIA A100-SXM4-40GB", 2: "NVIDIA H100", 3: "NVIDIA H100"})
    repo.model("all", ECHO, n_gpus="-1").model("one", n_gpus="1").model(
        "old", n_gpus="1", skip_gpu_arch="A100"
    )
    result = repo.run("--mad-tags", "demo")
    result.assert_outcomes(passed=3)
    records = {record["model"]: record for record in repo.records()}
    assert records["all"]["lease"]["gpus"] == [2, 3]
    assert [device["uuid"] for device in records["all"]["lease"]["devices"]] == [
        UUID.format(2),
        UUID.format(3),
    ]
    assert {record["host"]["gpu_product_name"] for record in records.values()} == {"NVIDIA H100"}
    assert {row["gpu_architecture"] for row in repo.rows()} == {"NVIDIA H100"}
    assert records["all"]["log_tail"][-1] == "IN: NVIDIA H100"
    result.stdout.fnmatch_lines(["*different kinds*models run on 2-3*"])


def test_another_kind_is_chosen_and_named(repo: Any, nvidia: Any) -> None:
    """faults 3.4: given --mad-gpus of the other kind / then that is leased, named, and skipped by name."""
    nvidia({0: "NVIDIA A100-SXM4-40GB", 2: "NVIDIA H100", 3: "NVIDIA H100"})
    repo.model("one", n_gpus="1").model("old", n_gpus="1", skip_gpu_arch="A100")
    repo.run("--mad-tags", "demo", "--mad-gpus", "0").assert_outcomes(passed=1, skipped=1)
    records = {record["model"]: record for record in repo.records()}
    assert records["one"]["lease"]["gpus"] == [0]
    assert records["one"]["host"]["gpu_architecture"] == "NVIDIA A100-SXM4-40GB"
