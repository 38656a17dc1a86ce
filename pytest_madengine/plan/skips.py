"""Models that are not run although they were selected (contract 7.5 and 10.9)."""

from __future__ import annotations

from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.plan.gpus import gpu_need
from pytest_madengine.settings import Settings


def reduced_architecture(architecture: str) -> str:
    """The name that ``skip_gpu_arch`` is compared with: ``NVIDIA A100-SXM4-40GB`` is ``A100``."""
    words = architecture.split()
    if len(words) > 1 and words[0].upper() == "NVIDIA":
        return words[1].partition("-")[0]
    return architecture.strip()


def skip_reason(model: Model, context: Context, settings: Settings) -> str:
    """Why this model is SKIPPED on this host; empty when it runs.

    :raises ConfigError: the context has a GPU count that is none.
    """
    if model.deprecated and not settings.ignore_deprecated:
        return f"Model {model.name} has been deprecated."
    if settings.build_only:
        return ""  # the GPUs of a build host say nothing about those of the run
    if not settings.disable_skip_gpu_arch:
        architecture = reduced_architecture(context.facts.gpu_architecture)
        unsupported = {"".join(part.split()) for part in model.skip_gpu_arch.split(",")}
        if architecture and architecture in unsupported:
            return f"Skipping model {model.name} as it is not supported on {architecture} architecture."
    return missing_gpus(model, context, settings)


def missing_gpus(model: Model, context: Context, settings: Settings) -> str:
    """Why this host cannot run the model at all; empty when it can.

    :raises ConfigError: the context has a GPU count that is none.
    """
    if settings.build_only:
        return ""
    # With a remote executor the GPUs of this host say nothing about the node that will run the model.
    if settings.executor == "docker" and not settings.cpu and not context.facts.gpu_count:
        need = gpu_need(model, context)
        if need != 0:
            return f"host has no GPU (n_gpus={need}); use --mad-cpu to run without devices"
    return ""
