"""Whether a session judges performance at all: asked of every item, so it imports nothing of the gate."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.catalog.model import Model
from pytest_madengine.results.record import Attempt
from pytest_madengine.settings import Settings

if TYPE_CHECKING:
    from pytest_madengine.session.items import ItemSpec
    from pytest_madengine.session.session import MadSession

OFF: Final = "off"
WARN: Final = "warn"
FAIL: Final = "fail"
#: References of a repository, when nobody names a file.
REFERENCE_FILES: Final = ("mad-references.json", "mad-references.toml")


@dataclass
class Judged:
    """What the gate did with one item."""

    #: ``RunRecord.gate``.
    said: dict[str, Any] = field(default_factory=dict)
    #: Runs after the first, and the directory of the one that is on its way.
    reruns: list[Attempt] = field(default_factory=list)
    directory: str = ""
    #: Sentences that fail the test, and those of a regression that is expected.
    failures: tuple[str, ...] = ()
    expected: str = ""


def gate_mode(settings: Settings, model: Model) -> str:
    """``off``, ``warn`` or ``fail``: the option, else ``warn`` where there is something to compare with."""
    if settings.build_only or settings.skip_model_run:
        return OFF
    if settings.gate:
        return settings.gate
    return WARN if has_source(settings) or has_references(model) else OFF


def is_judged(session: MadSession, spec: ItemSpec) -> bool:
    """The metrics of this item are judged when it is a SUCCESS."""
    return gate_mode(session.settings, spec.selected.model) != OFF


def has_source(settings: Settings) -> bool:
    """A history or a file of references is configured."""
    return bool(settings.db or settings.gate_history or references_file(settings))


def has_references(model: Model) -> bool:
    """The entry of a model has references of its own."""
    return "reference" in model.raw or "references" in model.raw


def references_file(settings: Settings) -> Path | None:
    """The file of references: the one that was named, else the one of the repository."""
    if settings.references is not None:
        return settings.references
    places = (settings.root / name for name in REFERENCE_FILES)
    return next((place for place in places if place.is_file()), None)
