"""Where ROCm is: on the host and in the container (contract 7.4), and which release it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from pytest_madengine.context.gpus import major_minor
from pytest_madengine.context.probe import Probe, Tools
from pytest_madengine.secrets import Secret, reveal
from pytest_madengine.util.jsontext import boolean_of

DEFAULT_ROOT: Final = "/opt/rocm"
#: Each line is enough to know a ROCm root by; all files of a line must exist.
_MARKERS: Final = (
    ("share/therock/therock_manifest.json",),
    ("share/therock/dist_info.json",),
    ("bin/rocminfo",),
    ("bin/rocm-smi", "bin/amd-smi"),
    (".info/version",),
)
_VARIABLES: Final = ("ROCM_PATH", "ROCM_HOME", "HIP_PATH")
#: HIP_PATH may be ``<root>/lib/hip/...``: the root is searched this many directories above.
_PARENTS: Final = 4
_TOOLS: Final = ("rocminfo", "amd-smi", "rocm-smi", "hipconfig")


def is_rocm_root(probe: Probe, path: str) -> bool:
    """True when the directory has one of the marks of a ROCm installation."""
    return any(all(probe.exists(f"{path}/{name}") for name in names) for names in _MARKERS)


def host_rocm_root(probe: Probe, context_value: str) -> str:
    """The ROCm root of the host, never empty.

    Context ``MAD_ROCM_PATH``, then detection (unless ``MAD_AUTO_ROCM_PATH`` is off), then ``ROCM_PATH``,
    then ``/opt/rocm``.
    """
    if context_value.strip():
        return context_value.strip()
    if boolean_of(probe.environ.get("MAD_AUTO_ROCM_PATH", "1")) is not False:
        found = next((path for path in _candidates(probe) if is_rocm_root(probe, path)), "")
        if found:
            return found
    return probe.environ.get("ROCM_PATH", "").strip() or DEFAULT_ROOT


def container_rocm_path(
    docker_env_vars: Mapping[str, str | Secret], image_env: Mapping[str, str]
) -> tuple[str, str] | None:
    """``ROCM_PATH`` of the container with its origin; ``None``: probe it at container start.

    :param docker_env_vars: of the context; ``MAD_ROCM_PATH`` wins over ``ROCM_PATH``.
    :param image_env: ``Config.Env`` of the image; ``ROCM_PATH`` wins over ``ROCM_HOME``.
    """
    for name in ("MAD_ROCM_PATH", "ROCM_PATH"):
        value = reveal(docker_env_vars.get(name, "")).strip()
        if value:
            return value, f"docker_env_vars.{name}"
    for name in ("ROCM_PATH", "ROCM_HOME"):
        value = image_env.get(name, "").strip()
        if value:
            return value, f"image:{name}"
    return None


def rocm_release(probe: Probe, root: str) -> tuple[int, int, int] | None:
    """The ROCm release of ``<root>/.info/version`` such as ``6.4.1-83``; ``None`` when unknown."""
    match = re.match(r"\s*(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", probe.read_text(f"{root}/.info/version"))
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def hip_version(probe: Probe, tools: Tools, root: str) -> str:
    """``major.minor`` of ``hipconfig --version``, else of the release file; empty when unknown."""
    return major_minor(tools.run("hipconfig", "--version").value) or major_minor(
        probe.read_text(f"{root}/.info/version")
    )


def _candidates(probe: Probe) -> Iterator[str]:
    yield DEFAULT_ROOT
    yield from probe.glob("/opt/rocm-*")
    yield from _from_sdk(probe)
    for name in _VARIABLES:
        value = probe.environ.get(name, "").strip()
        if value.startswith("/"):
            path = PurePosixPath(value)
            # "/" is no ROCm root, although /bin/rocminfo may exist.
            yield from (str(entry) for entry in (path, *path.parents)[: _PARENTS + 1] if len(entry.parts) > 1)
    yield "/usr/local/rocm"
    home = probe.environ.get("HOME", "").rstrip("/")
    if home.startswith("/"):
        yield from (f"{home}/rocm", f"{home}/therock")
    for tool in _TOOLS:
        path_text = probe.which(tool)
        if path_text:
            for text in dict.fromkeys((probe.realpath(path_text), path_text)):
                root = PurePosixPath(text).parent.parent
                if len(root.parts) > 1:
                    yield str(root)


def _from_sdk(probe: Probe) -> Iterator[str]:
    """The root of TheRock's Python package."""
    sdk = probe.which("rocm-sdk")
    if sdk:
        lines = probe.command([sdk, "path", "--root"]).value.strip().splitlines()
        if lines and lines[-1].startswith("/"):
            yield lines[-1].strip()
