"""Kubernetes objects of a manifest (contract 16.4, 19.2): ready for ``kubectl apply -f``, without secrets."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_madengine.deploy.k8s.block import SHARED_DATA, K8sBlock, read_k8s_block
from pytest_madengine.deploy.k8s.env import pod_environment
from pytest_madengine.deploy.k8s.names import (
    check_dns_label,
    check_environment,
    file_keys,
    label_value,
    object_name,
)
from pytest_madengine.deploy.k8s.pod import PodParts, data_mounts, host_mounts, pod_template
from pytest_madengine.deploy.k8s.podscript import pod_scripts
from pytest_madengine.deploy.target import TargetModel
from pytest_madengine.errors import ConfigError, PlanError

CONFIG_MAP: Final = "madengine-config"
JOB: Final = "madengine-job"
#: The API refuses more than 1 MiB; the object itself needs some of it.
LARGEST_CONFIG_MAP: Final = 1024 * 1024 - 25 * 1024
_PREFIX: Final = "pytest-madengine.io"


@dataclass(frozen=True)
class JobSecrets:
    """What must be in the Secrets of one Job."""

    job: str
    #: Secret with variables and files; empty: none.
    runtime: str = ""
    #: Key -> where the value is known from (``env:NAME``, ``credential:KEY.FIELD``, empty).
    variables: Mapping[str, str] = field(default_factory=dict)
    #: Key -> path of the file as far as it is known.
    files: Mapping[str, str] = field(default_factory=dict)
    #: Secret for the registry; empty: none is made.
    pull: str = ""
    registry: str = ""


@dataclass(frozen=True)
class Rendered:
    """Objects of both files, and what a person has to know."""

    config: tuple[dict[str, Any], ...]
    jobs: tuple[dict[str, Any], ...]
    secrets: tuple[JobSecrets, ...]
    warnings: tuple[str, ...]


def render_k8s(
    models: Sequence[TargetModel],
    *,
    namespace: str,
    environment: str,
    manifest: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
) -> Rendered:
    """All objects of a manifest.

    :param manifest: the manifest, without secrets.
    :param data: ``data.json``, without secrets; ``None`` when there is none.
    :raises ConfigError: a name or a value of the block is wrong, or the ConfigMap would be too large.
    :raises PlanError: a model cannot run in a pod.
    """
    check_dns_label(namespace, "--namespace")
    check_environment(environment)
    common = {
        "app.kubernetes.io/name": "madengine",
        "app.kubernetes.io/managed-by": "pytest-madengine",
        f"{_PREFIX}/environment": environment,
    }
    files: dict[str, bytes] = {"build_manifest.json": _json(manifest)}
    if data is not None:
        files["data.json"] = _json(data)
    scripts = [_job_files(model, _job_name(number)) for number, model in enumerate(models, 1)]
    for found in scripts:
        files |= {path: content for path, (content, _) in found.items()}
    keys = file_keys(files)
    jobs: list[dict[str, Any]] = []
    secrets: list[JobSecrets] = []
    warnings: list[str] = []
    claims: dict[str, dict[str, Any]] = {}
    for number, (model, own) in enumerate(zip(models, scripts, strict=True), 1):
        renderer = _JobRenderer(model, _job_name(number), namespace, common)
        jobs += renderer.objects(_items(own, keys, _job_name(number)))
        secrets.append(renderer.secrets)
        warnings += renderer.warnings
        claims |= renderer.shared_claims
    config = _config_map(files, keys, namespace, common)
    head = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": common}}
    return Rendered(
        config=(head, config),
        jobs=(*claims.values(), *jobs),
        secrets=tuple(secrets),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _job_name(number: int) -> str:
    return JOB if number == 1 else f"{JOB}-{number}"


def pod_hosts(model: TargetModel, job: str) -> tuple[str, ...]:
    """Host names of the pods of a Job with several nodes, by index."""
    return tuple(f"{job}-{index}.{job}" for index in range(model.nodes)) if model.nodes > 1 else ()


def _job_files(model: TargetModel, job: str) -> dict[str, tuple[bytes, bool]]:
    """Path in the ConfigMap -> content, executable.  Files of the repository are shared by all jobs."""
    scripts = pod_scripts(model, job, pod_hosts(model, job))
    texts = {f"{job}/{name}": text for name, text in scripts.own.items()}
    texts |= {f"control/{name}": text for name, text in scripts.shared.items()}
    found = {path: (text.encode("utf-8", "surrogateescape"), False) for path, text in texts.items()}
    return {**found, **{f"tree/{file.path}": (file.content, file.executable) for file in model.files}}


def _items(own: Mapping[str, tuple[bytes, bool]], keys: Mapping[str, str], job: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for path, (_, executable) in own.items():
        inside = "control/" + path[len(job) + 1 :] if path.startswith(f"{job}/") else path
        items.append({"key": keys[path], "path": inside, **({"mode": 0o755} if executable else {})})
    return items


def _config_map(
    files: Mapping[str, bytes], keys: Mapping[str, str], namespace: str, labels: Mapping[str, str]
) -> dict[str, Any]:
    text: dict[str, str] = {}
    binary: dict[str, str] = {}
    for path, content in files.items():
        try:
            decoded = content.decode("utf-8")
        except UnicodeDecodeError:
            decoded = "\0"
        if "\0" in decoded:
            binary[keys[path]] = base64.b64encode(content).decode()
        else:
            text[keys[path]] = decoded
    size = sum(len(keys[path]) + len(content) for path, content in files.items())
    size += sum(len(value) for value in binary.values()) // 4  # base64 takes a third more
    if size > LARGEST_CONFIG_MAP:
        largest = sorted(files, key=lambda path: -len(files[path]))[:3]
        shown = ", ".join(f"{path.removeprefix('tree/')} ({len(files[path])} bytes)" for path in largest)
        raise ConfigError(
            f"the ConfigMap would have {size} bytes, {LARGEST_CONFIG_MAP} are allowed; largest: {shown}",
            hint="put large files into the image, or generate from a manifest with fewer models",
        )
    metadata = {"name": CONFIG_MAP, "namespace": namespace, "labels": dict(labels)}
    result: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": text}
    return {**result, "binaryData": binary} if binary else result


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


class _JobRenderer:
    """The objects of one model."""

    def __init__(self, model: TargetModel, job: str, namespace: str, labels: Mapping[str, str]) -> None:
        if model.plan.launcher == "slurm_multi":
            raise PlanError(
                f"model {model.title}: the launcher slurm_multi needs Slurm",
                hint="use generate slurm for it",
            )
        self._model, self._job, self._namespace = model, job, namespace
        self._block: K8sBlock = read_k8s_block(model)
        name = object_name(model.plan.model, 63)
        self._labels = {**labels, "app.kubernetes.io/instance": job, "app.kubernetes.io/component": name}
        self._labels[f"{_PREFIX}/model"] = label_value(model.plan.model)
        self._annotations = {
            f"{_PREFIX}/model": model.title,
            f"{_PREFIX}/manifest-entry": model.key,
        }
        self.warnings: list[str] = list(self._block.warnings)
        self.secrets = JobSecrets(job)
        #: Claims that several jobs use, by name.
        self.shared_claims: dict[str, dict[str, Any]] = {}

    def objects(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Claims, service and Job, in the order in which they are needed."""
        model, block, job = self._model, self._block, self._job
        hosts = pod_hosts(model, job)
        runtime = {"existing": block.runtime_secret, "omit": ""}.get(block.strategy, f"{job}-runtime")
        env = pod_environment(model, hosts, runtime)
        files = self._secret_files() if runtime else {}
        pull = block.pull_secrets
        if not pull and block.strategy == "from_local_credentials":
            pull = (f"{job}-registry-pull",)
        needed = bool(env.secrets or files)
        made = block.strategy == "from_local_credentials"
        if needed and not made:
            self._warn(f"the Secret {runtime} must have the keys {', '.join([*env.secrets, *files])}")
        self.secrets = JobSecrets(
            job,
            runtime if needed and made else "",
            env.secrets,
            files,
            pull[0] if made and not block.pull_secrets else "",
            model.registry,
        )
        if env.left_out:
            names = ", ".join(env.left_out)
            self._warn(f"secrets.strategy is omit: the pod gets no {names}")
        options = " ".join(model.plan.docker_run_options_text.split())
        if options:
            self._warn(
                f"of additional_docker_run_options ({options}) a pod gets variables, mounts and shm-size only"
            )
        for note in model.plan.notes:
            self._warn(note)
        for mount in host_mounts(model):
            self._warn(f"{mount.source} of the node is mounted at {mount.target}: it must be there")
        parts = PodParts(
            job=job,
            labels=dict(self._labels),
            annotations=dict(self._annotations),
            env=env.entries,
            items=items,
            config_map=CONFIG_MAP,
            results_claim=block.results_claim or f"{job}-results",
            pull_secrets=pull,
            file_secret=runtime if files else "",
            service=job if hosts else "",
        )
        found = [] if block.results_claim else [self._results_claim()]
        if hosts:
            found.append(self._service())
        if data_mounts(model):
            self._data_claim()
        return [*found, self._job_object(pod_template(model, block, parts))]

    def _warn(self, text: str) -> None:
        self.warnings.append(f"model {self._model.title}: {text}")

    def _metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._namespace, "labels": dict(self._labels)}

    def _secret_files(self) -> dict[str, str]:
        clone = self._model.plan.script.clone
        if clone is None or not (clone.ssh_key_file or clone.known_hosts):
            return {}
        files = {"ssh-key": clone.ssh_key_file} if clone.ssh_key_file else {}
        return {**files, "ssh-known_hosts": clone.known_hosts}

    def _job_object(self, template: dict[str, Any]) -> dict[str, Any]:
        block, nodes = self._block, self._model.nodes
        spec: dict[str, Any] = {"backoffLimit": block.backoff_limit}
        if nodes > 1:
            spec |= {"completionMode": "Indexed", "completions": nodes, "parallelism": nodes}
        if block.ttl is not None:
            spec["ttlSecondsAfterFinished"] = block.ttl
        metadata = {**self._metadata(self._job), "annotations": dict(self._annotations)}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {**spec, "template": template},
        }

    def _service(self) -> dict[str, Any]:
        spec = {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"app.kubernetes.io/instance": self._job},
            "ports": [{"name": "rendezvous", "port": self._model.port}],
        }
        return {"apiVersion": "v1", "kind": "Service", "metadata": self._metadata(self._job), "spec": spec}

    def _results_claim(self) -> dict[str, Any]:
        mode = "ReadWriteMany" if self._model.nodes > 1 else "ReadWriteOnce"
        spec = _claim(mode, self._block.results_class, self._block.results_size)
        metadata = self._metadata(f"{self._job}-results")
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

    def _data_claim(self) -> None:
        block, homes = self._block, data_mounts(self._model)
        names = ", ".join(str(entry["subPath"]) for entry in homes)
        self._warn(f"the claim {block.data_claim} must hold its data, a directory for each of: {names}")
        if block.data_claim == SHARED_DATA:
            metadata = {"name": SHARED_DATA, "namespace": self._namespace}
            spec = _claim("ReadWriteMany", block.data_class, block.data_size)
            claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
            self.shared_claims[SHARED_DATA] = claim


def _claim(mode: str, storage_class: str, size: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
    return {**spec, "storageClassName": storage_class} if storage_class else spec


def object_kinds(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """``Kind/name`` of each object, for a person."""
    return [f"{one['kind']}/{one['metadata']['name']}" for one in objects]
