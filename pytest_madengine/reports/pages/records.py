"""Pages from the records of runs: alone, or as what is known about the rows of a CSV."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from pytest_madengine.errors import RecordError, ResultError
from pytest_madengine.perfcsv.table import locked_file
from pytest_madengine.reports.pages.csvpage import count_rows, to_html, write_page
from pytest_madengine.reports.pages.data import PageData, builds_as_sessions, column_of, read_csv
from pytest_madengine.reports.pages.details import Details, Link, details_of
from pytest_madengine.reports.pages.table import Column, Table
from pytest_madengine.results.record import RunRecord, json_of
from pytest_madengine.results.rows import V2_COLUMNS, file_rows
from pytest_madengine.util.clock import utc_now
from pytest_madengine.util.files import encoded

#: Records of a page: the newest ones.
LIMIT: Final = 50_000
#: Rows of perf.csv above which perf.html is left to the command line.
HTML_LIMIT: Final = 20_000
#: Records that perf.html takes in: the end of a run stays short however many there are.
_RECORDS_LIMIT: Final = 2_000
#: Columns of multiple results beyond those of perf.csv.
_EXTRA: Final = 30
#: What is known about a row beside its cells.
_FACTS: Final = ("session", "item", "fingerprint", "finished", "reason")


@dataclass
class Found:
    """Records of sessions, oldest first, as objects, and lines about what could not be had."""

    records: list[Mapping[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_csv_page(csv_path: Path, html_path: Path, results_dir: Path, limit: int = LIMIT) -> None:
    """Writes the page of a results CSV with what the records of sessions know about its rows.

    :param results_dir: the sessions; one that is not there knows nothing.
    :param limit: records that are read, the newest.
    :raises ResultError: the CSV cannot be read, or the page cannot be written.
    """
    found = read_records(results_dir, limit) if results_dir.is_dir() else Found()
    table, link = read_csv(csv_path), linker(html_path.parent, [results_dir])
    data = page_of_csv(table, found.records, title=csv_path.stem, source=csv_path.name, link=link)
    data.notes += found.notes
    data.made = utc_now()
    write_page(html_path, data)


def page_after_run(
    perf_csv: Path, results_dir: Path | None = None, limit: int = HTML_LIMIT
) -> tuple[str, ...]:
    """Writes the page beside a perf.csv that has just got rows, under the lock of the table.

    :param results_dir: sessions whose newest records add facts to the rows.
    :param limit: rows above which no page is written.
    :returns: lines for the user: the page was left out.
    :raises ResultError: the table cannot be read, or the page cannot be written.
    """
    page = perf_csv.with_suffix(".html")
    try:
        with locked_file(perf_csv) as table:
            if not os.fstat(table.fileno()).st_size:
                return ()
            if count_rows(perf_csv, limit) > limit:
                return (
                    f"{page.name} is not made for more than {limit} rows: "
                    f"run 'madengine report to-html --csv-file-path {perf_csv}'",
                )
            if results_dir is None:
                to_html(perf_csv, page)
            else:
                write_csv_page(perf_csv, page, results_dir, _RECORDS_LIMIT)
    except OSError as error:
        raise ResultError(
            f"{page} cannot be written: {error.strerror or error}",
            hint="perf.csv is complete; free some space or check the directory",
        ) from error
    return ()


def read_records(results_dir: Path, limit: int = LIMIT) -> Found:
    """The newest records below a results directory, from ``records.jsonl`` of each session.

    What cannot be read is said in the notes: the page of everything else is worth having.
    """
    found = Found()
    broken = 0
    for path in sorted(results_dir.glob("*/records.jsonl"), reverse=True):
        if len(found.records) >= limit:
            found.notes.append(f"The newest {limit:,} records are used; {results_dir.name} has more.")
            break
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            found.notes.append(f"{path.parent.name}/{path.name} cannot be read: {error.strerror}.")
            continue
        for line in reversed([line for line in lines if line.strip()]):
            record = _record(line)
            if record is None:
                broken += 1
            else:
                found.records.append(record)
    found.records.reverse()
    if broken:
        # A writer that died leaves half a line; anything else is no record of ours.
        found.notes.append(f"{broken} unreadable line{'s' * (broken > 1)} of records.jsonl left out.")
    return found


def _record(line: bytes) -> Mapping[str, Any] | None:
    try:
        record: Mapping[str, Any] = json_of(line)
        RunRecord.from_dict(record)
    except RecordError:
        return None
    return record


def distinct(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One record per session and item, the last one, in order of the time at which runs finished."""
    last = {(record["run_id"], record["item_id"]): record for record in records}
    return sorted(last.values(), key=lambda record: str(record.get("finished", "")))


