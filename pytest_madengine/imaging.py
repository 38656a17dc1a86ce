"""The image of an item: given, built, or only named (for a plan)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_madengine.itemrun import ItemRun


def intended_name(run: ItemRun) -> str:
    """Name of the image the item is meant to run in."""
    from pytest_madengine.images.naming import image_name

    given = given_name(run)
    return given or image_name(run.model_name, run.spec.base)


def given_name(run: ItemRun) -> str:
    """The image that context or entry name instead of a build; empty when one is built."""
    context = str(run.session.context.get("MAD_CONTAINER_IMAGE") or "")
    if context:
        return context
    model = run.spec.selected.model
    return "" if model.dockerfile else model.prebuilt_image

