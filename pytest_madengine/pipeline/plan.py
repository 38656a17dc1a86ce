"""The plan request of an item: what this process knows, as plain values for the pure plan room."""

from __future__ import annotations

import os
import secrets as random_source
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_madengine.pipeline.run import ItemRun
    from pytest_madengine.plan.runplan import RunPlan
    from pytest_madengine.secrets import Secret


def plan_for(run: ItemRun) -> RunPlan:
    """The plan of an item whose image, data and lease are ready.

    :raises MadError: see :func:`~pytest_madengine.plan.builder.build_plan`.
    """
    from pytest_madengine.engine.owner import current_owner
    from pytest_madengine.plan.builder import build_plan
    from pytest_madengine.plan.request import PlanRequest
    from pytest_madengine.plan.runplan import Image

    session, spec = run.session, run.spec
    labels = {
        "pytest-madengine.model": run.model_name,
        "pytest-madengine.item": spec.name,
        "pytest-madengine.run-id": session.run_id,
        **current_owner().labels(),
    }
    request = PlanRequest(
        selected=spec.selected,
        item_id=spec.name,
        run_id=session.run_id,
        base=spec.base,
        image=run.image or Image(""),
        context=session.context,
        settings=session.settings,
        lease=run.lease,
        data=run.data,
        credentials=run.credentials,
        tools=session.tools,
        root_entries=session.root_entries,
        host=session.abilities,
        path_exists=_path_exists,
        container_suffix=random_source.token_hex(4),
        owner=(os.getuid(), os.getgid()),
        environ=session.settings.environ,
        labels=labels,
        proxies=_proxies(run),
    )
    return build_plan(request)


def _proxies(run: ItemRun) -> dict[str, str | Secret]:
    """Proxies of the docker client; one whose URL has a password is a secret."""
    from pytest_madengine.engine.endpoint import client_proxies
    from pytest_madengine.secrets import Redactor, Secret

    masks = Redactor()
    found: dict[str, str | Secret] = {}
    for name, value in client_proxies(run.session.settings.environ).items():
        found[name] = value if masks.text(value) == value else Secret(value)
    run.session.redactor.add(*(value for value in found.values() if isinstance(value, Secret)))
    return found


def _path_exists(text: str) -> bool:
    return Path(text).is_dir() if text.endswith("/.") else Path(text).exists()
