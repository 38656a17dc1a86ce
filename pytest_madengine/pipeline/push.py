"""The build phase of an item: its image pushed, and its part of the manifest (contract 9.1, 9.2)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_madengine.errors import MadError

if TYPE_CHECKING:
    from pytest_madengine.manifest.batch import BatchEntry
    from pytest_madengine.manifest.references import References
    from pytest_madengine.pipeline.run import ItemRun
    from pytest_madengine.plan.runplan import Image
    from pytest_madengine.results.record import Outcome
    from pytest_madengine.session.session import MadSession


def hands_over(session: MadSession) -> bool:
    """True when this session writes a manifest or a summary of its builds."""
    settings = session.settings
    return session.manifest is None and bool(
        settings.manifest_out
        or settings.build_summary
        or settings.summary_output
        or settings.registry
        or settings.build_only
    )


def batch_entry(run: ItemRun) -> BatchEntry | None:
    """The entry of the batch manifest that chose this item."""
    from pytest_madengine.session.factory import batch_key

    return run.session.batch.get(batch_key(run.spec.selected))


def listed_image(run: ItemRun, entry: BatchEntry) -> Image:
    """The image of a batch entry that is not built: only named in a build phase, else pulled.

    :raises MadError: it can neither be pulled nor is it here.
    """
    from pytest_madengine.manifest.reader import ImageBlock
    from pytest_madengine.pipeline.image import intended_name
    from pytest_madengine.pipeline.pull import block_image
    from pytest_madengine.plan.runplan import Image

    match, name = run.spec.dockerfile, intended_name(run)
    relative = match.relative if match is not None else ""
    if run.session.settings.build_only:
        return Image(name, dockerfile=relative)
    registry = entry.registry or run.session.settings.registry
    block = ImageBlock(
        name,
        docker_image=name,
        dockerfile=relative,
        registry=registry,
        registry_image=entry.registry_image,
    )
    return block_image(run, block)


def push_image(run: ItemRun) -> None:
    """Pushes the image of an item when there is a registry for it; the image then has its digest.

    :raises CredentialError: the registry does not let us in.
    :raises PullError: the image cannot be pushed.
    """
    from pytest_madengine.images.registry import find_credential, registry_tag
    from pytest_madengine.images.transfer import Place

    session, image, entry = run.session, run.image, batch_entry(run)
    registry = (entry.registry if entry is not None else "") or session.settings.registry
    named = entry.registry_image if entry is not None else ""
    if image is None or run.spec.dockerfile is None or not (registry or named):
        return
    if entry is not None and not entry.build_new:
        return
    registry = registry or named.partition("/")[0]
    credential = find_credential(registry, run.credentials, session.settings.environ)
    reference = registry_tag(registry, image.name, credential, named)
    run.push.update(registry=registry, reference=reference)
    try:
        with run.timed("push"):
            digest = session.transfers.push(
                image.id or image.name,
                reference,
                Place(registry, credential),
                timeout=session.settings.timeout_pull,
                log_path=run.artifacts / "push.live.log",
            )
    except MadError as error:
        run.push["error"] = session.redactor.text(error.message)
        raise
    run.push.pop("error", None)
    run.push["digest"] = digest
    run.image = replace(image, digest=digest)


# ---- what goes into the manifest ----------------------------------------------------------------------


def build_part(run: ItemRun, outcome: Outcome, reason: str) -> dict[str, Any]:
    """The part of an item in manifest and build summary, for its record; secrets are references in it.

    Empty when the item has none: it was skipped, or this session hands nothing over.
    """
    from pytest_madengine.catalog.ids import selected_entry
    from pytest_madengine.manifest.references import References
    from pytest_madengine.manifest.writer import BuildReport
    from pytest_madengine.results.record import Outcome

    if not hands_over(run.session):
        return {}
    not_run = reason.startswith("not run: ")
    if outcome is Outcome.SKIPPED and not not_run and (run.image is None):
        return {}
    redact = run.session.redactor.text
    references = References(run.session.settings.environ, run.credentials, run.session.redactor)
    selected = run.spec.selected
    entry = {**selected_entry(selected), "name": selected.model.name}
    parameters = {parameter.name: parameter.value for parameter in selected.parameters}
    report = BuildReport(
        item=run.spec.name,
        model=selected.model.name,
        entry=references.replace(entry),
        parameters=json.loads(redact(json.dumps(parameters))),
        dockerfile=run.spec.dockerfile.relative if run.spec.dockerfile is not None else "",
        key=_key(run),
        push_error=run.push.get("error", ""),
        intended_reference=run.push.get("reference", ""),
    )
    if run.image is not None:
        report = replace(report, image=_image_block(run, run.image, references))
    else:
        report = replace(
            report,
            error=redact(reason),
            intended_image=_intended(run),
            build_duration=round(run.durations.get("build", 0.0), 3),
        )
    run.warnings += [note for note in references.notes if note not in run.warnings]
    return report.to_dict()


def _intended(run: ItemRun) -> str:
    from pytest_madengine.pipeline.image import intended_name

    try:
        return intended_name(run)
    except MadError:
        return ""


def _key(run: ItemRun) -> str:
    """The key of the entry when it is not the image name (contract 9.2)."""
    if run.session.settings.use_image:
        return run.model_name
    return f"local-{run.model_name}" if run.session.context.get("MAD_CONTAINER_IMAGE") else ""


def _image_block(run: ItemRun, image: Image, references: References) -> dict[str, Any]:
    spec, entry = run.spec, batch_entry(run)
    built = spec.dockerfile is not None and (entry is None or entry.build_new)
    command, architecture, vendor = "", spec.arch, ""
    if spec.dockerfile is not None:
        architecture, vendor = _target(run)
    if built:
        command = _command(run)
    block: dict[str, Any] = {
        "model": run.model_name,
        "docker_image": image.name,
        "dockerfile": image.dockerfile,
        "base_docker": image.base_docker,
        "docker_sha": image.docker_sha,
        "build_duration": image.build_duration,
        "build_command": run.session.redactor.text(command),
        "log_file": _log_name(run),
        "gpu_vendor": vendor,
        "gpu_architecture": architecture,
        "image_id": image.id,
        "build_status": "SUCCESS" if built else "SKIPPED",
    }
    if spec.dockerfile is None:
        block["local_image" if run.session.context.get("MAD_CONTAINER_IMAGE") else "prebuilt"] = True
        block["image_name"] = image.name
    if entry is not None and not entry.build_new:
        names = {"registry": entry.registry, "registry_image": entry.registry_image}
        block |= {name: value for name, value in names.items() if value}
    if run.push.get("error"):
        block |= {"push_failed": True, "push_error": run.push["error"], "registry": run.push["registry"]}
    elif run.push.get("digest"):
        block |= {"registry": run.push["registry"], "registry_image": run.push["reference"]}
        block["registry_digest"] = run.push["digest"]
    return block


def _target(run: ItemRun) -> tuple[str, str]:
    """Architecture and vendor an image is bound to; empty where it runs on any.

    The architecture of the build host counts only when the Dockerfile asks for it.
    """
    from pytest_madengine.images.dockerfile import declared_args, read_dockerfile
    from pytest_madengine.images.request import ARCHITECTURE

    match, context = run.spec.dockerfile, run.session.context
    assert match is not None
    architecture = run.spec.arch
    if not architecture and ARCHITECTURE in declared_args(read_dockerfile(match.path, match.relative)):
        given = (context.get("docker_build_arg") or {}).get(ARCHITECTURE)
        architecture = given if isinstance(given, str) else context.facts.gpu_architecture
    vendor = match.context.get("gpu_vendor") or (context.gpu_vendor if context.vendor_given else "")
    return architecture, str(vendor).upper()


def _command(run: ItemRun) -> str:
    """The build command as the log has it: secrets by name."""
    import shlex

    from pytest_madengine.engine.cli import DockerCli
    from pytest_madengine.images.command import build_argv
    from pytest_madengine.images.dockerfile import read_dockerfile
    from pytest_madengine.pipeline.image import build_request

    request = build_request(run)
    text = read_dockerfile(request.dockerfile.path, request.dockerfile.relative)
    cli = DockerCli("docker", buildkit=True, build_contexts=True)
    argv = build_argv(replace(request, labels={}), cli, text, run.artifacts / "image.id")
    argv = [word for word in argv if word not in ("--iidfile", str(run.artifacts / "image.id"))]
    return shlex.join(argv)


def _log_name(run: ItemRun) -> str:
    logs = sorted(run.artifacts.glob("*.build.live.log")) if run.artifacts.is_dir() else []
    return f"{run.spec.directory}/{logs[0].name}" if logs else ""
