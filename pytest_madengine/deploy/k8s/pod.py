"""The pod of a model: its own image by digest, the phases of its plan, no engine of the node."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from typing import Any, Final

from pytest_madengine.deploy.k8s.block import K8sBlock
from pytest_madengine.deploy.k8s.podscript import RESULTS, SECRET_FILES, SOURCE, START
from pytest_madengine.deploy.target import TargetModel
from pytest_madengine.errors import PlanError
from pytest_madengine.plan.runplan import Mount
from pytest_madengine.plan.script import WORKSPACE

#: Sockets of container engines: whoever has one is root of the node.
_ENGINE_SOCKET: Final = re.compile(r"(^|/)(docker|containerd|crio|podman|dockershim|buildkitd)\.sock/?$")
#: Directories in which those sockets lie.
_ENGINE_DIRECTORIES: Final = (
    "/",
    "/run",
    "/var/run",
    "/var",
    "/run/containerd",
    "/run/docker",
    "/run/podman",
)
#: Seconds a pod gets to stop its model and save results.
GRACE: Final = 60


@dataclass(frozen=True)
class PodParts:
    """What a pod is made of beside model and block."""

    job: str
    labels: dict[str, str]
    annotations: dict[str, str]
    env: list[dict[str, Any]]
    #: ``items`` of the ConfigMap volume.
    items: list[dict[str, Any]]
    config_map: str
    results_claim: str
    pull_secrets: tuple[str, ...]
    #: Secret with the files of an ssh clone; empty without one.
    file_secret: str = ""
    #: Headless service of several nodes; empty for one.
    service: str = ""


def pod_template(model: TargetModel, block: K8sBlock, parts: PodParts) -> dict[str, Any]:
    """The pod template of a Job.

    :raises PlanError: a mount would hand the node's engine to the model.
    """
    volumes, mounts = _volumes(model, block, parts)
    container: dict[str, Any] = {
        "name": "model",
        "image": model.image,
        "imagePullPolicy": block.pull_policy,
        "command": ["bash", "-p", f"{SOURCE}/control/{START}"],
        "env": parts.env,
        "resources": _resources(model, block),
        "volumeMounts": mounts,
    }
    if block.profiling:
        container["securityContext"] = {
            "capabilities": {"add": ["SYS_PTRACE"]},
            "seccompProfile": {"type": "Unconfined"},
        }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "automountServiceAccountToken": bool(block.service_account),
        "enableServiceLinks": False,
    }
    if block.service_account:
        spec["serviceAccountName"] = block.service_account
    if parts.service:
        spec["subdomain"] = parts.service
    if block.host_ipc:
        spec["hostIPC"] = True
    if block.node_selector:
        spec["nodeSelector"] = dict(block.node_selector)
    if block.tolerations:
        spec["tolerations"] = [dict(entry) for entry in block.tolerations]
    if parts.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in parts.pull_secrets]
    spec |= {"containers": [container], "volumes": volumes}
    return {"metadata": {"labels": parts.labels, "annotations": parts.annotations}, "spec": spec}


def _resources(model: TargetModel, block: K8sBlock) -> dict[str, Any]:
    # The API wants equal requests and limits for devices.
    gpus = {block.gpu_resource: str(model.gpus_per_node)} if model.gpus_per_node else {}
    return {
        "requests": {"cpu": block.cpu, "memory": block.memory, **gpus},
        "limits": {"cpu": block.cpu_limit, "memory": block.memory_limit, **gpus},
    }


def _volumes(
    model: TargetModel, block: K8sBlock, parts: PodParts
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    volumes: list[dict[str, Any]] = [
        {"name": "workspace", "emptyDir": {}},
        {"name": "config", "configMap": {"name": parts.config_map, "items": parts.items}},
        {"name": "results", "persistentVolumeClaim": {"claimName": parts.results_claim}},
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "workspace", "mountPath": WORKSPACE},
        {"name": "config", "mountPath": SOURCE, "readOnly": True},
        {"name": "results", "mountPath": RESULTS},
    ]
    if not block.host_ipc and all(mount.target != "/dev/shm" for mount in model.plan.mounts):
        # The 64 MiB of a container are too little for data loaders and collectives.
        memory: dict[str, Any] = {"medium": "Memory"}
        size = model.plan.options.shm_size
        if size:
            memory["sizeLimit"] = str(size)
        volumes.append({"name": "shm", "emptyDir": memory})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    if parts.file_secret:
        source = {"secretName": parts.file_secret, "items": _clone_files(model)}
        volumes.append({"name": "secret-files", "secret": source})
        mounts.append({"name": "secret-files", "mountPath": SECRET_FILES, "readOnly": True})
    data = data_mounts(model)
    if data:
        claim = {"claimName": block.data_claim}
        volumes.append({"name": "data", "persistentVolumeClaim": claim})
        mounts += data
    for number, mount in enumerate(host_mounts(model)):
        volumes.append({"name": f"host-{number}", "hostPath": {"path": mount.source}})
        entry = {"name": f"host-{number}", "mountPath": mount.target}
        mounts.append({**entry, "readOnly": True} if mount.read_only else entry)
    return volumes, mounts


def _clone_files(model: TargetModel) -> list[dict[str, str]]:
    clone = model.plan.script.clone
    names = ["key"] if clone is not None and clone.ssh_key_file else []
    return [{"key": f"ssh-{name}", "path": name} for name in [*names, "known_hosts"]]


def data_mounts(model: TargetModel) -> list[dict[str, Any]]:
    """Data of the shared claim: the directory of each name at its home.

    :raises PlanError: a name leads out of the claim.
    """
    found = []
    for mount in model.plan.mounts:
        if mount.origin.startswith("data:"):
            name = mount.origin[len("data:") :]
            if name.startswith("/") or ".." in name.split("/"):
                raise PlanError(f"model {model.title}: data name {name!r} cannot be a directory of a claim")
            entry = {"name": "data", "mountPath": mount.target, "subPath": name}
            found.append({**entry, "readOnly": True} if mount.read_only else entry)
    return found


def host_mounts(model: TargetModel) -> tuple[Mount, ...]:
    """Directories of the node that the context or the model asks for.

    :raises PlanError: one of them is the socket of the node's engine, or holds it.
    """
    mounts = [
        replace(mount, source=posixpath.normpath(mount.source))
        for mount in model.plan.mounts
        if not mount.origin.startswith("data:") and mount.source.startswith("/") and mount.origin != "plan"
    ]
    for mount in mounts:
        if _ENGINE_SOCKET.search(mount.source) or mount.source.replace("//", "/") in _ENGINE_DIRECTORIES:
            raise PlanError(
                f"model {model.title}: {mount.source} would give a pod the container engine of its node",
                hint="take it out of docker_mounts and additional_docker_run_options",
            )
    return tuple(mounts)
