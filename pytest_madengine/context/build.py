"""The context of a session from all its sources, in the order of contract 7.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pytest_madengine.context.keys import Check, check_keys, is_variable_name, variables
from pytest_madengine.context.kinds import named_by
from pytest_madengine.context.literal import as_object, parse_file, parse_string, type_name
from pytest_madengine.context.merge import Layer, copy_tree, merge
from pytest_madengine.context.ranges import format_ranges
from pytest_madengine.context.types import Context, HostFacts
from pytest_madengine.context.visibility import caller_environ, pool_of
from pytest_madengine.errors import ContextError
from pytest_madengine.secrets import Secret, is_secret

STRING: Final = "additional context string"
#: Prefix of the origins of detected values.
DETECTED: Final = "detected:"
#: tools.json ``docker`` -> context (contract 11.1).
_TOOLS_DOCKER: Final = {"build_args": "docker_build_arg", "environment": "docker_env_vars"}
#: Their values with secret names are :class:`Secret`.
_SECRET_OBJECTS: Final = ("docker_build_arg", "docker_env_vars")
#: Values of ``deploy`` that mean this host, and what of a manifest asks for another place.
_HERE: Final = frozenset({"local", "docker"})
_CLUSTER: Final = frozenset({"deploy", "slurm", "k8s", "kubernetes"})
#: A manifest may hold references to secrets in these.
_REFERENCE_OBJECTS: Final = (*_SECRET_OBJECTS, "env_vars")


@dataclass(frozen=True)
class Hints:
    """What detection needs to know from the user's context before it starts."""

    gpu_vendor: str = ""
    rocm_path: str = ""


def detection_hints(*, string: str = "", file: Path | None = None) -> Hints:
    """``gpu_vendor`` and ``MAD_ROCM_PATH`` of the command line, for ``detect_host``.

    :raises ContextError: as :func:`build_context`.
    """
    values, _ = merge(_command_line(string, file, []))
    return Hints(str(values.get("gpu_vendor", "")), str(values.get("MAD_ROCM_PATH", "")))


def build_context(
    *,
    string: str = "",
    file: Path | None = None,
    environ: Mapping[str, str],
    tools_docker: Mapping[str, Mapping[str, str]] | None = None,
    manifest: Mapping[str, Any] | None = None,
    facts: HostFacts,
    gpus: str = "",
) -> Context:
    """Merges all sources; later ones win: detection, tools.json, ``MAD_SECRETS*``, manifest, file, string.

    Values of ``docker_env_vars`` and ``docker_build_arg`` whose names are secret (contract 14.2) are
    :class:`~pytest_madengine.secrets.Secret`.  A reference of a manifest (``{"from_env": NAME}``, also in
    ``env_vars``) becomes a ``Secret`` when the variable exists and stays a reference otherwise, because only
    items that use it fail.

    :param environ: variables of the host.
    :param tools_docker: the ``docker`` object of tools.json.
    :param manifest: the ``context`` object of a manifest.
    :param gpus: ``--mad-gpus``: decides with ``docker_gpus`` and the environment which GPUs give their names.
    :raises ContextError: text, file or the type of a value is wrong; names source and key.
    """
    warnings: list[str] = []
    command_line = _command_line(string, file, warnings)
    if manifest is not None and str(merge(command_line)[0].get("deploy", "")).strip().lower() in _HERE:
        # Who says so on the command line runs here what was built for a cluster.
        manifest = {key: value for key, value in manifest.items() if key not in _CLUSTER}
    given = [
        *_tools_layers(tools_docker or {}, warnings),
        *_secret_layers(environ, warnings),
        *_manifest_layers(manifest, environ, warnings),
        *command_line,
    ]
    user_vendor = merge(command_line)[0].get("gpu_vendor", "")
    facts, vendor_warnings = _facts_for(user_vendor, facts)
    merged = merge(given)[0]
    facts = named_by(
        facts, pool_of(facts, (str(merged.get("docker_gpus") or ""), gpus), caller_environ(environ, gpus))
    )
    vendor = merged.get("gpu_vendor") or facts.gpu_vendor
    values, origins = merge([*_detected_layers(facts, vendor), *given])
    for key in _SECRET_OBJECTS:
        values[key] = {
            name: Secret(value) if isinstance(value, str) and is_secret(name, value) else value
            for name, value in values.get(key, {}).items()
        }
    return Context(
        values=values,
        origins=origins,
        facts=facts,
        vendor_given=bool(user_vendor),
        warnings=tuple(dict.fromkeys([*warnings, *vendor_warnings, *facts.warnings])),
    )


def given_values(context: Context) -> dict[str, Any]:
    """A copy of the context without detected leaves: what a manifest may carry to another host.

    Objects that lose all their leaves are left out.
    """
    return _without_detected(context, context.values, "")


