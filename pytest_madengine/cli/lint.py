"""``madengine lint``: the static check of a MAD repository, for people and for CI."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from pytest_madengine.cli.common import ExitCode, reports_errors, say, warn

if TYPE_CHECKING:
    from pytest_madengine.lint.findings import Report


class Format(str, Enum):
    """Forms of the output."""

    text = "text"
    json = "json"
    sarif = "sarif"


def register(app: typer.Typer) -> None:
    """Adds the command ``lint``."""
    app.command("lint", cls=_LintCommand, rich_help_panel="Look at a repository")(lint)


class _LintCommand(TyperCommand):
    """``--tags`` takes several words here as well."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeats the option for each of its words, then parses."""
        from pytest_madengine.cli.command import rewritten
        from pytest_madengine.cli.params import of_command

        return super().parse_args(ctx, list(rewritten(args, of_command("lint"))))


@reports_errors
def lint(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[ROOT]", help="MAD root (default: MODEL_DIR, else this directory)."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--mad-root", "--root", metavar="DIR", help="The same as ROOT.")
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tags", "-t", metavar="SEL[,SEL...]", help="Only these models; repeatable."),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="Form of the output.")] = Format.text,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the output to a file.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail as well.")] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore", metavar="RULE[,RULE...]", help="Rules that report nothing, by id or name; repeatable."
        ),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Execute get_models_json.py files to check their models.")
    ] = False,
    additional_context: Annotated[
        str,
        typer.Option(
            "--additional-context",
            "--context",
            "-c",
            metavar="STR",
            help="Context of the runs: Dockerfiles are compared with it.",
        ),
    ] = "",
    additional_context_file: Annotated[
        Path | None,
        typer.Option(
            "--additional-context-file", "--context-file", "-f", metavar="FILE", help="The same as a file."
        ),
    ] = None,
) -> int:
    """Check a MAD repository without running anything of it.

    Exit status 0: no errors; 1: errors, or warnings with --strict; 4: wrong arguments or no MAD root.

    Examples:

      madengine lint

      madengine lint path/to/MAD --strict --ignore MAD209,odd-tag

      madengine lint --format sarif --output lint.sarif
    """
    import os

    from pytest_madengine.errors import ConfigError
    from pytest_madengine.lint.repository import LintRequest
    from pytest_madengine.lint.repository import lint as check
    from pytest_madengine.lint.rules import find_rules

    if directory is not None and root is not None and directory != root:
        raise ConfigError(f"ROOT is {directory} and --root is {root}", hint="give one of them")
    chosen = directory or root or Path(os.environ.get("MODEL_DIR") or ".")
    request = LintRequest(
        root=chosen,
        tags=tuple(tags or ()),
        ignored=find_rules(ignore or ()),
        dynamic=dynamic,
        context=additional_context,
        context_file=additional_context_file,
        environ=dict(os.environ),
    )
    report = check(request)
    _show(report, format, output, _below(chosen))
    return _status(report, strict)


def _below(root: Path) -> str:
    """The MAD root relative to this directory; empty when it is not below it."""
    try:
        relative = root.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        return ""
    return "" if relative == "." else relative


def _show(report: Report, format: Format, output: Path | None, prefix: str) -> None:
    import os
    import sys

    from pytest_madengine import __version__
    from pytest_madengine.lint.jsonout import render_json
    from pytest_madengine.lint.sarif import render_sarif
    from pytest_madengine.lint.text import render_text, summary

    if format is Format.json:
        text = render_json(report)
    elif format is Format.sarif:
        text = render_sarif(report, __version__, prefix=prefix)
    else:
        colour = output is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        text = render_text(report, colour=colour)
    if output is None:
        sys.stdout.write(text)
        return
    from pytest_madengine.errors import ConfigError
    from pytest_madengine.util.files import write_atomic

    try:
        write_atomic(output, text)
    except OSError as error:
        raise ConfigError(f"--output {output}: {error.strerror or error}") from None
    if format is not Format.text:
        warn_of_programs(report)
    say(f"{summary(report)}: {output}")


def warn_of_programs(report: Report) -> None:
    """Says which programs were not executed, where the output itself is not for people."""
    for path in report.not_executed:
        warn(f"{path}: not executed, its models were not checked (--dynamic)")


def _status(report: Report, strict: bool) -> ExitCode:
    from pytest_madengine.lint.findings import Severity

    failed = report.count(Severity.ERROR) or (strict and report.count(Severity.WARNING))
    return ExitCode.FAILURE if failed else ExitCode.SUCCESS
