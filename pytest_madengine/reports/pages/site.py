"""Pages of results: of one perf.csv (``madengine report to-html``), of many sessions (``--mad-report``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_madengine.errors import ConfigError, ResultError


def csv_report(csv_path: Path, *, html_path: Path | None = None, results_dir: Path | None = None) -> Path:
    """Makes the page of a results CSV and returns its path.

    :param html_path: default: ``<stem>.html`` beside the CSV.
    :param results_dir: sessions whose records tell more about the rows: times, reasons, logs, provenance.
        Default: ``mad-results`` beside the CSV, if it is there.
    :raises ConfigError: not a ``.csv``, not a perf.csv, or a results directory that is none.
    :raises ResultError: the CSV is missing or cannot be read, or the page cannot be written.
    """
    from pytest_madengine.reports.pages.records import write_csv_page
    from pytest_madengine.results.header import HEADER_LIMIT, header_names

    if csv_path.suffix.lower() != ".csv":
        raise ConfigError(f"{csv_path} is not a .csv file", hint="name the results table, e.g. perf.csv")
    if not csv_path.is_file():
        raise ResultError(f"{csv_path} does not exist", hint="run models first, or name another file")
    if results_dir is not None and not results_dir.is_dir():
        raise ConfigError(f"{results_dir} is not a directory", hint="name the --mad-results-dir of the runs")
    try:
        with csv_path.open("rb") as stream:
            header_names(stream.readline(HEADER_LIMIT), str(csv_path), "name the results table of a run")
    except OSError as error:
        raise ResultError(f"{csv_path} cannot be read: {error.strerror}") from error
    page = html_path or csv_path.with_suffix(".html")
    write_csv_page(csv_path, page, results_dir or csv_path.parent / "mad-results")
    return page


def site_report(
    directory: Path,
    records: Iterable[Mapping[str, Any]],
    *,
    results_dir: Path | None = None,
    title: str = "Benchmark results",
    source: str = "records of runs",
    notes: Iterable[str] = (),
) -> Path:
    """Makes ``DIR/index.html`` from records of any sessions and returns its path.

    :param records: ``RunRecord.to_dict``, in any order; a run that is there twice counts once.
    :param results_dir: where the sessions' logs and artifacts are; links to them are relative.
    :param notes: lines for the readers of the page.
    :raises ResultError: the page cannot be written.
    """
    from pytest_madengine.reports.pages.csvpage import write_page
    from pytest_madengine.reports.pages.records import linker, page_of_records
    from pytest_madengine.util.clock import utc_now

    link = linker(directory, [results_dir] if results_dir is not None else [])
    data = page_of_records(records, title=title, source=source, link=link)
    data.notes += notes
    data.made = utc_now()
    page = directory / "index.html"
    write_page(page, data)
    return page
