"""Findings as lines for people: ``models.json:12:5: error MAD101 m: field ...``."""

from __future__ import annotations

from typing import Final

from pytest_madengine.lint.findings import Finding, Report, Severity
from pytest_madengine.util.text import escaped

_COLOURS: Final = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.NOTE: "36"}


def render_text(report: Report, *, colour: bool = False) -> str:
    """One line per finding, its hint below it, and a summary; nothing in it controls a terminal.

    :param colour: severities in colour.
    """
    lines = []
    for finding in report.findings:
        lines.append(_line(finding, colour))
        if finding.hint:
            lines.append(f"    hint: {escaped(finding.hint)}")
    for path in report.not_executed:
        lines.append(f"{escaped(path)}: not executed, its models were not checked (--dynamic)")
    lines.append(summary(report))
    return "\n".join(lines) + "\n"


def _line(finding: Finding, colour: bool) -> str:
    severity = str(finding.rule.severity)
    if colour:
        severity = f"\x1b[{_COLOURS[finding.rule.severity]}m{severity}\x1b[0m"
    place, text = escaped(str(finding.place)), escaped(finding.text)
    return f"{place}: {severity} {finding.rule.id} {text}"


def summary(report: Report) -> str:
    """``2 errors, 1 warning in 12 models and 7 files``, or that there is nothing to say."""
    of = f"{_number(report.models, 'model')} and {_number(report.files, 'file')}"
    counts = [_number(number, str(kind)) for kind in Severity if (number := report.count(kind))]
    return f"{', '.join(counts)} in {of}" if counts else f"no problems in {of}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
