"""From the findings of a run log to the metrics of a single result (contract 12.1)."""

from __future__ import annotations

from pytest_madengine.results.patterns import FALLBACK_METRIC
from pytest_madengine.results.record import Metric
from pytest_madengine.results.scanner import LogFindings


def single_metrics(findings: LogFindings) -> tuple[tuple[Metric, ...], tuple[str, ...]]:
    """One metric per distinct name in order of first appearance, and warnings about repeats.

    A repeated metric keeps its last value.  Without any ``performance:`` match the fallback counts.
    """
    if not findings.performance:
        if not findings.fallback:
            return (), ()
        return (Metric(findings.fallback, FALLBACK_METRIC),), ()
    values: dict[str, str] = {}
    counts: dict[str, int] = dict(findings.left_out)
    for value, name in findings.performance:
        values[name] = value
        counts[name] = counts.get(name, 0) + 1
    warnings = tuple(
        f"metric {name or '(without name)'} printed {counts[name]} times, last value kept"
        for name in values
        if counts[name] > 1
    )
    return tuple(Metric(value, name) for name, value in values.items()), warnings
