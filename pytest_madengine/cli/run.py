"""``run``, ``build`` and ``plan``: pytest in this process, with translated options."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_madengine.cli import params
from pytest_madengine.cli.command import Body
from pytest_madengine.cli.common import draw, say
from pytest_madengine.errors import ConfigError
from pytest_madengine.options import DEFAULT_MANIFEST

if TYPE_CHECKING:
    from pytest_madengine.cli.recorder import Recorder


def body_of_run(program: str) -> Body:
    """``run`` of a program: that of ``madengine-cli`` writes the manifest of what it builds."""

    def body(values: dict[str, Any], words: list[str]) -> int:
        if program == "madengine-cli" and not values.get("manifest_out"):
            values["manifest_out"] = DEFAULT_MANIFEST
        return run(values, words)

    body.__doc__ = run.__doc__
    return body


def run(values: dict[str, Any], words: list[str]) -> int:
    """Build the images of models, run the models, and judge the results.

    With an existing --manifest-file nothing is built: its images are pulled and run.

    Examples:

      madengine run --tags dummy

      madengine run --tags pyt vllm --timeout 3600 --live-output -- --junitxml=junit.xml

      madengine run --manifest-file build_manifest.json --tags dummy
    """
    manifest = values.get("manifest")
    from_manifest = bool(manifest and Path(manifest).expanduser().is_file())
    if from_manifest:
        values["manifest_out"] = None
    elif not values.get("tags") and not manifest:
        raise ConfigError(
            "no models are selected", hint="give --tags NAME or TAG, or --manifest-file FILE; see discover"
        )
    session = _PytestSession(params.pytest_words(params.of_command("run"), values), values, words)
    code = session.run()
    session.write_aborted("run" if from_manifest else "both")
    return code


def build(values: dict[str, Any], words: list[str]) -> int:
    """Build the images of models, push them to a registry, and write a build manifest.

    Nothing is run.  The manifest is what `run --manifest-file` takes, on this host or another.

    Examples:

      madengine build --tags dummy --additional-context "{'gpu_vendor': 'AMD'}"

      madengine build --tags dummy --registry localhost:5000 --manifest-output build_manifest.json

      madengine build --batch-manifest batch.json --target-archs gfx90a,gfx942
    """
    if values.get("build_on_compute"):
        from pytest_madengine.cli.compute import build_on_compute

        return build_on_compute(values, words)
    if not values.get("tags") and not values.get("batch_manifest"):
        raise ConfigError(
            "no models are selected", hint="give --tags NAME or TAG, or --batch-manifest FILE; see discover"
        )
    options = ["--mad-build-only", *params.pytest_words(params.of_command("build"), values)]
    session = _PytestSession(options, values, words, building=True)
    code = session.run()
    session.write_aborted("build")
    return code


def plan(values: dict[str, Any], words: list[str]) -> int:
    """Print what would run, and run nothing.

    The resolved commands, environment (secrets as ***), image, GPUs and limits of each model, and where every
    value comes from.

    Examples:

      madengine plan --tags dummy

      madengine plan --tags dummy:batch_size=64 --additional-context "{'docker_env_vars': {'A': '1'}}"
    """
    if not values.get("tags") and not values.get("manifest"):
        raise ConfigError("no models are selected", hint="give --tags NAME or TAG, or --manifest-file FILE")
    options = ["--mad-plan", *params.pytest_words(params.of_command("plan"), values)]
    return _PytestSession(options, values, words, quiet=True).run()


@dataclass
class _PytestSession:
    """One run of pytest in this process."""

    options: Sequence[str]
    values: Mapping[str, Any]
    words: Sequence[str]
    building: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        from pytest_madengine.cli.recorder import Recorder

        self.recorder: Recorder = Recorder(building=self.building)

    def run(self) -> int:
        """Runs pytest, shows the tables, and returns the exit status of the command."""
        import pytest

        from pytest_madengine.cli.recorder import exit_code, plugin_arguments

        arguments = [*plugin_arguments(os.environ), *self._verbosity(), *self.options, *self._workers()]
        status = int(pytest.main([*arguments, *self.words], plugins=[] if self.quiet else [self.recorder]))
        records = self.recorder.records
        if not self.quiet:
            from pytest_madengine.sinks.ci import commands_off

            # What models print is in the tables: on GitHub no command of a workflow may be among it.
            with commands_off(os.environ, say):
                self._show(status)
        return exit_code(status, records, building=self.building)

    def write_aborted(self, phases: str) -> None:
        """The summary of a session that ended before it began: nobody may read an older one as its result.

        :param phases: ``build``, ``run`` or ``both``.
        """
        from pytest_madengine.sinks.summaries import both_phases, build_phase, run_phase
        from pytest_madengine.util.files import write_atomic

        text = self.values.get("summary_output")
        if not text or self.recorder.finished:
            return
        content: dict[str, Any] = {"run": run_phase, "build": build_phase, "both": both_phases}[phases](())
        if phases == "both":
            content["overall_success"] = False
        path = Path(text).expanduser()
        try:
            write_atomic(path, json.dumps({**content, "error": "nothing ran"}, indent=2) + "\n")
        except OSError as error:
            raise ConfigError(f"--summary-output {path}: {error.strerror or error}") from None

    def _verbosity(self) -> list[str]:
        if self.quiet:
            return ["-q", "--no-header"]
        detailed = self.values.get("verbose") or os.environ.get("LOG_LEVEL", "").upper() == "DEBUG"
        return ["-vv" if detailed else "-v", "--no-header", "--tb=short"]

    def _workers(self) -> list[str]:
        workers = self.values.get("workers")
        if not workers:
            return []
        if workers != "auto" and not (workers.isascii() and workers.isdecimal()):
            raise ConfigError(f"--workers: {workers!r} is not a number", hint="give a number, or auto")
        return ["-n", workers]

    def _show(self, status: int) -> None:
        from pytest_madengine.cli.common import console
        from pytest_madengine.cli.tables import phases_table, render, results_table, summary_line

        if os.environ.get("MAD_VERBOSE_CONFIG", "").lower() == "true" or self.values.get("verbose"):
            self._show_sources()
        records = self.recorder.records
        if not records:
            return
        terminal = console().is_terminal
        draw(render(results_table(records), terminal))
        draw(render(phases_table(records), terminal))
        say(summary_line(records))
        session = self.recorder.session
        if session is not None:
            table = "" if self.building else f"table: {session.settings.output}   "
            say(f"{table}logs and artifacts: {session.directory}")

    def _show_sources(self) -> None:
        """Where each setting came from, without values that may hold a secret."""
        from pytest_madengine.options import OPTIONS

        given = {word.partition("=")[0] for word in self.options}
        for option in OPTIONS:
            if f"--mad-{option.name}" in given:
                say(f"setting {option.name}: command line")
            elif option.env in os.environ:
                say(f"setting {option.name}: environment variable {option.env}")
