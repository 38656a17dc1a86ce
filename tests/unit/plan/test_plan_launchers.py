"""Launchers, contract section 15."""

from __future__ import annotations

from typing import Any

import pytest
from plan_samples import context, model
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.launchers import (
    LAUNCHERS,
    NodeLayout,
    canonical_launcher,
    disaggregation_split,
    in_job,
    launcher_of,
    launcher_variables,
    local_runner,
    master_port,
    multi_node,
    primus_backend,
)


@pytest.mark.parametrize("launcher", ["", "torchrun", "torchtitan", "megatron-lm"])
@pytest.mark.parametrize("count", [8, 1])
def test_contract_15_1_torchrun(launcher: str, count: int) -> None:
    """Contract 15.1, first row."""
    assert local_runner(launcher, count) == f"torchrun --standalone --nproc_per_node={count}"


def test_contract_15_1_others() -> None:
    """Contract 15.1, other rows; without a GPU one process is started."""
    assert local_runner("deepspeed", 8) == "deepspeed --num_gpus=8"
    assert local_runner("deepspeed", 1) == "deepspeed --num_gpus=1"
    assert [local_runner(name, 8) for name in ("vllm", "sglang", "sglang-disagg", "primus")] == [""] * 4
    assert local_runner("", 0) == "torchrun --standalone --nproc_per_node=1"


def test_names_and_aliases() -> None:
    assert [canonical_launcher(name) for name in LAUNCHERS] == list(LAUNCHERS)
    aliases = {"sglang_disagg": "sglang-disagg", "slurm-multi": "slurm_multi", "megatron": "megatron-lm"}
    aliases |= {"megatron_lm": "megatron-lm", "docker": "", "native": "", "": ""}
    assert {name: canonical_launcher(name) for name in aliases} == aliases


def test_unknown_launcher() -> None:
    """Defect 68: given a misspelt launcher / when planning / then an error with did-you-mean."""
    with pytest.raises(ConfigError, match="unknown launcher 'torchrn'") as caught:
        canonical_launcher("torchrn")
    assert "'torchrun'" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "own", "environ", "expected"),
    [
        ({"launcher": "vllm"}, {"launcher": "primus"}, {"MAD_LAUNCHER": "sglang"}, "vllm"),
        (None, {"launcher": "primus"}, {"MAD_LAUNCHER": "sglang"}, "primus"),
        ({"nnodes": 2}, {}, {"MAD_LAUNCHER": "sglang"}, "sglang"),
        (None, {}, {"MAD_LAUNCHER_TYPE": "sglang"}, ""),
        (None, {}, {"MAD_LAUNCHER_TYPE": "sglang", "MAD_IN_SLURM_JOB": "1"}, "sglang"),
        (None, {}, {}, ""),
    ],
)
def test_contract_15_1_source(given: Any, own: Any, environ: dict[str, str], expected: str) -> None:
    """Contract 15.1: context > model > environment."""
    chosen = context({} if given is None else {"distributed": given})
    assert launcher_of(model(distributed=own), chosen, environ) == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"MAD_DEPLOYMENT_TYPE": "local"}, False),
        ({"MAD_DEPLOYMENT_TYPE": "slurm"}, True),
        ({"MAD_K8S_JOB": "true"}, True),
    ],
)
def test_in_job(environ: dict[str, str], expected: bool) -> None:
    assert in_job(environ) is expected


_TORCH = "torchrun --nproc_per_node {} --nnodes {} --node_rank {} --master_addr {} --master_port {}"


@pytest.mark.parametrize(
    ("given", "count", "expected"),
    [
        ({}, 4, "NCCL_SOCKET_IFNAME= GLOO_SOCKET_IFNAME= " + _TORCH.format(4, 1, 0, "localhost", 6006)),
        (
            {
                "RUNNER": "torchrun",
                "MASTER_ADDR": "10.0.0.1",
                "MASTER_PORT": "400",
                "NNODES": "2",
                "NODE_RANK": "1",
            },
            8,
            "NCCL_SOCKET_IFNAME= GLOO_SOCKET_IFNAME= " + _TORCH.format(8, 2, 1, "10.0.0.1", 400),
        ),
        (
            {"NCCL_SOCKET_IFNAME": "ens1", "GLOO_SOCKET_IFNAME": "ens1"},
            2,
            "NCCL_SOCKET_IFNAME=ens1 GLOO_SOCKET_IFNAME=ens1 " + _TORCH.format(2, 1, 0, "localhost", 6006),
        ),
        (
            {"RUNNER": "mpirun", "NNODES": "2", "HOST_LIST": "a:8,b:8"},
            8,
            "NCCL_SOCKET_IFNAME= GLOO_SOCKET_IFNAME= mpirun -np 16 --host a:8,b:8",
        ),
        ({"RUNNER": "mpirun"}, 8, "NCCL_SOCKET_IFNAME= GLOO_SOCKET_IFNAME= mpirun -np 8 --host localhost:8"),
        (
            {"RUNNER": "mpirun", "NNODES": 2, "MAD_RUNTIME_NGPUS": 4, "HOST_LIST": "a"},
            8,
            "NCCL_SOCKET_IFNAME= GLOO_SOCKET_IFNAME= mpirun -np 8 --host a",
        ),
    ],
)
def test_contract_15_2_vectors(given: dict[str, Any], count: int, expected: str) -> None:
    """Contract 15.2; defect 54: partial objects, text counts, the GPUs of the item."""
    assert multi_node(given, count).runner == expected


