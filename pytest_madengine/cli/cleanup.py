"""``cleanup``: what earlier sessions left in the engine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_madengine.cli.common import ExitCode, reports_errors, say
from pytest_madengine.errors import EngineError

if TYPE_CHECKING:
    from pytest_madengine.engine.leftovers import Leftover


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("cleanup", rich_help_panel="Other machines")(cleanup)


@reports_errors
def cleanup(
    everything: Annotated[
        bool,
        typer.Option("--all", "--images", help="Also images, and containers that --keep-alive left running."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")
    ] = False,
    older: Annotated[
        str, typer.Option("--older", metavar="AGE", help="Only what is this old: 30m, 2h, 7d.")
    ] = "0",
    session: Annotated[
        str,
        typer.Option("--session", metavar="ID", help="Only what this session left, e.g. of mad-results/ID."),
    ] = "",
) -> int:
    """Remove containers and networks of sessions that are over.

    Nothing without the labels of pytest-madengine is ever touched, and nothing whose session still runs.

    Examples:

      madengine cleanup --dry-run

      madengine cleanup --all --older 7d
    """
    from pytest_madengine.engine.client import connect
    from pytest_madengine.engine.leftovers import find, parse_age, remove

    age = parse_age(older)
    client = connect(dict(os.environ))
    failed = 0
    try:
        found = find(client, older=age, images=everything, kept=everything, run_id=session)
        for one in found:
            state = "would be removed" if dry_run else "removed"
            try:
                if not dry_run:
                    remove(client, one)
            except EngineError as error:
                failed += 1
                state = f"not removed: {error.message}"
            say(_line(one, state))
    finally:
        client.close()
    if not found:
        say("nothing is left of earlier sessions")
    return ExitCode.FAILURE if failed else ExitCode.SUCCESS


def _line(one: Leftover, state: str) -> str:
    return f"{one.kind:<9}  {one.name or one.id[:19]}  {_age(one.age)}  {one.why or '-'}  {state}"


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f}{unit}"
    return f"{seconds:.0f}s"
