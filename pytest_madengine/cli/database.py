"""``madengine database``: perf.csv into SQL databases and MongoDB (contract section 18)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pytest_madengine.cli.common import ExitCode, draw, reports_errors, say, warn

if TYPE_CHECKING:
    from pytest_madengine.history.mongo import MongoResult, MongoUpload

database_app = typer.Typer(
    help="Bring perf.csv into a SQL database or MongoDB; every upload can be repeated.",
    invoke_without_command=True,
)

DbUrl = Annotated[
    str | None,
    typer.Option(
        "--db-url",
        metavar="URL",
        help="SQL database; default: MAD_DB_URL, then TUNA_DB_*, then sqlite:///madengine.db. "
        "A URL with a password belongs into MAD_DB_URL.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]
CsvFile = Annotated[
    Path | None,
    typer.Option(
        "--csv-file-path", "--file", "-f", metavar="FILE", help="CSV or JSON file (default: perf_entry.csv)."
    ),
]
FilePath = Annotated[
    Path | None,
    typer.Option(
        "--file-path",
        metavar="PATH",
        help="A file, or a directory with perf_entry.csv, *env.csv and *.log.",
    ),
]
Kind = Annotated[
    str,
    typer.Option(
        "--type",
        metavar="run|job",
        help="One document per row, or one with all rows; model and perf mean run.",
    ),
]
Name = Annotated[str, typer.Option("--name", metavar="MODEL", help="Only rows of this model.")]
DatabaseName = Annotated[
    str,
    typer.Option(
        "--database-name",
        "--database",
        "--db",
        metavar="NAME",
        help="Target database (default with --type: madengine).",
    ),
]
CollectionName = Annotated[
    str,
    typer.Option(
        "--collection-name",
        "--collection",
        "-c",
        metavar="NAME",
        help="Target collection (default with --type: its value).",
    ),
]
UniqueKey = Annotated[
    str,
    typer.Option(
        "--unique-key",
        "-k",
        metavar="FIELD[,FIELD...]",
        help="Fields that identify a document (default: run_id,model,metric,run_index).",
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", metavar="N", help="Documents per request.")]
NoUpsert = Annotated[
    bool, typer.Option("--no-upsert", help="Do not replace documents of the same key and other content.")
]
NoIndex = Annotated[bool, typer.Option("--no-index", help="Make no indexes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be stored; no server is asked.")]
Uri = Annotated[
    str | None,
    typer.Option(
        "--uri",
        metavar="URI",
        help="Server; default: MONGO_URI, then MONGO_HOST, MONGO_PORT, MONGO_USER, MONGO_PASSWORD. "
        "A URI with a password belongs into MONGO_URI.",
    ),
]
Tls = Annotated[bool, typer.Option("--tls", help="Speak only TLS with the server.")]


#: Values of options that are not given; they are those of ``MongoUpload``.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "csv_file_path": None,
    "file_path": None,
    "kind": "",
    "name": "",
    "database_name": "",
    "collection_name": "",
    "unique_key": "",
    "batch_size": 1000,
    "no_upsert": False,
    "no_index": False,
    "dry_run": False,
    "uri": None,
    "tls": False,
    "verbose": False,
}


@database_app.callback()
def _database(
    context: typer.Context,
    csv_file_path: CsvFile = None,
    file_path: FilePath = None,
    kind: Kind = "",
    name: Name = "",
    database_name: DatabaseName = "",
    collection_name: CollectionName = "",
    unique_key: UniqueKey = "",
    batch_size: BatchSize = 1000,
    no_upsert: NoUpsert = False,
    no_index: NoIndex = False,
    dry_run: DryRun = False,
    uri: Uri = None,
    tls: Tls = False,
    verbose: Verbose = False,
) -> None:
    """Bring perf.csv into a SQL database or MongoDB; every upload can be repeated.

    Options without a command are those of upload-mongodb.

    Examples:

      madengine database update-table --csv-file-path perf.csv

      madengine database upload-mongodb --csv-file-path perf.csv --database-name ci --collection-name runs

      madengine database -f perf.csv --database ci --collection runs
    """
    given = {key: value for key, value in context.params.items() if value != _DEFAULTS[key]}
    if context.invoked_subcommand is None and not given:
        draw(context.get_help())
        raise typer.Exit(ExitCode.SUCCESS)
    if context.invoked_subcommand is None or given:
        _without_command(context.invoked_subcommand, context.params, tuple(given))


@reports_errors
def _without_command(command: str | None, values: Mapping[str, Any], given: Sequence[str]) -> int:
    if command is not None:
        from pytest_madengine.errors import ConfigError

        option = given[0].replace("_", "-").replace("kind", "type")
        raise ConfigError(f"--{option} stands before {command}", hint=f"write it after {command}")
    return _upload(values)


@database_app.command("create-table")
@reports_errors
def create_table(db_url: DbUrl = None, verbose: Verbose = False) -> int:
    """Make dlm_table and the history tables where they are absent, and complete older ones.

    Examples:

      madengine database create-table

      madengine database create-table --db-url sqlite:///results.db
    """
    from pytest_madengine.history.upload import create_table as create
    from pytest_madengine.history.urls import database_url

    target = database_url(db_url, os.environ)
    added = create(target)
    if verbose:
        from pytest_madengine.history.schema import VERSION, metadata

        say(f"database from {target.source}, schema version {VERSION}")
        say(f"tables: {', '.join(sorted(metadata.tables))}")
    for column in added:
        say(f"column {column} added to dlm_table")
    say(f"tables are ready in {target}")
    return ExitCode.SUCCESS


@database_app.command("update-table")
@reports_errors
def update_table(
    csv_file_path: Annotated[
        Path, typer.Option("--csv-file-path", metavar="FILE", help="A perf.csv of either schema.")
    ] = Path("perf.csv"),
    model_json_path: Annotated[
        Path | None,
        typer.Option(
            "--model-json-path",
            metavar="FILE",
            help="A models.json: fills empty n_gpus, training_precision, tags and args.",
        ),
    ] = None,
    db_url: DbUrl = None,
    verbose: Verbose = False,
) -> int:
    """Insert the rows of a perf.csv that dlm_table does not have: all of them, or none.

    Examples:

      madengine database update-table

      madengine database update-table --csv-file-path perf.csv --model-json-path models.json
    """
    from pytest_madengine.history.upload import update_table as update
    from pytest_madengine.history.urls import database_url

    target = database_url(db_url, os.environ)
    result = update(target, csv_file_path, model_json_path)
    for warning in result.warnings:
        warn(warning)
    if verbose:
        say(f"database from {target.source}; run id of rows that have none: {result.run_id or '-'}")
    say(f"{result.inserted} of {result.rows} rows inserted in {target}")
    return ExitCode.SUCCESS


@database_app.command("upload-mongodb")
@reports_errors
def upload_mongodb(
    csv_file_path: CsvFile = None,
    file_path: FilePath = None,
    kind: Kind = "",
    name: Name = "",
    database_name: DatabaseName = "",
    collection_name: CollectionName = "",
    unique_key: UniqueKey = "",
    batch_size: BatchSize = 1000,
    no_upsert: NoUpsert = False,
    no_index: NoIndex = False,
    dry_run: DryRun = False,
    uri: Uri = None,
    tls: Tls = False,
    verbose: Verbose = False,
) -> int:
    """Store the rows of a result file as documents; what is stored already stays as it is.

    Exit status: 0 every document is stored, 1 one is not, or the server does not answer, 4 wrong arguments.

    Examples:

      madengine database upload-mongodb --csv-file-path perf.csv --database-name ci --collection-name runs

      madengine database upload-mongodb --file-path results --type job --db ci -c jobs --dry-run
    """
    return _upload(locals())


def _upload(values: Mapping[str, Any]) -> int:
    from pytest_madengine.errors import ConfigError
    from pytest_madengine.history.mongo import UNIQUE_KEY, MongoUpload
    from pytest_madengine.history.mongo import upload_mongodb as upload
    from pytest_madengine.history.urls import mongo_server

    csv_file, path = values["csv_file_path"], values["file_path"]
    if csv_file is not None and path is not None:
        raise ConfigError("--csv-file-path and --file-path are both given", hint="give one of them")
    key = tuple(part.strip() for part in values["unique_key"].split(",")) if values["unique_key"] else ()
    request = MongoUpload(
        csv_file or path or Path("perf_entry.csv"),
        # The users' guide of madengine names a type and a file, and nothing else.
        values["database_name"] or ("madengine" if values["kind"] else ""),
        values["collection_name"] or values["kind"],
        kind=values["kind"] or "run",
        name=values["name"],
        unique_key=key or UNIQUE_KEY,
        batch_size=values["batch_size"],
        upsert=not values["no_upsert"],
        index=not values["no_index"],
        dry_run=values["dry_run"],
    )
    server = mongo_server(values["uri"], os.environ, values["tls"])
    result = upload(server, request)
    for warning in result.warnings:
        warn(warning)
    for problem in result.problems:
        warn(f"not stored: {problem}")
    if values["verbose"]:
        say(f"{request.path} to {server}, identified by {', '.join(request.unique_key)}")
    _show(result, request, str(server))
    return ExitCode.SUCCESS if result.complete else ExitCode.FAILURE


def _show(result: MongoResult, request: MongoUpload, server: str) -> None:
    target = f"{request.database}.{request.collection} of {server}"
    if request.dry_run:
        import json

        say(f"dry run: {result.documents} documents would be stored in {target}")
        for document in result.sample:
            say(json.dumps(document, indent=2))
        left = result.documents - len(result.sample)
        if left > 0:
            say(f"... and {left} more")
        return
    say(
        f"{result.documents} documents for {target}: {result.inserted} new, {result.updated} replaced, "
        f"{result.unchanged} unchanged, {result.failed} not stored"
    )