@pytest.mark.parametrize(
    "given",
    [
        {"NNODS": 1},
        {"RUNNER": "srun"},
        {"NNODES": "two"},
        {"NNODES": 0},
        {"NODE_RANK": -1},
        {"MASTER_PORT": ""},
    ],
)
def test_contract_15_2_errors(given: dict[str, Any]) -> None:
    """Contract 15.2: unknown keys or another RUNNER are errors."""
    with pytest.raises(ConfigError, match=next(iter(given))):
        multi_node(given, 1)


@pytest.mark.parametrize(
    ("nodes", "explicit", "expected"),
    [
        (2, (None, None), (1, 1)),
        (3, (None, None), (1, 1)),
        (4, (None, None), (1, 2)),
        (6, (None, None), (2, 3)),
        (11, (None, None), (4, 6)),
        (6, (3, 2), (3, 2)),
        (6, (3, None), (3, 2)),
        (6, (None, 2), (3, 2)),
    ],
)
def test_contract_15_3_split(nodes: int, explicit: tuple[Any, Any], expected: tuple[int, int]) -> None:
    """Contract 15.3, table of the sglang-disagg split."""
    assert disaggregation_split(nodes, *explicit) == expected


@pytest.mark.parametrize(("nodes", "explicit"), [(6, (3, 3)), (1, (None, None)), (6, (5, None))])
def test_contract_15_3_split_errors(nodes: int, explicit: tuple[Any, Any]) -> None:
    """Contract 15.3: 6 (3, 3) and one node are errors."""
    with pytest.raises(PlanError, match="sglang-disagg"):
        disaggregation_split(nodes, *explicit)


_MANY = (
    "torchrun --nnodes=2 --nproc_per_node=8 --node_rank=${NODE_RANK} "
    "--master_addr=${MASTER_ADDR} --master_port=29500"
)
_ONE = "torchrun --standalone --nproc_per_node=8"


