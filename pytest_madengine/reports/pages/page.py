"""One self-contained HTML page of results: no network, no other file (contract 17).

The markup holds the summary and a complete table, for readers without JavaScript and for programs; scripts
make it sortable and add trends, comparison and details from the data embedded below it.
"""

from __future__ import annotations

import base64
import hashlib
from array import array
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

from pytest_madengine.gate.direction import direction
from pytest_madengine.reports.pages.data import PageData
from pytest_madengine.reports.pages.details import BLOCK
from pytest_madengine.reports.pages.encode import encode_table
from pytest_madengine.reports.pages.summary import summarise
from pytest_madengine.reports.pages.table import Column
from pytest_madengine.reports.pages.trends import DEVIATIONS, ENOUGH, THRESHOLD, WINDOW, Trends, trends

#: Rows up to which the markup holds all of them, and how many of the newest it holds beyond.
MARKUP_ROWS: Final = 2_000
MARKUP_NEWEST: Final = 500
#: Lines below "needs attention".
CONCERNS: Final = 50
ASSETS: Final = Path(__file__).resolve().parents[2] / "resources" / "report"
#: Scripts in the order in which they are joined.
SCRIPTS: Final = ("base", "data", "table", "filters", "charts", "trends", "compare", "details", "main")
_STATUSES: Final = {"FAILURE": "failure", "SUCCESS": "success", "SKIPPED": "skipped"}


def render(data: PageData) -> str:
    """The page as text."""
    from markupsafe import Markup

    found = trends(data.table)
    rows = data.table.rows
    shown = rows if rows <= MARKUP_ROWS else MARKUP_NEWEST
    summary = summarise(data, found)
    head, style, script = asset("head.js"), asset("page.css"), _script()
    page = _template().render(
        title=data.title,
        source=data.source,
        made=data.made,
        notes=data.notes,
        summary=summary,
        concerns=summary.concerns[:CONCERNS],
        more_concerns=len(summary.concerns[CONCERNS:]),
        rows=rows,
        shown=shown,
        names=[column.name for column in data.table.columns],
        # Made here and not in the template: some ten thousand cells.
        body=Markup("".join(_rows(data.table.columns, data.table.last(shown)))),
        policy=_policy((head, script), style),
        head=Markup(head),
        style=Markup(style),
        script=Markup(script),
        # Characters of Base64 only.
        encoded=Markup(_encoded(data, found)),
        blocks=[Markup(block) for block in data.details.blocks],
    )
    # Half a surrogate pair, e.g. of a name in a file system, is no text for a browser.
    return str(page).encode("utf-8", "replace").decode("utf-8")


def _rows(columns: list[Column], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    place = next((number for number, column in enumerate(columns) if column.name == "status"), -1)
    for row in rows:
        mark = _STATUSES.get(row[place].strip(), "") if place >= 0 else ""
        cells = [f"<td>{escape(cell)}</td>" for cell in row]
        if place >= 0:
            cells[place] = f'<td class="status">{escape(row[place])}</td>'
        yield f"<tr{f' class={mark!r}' if mark else ''}>".replace("'", '"') + "".join(cells) + "</tr>\n"


def _encoded(data: PageData, found: Trends) -> str:
    numbers: dict[str, array[Any]] = {
        "series": found.series_of,
        "median": found.median,
        "half": found.half,
        "verdict": found.verdict,
        "record": array("I", data.record_of or bytes(4 * data.table.rows)),
    }
    visible = data.table.columns
    facts = {
        "rows": data.table.rows,
        "title": data.title,
        "block": BLOCK,
        "hidden": {name: len(visible) + place for place, name in enumerate(data.facts)},
        "series": [[*key, direction(key[1])] for key in found.series],
        "band": {
            "window": WINDOW,
            "enough": ENOUGH,
            "threshold": THRESHOLD,
            "deviations": DEVIATIONS / 1.4826,
        },
    }
    return encode_table([*visible, *data.facts.values()], numbers, facts)


def _policy(scripts: Iterable[str], style: str) -> str:
    """A content security policy under which nothing is loaded and nothing but our own text runs."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def asset(name: str) -> str:
    """A file of the page, as it is."""
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    parts = "\n".join(asset(f"js/{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")
