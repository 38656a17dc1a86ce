"""The applications ``madengine`` and ``madengine-cli``: one set of commands under two names.

Loaded at every start, so it imports typer and tables of options, and nothing that works.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pytest_madengine.cli import cleanup, database, discover, generate, history, lint, params, report, run
from pytest_madengine.cli.command import MadGroup, add_command

#: Headings of the list of commands.
RUNS, REPOSITORY, RESULTS, ELSEWHERE = "Run models", "Look at a repository", "Results", "Other machines"
_HELP = """Run AI-model benchmarks of a MAD repository in containers, with verdicts a CI may trust.

The same engine as the pytest plugin: `pytest --mad-tags dummy` and `madengine run --tags dummy` give the same
results.  Exit status: 0 success, 1 failure or interrupt, 2 a build, pull or push failed, 3 a run failed,
4 wrong arguments or nothing selected.
"""


def make_app(program: str) -> typer.Typer:
    """The application under one of its names.

    :param program: ``madengine`` or ``madengine-cli``; ``run`` of the latter writes a manifest by default.
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
    ) -> None:
        if version:
            import pytest_madengine

            sys.stdout.write(f"{program} version {pytest_madengine.__version__}\n")
            raise typer.Exit(0)
        if context.invoked_subcommand is None:
            sys.stdout.write(context.get_help() + "\n")
            raise typer.Exit(0)

    main_callback.__doc__ = _HELP
    _add_commands(app, program)
    return app


def _add_commands(app: typer.Typer, program: str) -> None:
    root = params.named("tags", "root", "no-dynamic")
    add_command(app, "run", params.run_params(), run.body_of_run(program), RUNS, pytest_words=True)
    add_command(app, "build", params.build_params(), run.build, RUNS, pytest_words=True)
    add_command(app, "plan", params.plan_params(), run.plan, RUNS, pytest_words=True)
    add_command(app, "discover", (*root, params.VERBOSE), discover.discover, REPOSITORY)
    lint.register(app)
    add_command(app, "export-config", params.export_params(), discover.export_config, ELSEWHERE)
    app.add_typer(generate.generate_app, name="generate", cls=MadGroup, rich_help_panel=ELSEWHERE)
    app.add_typer(report.report_app, name="report", cls=MadGroup, rich_help_panel=RESULTS)
    app.add_typer(history.history_app, name="history", cls=MadGroup, rich_help_panel=RESULTS)
    app.add_typer(database.database_app, name="database", cls=MadGroup, rich_help_panel=RESULTS)
    history.register(app)
    cleanup.register(app)


def madengine() -> None:
    """Entry point ``madengine``."""
    make_app("madengine")(prog_name="madengine")


def madengine_cli() -> None:
    """Entry point ``madengine-cli``."""
    make_app("madengine-cli")(prog_name="madengine-cli")
