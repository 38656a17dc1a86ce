"""perf.html: a results CSV as one self-contained page (contract 17)."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from pytest_madengine.errors import ResultError
from pytest_madengine.files import write_atomic

_STYLE: Final = """
:root { color-scheme: light dark; --line: #d7dce2; --head: #f1f4f8; --odd: #fafbfc; --text: #1c2430;
  --muted: #5b6675; --page: #fff; --bad: #fdecea; --bad-text: #b3261e; --good-text: #1a7f37;
  --skip-text: #8a6100; }
@media (prefers-color-scheme: dark) {
  :root { --line: #30363d; --head: #1b222b; --odd: #12171d; --text: #e3e8ee; --muted: #9aa5b1;
    --page: #0d1117; --bad: #3a1614; --bad-text: #ff8f85; --good-text: #4ac26b; --skip-text: #d4a72c; } }
body { margin: 1.5rem; font: 14px/1.45 system-ui, sans-serif; color: var(--text); background: var(--page); }
h1 { font-size: 1.3rem; margin: 0 0 .2rem; } p { margin: 0 0 1rem; color: var(--muted); }
.scroll { overflow: auto; max-height: calc(100vh - 7rem); border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums;
  width: max-content; min-width: 100%; }
th, td { padding: .35rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  white-space: pre-wrap; overflow-wrap: break-word; min-width: 4rem; max-width: 28rem; }
th { position: sticky; top: 0; background: var(--head); white-space: nowrap; }
th:first-child { left: 0; z-index: 1; }
td:first-child { position: sticky; left: 0; background: inherit; }
tbody tr { background: var(--page); }
tbody tr:nth-child(odd) { background: var(--odd); }
tbody tr.failure { background: var(--bad); }
.failure td.status { color: var(--bad-text); font-weight: 600; }
.success td.status { color: var(--good-text); } .skipped td.status { color: var(--skip-text); }
@media print { .scroll { max-height: none; overflow: visible; } th { position: static; } }
"""
_STATUSES: Final = {"FAILURE": "failure", "SUCCESS": "success", "SKIPPED": "skipped"}


def to_html(csv_path: Path, html_path: Path) -> None:
    """Writes a complete page with one table.

    Header names are stripped, cells escaped, empty cells empty, rows with status FAILURE marked.  The page
    replaces an older one only when it is complete.

    :raises ResultError: the CSV cannot be read or the page cannot be written.
    """
    try:
        with csv_path.open(encoding="utf-8-sig", errors="replace", newline="") as source:
            write_atomic(html_path, "".join(_page(csv_path, csv.reader(source, skipinitialspace=True))))
    except csv.Error as error:
        raise ResultError(
            f"{csv_path} is no readable CSV: {error}", hint="repair or move the file"
        ) from error
    except OSError as error:
        raise ResultError(f"{html_path} cannot be made from {csv_path}: {error.strerror}") from error


def count_rows(csv_path: Path, limit: int) -> int:
    """Data rows of a CSV; stops counting at ``limit + 1``.

    :raises ResultError: the CSV cannot be read.
    """
    try:
        with csv_path.open(encoding="utf-8-sig", errors="replace", newline="") as source:
            rows = filter(None, csv.reader(source))
            return max(0, sum(1 for _ in itertools.islice(rows, limit + 2)) - 1)
    except (OSError, csv.Error) as error:
        raise ResultError(f"{csv_path} cannot be read: {error}", hint="repair or move the file") from error


def _page(csv_path: Path, reader: Iterator[list[str]]) -> Iterator[str]:
    rows = filter(None, reader)
    header = [name.strip() for name in next(rows, [])]
    title = escape(csv_path.stem)
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"<p>Benchmark results from {escape(csv_path.name)}</p>\n"
        '<div class="scroll" tabindex="0" role="region" aria-label="Results">\n<table class="dataframe">\n'
    )
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    yield f"<thead><tr>{names}</tr></thead>\n<tbody>\n"
    for row in rows:
        yield _row(header, row)
    yield "</tbody>\n</table>\n</div>\n</body>\n</html>\n"


def _row(header: Sequence[str], row: Sequence[str]) -> str:
    cells = [*row, *[""] * (len(header) - len(row))]
    mark = ""
    parts = []
    for name, cell in itertools.zip_longest(header, cells, fillvalue=""):
        if name == "status":
            mark = _STATUSES.get(cell.strip(), "")
            parts.append(f'<td class="status">{escape(cell)}</td>')
        else:
            parts.append(f"<td>{escape(cell)}</td>")
    opening = f'<tr class="{mark}">' if mark else "<tr>"
    return f"{opening}{''.join(parts)}</tr>\n"
