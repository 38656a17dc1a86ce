"""Environment that a target gives to every run unless somebody says otherwise (contract 16.2, 16.4)."""

from __future__ import annotations

from typing import Final

_SEVERAL_NODES: Final = {
    "NCCL_DEBUG_SUBSYS": "INIT,NET",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    "NCCL_TIMEOUT": "600",
}
_AMD_FABRIC: Final = {
    "TORCH_NCCL_HIGH_PRIORITY": "1",
    "GPU_MAX_HW_QUEUES": "2",
    "HSA_ENABLE_SDMA": "0",
    "HSA_FORCE_FINE_GRAIN_PCIE": "1",
    "RCCL_ENABLE_HIPGRAPH": "0",
}
_MIOPEN: Final = {"MIOPEN_FIND_MODE": "1", "MIOPEN_USER_DB_PATH": "/tmp/.miopen"}


def kubernetes_preset(vendor: str, gpus: int, nodes: int) -> dict[str, str]:
    """Preset of a pod.

    :param gpus: GPUs of one pod.
    """
    preset = {"OMP_NUM_THREADS": "8"}
    if vendor == "NVIDIA" and gpus:
        preset |= {
            "NCCL_DEBUG": "INFO",
            "NCCL_P2P_DISABLE": "0",
            "NCCL_P2P_LEVEL": "NVL",
            "OMP_NUM_THREADS": "12",
        }
    elif vendor == "AMD" and gpus * nodes > 1:
        preset |= {"NCCL_DEBUG": "WARN", **_MIOPEN, **_AMD_FABRIC}
    if nodes > 1:
        preset |= _SEVERAL_NODES
    return preset


def slurm_preset(nodes: int) -> dict[str, str]:
    """Preset of a Slurm job."""
    preset = {"OMP_NUM_THREADS": "8", "NCCL_DEBUG": "WARN", **_MIOPEN}
    if nodes > 1:
        preset |= {**_SEVERAL_NODES, **_AMD_FABRIC}
    return preset
