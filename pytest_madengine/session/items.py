"""Items before anything is prepared: (model, parameters, Dockerfile)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_madengine.catalog.ids import item_name
from pytest_madengine.catalog.model import Selected
from pytest_madengine.errors import MadError

if TYPE_CHECKING:
    from pytest_madengine.images.dockerfile import DockerfileMatch
    from pytest_madengine.manifest.items import Chosen
    from pytest_madengine.manifest.reader import ImageBlock


@dataclass(frozen=True)
class ItemSpec:
    """One item before anything is prepared: (model, parameters, Dockerfile)."""

    name: str
    selected: Selected
    #: ``None`` when an image is given, or no Dockerfile matches (then ``error`` says why).
    dockerfile: DockerfileMatch | None = None
    error: MadError | None = None
    #: Directory of the item below the session directory.
    directory: str = ""
    #: The image of a manifest, with ``--mad-manifest``.
    block: ImageBlock | None = None
    #: Target architecture, when one image per architecture is built or was built.
    arch: str = ""
    #: Part of the image name where another item's would be the same.
    image_suffix: str = ""

    @property
    def base(self) -> str:
        """Dockerfile file name without ``.Dockerfile``; empty without one."""
        source = self.dockerfile or self.block
        return source.base if source is not None else ""


def specs_of_manifest(items: Iterable[Chosen]) -> list[ItemSpec]:
    """The items of a manifest."""
    specs = []
    for chosen in items:
        base = ":".join(filter(None, (chosen.base, chosen.arch)))
        specs.append(
            ItemSpec(
                item_name(chosen.selected, base),
                chosen.selected,
                error=chosen.error,
                block=chosen.image,
                arch=chosen.arch,
            )
        )
    return specs
