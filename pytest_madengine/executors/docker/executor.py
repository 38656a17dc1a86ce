"""Runs plans in containers of a Docker engine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_madengine.engine.failures import engine_failures, explain
from pytest_madengine.engine.owner import current_owner
from pytest_madengine.executors.docker.run import DockerRun
from pytest_madengine.executors.workspace import CommonDirectory, sweep
from pytest_madengine.plan.runplan import RunPlan
from pytest_madengine.results.result import RunResult
from pytest_madengine.secrets import Redactor

if TYPE_CHECKING:
    from docker import DockerClient


class DockerExecutor:
    """Runs plans in containers; safe to use from several threads at once.

    :param client_factory: gives a client of the engine; it may be the same one every time.
    :param redactor: learns the secrets of every plan before anything of it is written.
    :param workspaces: directory for private workspaces; emptied of what dead processes left in it.
    :param resources: built-in files of ``scripts/common``.
    """

    def __init__(
        self,
        client_factory: Callable[[], DockerClient],
        redactor: Redactor,
        workspaces: Path,
        resources: Path,
    ) -> None:
        self._client_factory, self._redactor = client_factory, redactor
        self._workspaces = workspaces.absolute()
        self._common = CommonDirectory(self._workspaces, resources)
        if self._workspaces.is_dir():
            sweep(self._workspaces)

    def run(
        self,
        plan: RunPlan,
        artifacts: Path,
        *,
        on_phase: Callable[[str], None] | None = None,
        on_output: Callable[[bytes], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> RunResult:
        """Runs the plan; logs and collected files go to ``artifacts``.

        Blocks until nothing of the run is left, except with keep-alive.

        :param on_phase: called with ``prepare``, ``run``, ``collect`` as they begin.
        :param on_output: called with every piece of redacted output.
        :param cancel: when set, the run is stopped and the result says ``interrupted``.
        :raises EngineError: the engine is absent, refuses us or broke off before the run started.
        :raises MadError: the plan cannot be run here, e.g. a mount source is missing.
        :raises KeyboardInterrupt: after everything of the run has been removed.
        """
        self._redactor.add(*plan.secrets)
        try:
            client = self._client_factory()
        except engine_failures() as error:
            raise explain(error, "cannot run a container") from error
        run = DockerRun(
            plan,
            client,
            self._redactor,
            labels={**plan.labels, **current_owner().labels()},
            workspaces=self._workspaces,
            common=self._common.of(plan.workspace.root),
        )
        with run:
            return run.execute(artifacts, on_phase=on_phase, on_output=on_output, cancel=cancel)

    def close(self) -> None:
        """Removes what the runs shared."""
        self._common.remove()
        # Other processes of the session may still use it, or remove it at this moment.
        with contextlib.suppress(OSError):
            self._workspaces.rmdir()

    def __enter__(self) -> DockerExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
