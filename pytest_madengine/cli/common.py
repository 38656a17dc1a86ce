"""What every command shares: exit statuses, errors as one line, output.  Imports nothing heavy."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, ParamSpec

from pytest_madengine.errors import ConfigError, MadError
from pytest_madengine.util.ends import handled
from pytest_madengine.util.text import visible

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")


class ExitCode(IntEnum):
    """Exit statuses of both command lines (contract section 19)."""

    SUCCESS = 0
    #: A general failure, or an interrupt.
    FAILURE = 1
    #: A build, pull or push failed; also when runs failed too.
    BUILD_FAILURE = 2
    RUN_FAILURE = 3
    #: Invalid arguments, an unknown selector, nothing selected.
    INVALID_ARGS = 4


def reports_errors(function: Callable[P, int | None]) -> Callable[P, None]:
    """A command whose errors are one line and a hint on stderr, and whose result is its exit status.

    ``ConfigError`` ends with 4, every other ``MadError`` and an interrupt (SIGINT, SIGTERM, SIGHUP) with 1.
    """
    import typer

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        unhear = handled()
        try:
            status = function(*args, **kwargs)
        except MadError as error:
            print_error(error)
            invalid = isinstance(error, ConfigError)
            raise typer.Exit(ExitCode.INVALID_ARGS if invalid else ExitCode.FAILURE) from None
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):  # the terminal was closed
                sys.stderr.write("interrupted\n")
            raise typer.Exit(ExitCode.FAILURE) from None
        finally:
            unhear()
        raise typer.Exit(int(status or 0))

    return command


def print_error(error: MadError) -> None:
    """``ERROR: <what is wrong and where>``, further lines of its log, and the hint, on stderr."""
    lines = [f"ERROR: {error.message}", *error.log_tail, error.hint]
    sys.stderr.write("\n".join(visible(line) for line in lines if line) + "\n")


def warn(text: str) -> None:
    """``WARNING: <text>`` on stderr."""
    sys.stderr.write(f"WARNING: {visible(text)}\n")


def say(text: str = "") -> None:
    """One line on stdout: no markup, no wrapping, and nothing that controls the terminal."""
    sys.stdout.write(f"{visible(text)}\n")


def draw(text: str) -> None:
    """What this package drew for the terminal: tables of clean cells, help."""
    sys.stdout.write(f"{text}\n")


def console(*, stderr: bool = False) -> Console:
    """A console for tables.  Off a terminal its width is that of ``COLUMNS``, else wide enough for a log."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made = Console(stderr=stderr, highlight=False, width=max(made.width, 120), force_terminal=False)
    return made
