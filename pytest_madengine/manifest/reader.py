"""``build_manifest.json`` as it is read: what a build host hands to a run host (contract 9.2, 9.3).

Schema 3 is published as ``docs/reference/build_manifest.schema.json``.  Files of the predecessor (v1, v2)
have the same shape without ``schema_version`` and are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.util import jsontext

SCHEMA_VERSION: Final = 3
REQUIRED: Final = ("built_images", "built_models", "context")
#: Context keys that make up ``deployment_config``.
DEPLOYMENT_KEYS: Final = ("slurm", "k8s", "kubernetes", "distributed", "vllm", "env_vars", "debug")
#: Values of ``deployment_config.target`` that ask for no cluster.
_LOCAL_TARGETS: Final = ("local", "docker")
#: Facts of the build host that older manifests carry among the variables of the context.
_DETECTED_VARIABLES: Final = (
    *("MAD_GPU_VENDOR", "MAD_SYSTEM_NGPUS", "MAD_SYSTEM_GPU_ARCHITECTURE"),
    *("MAD_SYSTEM_GPU_PRODUCT_NAME", "MAD_SYSTEM_HIP_VERSION"),
)


@dataclass(frozen=True)
class ImageBlock:
    """One entry of ``built_images``, as far as a run needs it."""

    key: str
    model: str = ""
    docker_image: str = ""
    #: Relative to the MAD root of the build host; empty for an image that was given.
    dockerfile: str = ""
    base_docker: str = ""
    docker_sha: str = ""
    #: Seconds.
    build_duration: float = 0.0
    gpu_vendor: str = ""
    gpu_architecture: str = ""
    registry: str = ""
    registry_image: str = ""
    registry_digest: str = ""
    image_id: str = ""
    #: The image was named by the user, not built.
    given: bool = False
    built_on_compute: bool = False
    push_error: str = ""

    @property
    def base(self) -> str:
        """Dockerfile file name without ``.Dockerfile``."""
        return self.dockerfile.rpartition("/")[2].removesuffix(".Dockerfile")


@dataclass(frozen=True)
class ManifestEntry:
    """One image with the model that runs in it; ``model`` is empty when the manifest has no such block."""

    image: ImageBlock
    model: Mapping[str, Any] = field(default_factory=dict)
    #: ``p -> v``, of a bare flag ``p -> None``; the text of them is already inside ``args``.
    parameters: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class FailedBuild:
    """One entry of ``summary.failed_builds``."""

    model: str
    item: str = ""
    image: str = ""
    dockerfile: str = ""
    error: str = ""
    entry: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read.  ``raw`` is the file as it is, unknown keys included."""

    path: Path
    entries: tuple[ManifestEntry, ...]
    context: Mapping[str, Any]
    registry: str = ""
    failed: tuple[FailedBuild, ...] = ()
    #: 3, or 0 for files of the predecessor.
    schema_version: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest of schema 3, v1 or v2.

    :raises ConfigError: the file cannot be read, is no manifest, or is of a newer schema.
    """
    try:
        raw = jsontext.read(path)
    except FileNotFoundError:
        raise ConfigError(
            f"--mad-manifest: {path} is not a file",
            hint="build it with: pytest --mad-tags ... --mad-build-only --mad-manifest-out FILE",
        ) from None
    except OSError as error:
        raise ConfigError(f"manifest {path}: {error.strerror or error}") from None
    except jsontext.JsonTextError as error:
        raise ConfigError(f"manifest {path}: not JSON: {error}") from None
    return parse_manifest(raw, path)


def parse_manifest(raw: object, path: Path) -> Manifest:
    """A manifest from the JSON value of its file.

    :raises ConfigError: keys are missing or have the wrong type; the text names file and key.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"manifest {path}: the top level must be an object")
    missing = [key for key in REQUIRED if key not in raw]
    if missing:
        raise ConfigError(f"manifest {path}: required keys are missing: {', '.join(missing)}")
    version = raw.get("schema_version", 0)
    if isinstance(version, bool) or not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ConfigError(
            f"manifest {path}: schema_version {version!r} is not known to this version of pytest-madengine",
            hint=f"it reads {SCHEMA_VERSION} and files without schema_version; update pytest-madengine",
        )
    images, models = (_object(raw, key, path) for key in ("built_images", "built_models"))
    entries = tuple(_entry(str(key), images[key], models, raw, path) for key in images)
    context = dict(_object(raw, "context", path))
    if version < SCHEMA_VERSION:
        context = without_detected_variables(context)
    return Manifest(
        path=path,
        entries=entries,
        context={**_deployment_of(raw, path), **context},
        registry=_text(raw, "registry", f"manifest {path}"),
        failed=_failed_builds(raw),
        schema_version=version,
        raw=raw,
    )


