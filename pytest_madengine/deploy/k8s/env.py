"""The environment of a pod: what the plan says, what the pod knows, and where its secrets come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_madengine.deploy.presets import kubernetes_preset
from pytest_madengine.deploy.target import ADDRESS_MARK, RANK_MARK, TargetModel, secret_source
from pytest_madengine.errors import PlanError
from pytest_madengine.plan.script import clone_environment
from pytest_madengine.secrets import Secret, reveal

#: What the API accepts as the name of a variable.
_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*", re.ASCII)
_INDEX: Final = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
#: Variables that the pod sets itself.
POD_VARIABLES: Final = ("MAD_DEPLOYMENT_TYPE", "MAD_K8S_JOB", "MAD_K8S_POD_NAME", "MAD_K8S_NAMESPACE")
_RANKS: Final = ("NODE_RANK", "RANK", "MASTER_ADDR")


@dataclass
class PodEnvironment:
    """``env`` of a container, and the keys its Secret must have."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    #: Key of the Secret (= container variable) -> where the value is known from (see ``secret_source``).
    secrets: dict[str, str] = field(default_factory=dict)
    #: Secrets that no one provides (strategy ``omit``).
    left_out: list[str] = field(default_factory=list)


def pod_environment(model: TargetModel, hosts: tuple[str, ...], secret: str) -> PodEnvironment:
    """The environment in the order in which one value may refer to another.

    :param hosts: host names of all pods; empty for one node.
    :param secret: name of the Secret; empty: secrets are left out.
    :raises PlanError: a variable cannot be passed to a pod.
    """
    result = PodEnvironment()
    hosts_of_model = hosts if model.nodes > 1 else ()
    if hosts_of_model:
        result.entries += _rank_entries(model, hosts_of_model)
    result.entries += [
        {"name": "MAD_DEPLOYMENT_TYPE", "value": "kubernetes"},
        {"name": "MAD_K8S_JOB", "value": "true"},
        _field("MAD_K8S_POD_NAME", "metadata.name"),
        _field("MAD_K8S_NAMESPACE", "metadata.namespace"),
    ]
    taken = {entry["name"] for entry in result.entries}
    preset = kubernetes_preset(model.vendor, model.gpus_per_node, model.nodes)
    values: dict[str, str | Secret] = {
        name: value for name, value in preset.items() if name not in model.plan.env
    }
    launcher = model.launcher_environment("kubernetes", hostfile="/myworkspace/hostfile", node_ips=hosts)
    if model.plan.launcher:
        values["MAD_LAUNCHER_TYPE"] = model.plan.launcher
    values |= {name: entry.value for name, entry in model.plan.env.items() if name not in launcher}
    # Last, because they refer to others.
    values |= {name: value for name, value in launcher.items() if name not in _RANKS}
    values |= clone_environment(model.plan.script.clone)
    for name, value in values.items():
        if name not in taken:
            _add(result, model, name, value, secret)
    return result


def _rank_entries(model: TargetModel, hosts: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rank and rendezvous; the others may refer to them."""
    per_node = model.processes_per_node
    fixed: Mapping[str, str] = {
        "RANK": "$(NODE_RANK)",
        "MASTER_ADDR": hosts[0],
        "MASTER_PORT": str(model.port),
        "NNODES": str(model.nodes),
        "NPROC_PER_NODE": str(per_node),
        "GPUS_PER_NODE": str(model.gpus_per_node),
        "WORLD_SIZE": str(model.nodes * per_node),
    }
    given = [{"name": name, "value": value} for name, value in fixed.items() if not model.is_given(name)]
    return [_field("NODE_RANK", _INDEX), *given]


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _add(result: PodEnvironment, model: TargetModel, name: str, value: str | Secret, secret: str) -> None:
    if not _NAME.fullmatch(name):
        raise PlanError(f"model {model.title}: {name!r} cannot be a variable of a pod")
    source = secret_source(value)
    if source is None:
        result.entries.append({"name": name, "value": _literal(reveal(value))})
    elif not secret:
        result.left_out.append(name)
    else:
        reference = {"name": secret, "key": name}
        result.entries.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
        result.secrets[name] = source


def _literal(text: str) -> str:
    """A value as it is: the API would take ``$(NAME)`` for a reference."""
    escaped = text.replace("$", "$$")
    return escaped.replace(RANK_MARK, "$(NODE_RANK)").replace(ADDRESS_MARK, "$(MASTER_ADDR)")
