"""The image of a manifest entry: pulled by its digest, verified, or the local one (contract 9.1, 9.3)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_madengine.errors import CredentialError, EngineError, ImageError, MadError, PullError
from pytest_madengine.plan.runplan import Image

if TYPE_CHECKING:
    from pytest_madengine.images.transfer import Place
    from pytest_madengine.manifest.reader import ImageBlock
    from pytest_madengine.pipeline.run import ItemRun

_log = logging.getLogger("pytest_madengine.registry")


def incompatibility(run: ItemRun) -> str:
    """Why the image of an item cannot run on this host; empty when it can, or is not from a manifest."""
    block = run.spec.block
    if block is None:
        return ""
    context = run.session.context
    vendor = context.gpu_vendor if context.vendor_given else context.facts.gpu_vendor
    # Without a GPU here the rules for such hosts decide (contract 7.5).
    if context.facts.gpus and block.gpu_vendor and block.gpu_vendor != vendor:
        return f"image was built for {block.gpu_vendor}, host has {vendor}"
    architecture = context.facts.gpu_architecture
    if architecture and block.gpu_architecture and block.gpu_architecture != architecture:
        return f"image was built for {block.gpu_architecture}, host has {architecture}"
    return ""


def block_image(run: ItemRun, block: ImageBlock) -> Image:
    """The image of a manifest entry, ready to run.

    :raises ImageError: it is not the image that was recorded, was not pushed, or has no valid name.
    :raises PullError: it can neither be pulled nor is it here.
    :raises CredentialError: the registry does not let us in.
    """
    from pytest_madengine.images.naming import is_reference

    settings = run.session.settings
    if not is_reference(block.docker_image):
        raise ImageError(f"manifest: {block.docker_image!r} is not a valid image name")
    reference, place, constructed = source_of_image(run, block)
    log = run.artifacts / "pull.live.log"
    if block.given and not reference:
        image = run.session.builder.given(
            block.docker_image, pull=not settings.no_pull, timeout=settings.timeout_pull, log_path=log
        )
        return _verified(run, block, image, block.docker_image)
    if not reference:
        return _local(run, block, "")
    if constructed:
        _log.info("Attempting to pull constructed registry image: %s", reference)
    try:
        _pull(run, block, reference, place, log)
    except (PullError, CredentialError) as error:
        return _fallback(run, block, error)
    return _verified(run, block, _found(run, block, reference), reference)


def source_of_image(run: ItemRun, block: ImageBlock) -> tuple[str, Place, bool]:
    """Where to pull an image from: reference (empty: nowhere), registry, and whether we made it up.

    ``--mad-registry`` overrides what the manifest says; a digest is used where there is one.
    """
    from pytest_madengine.images.local import repository
    from pytest_madengine.images.registry import find_credential, registry_tag
    from pytest_madengine.images.transfer import Place

    settings, manifest = run.session.settings, run.session.manifest
    recorded = block.registry or (manifest.registry if manifest is not None else "")
    registry = settings.registry or recorded
    reference = block.registry_image
    if not registry and reference:
        registry = repository(reference).partition("/")[0]
    credential = find_credential(registry, run.credentials, settings.environ)
    constructed = bool(registry) and (bool(settings.registry) or not reference) and not block.given
    if constructed and not block.push_error:
        reference = registry_tag(registry, block.docker_image, credential)
    if reference and block.registry_digest:
        reference = f"{_without_tag(reference)}@{block.registry_digest}"
    return reference, Place(registry, credential), constructed and not block.registry_image


def _without_tag(reference: str) -> str:
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _pull(run: ItemRun, block: ImageBlock, reference: str, place: Place, log: Path) -> None:
    run.session.transfers.pull(
        reference, block.docker_image, place, timeout=run.session.settings.timeout_pull, log_path=log
    )


def _fallback(run: ItemRun, block: ImageBlock, error: MadError) -> Image:
    """The local image in place of one that cannot be pulled, if the manifest allows it."""
    from pytest_madengine.images.local import find_image

    attributes = find_image(run.session.client, _local_reference(run, block))
    if attributes is None or (block.image_id and attributes["Id"] != block.image_id):
        raise error
    text = f"Failed to pull from registry, falling back to local image: {error.message}"
    run.warnings.append(text)
    _log.warning("%s", run.session.redactor.text(text))
    return _local(run, block, text)


def _local(run: ItemRun, block: ImageBlock, why: str) -> Image:
    """The local image of that name; older manifests do not say which one it must be."""
    from pytest_madengine.images.local import find_image

    reference = _local_reference(run, block)
    if find_image(run.session.client, reference) is None:
        if block.push_error:
            raise ImageError(f"image {block.docker_image} was not pushed: {block.push_error}")
        raise PullError(
            f"there is no local image {block.docker_image}, and the manifest names no registry",
            hint="build with --mad-registry, or give --mad-registry here",
        )
    if not block.image_id:
        run.warnings.append(
            f"the manifest has no image id: whether the local {block.docker_image} is the image that was "
            "built is not known"
        )
    return _verified(run, block, _found(run, block, reference), reference)


def _local_reference(run: ItemRun, block: ImageBlock) -> str:
    """The image id where the engine has that image, whatever its name stands for by now; else the name."""
    from pytest_madengine.images.local import find_image

    known = block.image_id and find_image(run.session.client, block.image_id) is not None
    return block.image_id if known else block.docker_image


def _found(run: ItemRun, block: ImageBlock, reference: str) -> Image:
    """The local image of a reference, with what the manifest knows about it."""
    from pytest_madengine.images.local import find_image, image_env, repository_digests

    attributes = find_image(run.session.client, reference)
    if attributes is None:
        raise EngineError(f"the engine has no image {reference} any more")
    digests = set(repository_digests(attributes).values())
    known = block.registry_digest if block.registry_digest in digests else next(iter(sorted(digests)), "")
    return Image(
        name=block.docker_image,
        id=str(attributes["Id"]),
        digest=known,
        dockerfile=block.dockerfile,
        base_docker=block.base_docker,
        docker_sha=block.docker_sha,
        build_duration=block.build_duration,
        env=image_env(attributes),
    )


def _verified(run: ItemRun, block: ImageBlock, image: Image, reference: str) -> Image:
    """The image, once it is known to be the recorded one.

    :raises ImageError: another image, or with ``--mad-require-pinned`` one that is not pinned.
    """
    if run.session.settings.require_pinned:
        if not block.registry_digest:
            raise ImageError(
                f"image {block.docker_image} is not pinned: the manifest has no registry_digest",
                hint="build with --mad-registry; without --mad-require-pinned it would run",
            )
        if image.digest != block.registry_digest:
            raise ImageError(
                f"{reference} has digest {image.digest or 'none'}, the manifest recorded "
                f"{block.registry_digest}"
            )
    pinned = bool(block.registry_digest) and image.digest == block.registry_digest
    if block.image_id and image.id != block.image_id:
        text = f"{reference} is image {image.id}, the manifest recorded {block.image_id}"
        if not pinned:
            raise ImageError(text, hint="its name was given to another image after the build: build again")
        # An engine with another image store counts ids in another way; the digest is the proof.
        run.warnings.append(f"{text}; the registry digest is the recorded one")
    return image
