"""The ``k8s`` block of a run, with its defaults (contract 16.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_madengine.deploy.blocks import Block
from pytest_madengine.deploy.k8s.names import check_dns_name
from pytest_madengine.deploy.target import TargetModel
from pytest_madengine.errors import ConfigError

GPU_RESOURCES: Final = {
    "AMD": "amd.com/gpu",
    "NVIDIA": "nvidia.com/gpu",
    "INTEL": "gpu.intel.com/i915",
}
STRATEGIES: Final = ("from_local_credentials", "existing", "omit")
_QUANTITY: Final = r"[0-9]+(\.[0-9]+)?([EPTGMk]i?|Ki|m|e[0-9]{1,2})?"
_RESOURCE: Final = r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY: Final = re.compile(_RESOURCE, re.ASCII)
_POLICIES: Final = "Always|IfNotPresent|Never"
_CLASSES: Final = (
    *("storage_class", "nfs_storage_class", "local_path_storage_class"),
    *("single_node_results_storage_class", "multi_node_results_storage_class", "data_storage_class"),
)
_KNOWN: Final = (
    *("kubeconfig", "namespace", "gpu_count", "gpu_resource_name", "memory", "memory_limit", "cpu"),
    *("cpu_limit", "image_pull_policy", "backoff_limit", "ttl_seconds_after_finished", "host_ipc"),
    *("node_selector", "tolerations", "service_account", "output_dir", "allow_privileged_profiling"),
    *_CLASSES,
    *("results_storage_size", "data_storage_size", "results_pvc", "data_pvc"),
    *("recreate_shared_data_pvc", "secrets"),
)
_TOLERATION: Final = {"key": str, "operator": str, "value": str, "effect": str, "tolerationSeconds": int}
SHARED_DATA: Final = "madengine-shared-data"


@dataclass(frozen=True)
class K8sBlock:
    """What a pod and its Job need beside the plan."""

    gpu_resource: str
    memory: str
    memory_limit: str
    cpu: str
    cpu_limit: str
    pull_policy: str
    backoff_limit: int
    #: Seconds; ``None``: the Job stays.
    ttl: int | None
    host_ipc: bool
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]
    service_account: str
    profiling: bool
    results_class: str
    results_size: str
    #: Existing claim; empty: one is made per Job.
    results_claim: str
    data_class: str
    data_size: str
    data_claim: str
    strategy: str
    pull_secrets: tuple[str, ...]
    runtime_secret: str
    warnings: tuple[str, ...] = field(default=())


def read_k8s_block(model: TargetModel) -> K8sBlock:
    """The block of a model.

    :raises ConfigError: a value is wrong, or GPUs are wanted and nobody said of which vendor.
    """
    block = Block(model.block, "k8s")
    several_gpus, several_nodes = model.gpus_per_node > 1, model.nodes > 1
    classes = {key: _name(block, key) for key in _CLASSES}
    strategy, pull, runtime = _secrets(block)
    profiling = block.flag("allow_privileged_profiling", model.uses_tools)
    return K8sBlock(
        gpu_resource=_gpu_resource(model, block),
        memory=_quantity(block, "memory", "64Gi" if several_gpus else "16Gi"),
        memory_limit=_quantity(block, "memory_limit", "128Gi" if several_gpus else "32Gi"),
        cpu=_quantity(block, "cpu", "16" if several_gpus else "8"),
        cpu_limit=_quantity(block, "cpu_limit", "32" if several_gpus else "16"),
        pull_policy=block.text("image_pull_policy", "Always", _POLICIES, "Always, IfNotPresent or Never"),
        backoff_limit=block.number("backoff_limit", 3),
        ttl=None
        if model.block.get("ttl_seconds_after_finished") is None
        else block.optional_number("ttl_seconds_after_finished"),
        host_ipc=block.flag("host_ipc", several_nodes),
        node_selector=_node_selector(block),
        tolerations=_tolerations(block),
        service_account=_name(block, "service_account"),
        profiling=profiling,
        results_class=_results_class(classes, several_nodes),
        results_size=_quantity(block, "results_storage_size", "10Gi"),
        results_claim=_name(block, "results_pvc"),
        data_class=classes["data_storage_class"] or classes["nfs_storage_class"] or classes["storage_class"],
        data_size=_quantity(block, "data_storage_size", "100Gi"),
        data_claim=_name(block, "data_pvc") or SHARED_DATA,
        strategy=strategy,
        pull_secrets=pull,
        runtime_secret=runtime,
        warnings=block.unknown(_KNOWN),
    )


def _gpu_resource(model: TargetModel, block: Block) -> str:
    default = GPU_RESOURCES.get(model.vendor, "")
    name = block.text("gpu_resource_name", default, _RESOURCE, "a resource name such as amd.com/gpu")
    if model.gpus_per_node and not name:
        raise ConfigError(
            f"model {model.title}: it needs {model.gpus_per_node} GPUs, and nobody said of which vendor",
            hint='give -c \'{"gpu_vendor": "AMD"}\' (or NVIDIA, INTEL), or k8s.gpu_resource_name',
        )
    return name if model.gpus_per_node else ""


def _quantity(block: Block, key: str, default: str) -> str:
    return block.text(key, default, _QUANTITY, "a quantity such as 16Gi or 500m")


def _name(block: Block, key: str) -> str:
    text = block.text(key)
    return check_dns_name(text, f"{block.where}.{key}") if text else ""


def _results_class(classes: Mapping[str, str], several_nodes: bool) -> str:
    if several_nodes:
        order = ("multi_node_results_storage_class", "nfs_storage_class", "storage_class")
    else:
        order = ("single_node_results_storage_class", "local_path_storage_class", "storage_class")
    return next(filter(None, map(classes.get, order)), "") or ""


def _node_selector(block: Block) -> dict[str, str]:
    selector = block.mapping("node_selector")
    for key, value in selector.items():
        if not _LABEL_KEY.fullmatch(str(key)) or not isinstance(value, str):
            raise block.error("node_selector", "an object of labels: text -> text")
    return {str(key): str(value) for key, value in selector.items()}


def _tolerations(block: Block) -> tuple[Mapping[str, Any], ...]:
    value = block.list_of_objects("tolerations")
    for entry in value:
        for key, part in entry.items():
            kind = _TOLERATION.get(str(key))
            if kind is None or not isinstance(part, kind) or isinstance(part, bool):
                raise block.error("tolerations", f"a list of objects with {', '.join(_TOLERATION)}")
    return value


def _secrets(block: Block) -> tuple[str, tuple[str, ...], str]:
    secrets = Block(block.mapping("secrets"), f"{block.where}.secrets")
    strategy = secrets.text("strategy", STRATEGIES[0], "|".join(STRATEGIES), " or ".join(STRATEGIES))
    pull = tuple(
        check_dns_name(name, "k8s.secrets.image_pull_secret_names")
        for name in secrets.texts("image_pull_secret_names")
    )
    runtime = _name(secrets, "runtime_secret_name")
    if strategy == "existing" and not runtime:
        raise ConfigError(
            "k8s.secrets.strategy is existing, and runtime_secret_name is missing",
            hint="name the Secret that holds the variables of the models",
        )
    return strategy, pull, runtime
