"""What the command line sees of the pytest session that it runs in this process."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_madengine.cli.common import ExitCode
from pytest_madengine.errors import BuildError, EngineError, ImageError, PullError
from pytest_madengine.plugin.terminal import COMMAND_LINE
from pytest_madengine.plugin.verdicts import lacks_hardware
from pytest_madengine.results.record import Outcome

if TYPE_CHECKING:
    from pytest_madengine.results.record import RunRecord
    from pytest_madengine.session.session import MadSession

#: Phases whose failure is one of building, pulling or pushing (exit status 2).
_IMAGE_PHASES = frozenset({BuildError.phase, PullError.phase, ImageError.phase, "push"})


class Recorder:
    """Keeps the records, and shows the models before the first one starts."""

    #: pytest registers a plugin object under this name.
    __name__ = COMMAND_LINE

    def __init__(self, *, building: bool = False) -> None:
        self.records: list[RunRecord] = []
        self.session: MadSession | None = None
        #: True when the session came to its end, where it writes its summaries.
        self.finished = False
        self._building = building

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Checks what only a command line asks for."""
        from pytest_madengine.plugin.keys import session_key

        self.session = config.stash.get(session_key, None)
        if self._building and self.session is not None:
            _check_vendor(self.session)
            _check_own_launchers(self.session)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Shows the selected models."""
        from pytest_madengine.cli.tables import models_table, render

        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        if self.session is None or reporter is None or session.config.option.collectonly:
            return
        reporter.write_line(render(models_table(self.session), reporter.isatty).rstrip("\n"))
        if not self.session.plan_only:
            reporter.write_line(f"session {self.session.run_id}, results in {self.session.directory}")

    def pytest_mad_result(self, record: RunRecord) -> None:
        """One item ended."""
        self.records.append(record)

    @pytest.hookimpl(wrapper=True)
    def pytest_mad_finish(self, records: Sequence[RunRecord]) -> Generator[None, object, object]:
        """The end of the session, also when one of its sinks fails."""
        self.finished = True
        return (yield)


def _check_vendor(session: MadSession) -> None:
    """:raises pytest.UsageError: images are built, and nobody says for which GPUs (contract 7.1)."""
    settings, facts = session.settings, session.host_facts
    if settings.use_image or settings.cpu or session.context.vendor_given:
        return
    if not facts.gpu_count:
        raise pytest.UsageError(
            "gpu_vendor is not given, and this host has no GPU to tell it from\n"
            "give --additional-context \"{'gpu_vendor': 'AMD'}\"; allowed: AMD, NVIDIA, INTEL, CPU"
        )


def _check_own_launchers(session: MadSession) -> None:
    """:raises pytest.UsageError: nodes of a Slurm job start the containers of a model, and could not pull its
    image (contract 16.3)."""
    from pytest_madengine.plan.launchers import launcher_of

    settings = session.settings
    if settings.use_image or settings.registry:
        return
    for selected in session.selected:
        model = selected.model
        launcher = launcher_of(model, session.context, settings.environ)
        if launcher == "slurm_multi" and not model.prebuilt_image:
            raise pytest.UsageError(
                f"model {model.name} has the launcher slurm_multi: the nodes of its job must pull the image\n"
                "give --registry R, --use-image NAME or --build-on-compute, or set env_vars.DOCKER_IMAGE_NAME"
            )


def exit_code(status: int, records: Sequence[RunRecord], *, building: bool = False) -> ExitCode:
    """The exit status of a command (contract section 19).

    :param status: what pytest returned.
    :param building: the command only builds: whatever failed, no image came of it.
    """
    if status == pytest.ExitCode.NO_TESTS_COLLECTED and lacks_hardware(records) and records:
        return ExitCode.RUN_FAILURE  # every model was skipped: this host cannot run them
    if status in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        return ExitCode.INVALID_ARGS
    if status in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
        return ExitCode.FAILURE
    failed = [record for record in records if record.outcome is Outcome.FAILURE]
    if any(building or _is_image_failure(record) for record in failed):
        return ExitCode.BUILD_FAILURE
    if failed:
        return ExitCode.RUN_FAILURE
    return ExitCode.FAILURE if status else ExitCode.SUCCESS


def _is_image_failure(record: RunRecord) -> bool:
    if record.phase == EngineError.phase:
        return "run" not in record.durations  # an engine that broke off during a run had the image
    return record.phase in _IMAGE_PHASES


def plugin_arguments(environ: Mapping[str, str]) -> list[str]:
    """Words that load what a command needs where plugins are not loaded by themselves."""
    # This process has imported the package already; it has no assertions that pytest could rewrite.
    words = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    if environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        words += ["-p", "pytest_madengine.plugin", "-p", "xdist.plugin"]
    return words
