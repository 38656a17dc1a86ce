"""Launchers and the variables they need (contract section 15)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_madengine.catalog.model import Model
from pytest_madengine.context.host import in_job
from pytest_madengine.context.types import Context
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.wording import as_text, did_you_mean

LAUNCHERS: Final = (
    "torchrun",
    "torchtitan",
    "deepspeed",
    "megatron-lm",
    "primus",
    "vllm",
    "sglang",
    "sglang-disagg",
    "slurm_multi",
)
_ALIASES: Final = {
    "sglang_disagg": "sglang-disagg",
    "slurm-multi": "slurm_multi",
    "megatron": "megatron-lm",
    "megatron_lm": "megatron-lm",
    "docker": "",
    "native": "",
}
#: Launchers whose model script starts the processes itself: the runner variable is set, but empty.
_SELF_STARTING: Final = frozenset({"vllm", "sglang", "sglang-disagg", "primus", "slurm_multi"})
DEFAULT_PORT: Final = 29500

_MULTI_NODE_DEFAULTS: Final = {
    "NNODES": "1",
    "NODE_RANK": "0",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "6006",
    "HOST_LIST": "",
    "NCCL_SOCKET_IFNAME": "",
    "GLOO_SOCKET_IFNAME": "",
}
_MULTI_NODE_KEYS: Final = ("RUNNER", "MAD_RUNTIME_NGPUS", *_MULTI_NODE_DEFAULTS)
#: Least value of the numbers of ``multi_node_args``.
_NUMBERS: Final = {"MAD_RUNTIME_NGPUS": 0, "NNODES": 1, "NODE_RANK": 0, "MASTER_PORT": 1}


def canonical_launcher(name: str) -> str:
    """The canonical name of a launcher; empty for none (``docker``, ``native``).

    :raises ConfigError: no such launcher.
    """
    word = name.strip()
    if not word or word in LAUNCHERS:
        return word
    if word in _ALIASES:
        return _ALIASES[word]
    raise ConfigError(
        f"unknown launcher {name!r}; known are {', '.join(LAUNCHERS)}",
        hint=did_you_mean(word, (*LAUNCHERS, *_ALIASES)),
    )


def launcher_of(model: Model, context: Context, environ: Mapping[str, str]) -> str:
    """The launcher of an item: context, model, environment; empty for none.

    :raises ConfigError: no such launcher.
    """
    block = context.get("distributed")
    given = block.get("launcher") if isinstance(block, Mapping) else None
    given = given or model.distributed.get("launcher")
    if not given and in_job(environ):
        given = environ.get("MAD_LAUNCHER_TYPE")
    return canonical_launcher(str(given or environ.get("MAD_LAUNCHER", "")))


def local_runner(launcher: str, gpus: int) -> str:
    """``MAD_MULTI_NODE_RUNNER`` of a run on one node (contract 15.1).

    :param launcher: canonical name.
    :param gpus: GPUs of this item; at least one process is started.
    """
    count = max(1, gpus)
    if launcher in _SELF_STARTING:
        return ""
    if launcher == "deepspeed":
        return f"deepspeed --num_gpus={count}"
    return f"torchrun --standalone --nproc_per_node={count}"


@dataclass(frozen=True)
class MultiNode:
    """``multi_node_args`` of v1, completed (contract 15.2)."""

    runner: str
    #: ``NNODES``, ``NODE_RANK``, ... without the ``MAD_MULTI_NODE_`` prefix.
    variables: Mapping[str, str]
    nodes: int = 1


def multi_node(given: Mapping[str, Any], gpus: int) -> MultiNode:
    """Completes ``multi_node_args`` and writes the runner line.

    :param gpus: GPUs of this item.
    :raises ConfigError: an unknown key, another runner, or a number that is none.
    """
    for key in given:
        if key not in _MULTI_NODE_KEYS and not str(key).startswith("_"):
            raise ConfigError(
                f"context: multi_node_args has the unknown key {key!r}",
                hint=did_you_mean(str(key), _MULTI_NODE_KEYS),
            )
    runner = as_text(given.get("RUNNER", "torchrun"))
    values = {key: as_text(given.get(key, default)).strip() for key, default in _MULTI_NODE_DEFAULTS.items()}
    values["MAD_RUNTIME_NGPUS"] = as_text(given.get("MAD_RUNTIME_NGPUS", max(1, gpus))).strip()
    for key, least in _NUMBERS.items():
        if not re.fullmatch(r"\d{1,9}", values[key], re.ASCII) or int(values[key]) < least:
            raise ConfigError(
                f"context: multi_node_args.{key} is {given.get(key)!r}, not a number from {least}"
            )
    per_node, nodes = int(values.pop("MAD_RUNTIME_NGPUS")), int(values["NNODES"])
    if runner == "torchrun":
        command = (
            f"torchrun --nproc_per_node {per_node} --nnodes {nodes} --node_rank {int(values['NODE_RANK'])} "
            f"--master_addr {values['MASTER_ADDR']} --master_port {int(values['MASTER_PORT'])}"
        )
    elif runner == "mpirun":
        hosts = values["HOST_LIST"] or f"localhost:{per_node}"
        command = f"mpirun -np {nodes * per_node} --host {hosts}"
    else:
        raise ConfigError(f"context: multi_node_args.RUNNER is {runner!r}; known are torchrun and mpirun")
    interfaces = " ".join(f"{key}={values[key]}" for key in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"))
    return MultiNode(f"{interfaces} {command}", values, nodes)


@dataclass(frozen=True)
class NodeLayout:
    """Where a launcher runs, for :func:`launcher_variables` (contract 15.3)."""

    nodes: int
    gpus_per_node: int
    #: ``slurm`` or ``kubernetes``.
    platform: str = "slurm"
    port: int = DEFAULT_PORT
    #: Host file of deepspeed, lines ``<host> slots=<g>``.
    hostfile: str = "hostfile"
    node_ips: tuple[str, ...] = ()
    #: Number or shell reference, e.g. ``${NODE_RANK}``.
    node_rank: str = "${NODE_RANK}"
    master_addr: str = "${MASTER_ADDR}"
    model: str = ""
    distributed: Mapping[str, Any] = field(default_factory=dict)


def master_port(distributed: Mapping[str, Any]) -> int:
    """``distributed.port``, else ``master_port``, else 29500.

    :raises ConfigError: not a port number.
    """
    value = distributed.get("port", distributed.get("master_port", DEFAULT_PORT))
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 0 < int(text) < 65536:
        raise ConfigError(f"distributed: port is {value!r}, not a port number")
    return int(text)


def disaggregation_split(
    nodes: int, prefill: int | None = None, decode: int | None = None
) -> tuple[int, int]:
    """Prefill and decode nodes of ``sglang-disagg``; one node is left for the proxy.

    With two nodes the proxy shares node 0.

    :raises PlanError: fewer than two nodes, or an explicit split that does not fit.
    """
    if nodes < 2:
        raise PlanError(f"sglang-disagg needs at least 2 nodes, the run has {nodes}")
    servers = 2 if nodes == 2 else nodes - 1
    if prefill is None and decode is None:
        prefill = max(1, (nodes - 1) * 2 // 5)
    if prefill is None:
        prefill = servers - (decode or 0)
    if decode is None:
        decode = servers - prefill
    if prefill < 1 or decode < 1 or prefill + decode != servers:
        raise PlanError(
            f"sglang-disagg: {prefill} prefill and {decode} decode nodes do not fit {nodes} nodes",
            hint=f"together they must be {servers}, each at least 1",
        )
    return prefill, decode


_PRIMUS_TOKENS: Final = {
    "maxtext": "MaxText",
    "torchtitan": "torchtitan",
    "megatron": "megatron",
    "megatron_bridge": "megatron_bridge",
    "moe_package": "moe_package",
}


def primus_backend(model: str, distributed: Mapping[str, Any]) -> str:
    """``BACKEND`` of primus: ``distributed.primus.backend``, else from the model name; empty: unset."""
    block = distributed.get("primus")
    if isinstance(block, Mapping) and block.get("backend"):
        return str(block["backend"])
    match = re.search(r"(?:^|/)primus_pretrain/([^/]+)", model)
    if match is None:
        return ""
    name = match[1].lower()
    # The longest token first: ``megatron_bridge_x`` is not ``megatron``.
    for token in sorted(_PRIMUS_TOKENS, key=len, reverse=True):
        if name == token or name.startswith(f"{token}_"):
            return _PRIMUS_TOKENS[token]
    return ""


def launcher_variables(launcher: str, layout: NodeLayout) -> dict[str, str]:
    """Container variables of a launcher on ``layout.nodes`` nodes (contract 15.3).

    :param launcher: canonical name; empty counts as ``torchrun``.
    :raises PlanError: a layout the launcher cannot use.
    """
    if launcher == "sglang-disagg":
        return _disaggregation(layout)
    if launcher in {"vllm", "sglang"}:
        return _server(launcher, layout)
    if launcher == "primus":
        return _primus(layout)
    variables = _parallel_sizes(launcher, layout)
    variables["MAD_MULTI_NODE_RUNNER"] = _runner(launcher, layout)
    return variables


def _runner(launcher: str, layout: NodeLayout) -> str:
    if layout.nodes == 1 or launcher in _SELF_STARTING:
        return local_runner(launcher, layout.gpus_per_node)
    address = f"--master_addr={layout.master_addr} --master_port={layout.port}"
    if launcher == "deepspeed":
        return f"deepspeed --hostfile={layout.hostfile} {address}"
    return (
        f"torchrun --nnodes={layout.nodes} --nproc_per_node={layout.gpus_per_node} "
        f"--node_rank={layout.node_rank} {address}"
    )


def _parallel_sizes(launcher: str, layout: NodeLayout) -> dict[str, str]:
    several, per_node = layout.nodes > 1, layout.gpus_per_node
    if launcher == "torchtitan":
        sizes = {
            "TORCHTITAN_TENSOR_PARALLEL_SIZE": str(per_node),
            "TORCHTITAN_PIPELINE_PARALLEL_SIZE": str(layout.nodes),
        }
        if several:
            sizes |= {"TORCHTITAN_FSDP_ENABLED": "1", "TORCHTITAN_CONTEXT_PARALLEL_SIZE": "1"}
        return sizes
    if launcher == "megatron-lm":
        return {
            "TENSOR_MODEL_PARALLEL_SIZE": str(per_node if several else min(per_node, 8)),
            "PIPELINE_MODEL_PARALLEL_SIZE": str(layout.nodes),
            "CONTEXT_PARALLEL_SIZE": "1",
        }
    return {}


def _server(launcher: str, layout: NodeLayout) -> dict[str, str]:
    prefix = launcher.upper()
    variables = {
        f"{prefix}_TENSOR_PARALLEL_SIZE": str(layout.gpus_per_node),
        f"{prefix}_PIPELINE_PARALLEL_SIZE": "1",
        "MAD_MULTI_NODE_RUNNER": "",
    }
    if launcher == "vllm":
        # On Slurm every node serves on its own; on Kubernetes the pods form one Ray cluster.
        several = "ray" if layout.platform == "kubernetes" else "none"
        variables["VLLM_DISTRIBUTED_BACKEND"] = "auto" if layout.nodes == 1 else several
    return variables


def _disaggregation(layout: NodeLayout) -> dict[str, str]:
    block = layout.distributed.get("sglang_disagg")
    block = block if isinstance(block, Mapping) else {}
    prefill, decode = disaggregation_split(
        layout.nodes, _optional(block, "prefill_nodes"), _optional(block, "decode_nodes")
    )
    return {
        "SGLANG_DISAGG_MODE": "enabled",
        "SGLANG_DISAGG_PREFILL_NODES": str(prefill),
        "SGLANG_DISAGG_DECODE_NODES": str(decode),
        "SGLANG_DISAGG_TOTAL_NODES": str(layout.nodes),
        "SGLANG_TP_SIZE": str(layout.gpus_per_node),
        "SGLANG_NODE_IPS": ",".join(layout.node_ips),
        "SGLANG_NODE_RANK": layout.node_rank,
        "MAD_MULTI_NODE_RUNNER": "",
    }


def _optional(block: Mapping[str, Any], key: str) -> int | None:
    value = block.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}", str(value), re.ASCII):
        raise PlanError(f"distributed.sglang_disagg.{key} is {value!r}, not a number of nodes")
    return int(value)


def _primus(layout: NodeLayout) -> dict[str, str]:
    block = layout.distributed.get("primus")
    block = block if isinstance(block, Mapping) else {}
    variables = {
        "PRIMUS_CONFIG_PATH": as_text(block.get("config_path") or "exp_pretrain.yaml"),
        "PRIMUS_CLI_EXTRA": as_text(block.get("cli_extra", "")),
        "MAD_MULTI_NODE_RUNNER": "",
    }
    backend = primus_backend(layout.model, layout.distributed)
    if backend:
        variables["BACKEND"] = backend
    if layout.nodes > 1:
        variables |= {
            "NNODES": str(layout.nodes),
            "NODE_RANK": layout.node_rank,
            "MASTER_ADDR": layout.master_addr,
            "MASTER_PORT": str(layout.port),
            "GPUS_PER_NODE": str(layout.gpus_per_node),
        }
    return variables
