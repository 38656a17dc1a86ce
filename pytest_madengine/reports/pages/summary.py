"""The first thing a page says: counts, the newest session, and what needs attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from pytest_madengine.reports.pages.data import PageData
from pytest_madengine.reports.pages.trends import OUTSIDE, WORSE, Trends


@dataclass
class Concern:
    """A line below "needs attention": the present state of a model or metric that is not as it should be."""

    row: int
    #: ``failure``, ``worse`` or ``outside`` (nobody knows whether more is better).
    kind: str
    model: str
    text: str
    #: Fragment that opens the run, without ``#``.
    anchor: str


@dataclass
class Summary:
    """Counts of rows, and the concerns, failures first."""

    models: int = 0
    rows: int = 0
    success: int = 0
    failure: int = 0
    skipped: int = 0
    #: Sessions or builds, oldest first, and the counts of the newest.
    sessions: list[str] = field(default_factory=list)
    newest: Counter[str] = field(default_factory=Counter)
    newest_finished: str = ""
    series: int = 0
    concerns: list[Concern] = field(default_factory=list)

    def share(self, count: int) -> int:
        """Percent of all rows, never rounded up to all or down to none."""
        if not self.rows or count in (0, self.rows):
            return 100 if count else 0
        return min(max(round(100 * count / self.rows), 1), 99)

    @property
    def outside(self) -> int:
        """Metrics whose newest value is beyond its band, on the wrong side as far as that is known."""
        return sum(concern.kind != "failure" for concern in self.concerns)


def summarise(data: PageData, found: Trends) -> Summary:
    """The summary of a page."""
    table = data.table
    statuses = [text.strip() for text in table.cells("status")]
    counts = Counter(statuses)
    sessions = data.fact("session")
    result = Summary(
        models=len({text for text in table.cells("model") if text}),
        rows=table.rows,
        success=counts["SUCCESS"],
        failure=counts["FAILURE"],
        skipped=counts["SKIPPED"],
        sessions=_by_last_appearance(sessions),
        series=len(found.series),
    )
    if result.sessions:
        rows = [row for row, name in enumerate(sessions) if name == result.sessions[-1]]
        result.newest = Counter(statuses[row] for row in rows)
        finished = data.fact("finished")
        result.newest_finished = max(finished[row] for row in rows)
    anchor = _anchors(data)
    result.concerns = [*_failures(data, statuses, anchor), *_beyond(data, found, anchor)]
    return result


def _by_last_appearance(texts: Sequence[str]) -> list[str]:
    last = {text: row for row, text in enumerate(texts) if text}
    return sorted(last, key=last.__getitem__)


def _failures(data: PageData, statuses: Sequence[str], anchor: Callable[[int], str]) -> list[Concern]:
    """Models whose newest run failed, the last first; of a run with several rows the first that failed."""
    if "FAILURE" not in statuses:
        return []
    models, items, reasons = data.table.cells("model"), data.fact("item"), data.fact("reason")
    keys = [item or model for item, model in zip(items, models, strict=True)]
    runs = list(zip(data.fact("session"), items, strict=True))
    newest = {key: runs[row] for row, key in enumerate(keys)}
    last = {key: row for row, key in enumerate(keys)}
    concerns: dict[str, Concern] = {}
    for row, key in enumerate(keys):
        # Without a session nothing but the last row is known to be of the newest run.
        current = runs[row] == newest[key] if all(newest[key]) else row == last[key]
        if current and statuses[row] == "FAILURE" and key not in concerns:
            concerns[key] = Concern(row, "failure", models[row], reasons[row], anchor(row))
    return list(concerns.values())[::-1]


def _beyond(data: PageData, found: Trends, anchor: Callable[[int], str]) -> list[Concern]:
    """Metrics whose newest value is firmly outside its band, not on the good side; the worst first."""
    metrics, values = data.table.cells("metric"), data.table.cells("performance")
    concerns = []
    for row in found.latest():
        verdict = found.verdict[row]
        if verdict not in (WORSE, OUTSIDE):
            continue
        model = found.series[found.series_of[row] - 1][0]
        middle = found.median[row]
        change = (float(values[row]) - middle) / abs(middle) * 100 if middle else 0.0
        text = f"{metrics[row]} {values[row].strip()}, {change:+.1f} % against the median {middle:.6g}"
        kind = "worse" if verdict == WORSE else "outside"
        concerns.append((-abs(change), Concern(row, kind, model, text.strip(), anchor(row))))
    return [concern for _, concern in sorted(concerns, key=lambda entry: (entry[0], entry[1].row))]


def _anchors(data: PageData) -> Callable[[int], str]:
    """From a row to the fragment that opens it: ``run=<session>/<item>`` and ``&n=<row of the run>`` beyond
    the first, or ``row=<number>`` of an unknown run.  ``js/data.js`` makes and reads the same ones."""
    runs = list(zip(data.fact("session"), data.fact("item"), strict=True))
    seen: Counter[tuple[str, str]] = Counter()
    ordinals = []
    for run in runs:
        ordinals.append(seen[run])
        seen[run] += 1

    def anchor(row: int) -> str:
        run, ordinal = runs[row], ordinals[row]
        if not all(run):
            return f"row={row + 1}"
        fragment = f"run={quote('/'.join(run), safe='/', errors='replace')}"
        return f"{fragment}&n={ordinal}" if ordinal else fragment

    return anchor
