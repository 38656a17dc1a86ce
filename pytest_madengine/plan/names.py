"""Names of containers, log files and files of a model (contract 8.2 and 11.3)."""

from __future__ import annotations

import re

from pytest_madengine.util.names import LONGEST, safe_name, shortened


def flat_name(model: str) -> str:
    """A full model name as part of a file name: ``/`` becomes ``_``."""
    return model.replace("/", "_")


def container_name(image: str, suffix: str) -> str:
    """``container_<image>_<suffix>`` with ``/`` and ``:`` of the image as ``_``.

    :param suffix: 8 random hex digits.
    """
    flat = re.sub(r"[^A-Za-z0-9_.-]+", "-", re.sub(r"[/:]", "_", image))
    return f"{shortened(f'container_{flat}', LONGEST - len(suffix) - 1)}_{suffix}"


def log_name(model: str, base: str, params_id: str) -> str:
    """Base name of the log files, e.g. ``dummy_dummy.ubuntu.amd`` for ``...run.live.log``."""
    return shortened(safe_name("_".join(filter(None, (flat_name(model), base, params_id)))), LONGEST)