@pytest.mark.parametrize(
    ("launcher", "nodes", "platform", "expected"),
    [
        ("torchrun", 1, "slurm", {"MAD_MULTI_NODE_RUNNER": _ONE}),
        ("torchrun", 2, "slurm", {"MAD_MULTI_NODE_RUNNER": _MANY}),
        (
            "torchtitan",
            1,
            "slurm",
            {
                "TORCHTITAN_TENSOR_PARALLEL_SIZE": "8",
                "TORCHTITAN_PIPELINE_PARALLEL_SIZE": "1",
                "MAD_MULTI_NODE_RUNNER": _ONE,
            },
        ),
        (
            "torchtitan",
            2,
            "slurm",
            {
                "TORCHTITAN_TENSOR_PARALLEL_SIZE": "8",
                "TORCHTITAN_PIPELINE_PARALLEL_SIZE": "2",
                "TORCHTITAN_FSDP_ENABLED": "1",
                "TORCHTITAN_CONTEXT_PARALLEL_SIZE": "1",
                "MAD_MULTI_NODE_RUNNER": _MANY,
            },
        ),
        (
            "megatron-lm",
            1,
            "slurm",
            {
                "TENSOR_MODEL_PARALLEL_SIZE": "8",
                "PIPELINE_MODEL_PARALLEL_SIZE": "1",
                "CONTEXT_PARALLEL_SIZE": "1",
                "MAD_MULTI_NODE_RUNNER": _ONE,
            },
        ),
        (
            "megatron-lm",
            2,
            "slurm",
            {
                "TENSOR_MODEL_PARALLEL_SIZE": "8",
                "PIPELINE_MODEL_PARALLEL_SIZE": "2",
                "CONTEXT_PARALLEL_SIZE": "1",
                "MAD_MULTI_NODE_RUNNER": _MANY,
            },
        ),
        ("deepspeed", 1, "slurm", {"MAD_MULTI_NODE_RUNNER": "deepspeed --num_gpus=8"}),
        (
            "deepspeed",
            2,
            "slurm",
            {
                "MAD_MULTI_NODE_RUNNER": "deepspeed --hostfile=hostfile "
                "--master_addr=${MASTER_ADDR} --master_port=29500"
            },
        ),
        (
            "vllm",
            1,
            "slurm",
            {
                "VLLM_TENSOR_PARALLEL_SIZE": "8",
                "VLLM_PIPELINE_PARALLEL_SIZE": "1",
                "VLLM_DISTRIBUTED_BACKEND": "auto",
                "MAD_MULTI_NODE_RUNNER": "",
            },
        ),
        (
            "sglang",
            2,
            "slurm",
            {
                "SGLANG_TENSOR_PARALLEL_SIZE": "8",
                "SGLANG_PIPELINE_PARALLEL_SIZE": "1",
                "MAD_MULTI_NODE_RUNNER": "",
            },
        ),
        (
            "sglang-disagg",
            4,
            "slurm",
            {
                "SGLANG_DISAGG_MODE": "enabled",
                "SGLANG_DISAGG_PREFILL_NODES": "1",
                "SGLANG_DISAGG_DECODE_NODES": "2",
                "SGLANG_DISAGG_TOTAL_NODES": "4",
                "SGLANG_TP_SIZE": "8",
                "SGLANG_NODE_IPS": "",
                "SGLANG_NODE_RANK": "${NODE_RANK}",
                "MAD_MULTI_NODE_RUNNER": "",
            },
        ),
        (
            "primus",
            1,
            "slurm",
            {"PRIMUS_CONFIG_PATH": "exp_pretrain.yaml", "PRIMUS_CLI_EXTRA": "", "MAD_MULTI_NODE_RUNNER": ""},
        ),
    ],
)
def test_contract_15_3_variables(launcher: str, nodes: int, platform: str, expected: dict[str, str]) -> None:
    """Contract 15.3."""
    assert launcher_variables(launcher, NodeLayout(nodes, 8, platform)) == expected


@pytest.mark.parametrize(("platform", "backend"), [("slurm", "none"), ("kubernetes", "ray")])
def test_contract_15_3_vllm_backend(platform: str, backend: str) -> None:
    """Contract 15.3: one server per node on Slurm, one Ray cluster on Kubernetes."""
    found = launcher_variables("vllm", NodeLayout(2, 8, platform))
    assert (found["VLLM_DISTRIBUTED_BACKEND"], found["VLLM_PIPELINE_PARALLEL_SIZE"]) == (backend, "1")


def test_contract_15_3_primus_on_nodes() -> None:
    """Contract 15.3: rank and address variables on several nodes; a config of the block."""
    layout = NodeLayout(2, 8, distributed={"primus": {"config_path": "a.yaml", "backend": "x"}})
    found = launcher_variables("primus", layout)
    assert found["PRIMUS_CONFIG_PATH"] == "a.yaml"
    assert (found["BACKEND"], found["NNODES"], found["NODE_RANK"]) == ("x", "2", "${NODE_RANK}")


@pytest.mark.parametrize("value", [True, "x", -1])
def test_disagg_counts_that_are_none(value: Any) -> None:
    with pytest.raises(PlanError, match="prefill_nodes"):
        launcher_variables(
            "sglang-disagg", NodeLayout(4, 8, distributed={"sglang_disagg": {"prefill_nodes": value}})
        )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("primus_pretrain/maxtext_llama", "MaxText"),
        ("primus_pretrain/torchtitan_x", "torchtitan"),
        ("primus_pretrain/megatron_x", "megatron"),
        ("primus_pretrain/megatron_bridge_x", "megatron_bridge"),
        ("primus_pretrain/moe_package_x", "moe_package"),
        ("primus_pretrain/other_x", ""),
        ("megatron_x", ""),
    ],
)
def test_contract_15_3_primus_backend(name: str, expected: str) -> None:
    """Contract 15.3: BACKEND from the model name."""
    assert primus_backend(name, {}) == expected


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 29500), ({"port": "400", "master_port": 1}, 400), ({"master_port": 7}, 7)]
)
def test_port(given: dict[str, Any], expected: int) -> None:
    assert master_port(given) == expected


@pytest.mark.parametrize("value", [0, 65536, "x", True])
def test_port_that_is_none(value: Any) -> None:
    with pytest.raises(ConfigError, match="port"):
        master_port({"port": value})
