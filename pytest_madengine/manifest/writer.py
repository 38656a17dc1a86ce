"""``build_manifest.json`` as it is written: reports of items and what the session adds (9.2)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_madengine.manifest.reader import DEPLOYMENT_KEYS, SCHEMA_VERSION
from pytest_madengine.util.files import write_atomic

#: Keys of ``context`` that are always there, with what they hold when nothing was given.
CONTEXT_KEYS: Final[Mapping[str, Any]] = {
    "docker_env_vars": {},
    "docker_mounts": {},
    "docker_build_arg": {},
    "gpu_vendor": "",
    "guest_os": "",
    "docker_gpus": "",
}
#: Context keys that describe the build host or are written elsewhere in the manifest.
_NOT_CARRIED: Final = frozenset(
    {"host_os", "numa_balancing", "ctx_test", "gpu_renderDs", "MAD_ROCM_PATH", "MAD_CONTAINER_IMAGE"}
)


@dataclass(frozen=True)
class BuildReport:
    """What one item of a build phase contributes; JSON types only, secrets already replaced."""

    item: str
    model: str
    #: ``image block, as in v2`` plus what schema 3 added; empty after a failed build.
    image: Mapping[str, Any] = field(default_factory=dict)
    entry: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    #: Error of the build; empty when the image is there.
    error: str = ""
    intended_image: str = ""
    dockerfile: str = ""
    #: Seconds.
    build_duration: float = 0.0
    #: Key of the entry when it is not the image name.
    key: str = ""
    push_error: str = ""
    intended_reference: str = ""

    @property
    def params_id(self) -> str:
        """``p=v:q=w`` of the parameters."""
        return ":".join(k if v is None else f"{k}={v}" for k, v in self.parameters.items())

    def to_dict(self) -> dict[str, Any]:
        """For a record."""
        return {name: value for name, value in vars(self).items() if value not in ("", {}, 0.0)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BuildReport:
        """The inverse of :meth:`to_dict`."""
        return cls(**{name: value for name, value in data.items() if name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Head:
    """The parts of a manifest that belong to the session and not to an item."""

    generator: Mapping[str, str]
    context: Mapping[str, Any]
    deployment: Mapping[str, Any] = field(default_factory=dict)
    registry: str = ""
    #: ``MAD_CONTAINER_IMAGE`` or ``--mad-use-image``.
    local_image: str = ""


def make_manifest(head: Head, reports: Sequence[BuildReport]) -> dict[str, Any]:
    """The JSON value of a manifest of schema 3."""
    images: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for report in reports:
        if not report.image:
            continue
        key = _free_key(report, images)
        images[key] = dict(report.image)
        models[key] = {**report.entry, "madengine_params": dict(report.parameters)}
    creds = {str(report.entry.get("cred") or "") for report in reports} - {""}
    failures = [_push_failure(report) for report in reports if report.push_error]
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "generator": dict(head.generator),
        "built_images": images,
        "built_models": models,
        "context": dict(head.context),
        "credentials_required": sorted(creds),
    }
    if head.registry:
        manifest["registry"] = head.registry
    manifest["summary"] = build_summary(reports)
    manifest["deployment_config"] = dict(head.deployment)
    if failures:
        manifest["push_failures"] = failures
    if head.local_image:
        manifest |= {"local_image_mode": True, "local_image_name": head.local_image}
    return manifest


def _free_key(report: BuildReport, taken: Mapping[str, Any]) -> str:
    """The key of an entry: the image name; with its parameters when another one shares the image."""
    name = report.key or str(report.image["docker_image"])
    key, number = name, 1
    while key in taken:
        inner = report.params_id or report.model
        key = f"{name}[{inner}]" if number == 1 else f"{name}[{inner}#{number}]"
        number += 1
    return key


def _push_failure(report: BuildReport) -> dict[str, str]:
    return {
        "image": str(report.image.get("docker_image", "")),
        "intended_registry_image": report.intended_reference,
        "error": report.push_error,
    }


def build_summary(reports: Iterable[BuildReport]) -> dict[str, Any]:
    """``summary`` of a manifest and of ``--mad-build-summary``; durations in seconds.

    A build that several items share counts once.
    """
    result: dict[str, Any] = {
        "successful_builds": [],
        "failed_builds": [],
        "total_build_time": 0.0,
        "successful_pushes": [],
        "failed_pushes": [],
    }
    seconds: dict[str, float] = {}
    for report in reports:
        if report.image:
            _add_success(result, report)
            identity = str(report.image.get("image_id") or report.image["docker_image"])
            seconds[identity] = float(report.image.get("build_duration") or 0.0)
        else:
            seconds[report.item] = report.build_duration
            failed = {"model": report.model, "item": report.item, "error": report.error}
            failed |= {"image": report.intended_image, "dockerfile": report.dockerfile}
            entry = {**report.entry, "madengine_params": dict(report.parameters)} if report.entry else {}
            result["failed_builds"].append({**failed, "entry": entry})
    result["total_build_time"] = round(sum(seconds.values()), 3)
    return result


def _add_success(result: dict[str, Any], report: BuildReport) -> None:
    image = report.image
    common = {"model": report.model, "item": report.item, "image": image["docker_image"]}
    if image.get("build_status") != "SKIPPED":
        duration = image.get("build_duration", 0.0)
        result["successful_builds"].append(
            {**common, "dockerfile": report.dockerfile, "build_duration": duration}
        )
    if report.push_error:
        target = {"registry_image": report.intended_reference, "error": report.push_error}
        result["failed_pushes"].append({**common, **target})
    elif image.get("registry_digest"):
        target = {"registry_image": image["registry_image"], "registry_digest": image["registry_digest"]}
        result["successful_pushes"].append({**common, **target})


def manifest_context(given: Mapping[str, Any]) -> dict[str, Any]:
    """``context`` of a manifest, from the given (not detected) values of the context.

    Everything a user gave travels, except what is true of one host only.
    """
    left_out = _NOT_CARRIED | set(DEPLOYMENT_KEYS)
    carried = {key: value for key, value in given.items() if key not in left_out}
    return {**CONTEXT_KEYS, **carried}


def deployment_config(given: Mapping[str, Any], target: str) -> dict[str, Any]:
    """``deployment_config`` of a manifest."""
    return {"target": target, **{key: given[key] for key in DEPLOYMENT_KEYS if key in given}}


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Writes a manifest, whole or not at all, with indent 2.

    :raises OSError: the file cannot be written; an older one is then unchanged.
    """
    write_atomic(path, json.dumps(manifest, indent=2) + "\n")
