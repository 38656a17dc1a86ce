"""Results as an e-mail: what is said, in which order, and how much of it (contract 17)."""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_madengine.reports.mail.charts import Chart, charts
from pytest_madengine.reports.mail.reasons import Reason, Reasons
from pytest_madengine.reports.mail.table import Row, Table, results

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

#: Gmail shows the first 102 KB of a message and hides the rest behind a link, the end of the table included.
CLIP: Final = 96_000
#: Columns of a table in a message, where they differ from row to row; the page has all.
MAIL_COLUMNS: Final = (
    *("model", "performance", "relative_change", "status"),
    *("n_gpus", "training_precision", "gpu_architecture", "test_duration"),
)
#: Their headings there; the metric stands below its value.
SHORT: Final = {
    "relative_change": "relative %",
    "n_gpus": "GPUs",
    "training_precision": "precision",
    "gpu_architecture": "GPU",
    "test_duration": "seconds",
}
#: What is the same in all rows of a table is said once in a message, of these columns.
SAID_ONCE: Final = (
    *("gpu_architecture", "n_gpus", "training_precision", "machine_name", "launcher"),
    *("pipeline", "build_number", "docker_image"),
)
#: Colours of the outcomes; each is said in words as well.
TONES: Final = {"FAILURE": "#b3261e", "SUCCESS": "#1a7f37", "SKIPPED": "#8a6100"}
#: Characters of a cell above which its text is broken into lines.
_LONG: Final = 60
_TEMPLATES: Final = Path(__file__).resolve().parents[2] / "resources" / "mail"
#: Columns of numbers are aligned to the right.
_NUMBERS: Final = frozenset({"performance", "relative_change", "n_gpus", "test_duration", "build_duration"})


@dataclass(frozen=True)
class Limits:
    """How much is shown.  ``None``: everything."""

    rows: int | None = None
    failures: int = 500
    bars: int = 200
    tables: int | None = None
    #: Characters of a cell or a reason.
    cell: int | None = None
    #: Only the columns that a reader of mail looks at.
    compact: bool = False


#: What a message may have; the number of rows is what fits.
MESSAGE: Final = Limits(failures=20, bars=24, tables=10, cell=160, compact=True)
#: The same when even no row fits: long names, many files.
SMALL: Final = Limits(rows=0, failures=8, bars=6, tables=3, cell=80, compact=True)


@dataclass(frozen=True)
class Failure:
    """A failed model on top of the page."""

    model: str
    reason: str
    hint: str = ""
    #: Performance, build and host, as far as the row has them.
    facts: str = ""
    log_file: str = ""
    #: ``failed 3 times``; empty for once.
    times: str = ""
    #: It succeeded after that.
    recovered: bool = False


@dataclass(frozen=True)
class ShownTable:
    """A table as it is shown."""

    name: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    #: Rows that were left out.
    left: int = 0
    #: Columns that were left out, and what was said once instead.
    columns_left: int = 0
    shared: dict[str, str] = field(default_factory=dict)

    def cells(self, row: Row) -> list[tuple[str, str]]:
        """Column and text of each cell."""
        return [(name, row[name]) for name in self.header]