def _without_detected(context: Context, values: Mapping[str, Any], path: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in values.items():
        child = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and value:
            kept = _without_detected(context, value, child)
            if kept:
                result[key] = kept
        elif not context.origins.get(child, DETECTED).startswith(DETECTED):
            result[key] = copy_tree(value)
    return result


def _command_line(string: str, file: Path | None, warnings: list[str]) -> list[Layer]:
    layers = []
    if file is not None:
        source = f"additional context file {file}"
        layers.append(Layer(_checked(parse_file(file, source), source, warnings), f"file:{file.name}"))
    if string.strip():
        layers.append(Layer(_checked(parse_string(string, STRING), STRING, warnings), "string"))
    return layers


def _checked(values: Mapping[str, Any], source: str, warnings: list[str]) -> dict[str, Any]:
    check = Check(source)
    result = check_keys(values, check)
    warnings += check.warnings
    return result


def _manifest_layers(
    manifest: Mapping[str, Any] | None, environ: Mapping[str, str], warnings: list[str]
) -> list[Layer]:
    if manifest is None:
        return []
    source = "context of the manifest"
    check = Check(source, references=True)
    values = check_keys(as_object(manifest, source), check)
    warnings += check.warnings
    for key in _REFERENCE_OBJECTS:
        if key in values:
            values[key] = {name: _resolved(value, environ) for name, value in values[key].items()}
    return [Layer(values, "manifest")]


def _resolved(value: Any, environ: Mapping[str, str]) -> Any:
    name = value.get("from_env") if isinstance(value, Mapping) else None
    return Secret(environ[name]) if isinstance(name, str) and name in environ else value


def _secret_layers(environ: Mapping[str, str], warnings: list[str]) -> list[Layer]:
    layers = []
    for name in sorted(environ):
        if "MAD_SECRETS" not in name:
            continue
        if not is_variable_name(name):
            warnings.append(f"environment: {name!r} is not a valid variable name and is not passed on")
            continue
        secret = Secret(environ[name])
        layers.append(Layer({key: {name: secret} for key in _SECRET_OBJECTS}, f"env:{name}"))
    return layers


def _tools_layers(docker: Mapping[str, Any], warnings: list[str]) -> list[Layer]:
    check = Check("tools.json: docker")
    if not isinstance(docker, Mapping):
        raise ContextError(f"tools.json: docker must be an object, not {type_name(docker)}")
    layers = []
    for key, value in docker.items():
        if key in _TOOLS_DOCKER:
            layers.append(Layer({_TOOLS_DOCKER[key]: variables(check, key, value)}, "tools"))
        else:
            check.warn(key, f"is unknown (known: {', '.join(_TOOLS_DOCKER)})")
    warnings += check.warnings
    return layers


def _facts_for(vendor: str, facts: HostFacts) -> tuple[HostFacts, tuple[str, ...]]:
    """The facts as far as they fit a vendor given by the user, who overrides detection."""
    if not vendor or vendor == facts.gpu_vendor:
        return facts, ()
    if facts.simulated and facts.gpus and vendor != "CPU":
        # Simulated GPUs are of whatever vendor is asked for.
        changed = replace(facts, gpu_vendor=vendor, gpu_architecture="", gpu_product_name="")
        return changed, (f"gpu_vendor {vendor} was given: the simulated GPUs have no known architecture",)
    if not facts.gpus:
        return facts, ()
    without = replace(
        facts,
        gpu_vendor="CPU",
        gpus=(),
        gpu_architecture="",
        gpu_product_name="",
        runtime_version="",
        driver_version="",
    )
    text = f"gpu_vendor {vendor} was given, the {facts.gpu_vendor} GPUs of this host are not used"
    return without, () if vendor == "CPU" else (text,)


def _detected_layers(facts: HostFacts, vendor: str) -> list[Layer]:
    """Contract 7.3; these are the weakest layers, so only absent keys get a detected value."""
    gpu = "simulated" if facts.simulated else facts.gpu_vendor.lower()
    variables_of_gpu = {
        "MAD_SYSTEM_NGPUS": str(facts.gpu_count),
        "MAD_SYSTEM_GPU_ARCHITECTURE": facts.gpu_architecture,
        "MAD_SYSTEM_GPU_PRODUCT_NAME": facts.gpu_product_name,
        "MAD_SYSTEM_HIP_VERSION": facts.runtime_version,
    }
    values: dict[str, Any] = {"gpu_vendor": facts.gpu_vendor, "docker_env_vars": variables_of_gpu}
    if facts.gpu_architecture:
        values["docker_build_arg"] = {"MAD_SYSTEM_GPU_ARCHITECTURE": facts.gpu_architecture}
    if facts.gpus:
        numbers = [gpu.index for gpu in facts.gpus]
        whole = numbers == list(range(len(numbers)))
        values["docker_gpus"] = f"0-{numbers[-1]}" if whole else format_ranges(numbers)
    minors = [entry.render_minor for entry in facts.gpus]
    if facts.gpu_vendor in ("AMD", "INTEL") and minors and None not in minors:
        values["gpu_renderDs"] = minors
    return [
        Layer({"docker_env_vars": {}, "docker_build_arg": {}}, f"{DETECTED}default"),
        Layer({"host_os": facts.host_os}, f"{DETECTED}host_os"),
        Layer({"numa_balancing": facts.numa_balancing}, f"{DETECTED}numa_balancing"),
        Layer({"ctx_test": facts.ctx_test}, f"{DETECTED}ctx_test"),
        Layer(values, f"{DETECTED}{gpu}"),
        Layer({"docker_env_vars": {"MAD_GPU_VENDOR": vendor}}, f"{DETECTED}gpu_vendor"),
    ]
