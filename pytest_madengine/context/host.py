"""Facts of the host that have nothing to do with GPUs (contract 7.3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pytest_madengine.context.probe import Probe

UNKNOWN_OS: Final = "Unable to detect Host OS"
_PACKAGE_MANAGERS: Final = {
    "apt": "HOST_UBUNTU",
    "yum": "HOST_CENTOS",
    "zypper": "HOST_SLES",
    "tdnf": "HOST_AZURE",
}
_NUMA: Final = "/proc/sys/kernel/numa_balancing"
#: More than this is no value for a CONTEXT line.
_MAX_CTX_TEST: Final = 4096


def host_os(probe: Probe) -> tuple[str, str]:
    """The host's name by its package manager, and a warning when there is none we know."""
    for tool, name in _PACKAGE_MANAGERS.items():
        if probe.which(tool):
            return name, ""
    return UNKNOWN_OS, f"{UNKNOWN_OS}: none of {', '.join(_PACKAGE_MANAGERS)} is on PATH"


def numa_balancing(probe: Probe) -> tuple[str | bool, str]:
    """``"1"`` with a warning, ``"0"``, or False when it cannot be read.

    Since Linux 5.18 the file is a bit mask; bit 0 is the balancing that disturbs benchmarks.
    """
    text = probe.read_text(_NUMA).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        return False, ""
    if int(text) & 1:
        return "1", f"NUMA balancing is on and may slow GPU work down; off: echo 0 > {_NUMA}"
    return "0", ""


def ctx_test(root: Path | None) -> str:
    """The stripped text of ``<MAD root>/ctx_test``; the text ``None`` when there is no such file."""
    if root is None:
        return "None"
    try:
        with (root / "ctx_test").open("rb") as stream:
            return stream.read(_MAX_CTX_TEST).decode("utf-8", "replace").strip()
    except OSError:
        return "None"


def hostname(probe: Probe) -> str:
    """The kernel's host name; empty when it cannot be read."""
    for path in ("/proc/sys/kernel/hostname", "/etc/hostname"):
        name = probe.read_text(path).strip()
        if name:
            return name.splitlines()[0]
    return probe.environ.get("HOSTNAME", "")


def in_job(environ: Mapping[str, str]) -> bool:
    """True when this process itself runs inside a Slurm or Kubernetes job of ours."""
    return (
        environ.get("MAD_DEPLOYMENT_TYPE", "").lower() in {"slurm", "k8s", "kubernetes"}
        or environ.get("MAD_IN_SLURM_JOB", "") in {"1", "true"}
        or environ.get("MAD_K8S_JOB", "") in {"1", "true"}
    )
