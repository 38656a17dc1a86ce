"""The columns of perf.csv and the cells that do not depend on a single metric (contract 12.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

#: Columns of a new perf.csv, and the first 29 keys of perf_super (contract 12.4).
V2_COLUMNS: Final[tuple[str, ...]] = (
    "model",
    "n_gpus",
    "nnodes",
    "gpus_per_node",
    "training_precision",
    "pipeline",
    "args",
    "tags",
    "docker_file",
    "base_docker",
    "docker_sha",
    "docker_image",
    "git_commit",
    "machine_name",
    "deployment_type",
    "launcher",
    "gpu_architecture",
    "performance",
    "metric",
    "relative_change",
    "status",
    "build_duration",
    "test_duration",
    "dataname",
    "data_provider_type",
    "data_size",
    "data_download_duration",
    "build_number",
    "additional_docker_run_options",
)
#: The older dialect: 25 columns, and ``n_gpus`` as the entry says it.
V1_COLUMNS: Final[tuple[str, ...]] = tuple(
    name for name in V2_COLUMNS if name not in ("nnodes", "gpus_per_node", "deployment_type", "launcher")
)
#: Private key of ``RunRecord.columns``: ``n_gpus`` as in the entry (``-1`` stays).
N_GPUS_V1: Final = "n_gpus_v1"
#: Launcher cell when no launcher is used.
_NO_LAUNCHER: Final = {"local": "docker", "slurm": "docker", "kubernetes": "native"}


def build_columns(
    *,
    n_gpus: int | str = "",
    n_gpus_entry: int | str | None = None,
    nnodes: int | str = 1,
    gpus_per_node: int | str | None = None,
    training_precision: str = "",
    pipeline: str = "",
    args: str = "",
    tags: Sequence[str] = (),
    docker_file: str = "",
    base_docker: str = "",
    docker_sha: str = "",
    docker_image: str = "",
    git_commit: str = "",
    machine_name: str = "",
    deployment_type: str = "local",
    launcher: str = "",
    gpu_architecture: str = "",
    relative_change: str = "",
    build_duration: float | None = None,
    test_duration: float | None = None,
    data: Sequence[Mapping[str, Any]] = (),
    build_number: str = "0",
    additional_docker_run_options: str = "",
) -> dict[str, str]:
    """``RunRecord.columns``: every cell that all rows of an item share, as text, under its v2 name.

    :param n_gpus: total number of GPUs of the run.
    :param n_gpus_entry: ``n_gpus`` of the model entry, for v1 files; default: ``n_gpus``.
    :param gpus_per_node: default: ``n_gpus`` (one node).
    :param args: entry plus parameters.
    :param launcher: canonical name; empty: the name that stands for "none" with this deployment type.
    :param build_duration: seconds; ``None`` when there was no such step (the cell stays empty).
    :param test_duration: seconds of the run step; ``None`` when it did not start.
    :param data: what ``RunRecord.data`` holds: ``name``, ``provider``, ``size``, ``duration`` of each source.
    :param additional_docker_run_options: entry plus `` --shm-size=<v>``.
    """
    columns = {
        "n_gpus": str(n_gpus),
        "nnodes": str(nnodes),
        "gpus_per_node": str(n_gpus if gpus_per_node is None else gpus_per_node),
        "training_precision": training_precision,
        "pipeline": pipeline,
        "args": args,
        "tags": ",".join(tags),
        "docker_file": docker_file,
        "base_docker": base_docker,
        "docker_sha": docker_sha,
        "docker_image": docker_image,
        "git_commit": git_commit,
        "machine_name": machine_name,
        "deployment_type": deployment_type,
        "launcher": launcher or _NO_LAUNCHER.get(deployment_type, ""),
        "gpu_architecture": gpu_architecture,
        "relative_change": relative_change,
        "build_duration": seconds(build_duration),
        "test_duration": seconds(test_duration),
        "build_number": build_number,
        "additional_docker_run_options": additional_docker_run_options,
        N_GPUS_V1: str(n_gpus if n_gpus_entry is None else n_gpus_entry),
    }
    return columns | _data_columns(data)


def _data_columns(data: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {
        "dataname": ",".join(str(entry.get("name", "")) for entry in data),
        "data_provider_type": ",".join(str(entry.get("provider", "")) for entry in data),
        "data_size": ",".join(str(entry.get("size", "")) for entry in data),
        "data_download_duration": ",".join(seconds(entry.get("duration", 0.0)) for entry in data),
    }


def seconds(value: float | None) -> str:
    """Seconds as plain text with at most three decimals: ``12.345``, ``7200``; ``None`` is empty."""
    if value is None:
        return ""
    text = f"{value:.3f}"
    return text.rstrip("0").rstrip(".")
