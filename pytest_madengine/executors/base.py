"""What an executor does with a plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pytest_madengine.plan.runplan import RunPlan
from pytest_madengine.results.result import RunResult


class Executor(Protocol):
    """Where runs happen.  ``run`` blocks until nothing of the run is left (except with keep-alive)."""

    def run(self, plan: RunPlan, artifacts: Path, *, on_phase: Callable[[str], None] = ...) -> RunResult:
        """Runs the plan; logs and collected files go to ``artifacts``.

        :raises EngineError: the engine is absent, refuses us or broke off before the run started.
        """
        ...
