"""A session on its way to an xdist worker and back into a :class:`MadSession` there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_madengine.catalog.model import Model, Parameter, Selected
from pytest_madengine.context.types import Gpu, HostFacts

if TYPE_CHECKING:
    from pytest_madengine.session.session import MadSession


def to_worker(session: MadSession) -> str:
    """What a worker needs to be the same session, as JSON without secrets.

    The items of a manifest are made again from its content: it is not read a second time.
    """
    manifest = session.manifest
    return json.dumps(
        {
            "run_id": session.run_id,
            "root": str(session.settings.root),
            "facts": dataclasses.asdict(session.host_facts),
            "selected": [dataclasses.asdict(one) for one in session.selected] if manifest is None else [],
            "manifest": [str(manifest.path), manifest.raw] if manifest is not None else None,
            "batch": {key: dataclasses.asdict(entry) for key, entry in session.batch.items()},
        },
        default=str,
    )


def from_controller(data: Mapping[str, Any]) -> tuple[str, Path, HostFacts, tuple[Selected, ...]]:
    """Run id, root, facts and selection of what :func:`to_worker` sent."""
    facts = dict(data["facts"])
    facts["gpus"] = tuple(Gpu(**{**gpu, "instances": tuple(gpu["instances"])}) for gpu in facts["gpus"])
    facts["warnings"] = tuple(facts["warnings"])
    selected = []
    for entry in data["selected"]:
        model = entry["model"]
        for name in ("tags", "log_error_patterns", "log_error_benign_patterns"):
            if model[name] is not None:
                model[name] = tuple(model[name])
        parameters = tuple(Parameter(**parameter) for parameter in entry["parameters"])
        selected.append(Selected(Model(**model), parameters))
    return data["run_id"], Path(data["root"]), HostFacts(**facts), tuple(selected)