def page_of_records(
    records: Iterable[Mapping[str, Any]], *, title: str, source: str, link: Link, limit: int = LIMIT
) -> PageData:
    """A page of everything that ran, oldest first.

    :param records: ``RunRecord.to_dict`` of any sessions, in any order.
    """
    ordered = distinct(records)
    notes = [f"The newest {limit:,} of {len(ordered):,} results are shown."] if len(ordered) > limit else []
    ordered = ordered[-limit:]
    parsed = [RunRecord.from_dict(record) for record in ordered]
    extra: dict[str, None] = {}
    for record in parsed:
        for metric in record.metrics:
            extra |= dict.fromkeys(metric.extra)
    header = [*V2_COLUMNS, *[name for name in extra if name not in V2_COLUMNS][:_EXTRA]]
    table = Table(header)
    place: list[int] = []
    for start in range(0, len(parsed), 1000):
        chunk = [file_rows(record, header) for record in parsed[start : start + 1000]]
        table.add(list(row.values()) for rows in chunk for row in rows)
        place += [start + number for number, rows in enumerate(chunk) for _ in rows]
    return _page(table, place, ordered, link, title=title, source=source, notes=notes)


def page_of_csv(
    table: Table, records: Sequence[Mapping[str, Any]], *, title: str, source: str, link: Link
) -> PageData:
    """A page of a results table, with what the records say about its rows.

    :param records: ``RunRecord.to_dict`` of any sessions, oldest first.
    """
    return _page(table, matches(table, records), records, link, title=title, source=source, notes=[])


def matches(table: Table, records: Sequence[Mapping[str, Any]]) -> list[int]:
    """The position of each row's record; -1: there is none.

    A row belongs to a record that would be written as equal cells.  Of equal rows the newest belong to the
    newest records: old records are removed before old rows are.
    """
    header = [column.name for column in table.columns]
    waiting: dict[tuple[str, ...], list[int]] = {}
    for position, record in enumerate(records):
        for row in file_rows(RunRecord.from_dict(record), header):
            waiting.setdefault(tuple(_as_read(row[name]) for name in header), []).append(position)
    found = [-1] * table.rows
    if not waiting:
        return found
    rows = list(zip(*map(_cells_as_read, table.columns), strict=True))
    for place in range(len(rows) - 1, -1, -1):
        candidates = waiting.get(rows[place])
        if candidates:
            found[place] = candidates.pop()
    return found


def _as_read(cell: str) -> str:
    """A cell as it comes out of the file again (see ``perfcsv.csv_bytes``): blanks in front are not kept."""
    return cell.replace("\0", "").encode("utf-8", "backslashreplace").decode().lstrip(" ")


def _cells_as_read(column: Column) -> list[str]:
    texts = [_as_read(text) for text in column.values]
    return [texts[number] for number in column.index]


def _page(
    table: Table,
    place: Sequence[int],
    records: Sequence[Mapping[str, Any]],
    link: Link,
    *,
    title: str,
    source: str,
    notes: list[str],
) -> PageData:
    """Joins rows with what their records say."""
    facts = {name: column_of(name, cells) for name, cells in _facts(place, records)}
    if any(position >= 0 for position in place):
        table.append(column_of("finished", facts["finished"]))
        table.append(column_of("session", facts["session"]))
    sessions = builds_as_sessions(table, facts["session"])
    if sessions is not None:
        facts["session"] = sessions
    used = sorted({position for position in place if position >= 0})
    details = details_of([records[position] for position in used], link)
    _describe(details, notes)
    number = {position: details.place.get(rank, -1) + 1 for rank, position in enumerate(used)}
    return PageData(
        title,
        source,
        table,
        {name: column for name, column in facts.items() if column.filled()},
        [number.get(position, 0) for position in place],
        details,
        notes,
    )


def _facts(place: Sequence[int], records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    keys = {"session": "run_id", "item": "item_id"}
    for name in _FACTS:
        key = keys.get(name, name)
        texts = [str(record.get(key) or "") for record in records]
        yield name, [texts[position] if position >= 0 else "" for position in place]


def _describe(details: Details, notes: list[str]) -> None:
    if details.left_out:
        notes.append(
            f"Details are shown of the newest {len(details.place):,} runs; those of {details.left_out:,} "
            "older ones are in records.jsonl of their sessions."
        )


def linker(page_dir: Path, results_dirs: Sequence[Path]) -> Link:
    """Links from a page to files of sessions that are below one of these directories.

    Links are relative, so that page and results can be archived together, and quoted: a name such as
    ``javascript:x`` is no scheme.
    """

    @cache
    def base(session: str) -> str:
        if not session or PurePosixPath(session).name != session or session in (".", ".."):
            return ""
        found = (directory / session for directory in results_dirs)
        path = next((path for path in found if path.is_dir()), None)
        return os.path.relpath(path.absolute(), page_dir.absolute()) if path is not None else ""

    def link(session: str, relative: str) -> str:
        start = base(session)
        parts = PurePosixPath(relative).parts
        if not start or not parts or parts[0] == "/" or ".." in parts:
            return ""
        return quote(encoded(f"{start}/{relative}"))

    return link
