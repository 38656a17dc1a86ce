"""A small MAD repository for the tests of the linter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_madengine.lint.findings import Report

CONTEXT = "# CONTEXT {'gpu_vendor': 'AMD'}\n"
DOCKERFILE = f"{CONTEXT}FROM debian:bookworm\n"
SCRIPT = "#!/bin/bash\necho performance: 1 x\n"
#: A repository with nothing to say about it.
CLEAN: dict[str, Any] = {
    "models.json": [{"name": "m", "dockerfile": "docker/m", "scripts": "scripts/m/run.sh", "tags": ["t"]}],
    "docker/m.ubuntu.amd.Dockerfile": DOCKERFILE,
    "scripts/m/run.sh": SCRIPT,
}

MakeRoot = Callable[..., Path]
LintFiles = Callable[..., Report]