@dataclass(frozen=True)
class Mail:
    """What is said about some CSV files.

    :param when: UTC time, as text.
    """

    tables: tuple[Table, ...]
    reasons: Reasons
    when: str = ""
    _charts: dict[int, tuple[list[Chart], int]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def rows(self) -> list[Row]:
        """All results, each once, oldest first."""
        return results(self.tables)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Results per status; those that occur, failures first."""
        counted = Counter(row.status for row in self.rows)
        order = ["FAILURE", "SUCCESS", "SKIPPED"]
        order += sorted(status for status in counted if status not in order)
        return {status: counted[status] for status in order if counted[status]}

    @property
    def subject(self) -> str:
        """``MAD results: 1 FAILURE, 7 SUCCESS (perf)``, one line."""
        said = ", ".join(f"{number} {status or 'without status'}" for status, number in self.counts.items())
        names = ", ".join(table.name for table in self.tables[:3]) + (", ..." if len(self.tables) > 3 else "")
        said = f"MAD results: {said or 'no results'}"
        # A header above 78 characters is folded, and some mail programs show the fold.
        shown = cut(names, max(12, 62 - len(said))).replace("…", "...")
        return " ".join(f"{said} ({shown})".split())

    def failures(self, limit: int) -> list[Failure]:
        """The models that failed, each with its newest failure: first those whose newest result it is."""
        return [self._failure(row) for row in self._failed[:limit]]

    @property
    def failed_models(self) -> int:
        """How many models failed."""
        return len(self._failed)

    @cached_property
    def models(self) -> int:
        """How many models have results."""
        return len({row["model"] for row in self.rows})

    @cached_property
    def _failed(self) -> list[Row]:
        newest: dict[tuple[str, str], Row] = {}
        for row in self.rows:
            if row.failed:
                newest.pop(_key(row), None)
                newest[_key(row)] = row
        found = list(newest.values())[::-1]
        still = [self._last[_key(row)] == "FAILURE" for row in found]
        return [*itertools.compress(found, still), *itertools.compress(found, map(operator.not_, still))]

    @cached_property
    def _last(self) -> dict[tuple[str, str], str]:
        """The newest outcome of each model; a skip says nothing about it."""
        return {_key(row): row.status for row in self.rows if row.status != "SKIPPED"}

    @cached_property
    def _times(self) -> Counter[tuple[str, str]]:
        return Counter(_key(row) for row in self.rows if row.failed)

    @cached_property
    def _headers(self) -> dict[int, tuple[str, ...]]:
        failed = {id(row) for row in self._failed}
        return {id(row): table.header for table in self.tables for row in table.rows if id(row) in failed}

    def charts(self, limit: int = MESSAGE.bars) -> tuple[list[Chart], int]:
        """The charts with at most that many bars, and how many bars were left out."""
        if limit not in self._charts:
            self._charts[limit] = charts(self.rows, limit)
        return self._charts[limit]

    def _failure(self, row: Row) -> Failure:
        known = self.reasons.of(self._headers[id(row)], row.values)
        times = self._times[_key(row)]
        facts = f"{row['performance']} {row['metric']}".strip() if row["performance"] else ""
        build = f"build {row['build_number']}" if row["build_number"] not in ("", "0") else ""
        facts = ", ".join(filter(None, (facts, build, row["machine_name"])))
        known = known or Reason(row["reason"])
        return Failure(
            row["model"],
            known.text,
            known.hint,
            facts,
            known.log_file,
            f"failed {times} times" if times > 1 else "",
            self._last[_key(row)] == "SUCCESS",
        )

    def html(self, limits: Limits) -> str:
        """The page: everything that mail programs drop is absent (style sheets, scripts, images, SVG)."""
        shown, left = self.charts(limits.bars)
        shorten = (lambda text: cut(text, limits.cell)) if limits.cell else str
        return (
            _environment()
            .get_template("mail.html.j2")
            .render(
                title="MAD results",
                when=self.when,
                counts=self.counts,
                total=len(self.rows),
                models=self.models,
                widths=_widths(self.counts),
                failures=self.failures(limits.failures),
                failures_left=max(0, self.failed_models - limits.failures),
                charts=shown,
                bars_left=left,
                tables=_shown_tables(self.tables, limits),
                tables_left=0 if limits.tables is None else max(0, len(self.tables) - limits.tables),
                numbers=_NUMBERS,
                compact=limits.compact,
                short=SHORT,
                tone=TONES,
                plain_row=plain_row,
                cut=shorten,
            )
        )

    def page(self) -> str:
        """The complete page."""
        return self.html(Limits())

    def message(self, clip: int = CLIP) -> str:
        """The page for a message, with as many rows as stay below the limit of bytes."""
        return _largest(lambda rows: self.html(replace(MESSAGE, rows=rows)), self._most_rows(), clip) or (
            self.html(SMALL)
        )

    def _most_rows(self) -> int:
        # No row has less than 60 bytes of markup.
        return min(max((len(table.rows) for table in self.tables), default=0), CLIP // 60)


def _key(row: Row) -> tuple[str, str]:
    """What makes two rows results of the same model."""
    return row["model"], row["gpu_architecture"]


def _largest(render: Callable[[int], str], most: int, clip: int) -> str:
    """The page with the largest number of rows per table that fits; empty when not even none fit."""
    best, low, high = "", 0, most
    while low <= high:
        middle = high if high == most and not best else (low + high) // 2
        page = render(middle)
        if len(page.encode("utf-8", "replace")) <= clip:
            best, low = page, middle + 1
        else:
            high = middle - 1
    return best


def _shown_tables(tables: Sequence[Table], limits: Limits) -> list[ShownTable]:
    return [_shown(table, limits) for table in tables[: limits.tables]]


def _shown(table: Table, limits: Limits) -> ShownTable:
    if not limits.compact:
        return ShownTable(table.name, table.header, table.rows)
    rows = tuple(table.failing_first[: limits.rows])
    left = len(table.rows) - len(rows)
    if not table.has_results:
        header = tuple(table.filled[: len(MAIL_COLUMNS)])
        return ShownTable(table.name, header, rows, left, len(table.header) - len(header))
    shared = {name: text for name, text in table.shared.items() if name in SAID_ONCE}
    filled = set(table.filled) - shared.keys()
    header = tuple(name for name in MAIL_COLUMNS if name in filled or name in ("model", "status"))
    said = {*header, *shared, *(["metric"] if "performance" in header else [])}
    return ShownTable(table.name, header, rows, left, len(set(table.header) - said), shared)


def plain_row(table: ShownTable, row: Row) -> Markup:
    """A row of the complete page.  Not by the template: a table may have millions of cells."""
    from markupsafe import Markup

    parts = []
    for name, text in itertools.zip_longest(table.header, row.cells, fillvalue=""):
        shown = escape(text)
        if name == "status" and text in TONES:
            parts.append(f'<td><b style="color:{TONES[text]}">{shown}</b></td>')
        elif name in _NUMBERS:
            parts.append(f'<td align="right">{shown}</td>')
        elif len(text) > _LONG:
            parts.append(f'<td style="white-space:normal;min-width:260px;word-break:break-word">{shown}</td>')
        else:
            parts.append(f"<td>{shown}</td>")
    return Markup("".join(parts))


def _widths(counts: dict[str, int]) -> dict[str, int]:
    """Per cent of the bar of outcomes; each status is at least visible."""
    total = sum(counts.values())
    return {status: max(1, round(count / total * 100)) for status, count in counts.items()}


def cut(text: str, length: int | None) -> str:
    """At most ``length`` characters; what is cut is marked."""
    return text if length is None or len(text) <= length else text[: length - 1].rstrip() + "…"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
