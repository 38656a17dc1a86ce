"""What must be equal for two values to be compared: what was asked for, on which kind of GPU.

Not the fingerprint of ``--mad-resume``: that one contains the hashes of scripts and Dockerfile, so everything
that can make a model slower would begin without a baseline.  What is left out here (hashes, image digest,
driver, ROCm, host, commits) is context: kept with the value, and listed as "changed since".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from pytest_madengine.errors import ConfigError

#: Facts of the key, in its order.
KEY_FACTS: Final = (
    "model",
    "metric",
    "args",
    "n_gpus",
    "gpu",
    "training_precision",
    "data",
    "image_family",
)
#: Facts that are context unless somebody asks for them (``--mad-gate-key=+hostname``).
CONTEXT_FACTS: Final = (
    "hostname",
    "gpu_architecture",
    "gpu_product",
    "driver",
    "runtime",
    "image",
    "image_digest",
    "base_image",
    "dockerfile_hash",
    "scripts_hash",
    "git_commit",
    "nnodes",
    "launcher",
    "deployment_type",
    "label",
)


def key_facts(choice: str = "") -> tuple[str, ...]:
    """Names of the facts of the key.

    :param choice: comma list of ``+fact`` (add) and ``-fact`` (leave out).
    :raises ConfigError: a fact is not known, or is one that the key cannot do without.
    """
    chosen = list(KEY_FACTS)
    for word in filter(None, (part.strip() for part in choice.split(","))):
        sign, name = word[0], word[1:]
        known = name in KEY_FACTS or name in CONTEXT_FACTS
        if sign not in "+-" or not known or name in ("model", "metric"):
            names = ", ".join((*KEY_FACTS[2:], *CONTEXT_FACTS))
            raise ConfigError(f"gate key: '{word}' is not +FACT or -FACT", hint=f"facts are: {names}")
        if sign == "-" and name in chosen:
            chosen.remove(name)
        elif sign == "+" and name not in chosen:
            chosen.append(name)
    return tuple(chosen)


def gate_key(facts: Mapping[str, str], names: Iterable[str] = KEY_FACTS) -> str:
    """The key of a value as text: JSON of the facts with these names; a fact that is not there is empty.

    Readable, because a user sees it in ``madengine baseline show`` and in a snapshot.
    """
    return json.dumps(
        {name: facts.get(name, "") for name in names}, ensure_ascii=False, separators=(",", ":")
    )


def image_family(reference: str, dockerfile: str = "") -> str:
    """What stays of an image when it is built or pulled again.

    Of a built image the path of its Dockerfile below the root; else the repository without registry, tag and
    digest: ``rocm/vllm`` of ``registry:5000/rocm/vllm:6.4@sha256:...``.
    """
    if dockerfile:
        return dockerfile
    name = reference.partition("@")[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def changed(earlier: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """What is different in the context of two runs, as texts: ``image rocm/vllm:6.4 -> 7.0``."""
    result = []
    for name in CONTEXT_FACTS:
        before, after = earlier.get(name, ""), now.get(name, "")
        if name != "label" and before and after and before != after:
            result.append(f"{name.replace('_', ' ')} {_short(before)} -> {_short(after)}")
    return tuple(result)


def _short(value: str) -> str:
    digest = value.partition("sha256:")[2]
    return f"sha256:{digest[:12]}" if digest else value[:60]
