"""``report``: pages and mails of results, and results of other programs into perf.csv (contract 17)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_madengine.cli.common import reports_errors, say, warn
from pytest_madengine.errors import ConfigError, ResultError

if TYPE_CHECKING:
    from email.headerregistry import Address

    from pytest_madengine.perfcsv.update import Added
    from pytest_madengine.reports.mail.page import Mail

#: The users' guide of madengine gives it to every report.
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]

report_app = typer.Typer(help="Make pages and mails of results, and add results to perf.csv.")


@report_app.command("to-html")
@reports_errors
def to_html(
    csv_file_path: Annotated[
        Path, typer.Option("--csv-file-path", metavar="FILE", help="Results CSV.")
    ] = Path("perf.csv"),
    results_dir: Annotated[
        Path | None,
        typer.Option("--results-dir", metavar="DIR", help="Sessions with reasons, logs and artifacts."),
    ] = None,
    verbose: Verbose = False,
) -> int:
    """Write a results CSV as one page beside it: perf.csv as perf.html.

    The page needs no other file and no network.

    Examples:

      madengine report to-html

      madengine report to-html --csv-file-path night.csv --results-dir mad-results
    """
    from pytest_madengine.reports.pages.site import csv_report

    if verbose:
        say(f"results: {csv_file_path.absolute()}")
    say(f"page: {csv_report(csv_file_path, results_dir=results_dir)}")
    return 0


@report_app.command("to-email")
@reports_errors
def to_email(
    csv_file_path: Annotated[
        Path | None,
        typer.Option(
            "--csv-file-path", metavar="PATH", help="A CSV file, or a directory; below --directory."
        ),
    ] = None,
    directory: Annotated[
        Path, typer.Option("--directory", "--dir", metavar="DIR", help="Directory with CSV files.")
    ] = Path(),
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page.")] = Path(
        "run_results.html"
    ),
    results_dir: Annotated[
        Path | None,
        typer.Option(
            "--results-dir",
            metavar="DIR",
            help="Sessions that know why models failed (default: mad-results beside the CSV).",
        ),
    ] = None,
    eml: Annotated[
        Path | None, typer.Option("--eml", metavar="FILE", help="Write the message as a file too.")
    ] = None,
    smtp: Annotated[
        str, typer.Option("--smtp", metavar="HOST:PORT", help="Send the message by this server (port: 25).")
    ] = "",
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="ADDRESS", help="A recipient; may be repeated.")
    ] = None,
    sender: Annotated[
        str, typer.Option("--from", metavar="ADDRESS", help="Sender (default: madengine@ this host).")
    ] = "",
    smtp_tls: Annotated[
        str,
        typer.Option(
            "--smtp-tls",
            metavar="starttls|tls|none",
            help="Encryption (default: starttls when the server offers it).",
        ),
    ] = "auto",
    verbose: Verbose = False,
) -> int:
    """Write results as a page for e-mail, and send it when asked to.

    The page has a table of each CSV file; the message has as much of it as mail programs show.
    Nothing is sent without --smtp and --to.  A login comes from the variables MAD_SMTP_USER and
    MAD_SMTP_PASSWORD, and is sent over encrypted connections only.

    Examples:

      madengine report to-email --csv-file-path perf.csv

      madengine report to-email --dir results --eml results.eml

      madengine report to-email --smtp mail.example.com:587 --to team@example.com
    """
    from pytest_madengine.reports.mail.message import make_message
    from pytest_madengine.reports.mail.send import send, smtp_server
    from pytest_madengine.util.files import write_atomic

    if bool(smtp) != bool(to):
        raise ConfigError(f"{'--to' if smtp else '--smtp'} is missing", hint="sending needs --smtp and --to")
    server = smtp_server(smtp, smtp_tls, os.environ) if smtp else None
    recipients = _recipients(to or [])
    mail = _mail(directory / (csv_file_path or ""), results_dir)
    if verbose:
        say(f"results: {(directory / (csv_file_path or '')).absolute()}")
    try:
        write_atomic(output, mail.page())
        say(f"page: {output}")
        if eml is None and server is None:
            return 0
        message = make_message(mail, _sender(sender), recipients)
        if eml is not None:
            write_atomic(eml, message.as_bytes().decode("ascii"))
            say(f"message: {eml}")
    except OSError as error:
        raise ResultError(f"{error.filename or output} cannot be written: {error.strerror}") from error
    if server is not None:
        send(message, server, recipients)
        say(f"sent to {', '.join(address.addr_spec for address in recipients)} by {server}")
    return 0


def _recipients(texts: list[str]) -> list[Address]:
    from pytest_madengine.reports.mail.message import parse_address

    return [parse_address(text, "--to") for text in texts]


def _sender(text: str) -> Address:
    """``--from``, else an address of this host; a host name that no address may have is not used."""
    import socket

    from pytest_madengine.reports.mail.message import parse_address

    if text:
        return parse_address(text, "--from")
    try:
        return parse_address(f"madengine@{socket.gethostname()}", "--from")
    except ConfigError:
        return parse_address("madengine@localhost", "--from")


def _mail(path: Path, results_dir: Path | None) -> Mail:
    from datetime import datetime, timezone

    from pytest_madengine.reports.mail.page import Mail
    from pytest_madengine.reports.mail.reasons import Reasons
    from pytest_madengine.reports.mail.table import find_tables, read_table

    if results_dir is not None and not results_dir.is_dir():
        raise ConfigError(f"{results_dir} is no directory", hint="name the --mad-results-dir of the runs")
    files = find_tables(path)
    beside = results_dir or files[0].parent / "mad-results"
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return Mail(tuple(map(read_table, files)), Reasons(beside), when)


@report_app.command("update-perf")
@reports_errors
def update_perf(
    perf_csv: Annotated[
        Path | None,
        typer.Option(
            "--perf-csv", metavar="FILE", help="Results CSV (default: perf.csv); made when it is absent."
        ),
    ] = None,
    multiple_results: Annotated[
        Path | None, typer.Option("--multiple-results", metavar="CSV", help="Result rows of one model.")
    ] = None,
    common_info: Annotated[
        Path | None,
        typer.Option("--common-info", metavar="JSON", help="What all rows of --multiple-results share."),
    ] = None,
    model_name: Annotated[
        str, typer.Option("--model-name", metavar="NAME", help="The model of --multiple-results.")
    ] = "",
    single_result: Annotated[
        Path | None,
        typer.Option("--single_result", "--single-result", metavar="JSON", help="The result of one run."),
    ] = None,
    exception_result: Annotated[
        Path | None, typer.Option("--exception-result", metavar="JSON", help="A run that broke off.")
    ] = None,
    failed_result: Annotated[
        Path | None, typer.Option("--failed-result", metavar="JSON", help="A run that failed.")
    ] = None,
    db_url: Annotated[
        str, typer.Option("--db-url", metavar="URL", help="Upload perf.csv to this database as well.")
    ] = "",
    verbose: Verbose = False,
) -> int:
    """Append a result that another program made to perf.csv and its side files.

    Needs exactly one of --multiple-results, --single-result, --exception-result and --failed-result; with
    --perf-csv alone the file is only checked.

    Examples:

      madengine report update-perf --single-result perf_entry.json

      madengine report update-perf --multiple-results m.csv --common-info common_info.json --model-name m
    """
    from pytest_madengine.perfcsv.update import Kind, add_entry, add_multiple
    from pytest_madengine.reports.pages.records import page_after_run

    entries = {
        "--single-result": (single_result, Kind.SINGLE),
        "--exception-result": (exception_result, Kind.EXCEPTION),
        "--failed-result": (failed_result, Kind.FAILED),
    }
    given = {name: (path, kind) for name, (path, kind) in entries.items() if path is not None}
    results = [*given, *(["--multiple-results"] if multiple_results else [])]
    if perf_csv is not None and not (results or common_info or model_name):
        return _checked(perf_csv, db_url)
    _check_update(results, common_info, model_name)
    perf_csv = perf_csv or Path("perf.csv")
    if verbose:
        say(f"results: {perf_csv.absolute()}")
    if multiple_results is not None:
        assert common_info is not None
        added = add_multiple(perf_csv, multiple_results, common_info, model_name)
    else:
        ((path, kind),) = given.values()
        assert path is not None
        added = add_entry(perf_csv, path, kind)
    _say_added(perf_csv, added)
    for note in page_after_run(perf_csv):
        warn(note)
    if db_url:
        _upload(perf_csv, db_url)
    if added.record.outcome == "FAILURE" and not added.record.metrics:
        # The row says FAILURE; whoever called hears that the results file itself was no good.
        raise ResultError(added.record.reason)
    return 0


def _checked(perf_csv: Path, db_url: str) -> int:
    from pytest_madengine.perfcsv.table import PerfCsv

    PerfCsv(perf_csv, "v2").check()
    say(f"{perf_csv}: no results to add")
    if db_url and perf_csv.exists():
        _upload(perf_csv, db_url)
    return 0


def _check_update(given: list[str], common_info: Path | None, model_name: str) -> None:
    if len(given) != 1:
        what = f"only one of {', '.join(given)} may be given" if given else "no result is given"
        raise ConfigError(
            what,
            hint="use one of --multiple-results, --single-result, --exception-result, --failed-result",
        )
    multiple = given == ["--multiple-results"]
    for name, value in (("--common-info", common_info), ("--model-name", model_name)):
        if multiple and not value:
            raise ConfigError(f"{name} is missing", hint=f"--multiple-results needs {name}")
        if value and not multiple:
            raise ConfigError(f"{name} belongs to --multiple-results, not to {given[0]}")


def _say_added(perf_csv: Path, added: Added) -> None:
    for note in added.notes:
        warn(note)
    rows = "1 row" if len(added.rows) == 1 else f"{len(added.rows)} rows"
    say(f"{perf_csv}: {rows} of {added.record.model} added, {added.record.outcome}")
    if added.record.reason and added.record.metrics:
        warn(added.record.reason)


def _upload(perf_csv: Path, db_url: str) -> None:
    from pytest_madengine.history.upload import update_table
    from pytest_madengine.history.urls import database_url

    target = database_url(db_url, os.environ)
    done = update_table(target, perf_csv)
    for text in done.warnings:
        warn(text)
    say(f"{target.safe}: {done.inserted} of {done.rows} rows inserted")
