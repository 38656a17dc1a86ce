"""What GitHub Actions shows of a session: the step summary (Markdown) and annotations.

Every text of a model or a log is data here: no markup of it reaches a page, no line of it is a command.

Limits of GitHub: 1024 KiB of summary per step (more, and all of it is refused); 10 annotations of a kind per
step.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_madengine.results.columns import seconds
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.util.text import log_line, visible

#: Bytes of a step summary, what is already there included.
SUMMARY_LIMIT: Final = 900 * 1024
#: Rows of all tables together.
ROWS: Final = 200
#: Failures whose end of the log is shown.
TAILS: Final = 20
#: Annotations of a kind that GitHub keeps per step.
ANNOTATIONS: Final = 10
#: Characters of a cell, of a line of a log, and of an annotation.
_CELL: Final = 400
_LINE: Final = 500
_MESSAGE: Final = 2000
#: Bytes of the end of one log.
_TAIL: Final = 16 * 1024
#: Metrics of one model in a table.
_METRICS: Final = 4
#: Characters with a meaning in Markdown, in HTML or for GitHub ($: formulas, ~: struck out, #: issues).
_SPECIAL: Final = re.compile(r"[\\`*_~\[\]<>&|@#$\"':]")
_WORD: Final = {
    Outcome.FAILURE: "❌ failed",
    Outcome.SUCCESS: "✅ succeeded",
    Outcome.SKIPPED: "⏭️ skipped",
}


@dataclass(frozen=True)
class Place:
    """Where a model is defined: a file relative to the repository, and a line from 1 (0: unknown)."""

    file: str
    line: int = 0


# ---- the step summary -----------------------------------------------------------------------------------


def step_summary(records: Sequence[RunRecord], facts: Sequence[str] = (), budget: int = SUMMARY_LIMIT) -> str:
    """The summary as Markdown: counts, failures with reasons and ends of logs, results.

    :param facts: what the session was about, e.g. ``session ...``, ``8 x gfx942``.
    :param budget: bytes it may have; what does not fit is counted.  Empty when not even the counts fit.
    """
    failures = [record for record in records if record.outcome is Outcome.FAILURE]
    others = [record for record in records if record.outcome is not Outcome.FAILURE]
    page = _Page(budget)
    page.add(f"## MAD models: {_counts(records)}\n\n")
    if facts:
        page.add(" · ".join(_cell(fact) for fact in facts) + "\n\n")
    shown = 0
    if failures:
        rows = [_row(r.item_id, r.phase, r.reason + (f" ({r.hint})" if r.hint else "")) for r in failures]
        shown = page.table("### Failures\n\n", ("Model", "Phase", "Reason"), rows[:ROWS])
        page.rest(len(failures) - shown, "failed")
        for record in failures[:TAILS]:
            page.add(_tail(record))
    if others and shown < ROWS:
        # Skipped ones first: they need a look, too.
        others.sort(key=lambda record: record.outcome is Outcome.SUCCESS)
        rows = [_result(record) for record in others]
        head = ("Model", "Status", "Performance", "Seconds", "Note")
        shown = page.table("### Results\n\n", head, rows[: ROWS - shown])
    else:
        shown = 0
    page.rest(len(others) - shown, "did not fail")
    return page.text


class _Page:
    """Markdown with a limit of bytes."""

    def __init__(self, budget: int) -> None:
        # The line that counts the rest must fit in any case.
        self._left = budget - 300
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """All of it; it begins and ends with an empty line, so that it mixes with nothing around it."""
        return "\n" + "".join(self._parts) if self._parts else ""

    def add(self, text: str) -> bool:
        """Adds a part as a whole; False when it does not fit."""
        size = len(text.encode("utf-8", "replace"))
        if size > self._left:
            return False
        self._left -= size
        self._parts.append(text)
        return True

    def table(self, title: str, head: Sequence[str], rows: Sequence[str]) -> int:
        """A table with as many rows as fit, and their number."""
        ruler = "|".join(["---"] * len(head))
        if not self.add(f"{title}| {' | '.join(head)} |\n|{ruler}|\n"):
            return 0
        shown = next((number for number, row in enumerate(rows) if not self.add(row)), len(rows))
        self._parts.append("\n")
        return shown

    def rest(self, number: int, what: str) -> None:
        """Counts what is not shown."""
        if number > 0 and self._parts:
            self._parts.append(f"{number} more {what}.\n\n")


def _counts(records: Sequence[RunRecord]) -> str:
    counts = {outcome: sum(r.outcome is outcome for r in records) for outcome in _WORD}
    said = [f"{number} {_WORD[outcome]}" for outcome, number in counts.items() if number]
    return ", ".join(said) or "none"


def _row(*cells: str) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |\n"


def _result(record: RunRecord) -> str:
    metrics = [_metric(metric) for metric in record.metrics[:_METRICS]]
    if len(record.metrics) > _METRICS:
        metrics.append(f"and {len(record.metrics) - _METRICS} more")
    texts = [
        _cell(record.item_id),
        _WORD[record.outcome],
        "<br>".join(_cell(text) for text in metrics),
        _cell(seconds(record.durations.get("run"))),
        _cell(record.reason or str(record.gate.get("change", ""))),
    ]
    return f"| {' | '.join(texts)} |\n"


def _metric(metric: Metric) -> str:
    value = f"{metric.value or 'no value'} {metric.name}".strip()
    return f"{metric.row}: {value}" if metric.row else value


def _tail(record: RunRecord) -> str:
    """The end of a log, folded.  The lines stand in a ``pre`` block, where Markdown has no meaning; such a
    block begins after an empty line and ends with its own closing tag only."""
    lines: list[str] = []
    left = _TAIL
    for line in reversed(record.log_tail):
        lines.insert(0, html.escape(log_line(line)[:_LINE]).replace("\n", " ").replace("@", "&#64;"))
        left -= len(lines[0].encode("utf-8", "replace"))
        if left < 0:
            break
    if not lines:
        return ""
    where = f"<p>{html.escape(_one_line(record.log_file))}</p>\n" if record.log_file else ""
    name = html.escape(_one_line(record.item_id))
    body = "\n".join(lines)
    return (
        f"<details><summary>End of the log of <code>{name}</code></summary>\n{where}\n"
        f"<pre>{body}\n</pre>\n\n</details>\n\n"
    )


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))[:_CELL]


def _cell(text: str) -> str:
    """A text on one line of a table: shown as it is, whatever it holds.

    The comment behind an at sign keeps GitHub from telling the person of that name.
    """
    return _SPECIAL.sub(
        lambda m: f"&#{ord(m[0])};{'<!-- -->' if m[0] == '@' else ''}", _one_line(text)
    ).replace("www.", "www&#46;")


# ---- annotations ----------------------------------------------------------------------------------------


def workflow_commands(records: Sequence[RunRecord], places: Mapping[str, Place]) -> list[str]:
    """Workflow commands: errors for failures, warnings for regressions and for what looked wrong.

    :param places: where the items are defined, by item id.
    """
    errors = [
        _command(
            "error", f"{r.item_id} failed", "\n".join(filter(None, (r.reason, r.hint))), places.get(r.item_id)
        )
        for r in records
        if r.outcome is Outcome.FAILURE
    ]
    warned: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for about in _warnings(record):
            warned.setdefault(about, []).append(record.item_id)
    warnings = [
        _command("warning", f"{_some(items)}: {title}", text, places.get(items[0]))
        for (title, text), items in warned.items()
    ]
    return [*_first("error", errors, "failures"), *_first("warning", warnings, "warnings")]


def _warnings(record: RunRecord) -> Iterator[tuple[str, str]]:
    verdict = str(record.gate.get("verdict", ""))
    if verdict in ("regression", "inconclusive"):
        said = (record.gate.get("reason"), record.gate.get("message"), record.gate.get("change"), verdict)
        yield verdict, next(str(text) for text in said if text)
    for text in record.warnings:
        yield "warning", text


def _some(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{items[0]} and {len(items) - 1} more"


def _first(kind: str, commands: list[str], what: str) -> list[str]:
    """As many as GitHub keeps; the last of them counts those that it would drop."""
    if len(commands) <= ANNOTATIONS:
        return commands
    shown = commands[: ANNOTATIONS - 1]
    return [
        *shown,
        _command(kind, "MAD models", f"{len(commands) - len(shown)} more {what}: see the summary"),
    ]


def _command(kind: str, title: str, message: str, place: Place | None = None) -> str:
    """One workflow command on one line."""
    properties = {"file": place.file, "line": str(place.line or "")} if place is not None else {}
    properties["title"] = _one_line(title)
    shown = ",".join(f"{name}={_property(text)}" for name, text in properties.items() if text)
    return f"::{kind} {shown}::{_data(visible(message)[:_MESSAGE])}"


def _data(text: str) -> str:
    """As the toolkit of GitHub escapes messages."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(visible(text)).replace(":", "%3A").replace(",", "%2C")


def entry_lines(text: str) -> list[int]:
    """The line of each entry of a models.json, from 1: that of its name, else where it begins.

    Empty for a text that is no JSON list.
    """
    decoder = json.JSONDecoder()
    found: list[int] = []
    position = text.find("[") + 1
    line, counted = 1, 0
    if not position or text[: position - 1].strip("\ufeff \t\r\n"):
        return []
    while True:
        position = _skip(text, position)
        if text[position : position + 1] in ("]", ""):
            return found
        try:
            _, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return found
        name = re.compile(r'"name"\s*:').search(text, position, end)
        start = name.start() if name else position
        line += text.count("\n", counted, start)
        counted = start
        found.append(line)
        position = end


def _skip(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\r", "\n", ","):
        position += 1
    return position
