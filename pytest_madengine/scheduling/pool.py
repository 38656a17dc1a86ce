"""From which GPUs an item may choose: what the caller may see, then ``docker_gpus``, then ``--mad-gpus``."""

from __future__ import annotations

from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.context.visibility import caller_environ, variables, visible_gpus
from pytest_madengine.plan.gpus import GpuDemand, demand_in, gpu_need, gpu_pool
from pytest_madengine.settings import Settings

__all__ = ["demand_of", "variables", "visible_gpus"]


def demand_of(context: Context, model: Model, settings: Settings) -> GpuDemand:
    """The pool and the number of GPUs of an item; nothing with ``--mad-cpu`` or without need.

    :raises PlanError: more GPUs than the pool has of one kind, or a listed GPU that does not exist.
    :raises ConfigError: a list cannot be read.
    """
    need = gpu_need(model, context)
    if need == 0 or settings.cpu:
        return GpuDemand((), 0)
    facts, environ = context.facts, caller_environ(settings.environ, settings.gpus)
    listed = gpu_pool(context, settings)
    visible = visible_gpus(facts, environ)
    pool = tuple(index for index in listed if index in visible)
    names = [f"{name}={environ[name]}" for name in variables(facts.gpu_vendor, environ)]
    hidden = len(pool) < len(listed)
    hint = f"the environment leaves GPUs {list(visible)}: {', '.join(names)}" if hidden else ""
    return demand_in(need, facts, pool, hint)
