"""``generate k8s | ansible | slurm``: files that run the models of a manifest elsewhere (contract 19.2)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.util import jsontext
from pytest_madengine.util.files import write_atomic

if TYPE_CHECKING:
    from pytest_madengine.deploy.target import TargetModel
    from pytest_madengine.generate.targets import Targets
    from pytest_madengine.settings import Settings

K8S_CONFIG: Final = "k8s-madengine-configmap.yaml"
K8S_JOBS: Final = "k8s-madengine-job.yaml"
K8S_SECRETS: Final = "k8s-madengine-secrets.sh"


@dataclass(frozen=True)
class Generated:
    """What was written, and what a person has to know and do."""

    files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()
    #: Lines to print: what comes next.
    next_steps: tuple[str, ...] = field(default=())


def generate_k8s(
    manifest: Path,
    directory: Path,
    *,
    namespace: str = "madengine",
    environment: str = "default",
    root: Path | None = None,
    context: str = "",
    context_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Generated:
    """Writes Kubernetes objects for every model of a manifest, and a script that makes their Secrets.

    :param directory: where the files go.
    :param root: MAD root; default: ``MODEL_DIR``, else the working directory or that of the manifest.
    :param context: additional context of the target, with its file.
    :param environ: variables of this host; default: those of this process.
    :raises ConfigError: manifest, context or block is wrong; nothing is written then.
    :raises MadError: a model cannot be planned.
    """
    from pytest_madengine.deploy.k8s.objects import object_kinds, render_k8s
    from pytest_madengine.deploy.k8s.secretscript import secret_script
    from pytest_madengine.deploy.yamltext import dump_documents
    from pytest_madengine.generate.targets import require_pinned

    targets = _targets(manifest, "kubernetes", root, context, context_file, environ)
    require_pinned(targets)
    models = _with_files(targets)
    rendered = render_k8s(
        models,
        namespace=namespace,
        environment=environment,
        manifest=targets.references.replace(targets.manifest.raw),
        data=_data_file(targets),
    )
    script = secret_script(rendered.secrets, namespace)
    header = "Made by madengine-cli generate k8s; apply it with: kubectl apply -f"
    files = {
        K8S_CONFIG: dump_documents(rendered.config, f"{header} {K8S_CONFIG}"),
        K8S_JOBS: dump_documents(rendered.jobs, f"{header} {K8S_JOBS}"),
    }
    if script is not None:
        files[K8S_SECRETS] = script.text
    paths = _write(directory, files, executable={K8S_SECRETS})
    steps = [
        f"{K8S_CONFIG}: {_some(object_kinds(rendered.config))}",
        f"{K8S_JOBS}: {_some(object_kinds(rendered.jobs))}",
        f"1. kubectl apply -f {_word(directory / K8S_CONFIG)}",
    ]
    if script is not None:
        steps.append(f"2. bash {_word(directory / K8S_SECRETS)}")
        steps += _variables_of("its environment must have", script.variables)
        steps += _variables_of("paths of files", script.files)
        steps += _variables_of("for a registry that asks for a login", script.registry)
    steps.append(f"{2 if script is None else 3}. kubectl apply -f {_word(directory / K8S_JOBS)}")
    return Generated(paths, (*targets.warnings, *rendered.warnings), tuple(steps))


def _word(path: Path) -> str:
    """A path as a word of a command to copy; a program in the current directory needs ``./``."""
    text = shlex.quote(str(path))
    return text if "/" in text else f"./{text}"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _variables_of(what: str, names: tuple[str, ...]) -> list[str]:
    return [f"   {what}: {', '.join(names)}"] if names else []


def _targets(
    manifest: Path,
    kind: str,
    root: Path | None,
    context: str,
    context_file: Path | None,
    environ: Mapping[str, str] | None,
) -> Targets:
    from pytest_madengine.generate.planner import read_targets
    from pytest_madengine.generate.targets import target_settings

    settings: Settings = target_settings(
        manifest, root=root, context=context, context_file=context_file, environ=environ
    )
    return read_targets(settings, kind)


def _with_files(targets: Targets) -> list[TargetModel]:
    """The models with the files they need, once it is known that their scripts hold no secret."""
    from pytest_madengine.generate.sources import files_of
    from pytest_madengine.generate.targets import unrevealed
    from pytest_madengine.images.registry import login_server

    models = []
    for model in targets.models:
        unrevealed(targets, _texts(model))
        server = login_server(model.image) if _has_server(model.image) else ""
        models.append(replace(model, files=files_of(model.plan), registry=server))
    return models


def _has_server(reference: str) -> bool:
    """Docker takes a first component without dot, port or ``localhost`` for a path in Docker Hub."""
    host, slash, _ = reference.partition("/")
    return bool(slash) and (host == "localhost" or "." in host or ":" in host)


def _texts(model: TargetModel) -> Iterator[tuple[str, str]]:
    """What of a plan stands in scripts, and what of it in objects."""
    script, where = model.plan.script, f"model {model.title}"
    yield f"{where}: args or run line", script.run_line
    for step in (*script.pre_steps, *script.post_steps):
        yield f"{where}: {step.name}", step.args
    for data in script.data_steps:
        yield f"{where}: data {data.name}", data.args
    if script.clone is not None:
        yield f"{where}: url", script.clone.url
    for mount in model.plan.mounts:
        yield f"{where}: mount {mount.target}", mount.source


def _data_file(targets: Targets) -> Mapping[str, Any] | None:
    """``data.json`` of the root without secrets; ``None`` without one."""
    settings = targets.session.settings
    path = settings.data_config or settings.root / "data.json"
    try:
        value = jsontext.read(path)
    except FileNotFoundError:
        return None
    except (OSError, jsontext.JsonTextError) as error:
        raise ConfigError(f"data configuration {path}: {error}") from None
    if not isinstance(value, Mapping):
        raise ConfigError(f"data configuration {path}: must be an object")
    replaced = targets.references.replace(value)
    return replaced if isinstance(replaced, Mapping) else {}


def _write(directory: Path, files: Mapping[str, str], executable: set[str]) -> tuple[Path, ...]:
    """Writes all files.

    :raises ConfigError: the directory cannot be written.
    """
    paths = []
    for name, text in files.items():
        path = directory / name
        try:
            write_atomic(path, text)
            if name in executable:
                path.chmod(0o755)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror or error}") from None
        paths.append(path)
    return tuple(paths)


def generate_ansible(
    manifest: Path,
    output: Path,
    *,
    environment: str = "default",
    root: Path | None = None,
    context: str = "",
    context_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Generated:
    """Writes a playbook that runs the models of a manifest on the hosts of the group ``gpu_nodes``.

    The parameters are those of :func:`generate_k8s`.

    :param output: the playbook.
    :raises ConfigError: the manifest is wrong, or its images are in no registry; nothing is written then.
    :raises MadError: a model cannot be planned.
    """
    from pytest_madengine.deploy.ansible.playbook import PlaybookParts, playbook, split_reference
    from pytest_madengine.deploy.yamltext import dump_documents
    from pytest_madengine.generate.targets import require_pinned
    from pytest_madengine.images.registry import login_server

    targets = _targets(manifest, "ansible", root, context, context_file, environ)
    require_pinned(targets)
    _refuse_clusters(targets)
    base = output.resolve().parent
    place = targets.session.settings.root
    images = dict.fromkeys(
        split_reference(one.image, _has_server(one.image), one.plan.image.name) for one in targets.models
    )
    servers = list(dict.fromkeys(image.registry for image in images))
    variables, credentials = _needed_secrets(targets)
    given = _plain_context(targets)
    parts = PlaybookParts(
        manifest=_near(targets.manifest.path, base),
        root=_near(place, base),
        files=[name for name in ("scripts", "models.json", "data.json") if (place / name).exists()],
        images=list(images),
        registry=login_server(servers[0]) if servers[0] else "",
        environment=environment,
        variables=variables,
        credentials=credentials,
        context=json.dumps(given, indent=2) if given else "",
    )
    text = dump_documents(
        [playbook(parts)], f"Made by madengine-cli generate ansible; run it with:\n{_PLAY} {output.name}"
    )
    paths = _write(base, {output.name: text}, executable=set())
    steps = [f"{_PLAY} {_word(output)}"]
    if variables:
        steps.append(f"   vault variable madengine_secrets (an object) must have: {', '.join(variables)}")
    if credentials:
        steps.append(
            f"   vault variable madengine_credentials (an object) must have: {', '.join(credentials)}"
        )
    steps.append("   for a registry that asks for a login: registry_username, registry_password")
    warnings = list(targets.warnings)
    if len(servers) > 1:
        warnings.append(
            f"the images lie in several registries ({', '.join(servers)}): the login is for the first"
        )
    return Generated(paths, tuple(warnings), tuple(steps))


_PLAY: Final = "ansible-playbook -i INVENTORY"


def _near(path: Path, base: Path) -> str:
    """A path relative to the playbook where it lies below it, so that both can be moved together."""
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)


def _needed_secrets(targets: Targets) -> tuple[list[str], list[str]]:
    """Variables and credentials that hosts must have for a manifest."""
    from pytest_madengine.generate.standins import references_in

    found = list(references_in(targets.manifest.raw))
    variables = {name for kind, name in found if kind == "from_env"}
    keys = {name.rpartition(".")[0] for kind, name in found if kind == "from_credential"}
    keys |= {str(entry.model.get("cred") or "") for entry in targets.manifest.entries} - {""}
    return sorted(variables), sorted(keys)


def _plain_context(targets: Targets) -> dict[str, Any]:
    """The additional context of the command line.

    :raises ConfigError: it holds a secret.
    """
    from pytest_madengine.context.literal import parse_file, parse_string
    from pytest_madengine.generate.planner import merged_objects
    from pytest_madengine.manifest.references import has_references

    settings = targets.session.settings
    given: dict[str, Any] = {}
    if settings.context_file is not None:
        given = dict(parse_file(settings.context_file, f"additional context file {settings.context_file}"))
    if settings.context.strip():
        given = merged_objects(given, parse_string(settings.context, "additional context string"))
    if has_references(targets.references.replace(given)) and not has_references(given):
        raise ConfigError(
            "the additional context holds a secret, which must not be in a generated file",
            hint="give it when the manifest is built: it then has a reference, and the hosts have the value",
        )
    return given


def _refuse_clusters(targets: Targets) -> None:
    """Refuses models that would not run on single hosts, where every host runs the whole manifest.

    :raises ConfigError: the manifest asks for a cluster, or a model for several nodes.
    """
    from pytest_madengine.plan.placement import LOCAL, asked_for

    target = asked_for(targets.manifest.context)
    if target != LOCAL:
        raise ConfigError(
            f"manifest {targets.manifest.path} asks for {target}, and a playbook runs models on single hosts",
            hint="generate files for that cluster, or build the manifest without its block",
        )
    for model in targets.models:
        if model.nodes > 1:
            raise ConfigError(
                f"model {model.title} wants {model.nodes} nodes, and a playbook runs models on single hosts",
                hint="use: madengine-cli generate slurm (or k8s)",
            )


def generate_slurm(
    manifest: Path,
    directory: Path,
    *,
    environment: str = "default",
    root: Path | None = None,
    context: str = "",
    context_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Generated:
    """Writes a job script per model, and a script that submits them.

    The parameters are those of :func:`generate_k8s`.

    :raises ConfigError: manifest, context or block is wrong; nothing is written then.
    :raises MadError: a model cannot be planned.
    """
    from pytest_madengine.deploy.slurm.jobs import SUBMIT, render_slurm
    from pytest_madengine.generate.targets import unrevealed

    targets = _targets(manifest, "slurm", root, context, context_file, environ)
    for model in targets.models:
        unrevealed(targets, _texts(model))
    variables, credentials = _needed_secrets(targets)
    rendered = render_slurm(
        [(model, _manifest_of(targets, model.key)) for model in targets.models],
        root=str(targets.session.settings.root),
        environment=environment,
        context=_plain_context(targets),
        variables=variables,
    )
    paths = _write(directory, rendered.files, executable={SUBMIT})
    steps = [_word(directory / SUBMIT)]
    steps += _variables_of("variables that must be set when it runs", tuple(variables))
    steps += _variables_of("credential.json of the MAD repository must have", tuple(credentials))
    warnings = [*targets.warnings, *rendered.warnings]
    local = [model.title for model in targets.models if not model.image]
    if local:
        warnings.append(f"no registry digest for {', '.join(local)}: every node must have the image already")
    return Generated(paths, tuple(warnings), tuple(steps))


def _manifest_of(targets: Targets, key: str) -> dict[str, Any]:
    """The manifest of one entry alone, without secrets and without a target."""
    from pytest_madengine.deploy.slurm.jobs import TARGET_KEYS

    raw = targets.manifest.raw
    kept = {name: value for name, value in raw.items() if name not in {"summary", "push_failures"}}
    for name in ("built_images", "built_models"):
        kept[name] = {entry: value for entry, value in raw[name].items() if entry == key}
    for name in ("context", "deployment_config"):
        value = raw.get(name)
        if isinstance(value, Mapping):
            kept[name] = {one: part for one, part in value.items() if one not in TARGET_KEYS}
    result: dict[str, Any] = targets.references.replace(kept)
    return result
