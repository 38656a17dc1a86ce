"""Charts that mail programs show: bars made of table cells.

Gmail and Outlook remove inline SVG and images with ``data:`` addresses, and block linked images; attached
ones are hidden until the reader asks for them.  Cells with a width and a background colour are shown by all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_madengine.gate.direction import direction
from pytest_madengine.reports.mail.table import Row
from pytest_madengine.results.readings import number

#: Columns of the little trend beside a bar.
TREND: Final = 8
#: Earlier values whose mean the newest is compared with, as ``relative_change`` does (contract 18.1).
WINDOW: Final = 5
#: Height of the trend in pixels.
HEIGHT: Final = 18
#: Per cent of change below which nothing is coloured.
QUIET: Final = 5.0


@dataclass(frozen=True)
class Bar:
    """The newest value of one model and metric, and those before it."""

    label: str
    value: str
    #: Per cent of the largest value of the chart, 1 to 100.
    width: int
    #: Heights in pixels of the last values, oldest first; empty with fewer than three.
    trend: tuple[int, ...] = ()
    #: Against the mean of the values before, e.g. ``+3.2 %``; empty without any.
    change: str = ""
    #: 1 better, -1 worse, 0 hardly changed or unknown.
    verdict: int = 0


@dataclass(frozen=True)
class Chart:
    """All models with one metric."""

    metric: str
    bars: tuple[Bar, ...]


def charts(rows: Sequence[Row], limit: int) -> tuple[list[Chart], int]:
    """One chart per metric, the one with the newest result first; and how many bars were left out.

    :param rows: results, oldest first.  Only SUCCESS rows with a number count.
    :param limit: bars in all charts together.
    """
    series: dict[str, dict[tuple[str, str], list[str]]] = {}
    for row in rows:
        if row.status == "SUCCESS" and number(row["performance"]) is not None:
            metric = series.pop(row["metric"], {})
            key = (row["model"], row["gpu_architecture"])
            values = metric.pop(key, [])
            values.append(row["performance"])
            metric[key] = values  # The newest last, here and below.
            series[row["metric"]] = metric
    architectures = {row["gpu_architecture"] for row in rows if row["gpu_architecture"]}
    found: list[Chart] = []
    left = sum(len(metric) for metric in series.values())
    for name, metric in reversed(series.items()):
        shown = dict(list(metric.items())[::-1][:limit])
        limit -= len(shown)
        left -= len(shown)
        if shown:
            found.append(_chart(name, shown, several=len(architectures) > 1))
    return found, left


def _chart(metric: str, series: dict[tuple[str, str], list[str]], several: bool) -> Chart:
    top = max(_float(values[-1]) for values in series.values())
    bars = []
    for (model, architecture), values in sorted(series.items()):
        newest = _float(values[-1])
        width = max(1, min(100, round(newest / top * 100))) if top > 0 else 1
        label = f"{model} ({architecture})" if several and architecture else model
        change, verdict = _change([_float(value) for value in values], metric)
        bars.append(Bar(label, values[-1], width, _trend(values[-TREND:]), change, verdict))
    return Chart(metric, tuple(bars))


def _float(text: str) -> float:
    return number(text) or 0.0


def _trend(values: Sequence[str]) -> tuple[int, ...]:
    numbers = [_float(value) for value in values]
    top = max(numbers)
    if len(numbers) < 3 or top <= 0:
        return ()
    return tuple(max(1, round(max(value, 0.0) / top * HEIGHT)) for value in numbers)


def _change(values: Sequence[float], metric: str) -> tuple[str, int]:
    earlier = values[:-1][-WINDOW:]
    mean = sum(earlier) / len(earlier) if earlier else 0.0
    if not mean:
        return "", 0
    change = (values[-1] / mean - 1) * 100 * math.copysign(1, mean)
    if not math.isfinite(change):
        return "", 0
    verdict = 0 if abs(change) < QUIET else direction(metric) * (1 if change > 0 else -1)
    return f"{change:+.1f} %", verdict
