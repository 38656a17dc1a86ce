"""Findings as JSON for programs.  The form is documented in docs/reference/lint-rules.md and kept."""

from __future__ import annotations

import json
from typing import Any, Final

from pytest_madengine.lint.findings import Finding, Report, Severity, fingerprints

#: Raised when something is renamed or removed; added fields do not raise it.
SCHEMA_VERSION: Final = 1


def render_json(report: Report) -> str:
    """The report as one JSON object (indent 2)."""
    marks = fingerprints(report.findings)
    value = {
        "schema_version": SCHEMA_VERSION,
        "summary": {
            "errors": report.count(Severity.ERROR),
            "warnings": report.count(Severity.WARNING),
            "notes": report.count(Severity.NOTE),
            "models": report.models,
            "files": report.files,
            "not_executed": list(report.not_executed),
        },
        "findings": [_finding(finding, mark) for finding, mark in zip(report.findings, marks, strict=True)],
    }
    return json.dumps(value, indent=2) + "\n"


def _finding(finding: Finding, fingerprint: str) -> dict[str, Any]:
    place = finding.place
    return {
        "rule": finding.rule.id,
        "name": finding.rule.name,
        "severity": str(finding.rule.severity),
        "path": place.path,
        "line": place.line or None,
        "column": place.column or None,
        "model": finding.model or None,
        "message": finding.message,
        "hint": finding.hint or None,
        "fingerprint": fingerprint,
    }
