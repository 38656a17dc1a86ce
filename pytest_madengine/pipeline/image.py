"""The image of an item: given, built, or only named (for a plan)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_madengine.errors import DockerfileError
from pytest_madengine.plan.runplan import Image
from pytest_madengine.secrets import Secret

if TYPE_CHECKING:
    from pytest_madengine.images.builder import BuildRequest
    from pytest_madengine.manifest.reader import ImageBlock
    from pytest_madengine.pipeline.run import ItemRun


def image_for(run: ItemRun, again: bool = False) -> Image:
    """The image of an item, ready to run.

    :param again: build even though an equal build failed, when the machine was at fault.
    :raises MadError: no Dockerfile matches, the build or pull failed, no engine answers.
    """
    from pytest_madengine.pipeline.push import batch_entry, listed_image

    session, spec = run.session, run.spec
    if spec.error is not None:
        raise spec.error
    given = given_name(run)
    if spec.block is not None:
        return _image_of_block(run, spec.block)
    if session.plan_only:
        return Image(given or intended_name(run), dockerfile=_dockerfile(run), context=_context(run))
    if given:
        log = run.artifacts / "pull.live.log"
        settings = session.settings
        return session.builder.given(
            given, pull=not settings.no_pull, timeout=settings.timeout_pull, log_path=log
        )
    entry = batch_entry(run)
    if entry is not None and not entry.build_new:
        return listed_image(run, entry)
    request = build_request(run)
    run.warnings += [note for note in request.notes if note not in run.warnings]
    image = session.builder.ensure(request, retry=again, warn=run.warnings.append)
    if spec.dockerfile is not None:
        run.warnings += spec.dockerfile.warnings
    return image


def _image_of_block(run: ItemRun, block: ImageBlock) -> Image:
    from pytest_madengine.pipeline.pull import block_image

    if run.session.plan_only:
        return Image(block.docker_image, block.image_id, block.registry_digest, block.dockerfile)
    return block_image(run, block)


def build_request(run: ItemRun, *, labelled: bool = True) -> BuildRequest:
    """The build an item needs (contract 8.3).

    :param labelled: false: nothing is built, so who owns it need not be found out.
    :raises MadError: the Dockerfile cannot be read or the build context is missing.
    """
    from pytest_madengine.engine.owner import owner_labels
    from pytest_madengine.images.builder import make_build_request
    from pytest_madengine.plan.names import log_name

    session, spec = run.session, run.spec
    if spec.dockerfile is None:
        raise DockerfileError(f"no Dockerfile for model {run.model_name}")
    name = log_name(run.model_name, spec.base, spec.selected.params_id)
    return make_build_request(
        spec.selected.model,
        spec.selected.parameters,
        spec.dockerfile,
        session.context,
        credential_arguments(run),
        session.settings,
        log_path=run.artifacts / f"{name}.build.live.log",
        labels=owner_labels(run.model_name, spec.name, session.run_id) if labelled else {},
        arch=spec.arch,
        suffix=spec.image_suffix,
    )


def credential_arguments(run: ItemRun) -> Mapping[str, str | Secret]:
    """Fields of the model's credential as ``<CRED>_<FIELD upper>`` (contract 8.3)."""
    model = run.spec.selected.model
    fields = run.credentials.get(model.cred) if model.cred else None
    if not isinstance(fields, Mapping):
        return {}
    return {
        f"{model.cred}_{name.upper()}": value
        for name, value in fields.items()
        if isinstance(value, (str, Secret))
    }


def intended_name(run: ItemRun) -> str:
    """Name of the image the item is meant to run in."""
    if run.spec.block is not None:
        return run.spec.block.docker_image
    given = given_name(run)
    if given or run.spec.dockerfile is None:
        return given
    return build_request(run, labelled=False).names[0]


def given_name(run: ItemRun) -> str:
    """The image that context or entry name instead of a build; empty when one is built."""
    context = str(run.session.context.get("MAD_CONTAINER_IMAGE") or "")
    if context:
        return context
    model, wanted = run.spec.selected.model, run.session.settings.use_image
    if wanted:
        return model.prebuilt_image if wanted == "auto" else wanted
    return "" if model.dockerfile else model.prebuilt_image


def known_by_name(run: ItemRun) -> str:
    """The image of a run of which only a name is known before: what it holds may change any day."""
    block = run.spec.block
    if block is None:
        return given_name(run)
    return "" if block.image_id or block.registry_digest else block.docker_image


def _dockerfile(run: ItemRun) -> str:
    return run.spec.dockerfile.relative if run.spec.dockerfile is not None else ""


def _context(run: ItemRun) -> Mapping[str, object]:
    return run.spec.dockerfile.context if run.spec.dockerfile is not None else {}
