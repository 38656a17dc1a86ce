"""``madengine history``: what the history database knows about earlier runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_madengine.cli.common import ExitCode, draw, reports_errors, say, warn
from pytest_madengine.cli.listing import Format, one_line, show_rows, write_csv, write_json

if TYPE_CHECKING:
    from pytest_madengine.history.store import HistoryStore
    from pytest_madengine.results.record import RunRecord

history_app = typer.Typer(
    help="Look at the results of earlier runs in the history database (--mad-db).", no_args_is_help=False
)

DbUrl = Annotated[
    str | None,
    typer.Option(
        "--db-url",
        metavar="URL",
        help="History database; default: MAD_DB_URL, then TUNA_DB_*, then sqlite:///madengine.db.",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="Form of the output.")]

_STYLES = {"SUCCESS": "green", "FAILURE": "bold red", "SKIPPED": "yellow"}
_LISTED = ("finished", "run", "item", "outcome", "host", "GPU", "reason")
_METRICS = ("model", "metric", "performance", "status")


def register(app: typer.Typer) -> None:
    """Adds ``compare``, which is ``history compare``."""
    app.command("compare", rich_help_panel="Results")(compare)


@history_app.callback(invoke_without_command=True)
def _history(context: typer.Context) -> None:
    """Look at the results of earlier runs in the history database (--mad-db)."""
    if context.invoked_subcommand is None:
        draw(context.get_help())
        raise typer.Exit(ExitCode.SUCCESS)


@history_app.command("list")
@reports_errors
def list_runs(
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Only this model.")] = "",
    outcome: Annotated[
        str,
        typer.Option("--outcome", "--status", metavar="OUTCOME", help="Only SUCCESS, FAILURE or SKIPPED."),
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Only since a UTC date or time, e.g. 2026-11-23.")
    ] = "",
    run: Annotated[
        str, typer.Option("--run", metavar="RUN", help="Only this run: id, its beginning, latest, latest~1.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many; 0: all.")] = 50,
    format: FormatOption = Format.table,
    db_url: DbUrl = None,
) -> int:
    """List items of runs, newest first.

    Examples:

      madengine history list --model dummy --limit 20

      madengine history list --run latest --outcome FAILURE --format json
    """
    from pytest_madengine.errors import ConfigError

    status = outcome.upper()
    if status not in ("", *_STYLES):
        raise ConfigError(f"--outcome is {outcome!r}", hint=f"use {', '.join(_STYLES)}")
    if limit < 0:
        raise ConfigError(f"--limit is {limit}", hint="0 means all")
    with _store(db_url) as store:
        found = store.runs(run_id=run, model=model, outcome=status, since=since, limit=limit or None)
        target = str(store.database.target)
    if format is Format.json:
        write_json([row.to_dict() for row in found])
    elif format is Format.csv:
        from pytest_madengine.history.queries import RunRow

        write_csv(tuple(RunRow.__dataclass_fields__), [row.to_dict() for row in found])
    else:
        rows = [
            {
                "finished": row.finished,
                "run": row.run_id,
                "item": row.item_id,
                "outcome": row.outcome,
                "host": row.hostname,
                "GPU": row.gpu_architecture,
                "reason": row.reason,
            }
            for row in found
        ]
        show_rows(
            f"{len(rows)} {'result' if len(rows) == 1 else 'results'} in {target}",
            _LISTED,
            rows,
            whole=("finished", "run", "outcome"),
            wide=("host", "GPU"),
            styles=_STYLES,
        )
        if limit and len(rows) == limit:
            say(f"only the newest {limit}; --limit 0 shows all")
    return ExitCode.SUCCESS


@history_app.command("show")
@reports_errors
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run: id, its beginning, latest, latest~1.")],
    item: Annotated[str, typer.Argument(metavar="[ITEM]", help="One item of it, e.g. dummy[bs=2].")] = "",
    format: FormatOption = Format.table,
    db_url: DbUrl = None,
) -> int:
    """Show everything about a run, or about one item of it.

    Examples:

      madengine history show latest

      madengine history show latest 'dummy[bs=2]' --format json
    """
    from pytest_madengine.errors import ConfigError
    from pytest_madengine.results.columns import V2_COLUMNS
    from pytest_madengine.results.rows import record_rows

    with _store(db_url) as store:
        records = store.records(run, item)
        if not records:
            _say_what_there_is(store, run, item)
            raise ConfigError(f"run '{run}' has no item '{item}'" if item else f"there is no run '{run}'")
    if format is Format.json:
        write_json([record.to_dict() for record in records])
    elif format is Format.csv:
        rows = [{**row, "run_id": record.run_id} for record in records for row in record_rows(record)]
        write_csv((*V2_COLUMNS, "run_id"), rows)
    else:
        for record in records:
            _show_record(record)
    return ExitCode.SUCCESS


def _say_what_there_is(store: HistoryStore, run: str, item: str) -> None:
    """Raises with a hint when the run exists and the item does not."""
    import difflib

    from pytest_madengine.errors import ConfigError

    if not item:
        return
    names = [record.item_id for record in store.records(run)]
    if names:
        close = difflib.get_close_matches(item, names, n=3) or names[:5]
        raise ConfigError(f"run '{run}' has no item '{item}'", hint=f"it has {', '.join(close)}")


def _show_record(record: RunRecord) -> None:
    from pytest_madengine.results.rows import record_rows

    host = " ".join(
        str(record.host.get(name, "")) for name in ("hostname", "gpu_architecture", "gpu_product_name")
    )
    facts = {
        "run": record.run_id,
        "outcome": f"{record.outcome}{f' in phase {record.phase}' if record.phase else ''}",
        "reason": record.reason,
        "hint": record.hint,
        "exit code": "" if record.exit_code is None else str(record.exit_code),
        "time": f"{record.started or '?'} to {record.finished or '?'}",
        "phases": ", ".join(f"{name} {seconds:.1f} s" for name, seconds in record.durations.items()),
        "host": host.strip(),
        "image": " ".join(filter(None, (record.image.get("name"), record.image.get("digest")))),
        "fingerprint": record.fingerprint,
        "attempts": str(len(record.attempts)) if len(record.attempts) > 1 else "",
        "log": record.log_file,
        "artifacts": ", ".join(record.artifacts),
    }
    say(one_line(record.item_id))
    for name, value in facts.items():
        if value:
            say(f"  {name:<12} {one_line(value)}")
    if record.metrics:
        show_rows("", _METRICS, record_rows(record), right=("performance",), styles=_STYLES)
    for warning in record.warnings:
        say(f"  warning: {one_line(warning)}")
    for line in record.log_tail if str(record.outcome) == "FAILURE" else ():
        say(f"  | {one_line(line)}")
    say()


@history_app.command("compare")
@reports_errors
def compare(
    a: Annotated[
        str, typer.Argument(metavar="[A]", help="Earlier run: id, its beginning, latest~1.")
    ] = "latest~1",
    b: Annotated[str, typer.Argument(metavar="[B]", help="Later run.")] = "latest",
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="PCT",
            help="Exit with 1 when a comparable metric got worse by more than this, or is gone.",
        ),
    ] = None,
    format: FormatOption = Format.table,
    db_url: DbUrl = None,
) -> int:
    """Compare the metrics of two runs.

    Values compare only when both runs asked for the same (equal fingerprints); others are marked.  Whether
    more or less of a metric is better is told by its name.

    Examples:

      madengine compare

      madengine compare latest~7 latest --threshold 5

      madengine history compare 20261123T21 20261124T21 --format json
    """
    from pytest_madengine.cli.comparing import COLUMNS, judge, rows_of, totals
    from pytest_madengine.errors import ConfigError

    if threshold is not None and not threshold >= 0:
        raise ConfigError(f"--threshold is {threshold}", hint="give percents, 0 or more")
    with _store(db_url) as store:
        pairs = store.compare(a, b)
        if not pairs and not store.runs(limit=1):
            raise ConfigError(f"{store.database.target} has no runs: there is nothing to compare")
        present = {row.item_id for row in store.runs(run_id=b, limit=None)}
    judged = judge(pairs, present, threshold)
    if format is Format.json:
        write_json([one.to_dict() for one in judged])
    elif format is Format.csv:
        write_csv(COLUMNS, rows_of(judged, numbers=True))
    else:
        styles = {"better": "green", "worse": "bold red", "gone": "bold red"}
        title = f"{len(judged)} {'metric' if len(judged) == 1 else 'metrics'}, {a} and {b}"
        show_rows(title, COLUMNS, rows_of(judged), right=("a", "b", "change"), styles=styles)
        say(totals(judged))
    worse = [one for one in judged if one.failed]
    for one in worse if threshold is not None else ():
        warn(f"{one.pair.item_id}: {one.explanation}")
    return ExitCode.FAILURE if worse and threshold is not None else ExitCode.SUCCESS


@history_app.command("export")
@reports_errors
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="*.csv, *.json or *.parquet.")],
    format: Annotated[
        str, typer.Option("--format", metavar="csv|json|parquet", help="Default: by the name of the file.")
    ] = "",
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="Only this run.")] = "",
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Only this model.")] = "",
    db_url: DbUrl = None,
) -> int:
    """Write one row per value into a file, e.g. for pandas.

    Examples:

      madengine history export results.parquet

      madengine history export results.csv --model dummy --run latest
    """
    with _store(db_url) as store:
        count = store.export(file, format, run_id=run, model=model)
    say(f"{count} rows written to {file}")
    return ExitCode.SUCCESS


@history_app.command("replay")
@reports_errors
def replay(
    records: Annotated[Path, typer.Argument(metavar="RECORDS", help="records.jsonl of a session.")],
    db_url: DbUrl = None,
) -> int:
    """Store the records of a session that the database does not have; it can be repeated.

    Examples:

      madengine history replay mad-results/20261123T212300.123Z-1f2e/records.jsonl
    """
    from pytest_madengine.history.replay import replay as run_again
    from pytest_madengine.history.urls import database_url

    target = database_url(db_url, os.environ)
    say(f"{run_again(target, records, say)} records stored in {target}")
    return ExitCode.SUCCESS


def _store(db_url: str | None) -> HistoryStore:
    from pytest_madengine.history.store import HistoryStore
    from pytest_madengine.history.urls import database_url

    target = database_url(db_url, os.environ)
    _check_file(target.url.reveal())
    return HistoryStore(target)


def _check_file(url: str) -> None:
    """Reading a SQLite file that does not exist would make an empty one."""
    from pytest_madengine.errors import HistoryError

    scheme, _, path = url.partition(":///")
    if scheme.partition("+")[0] != "sqlite" or not path or path.startswith(":memory:") or "?" in path:
        return
    if not Path(path).is_file():
        hint = "run with --mad-db, or name it with --db-url or MAD_DB_URL"
        raise HistoryError(f"there is no history database {path}", hint=hint)
