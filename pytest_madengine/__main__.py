"""``python -m pytest_madengine``: clean up after earlier sessions, feed the history database."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 something could not be removed or no engine or database answers, 4 wrong
    arguments."""
    from pytest_madengine.errors import ConfigError, MadError

    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except MadError as error:
        sys.stderr.write(f"ERROR: {error.message}\n" + (f"{error.hint}\n" if error.hint else ""))
        return 4 if isinstance(error, ConfigError) else 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_madengine")
    commands = parser.add_subparsers(dest="command", required=True)
    cleanup = commands.add_parser(
        "cleanup",
        help="list, and with --remove remove, containers and networks of sessions that are over",
        description="Lists containers and networks of pytest-madengine whose session is over. "
        "Nothing is removed without --remove; nothing of others is ever touched.",
    )
    cleanup.add_argument("--older", metavar="AGE", default="0", help="only what is this old: 30m, 2h, 7d")
    cleanup.add_argument("--images", action="store_true", help="also the images built for models")
    cleanup.add_argument("--remove", action="store_true", help="remove instead of only listing")
    cleanup.set_defaults(run=_cleanup)
    history = commands.add_parser("history", help="the history database").add_subparsers(required=True)
    replay = history.add_parser("replay", help="store the records of a session that are not stored yet")
    replay.add_argument("records", type=Path, help="records.jsonl of a session")
    replay.set_defaults(run=_replay)
    database = commands.add_parser("database", help="the table dlm_table").add_subparsers(required=True)
    update = database.add_parser("update-table", help="insert the rows of a perf.csv that are not there yet")
    update.add_argument("--csv-file-path", type=Path, default=Path("perf.csv"), metavar="FILE")
    update.add_argument("--model-json-path", type=Path, metavar="FILE", help="fills empty cells")
    update.set_defaults(run=_update_table)
    for command in (replay, update):
        command.add_argument("--db-url", metavar="URL", help="default: MAD_DB_URL, TUNA_DB_*, madengine.db")
    return parser


def _replay(arguments: argparse.Namespace) -> int:
    from pytest_madengine.history.store import replay
    from pytest_madengine.history.urls import database_url

    target = database_url(arguments.db_url, os.environ)
    stored = replay(target, arguments.records)
    sys.stdout.write(f"{stored} records stored in {target}\n")
    return 0


def _update_table(arguments: argparse.Namespace) -> int:
    from pytest_madengine.history.upload import update_table
    from pytest_madengine.history.urls import database_url

    target = database_url(arguments.db_url, os.environ)
    result = update_table(target, arguments.csv_file_path, arguments.model_json_path)
    for warning in result.warnings:
        sys.stderr.write(f"WARNING: {warning}\n")
    sys.stdout.write(f"{result.inserted} of {result.rows} rows inserted in {target}\n")
    return 0


def _cleanup(arguments: argparse.Namespace) -> int:
    from pytest_madengine.cleanup import find, parse_age, remove
    from pytest_madengine.images.engine import connect

    older = parse_age(arguments.older)
    client = connect(dict(os.environ))
    failed = 0
    try:
        leftovers = find(client, older=older, images=arguments.images)
        for one in leftovers:
            error = remove(client, one) if arguments.remove else ""
            failed += bool(error)
            state = (
                f"not removed: {error}" if error else "removed" if arguments.remove else "would be removed"
            )
            name = one.name or one.id[:19]
            sys.stdout.write(f"{one.kind:<9}  {name}  {_age(one.age)}  {one.why or '-'}  {state}\n")
    finally:
        client.close()
    if not leftovers:
        sys.stdout.write("nothing is left of earlier sessions\n")
    elif not arguments.remove:
        sys.stdout.write(f"{len(leftovers)} found; add --remove to remove them\n")
    return 1 if failed else 0


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f}{unit}"
    return f"{seconds:.0f}s"


if __name__ == "__main__":
    sys.exit(main())
