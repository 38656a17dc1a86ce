"""The applications ``madengine`` and ``madengine-cli``: one set of commands under two names.

Loaded at every start, so only the command that is called is made, and nothing that works is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Final, NamedTuple

import typer

from pytest_madengine.cli.command import MadGroup, add_command, set_verbose

#: Headings of the list of commands.
RUNS, REPOSITORY, RESULTS, ELSEWHERE = "Run models", "Look at a repository", "Results", "Other machines"
_HELP: Final = """Run AI-model benchmarks of a MAD repository in containers, with verdicts a CI may trust.

The same engine as the pytest plugin: `pytest --mad-tags dummy` and `madengine run --tags dummy` give the same
results.

Exit status: 0 success, 1 failure or interrupt, 2 a build, pull or push failed, 3 a run failed, 4 wrong
arguments or nothing selected.
"""


class Entry(NamedTuple):
    """One line of the list of commands; the first sentence of the command's own help."""

    panel: str
    summary: str


COMMANDS: Final[dict[str, Entry]] = {
    "run": Entry(RUNS, "Build the images of models, run the models, and judge the results."),
    "build": Entry(RUNS, "Build the images of models, push them to a registry, and write a build manifest."),
    "plan": Entry(RUNS, "Print what would run, and run nothing."),
    "discover": Entry(REPOSITORY, "List the models of the repository."),
    "lint": Entry(REPOSITORY, "Check a MAD repository without running anything of it."),
    "report": Entry(RESULTS, "Make pages and mails of results, and add results to perf.csv."),
    "history": Entry(RESULTS, "Look at the results of earlier runs in the history database (--mad-db)."),
    "compare": Entry(RESULTS, "Compare the metrics of two runs."),
    "database": Entry(
        RESULTS, "Bring perf.csv into a SQL database or MongoDB; every upload can be repeated."
    ),
    "export-config": Entry(
        ELSEWHERE, "Write the selected models and their context as JSON, for other tools."
    ),
    "generate": Entry(ELSEWHERE, "Write files that run the models of a manifest elsewhere."),
    "doctor": Entry(ELSEWHERE, "Check whether runs would work on this host, and say what is missing."),
    "cleanup": Entry(ELSEWHERE, "Remove containers and networks of sessions that are over."),
}


def make_app(program: str, words: Sequence[str] | None = None) -> typer.Typer:
    """The application under one of its names.

    :param program: ``madengine`` or ``madengine-cli``; ``run`` of the latter writes a manifest by default.
    :param words: the arguments, when they are known: what they do not need is not made.
    """
    app = typer.Typer(
        name=program,
        cls=MadGroup,
        help=_HELP,
        invoke_without_command=True,
        # Not markdown: its parser alone costs a third of the start.
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def main_callback(
        context: typer.Context,
        version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
        verbose: Annotated[
            bool, typer.Option("--verbose", "-v", help="Show more; -v alone prints the version.")
        ] = False,
    ) -> None:
        set_verbose(context, verbose)
        if version or (verbose and context.invoked_subcommand is None):
            import pytest_madengine

            sys.stdout.write(f"{program} version {pytest_madengine.__version__}\n")
            raise typer.Exit(0)
        if context.invoked_subcommand is None:
            sys.stdout.write(context.get_help() + "\n")
            raise typer.Exit(0)

    main_callback.__doc__ = _HELP
    if words is None or f"_{program}_COMPLETE".replace("-", "_").upper() in os.environ:
        _add_commands(app, program, COMMANDS)  # a shell asks what could be typed
    elif list(words) in ([], ["--help"], ["-h"], ["--version"], ["-v"]):
        _add_summaries(app)
    else:
        called = next((word for word in words if word not in ("--verbose", "-v")), "")
        _add_commands(app, program, (called,) if called in COMMANDS else COMMANDS)
    return app


def _add_summaries(app: typer.Typer) -> None:
    """What the list of commands shows, without their options."""

    def nothing() -> None: ...

    for name, entry in COMMANDS.items():
        app.command(name, help=entry.summary, rich_help_panel=entry.panel)(nothing)


def _add_commands(app: typer.Typer, program: str, names: Iterable[str]) -> None:
    for name in names:
        panel = COMMANDS[name].panel
        if name in ("run", "build", "plan", "discover", "export-config"):
            _add_table_command(app, program, name, panel)
        elif name in ("report", "history", "database", "generate"):
            app.add_typer(_group(name), name=name, cls=MadGroup, rich_help_panel=panel)
        else:
            _register(app, name)


def _add_table_command(app: typer.Typer, program: str, name: str, panel: str) -> None:
    from pytest_madengine.cli import discover, params, run

    if name == "run":
        add_command(app, name, params.of_command(name), run.body_of_run(program), panel, pytest_words=True)
    elif name == "build":
        add_command(app, name, params.of_command(name), run.build, panel, pytest_words=True)
    elif name == "plan":
        add_command(app, name, params.of_command(name), run.plan, panel, pytest_words=True)
    elif name == "discover":
        add_command(app, name, params.of_command(name), discover.discover, panel)
    else:
        add_command(app, name, params.of_command(name), discover.export_config, panel)


def _group(name: str) -> typer.Typer:
    if name == "report":
        from pytest_madengine.cli.report import report_app

        return report_app
    if name == "history":
        from pytest_madengine.cli.history import history_app

        return history_app
    if name == "database":
        from pytest_madengine.cli.database import database_app

        return database_app
    from pytest_madengine.cli.generate import generate_app

    return generate_app


def _register(app: typer.Typer, name: str) -> None:
    if name == "lint":
        from pytest_madengine.cli import lint

        lint.register(app)
    elif name == "doctor":
        from pytest_madengine.cli import doctor

        doctor.register(app, COMMANDS[name].panel)
    elif name == "compare":
        from pytest_madengine.cli import history

        history.register(app)
    else:
        from pytest_madengine.cli import cleanup

        cleanup.register(app)


def madengine() -> None:
    """Entry point ``madengine``."""
    make_app("madengine", sys.argv[1:])(prog_name="madengine")


def madengine_cli() -> None:
    """Entry point ``madengine-cli``."""
    make_app("madengine-cli", sys.argv[1:])(prog_name="madengine-cli")