def without_detected_variables(context: Mapping[str, Any]) -> dict[str, Any]:
    """The context of an older manifest without facts of its build host: detection fills them again."""
    variables = context.get("docker_env_vars")
    if not isinstance(variables, Mapping):
        return dict(context)
    kept = {name: value for name, value in variables.items() if name not in _DETECTED_VARIABLES}
    return {**context, "docker_env_vars": kept}


def _object(raw: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    value = raw[key]
    if not isinstance(value, Mapping):
        raise ConfigError(f"manifest {path}: {key} must be an object")
    return value


def _deployment_of(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    deployment = {} if raw.get("deployment_config") is None else raw["deployment_config"]
    if not isinstance(deployment, Mapping):
        raise ConfigError(f"manifest {path}: deployment_config must be an object")
    found = {key: deployment[key] for key in DEPLOYMENT_KEYS if deployment.get(key)}
    target = deployment.get("target")
    # What runs on one host is what other manifests name, or do not name: no need to say so.
    return found if target in (None, "", *_LOCAL_TARGETS) else {"deploy": target, **found}


def _entry(
    key: str, block: object, models: Mapping[str, Any], raw: Mapping[str, Any], path: Path
) -> ManifestEntry:
    if not isinstance(block, Mapping):
        raise ConfigError(f"manifest {path}: built_images[{key!r}] must be an object")
    model = models.get(key)
    if model is not None and not isinstance(model, Mapping):
        raise ConfigError(f"manifest {path}: built_models[{key!r}] must be an object")
    model = dict(model or {})
    parameters = model.pop("madengine_params", None)
    image = _image(key, block, raw, f"manifest {path}: built_images[{key!r}]")
    return ManifestEntry(image, model, _parameters(parameters))


def _parameters(value: object) -> dict[str, str | None]:
    if not isinstance(value, Mapping):
        return {}
    texts = (str, int, float)
    return {
        str(name): None if entry is None else str(entry)
        for name, entry in value.items()
        if entry is None or (isinstance(entry, texts) and not isinstance(entry, bool))
    }


def _image(key: str, block: Mapping[str, Any], raw: Mapping[str, Any], where: str) -> ImageBlock:
    def text(name: str) -> str:
        return _text(block, name, where)

    local = bool(raw.get("local_image_mode")) or bool(block.get("local_image"))
    name = text("docker_image") or text("image_name")
    if local:
        name = name or _text(raw, "local_image_name", where)
    duration = block.get("build_duration")
    return ImageBlock(
        key=key,
        model=text("model"),
        docker_image=name or key,
        dockerfile="" if text("dockerfile").startswith("N/A") else text("dockerfile"),
        base_docker=text("base_docker"),
        docker_sha=text("docker_sha"),
        build_duration=float(duration) if isinstance(duration, (int, float)) else 0.0,
        gpu_vendor=text("gpu_vendor").strip().upper(),
        gpu_architecture=text("gpu_architecture").strip(),
        registry=text("registry"),
        registry_image=text("registry_image"),
        registry_digest=text("registry_digest"),
        image_id=text("image_id"),
        given=local or bool(block.get("prebuilt")),
        built_on_compute=bool(block.get("built_on_compute")),
        push_error=text("push_error"),
    )


def _text(values: Mapping[str, Any], name: str, where: str) -> str:
    value = values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{where}: {name} must be text")
    return value


def _failed_builds(raw: Mapping[str, Any]) -> tuple[FailedBuild, ...]:
    """Failed builds; the predecessor wrote names, or objects with a name and an error."""
    summary = raw.get("summary")
    listed = summary.get("failed_builds") if isinstance(summary, Mapping) else None
    found = []
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, str) and entry:
            found.append(FailedBuild(entry))
        elif isinstance(entry, Mapping) and isinstance(entry.get("model"), str):
            values = {name: entry.get(name) for name in ("item", "image", "dockerfile", "error")}
            texts = {name: value for name, value in values.items() if isinstance(value, str)}
            model = entry.get("entry")
            found.append(
                FailedBuild(entry["model"], **texts, entry=model if isinstance(model, Mapping) else {})
            )
    return tuple(found)
