"""Tables of the command lines: models before a run, results and phases after it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytest_madengine.util.text import visible

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from pytest_madengine.results.record import RunRecord
    from pytest_madengine.session.items import ItemSpec
    from pytest_madengine.session.session import MadSession

#: Models shown before a run.
SHOWN: Final = 50
#: Metrics of one model shown in the results.
METRICS: Final = 4
_STYLES: Final = {"SUCCESS": "green", "FAILURE": "bold red", "SKIPPED": "yellow"}
#: Phases in the order of a run.
_PHASES: Final = ("build", "pull", "push", "data", "lease", "prepare", "run", "collect", "results")
#: Columns a table may have off a terminal: a log is read by scrolling, not by wrapping.
_LOG_WIDTH: Final = 160


def new_table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table; columns named in ``right`` hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def render(table: Table, terminal: bool) -> str:
    """A table as text, in colour for a terminal, below its title.  Square brackets are no markup."""
    from rich.console import Console
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(
        file=buffer,
        force_terminal=terminal or None,
        width=None if terminal else _LOG_WIDTH,
        highlight=False,
        no_color=None if terminal else True,
    )
    # Not as a part of the table: it would be wrapped to the width of the columns.
    title, table.title = table.title, None
    console.print(Text(str(title), style="bold"), soft_wrap=True)
    console.print(table)
    lines = (line.rstrip() for line in buffer.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def cell(text: object, style: str = "") -> Text:
    """Untrusted text as a cell."""
    from rich.text import Text

    return Text(visible(" ".join(str(text).split())), style=style)


def models_table(session: MadSession) -> Table:
    """The items of a session: what will run, in what image, on how many GPUs."""
    specs = [spec for group in session.items_by_file.values() for spec in group]
    facts = session.host_facts
    gpus = f"{facts.gpu_count} x {facts.gpu_architecture or session.context.gpu_vendor}"
    host = gpus if facts.gpu_count else "no GPU"
    title = (
        f"{len(specs)} models of {session.settings.root}, {host}{' (simulated)' if facts.simulated else ''}"
    )
    table = new_table(title, "model", "Dockerfile or image", "GPUs", "limit", "tags", right=("GPUs", "limit"))
    for spec in specs[:SHOWN]:
        model = spec.selected.model
        table.add_row(
            cell(spec.name),
            cell(_source(session, spec)),
            cell("all" if model.n_gpus < 0 else model.n_gpus),
            cell(_limit(session, spec)),
            cell(",".join(model.tags)),
        )
    if len(specs) > SHOWN:
        table.add_row(cell(f"... and {len(specs) - SHOWN} more"))
    return table


def _source(session: MadSession, spec: ItemSpec) -> str:
    if spec.error is not None:
        return "none"
    if spec.dockerfile is not None:
        return spec.dockerfile.relative
    block = spec.block.docker_image if spec.block is not None else ""
    given = session.settings.use_image.replace("auto", "")
    return block or given or spec.selected.model.prebuilt_image or "given image"


def _limit(session: MadSession, spec: ItemSpec) -> str:
    from pytest_madengine.errors import MadError
    from pytest_madengine.plan.timeouts import phase_timeouts

    try:
        limits = phase_timeouts(session.settings, spec.selected.model, session.context)
    except MadError:
        return "invalid"  # the item itself says why, and fails
    return "none" if limits.run is None else f"{limits.run:g} s"


def results_table(records: Sequence[RunRecord]) -> Table:
    """One line per item, its metrics below each other."""
    table = new_table(
        *("Results", "model", "status", "performance", "metric", "seconds", "reason"),
        right=("performance", "seconds"),
    )
    for record in records:
        metrics = record.metrics[:METRICS]
        values = [metric.value for metric in metrics]
        names = [
            " ".join(filter(None, (metric.name, metric.row and f"({metric.row})"))) for metric in metrics
        ]
        if len(record.metrics) > METRICS:
            names.append(f"+ {len(record.metrics) - METRICS} more")
        seconds = record.durations.get("run")
        table.add_row(
            cell(record.item_id),
            cell(record.outcome, _STYLES[str(record.outcome)]),
            _lines(values),
            _lines(names),
            cell("" if seconds is None else f"{seconds:.1f}"),
            cell(record.reason),
        )
    return table


def _lines(texts: Sequence[str]) -> Text:
    from rich.text import Text

    return Text("\n").join([cell(text) for text in texts])


def phases_table(records: Sequence[RunRecord]) -> Table:
    """Where the time went, and where items failed.  A build that several items share counts once."""
    table = new_table("Phases", "phase", "models", "failed", "seconds", right=("models", "failed", "seconds"))
    for phase in _PHASES:
        went = [record for record in records if phase in record.durations]
        failed = [r for r in records if r.phase == phase and str(r.outcome) == "FAILURE"]
        if went or failed:
            seconds = _seconds(phase, went)
            style = _STYLES["FAILURE"] if failed else ""
            table.add_row(
                cell(phase), cell(len(went)), cell(len(failed) or "", style), cell(f"{seconds:.1f}")
            )
    return table


def _seconds(phase: str, records: Sequence[RunRecord]) -> float:
    if phase != "build":
        return sum(record.durations[phase] for record in records)
    shared: dict[str, float] = {}
    for number, record in enumerate(records):
        key = record.image.get("id") or f"{number}"
        shared[key] = max(shared.get(key, 0.0), record.durations[phase])
    return sum(shared.values())


def summary_line(records: Sequence[RunRecord]) -> str:
    """``6 models: 5 SUCCESS, 1 SKIPPED``."""
    counts: dict[str, int] = {}
    for record in records:
        counts[str(record.outcome)] = counts.get(str(record.outcome), 0) + 1
    ordered = [f"{counts[name]} {name}" for name in _STYLES if name in counts]
    return f"{len(records)} models: {', '.join(ordered)}"
