"""Where a run belongs: on this host, in a Slurm job, or on Kubernetes (contract 16.1).

The one place that decides it.  A run that asks for a cluster is never run on this host in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pytest_madengine.catalog.model import Model
from pytest_madengine.context.host import in_job
from pytest_madengine.context.types import Context
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.launchers import launcher_of

LOCAL: Final = "local"
SLURM: Final = "slurm"
KUBERNETES: Final = "kubernetes"
#: Values of ``deploy`` and of ``deployment_config.target`` of a manifest.
_NAMES: Final = {
    **dict.fromkeys(("", LOCAL, "docker"), LOCAL),
    SLURM: SLURM,
    **dict.fromkeys(("k8s", KUBERNETES), KUBERNETES),
}
#: Context keys that ask for a cluster by being there.
_BLOCKS: Final = {"slurm": SLURM, "k8s": KUBERNETES, KUBERNETES: KUBERNETES}
_HERE: Final = "and this command runs models on this host only"
_GENERATE: Final = {SLURM: "slurm", KUBERNETES: "k8s"}


def target_named(text: str) -> str:
    """The target of a name; empty for no such name."""
    return _NAMES.get(text.strip().lower(), "")


def asked_for(values: Mapping[str, Any]) -> str:
    """What the values of a context ask for: ``local``, ``slurm`` or ``kubernetes``.

    :raises ConfigError: they contradict each other, or ``deploy`` is no target.
    """
    blocks = {key: target for key, target in _BLOCKS.items() if values.get(key) is not None}
    targets = set(blocks.values())
    if len(targets) > 1:
        raise ConfigError(
            f"context: {' and '.join(blocks)} contradict each other", hint="a run has one target: remove one"
        )
    found = targets.pop() if targets else ""
    given = values.get("deploy")
    if given is None:
        return found or LOCAL
    named = target_named(given) if isinstance(given, str) else ""
    if not named:
        raise ConfigError(f"context: deploy is {given!r}, not one of local, slurm, k8s")
    if found and named != found:
        raise ConfigError(
            f"context: deploy is {given!r}, but there is a {next(iter(blocks))} block",
            hint="remove one of the two",
        )
    return named


def executor_of(values: Mapping[str, Any]) -> str:
    """The executor that runs what a context asks for: ``docker``, ``slurm`` or ``kubernetes``.

    :raises ConfigError: as :func:`asked_for`.
    """
    target = asked_for(values)
    return "docker" if target == LOCAL else target


def check_session(context: Context, environ: Mapping[str, str]) -> None:
    """Refuses a session whose context asks for a cluster, unless this process is inside of its job.

    :raises ConfigError: the text names what asks for it; the hint says what to do instead.
    """
    target = asked_for(context.values)
    if in_job(environ):
        return
    if target != LOCAL:
        keys = [key for key in (*_BLOCKS, "deploy") if context.get(key) is not None]
        origin = context.origin(keys[0])
        raise ConfigError(
            f"context: {keys[0]} ({origin}) asks for {target}, {_HERE}",
            hint=f"make jobs with: madengine-cli generate {_GENERATE[target]} --manifest-file FILE; "
            f'or leave {" and ".join(keys)} out to run here (-c \'{{"deploy": "local"}}\' with a manifest)',
        )
    block = context.get("distributed")
    nodes = nodes_of(block if isinstance(block, Mapping) else {}, "context: distributed")
    if nodes > 1:
        raise ConfigError(
            f"context: distributed.nnodes is {nodes}, {_HERE}",
            hint=_several_hint("leave it out to run on one node"),
        )


def check_model(model: Model, context: Context, environ: Mapping[str, str]) -> None:
    """Refuses a model that cannot be what it says on one host in one container.

    The session was checked before; a conftest may have given this item another context since.

    :raises PlanError: it wants several nodes, or starts containers itself (``slurm_multi``).
    :raises ConfigError: ``nnodes`` is no number, or the launcher is unknown.
    """
    check_session(context, environ)
    if in_job(environ):
        return
    given = context.get("distributed")
    merged = {**model.distributed, **(given if isinstance(given, Mapping) else {})}
    nodes = nodes_of(merged, f"model {model.name}: distributed")
    if nodes > 1:
        raise PlanError(
            f"model {model.name}: distributed.nnodes is {nodes}, {_HERE}",
            hint=_several_hint('give -c \'{"distributed": {"nnodes": 1}}\' to run on one node'),
        )
    launcher = launcher_of(model, context, environ)
    if launcher == "slurm_multi":
        raise PlanError(
            f"model {model.name}: launcher slurm_multi starts containers on the nodes of a job, {_HERE}",
            hint="run its script with sbatch, or name another launcher in distributed.launcher",
        )


def nodes_of(distributed: Mapping[str, Any], where: str) -> int:
    """``nnodes``; 1 when it is not given.

    :raises ConfigError: not a number of nodes.
    """
    value = distributed.get("nnodes")
    if value is None:
        return 1
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,5}", text, re.ASCII) or int(text) < 1:
        raise ConfigError(f"{where}.nnodes is {value!r}, not a number of nodes")
    return int(text)


def _several_hint(else_text: str) -> str:
    return f"make jobs with: madengine-cli generate slurm (or k8s) --manifest-file FILE; or {else_text}"
