"""Findings as SARIF 2.1.0, as code scanning of GitHub and other viewers take it."""

from __future__ import annotations

import json
import posixpath
from typing import Any, Final
from urllib.parse import quote

from pytest_madengine.lint.findings import Finding, Report, Rule, Severity, fingerprints
from pytest_madengine.lint.rules import RULES
from pytest_madengine.util.files import encoded

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_BASE: Final = "%SRCROOT%"
#: Name under which viewers keep the identity of a result.
FINGERPRINT: Final = "madengineLint/v1"
#: Results of one run that code scanning takes; with more it refuses all of them.
LIMIT: Final = 25_000
#: How serious code scanning takes a rule about secrets, from 0 to 10.
_SECURITY: Final = {"MAD401": "8.0", "MAD402": "6.0", "MAD403": "6.5", "MAD404": "8.0"}


def render_sarif(report: Report, version: str, *, prefix: str = "", documentation: str = "") -> str:
    """A SARIF log with one run.

    :param version: of the plugin.
    :param prefix: the MAD root relative to the root of the sources, which code scanning starts from.
    :param documentation: URL of the page about the rules; empty: none is named.
    """
    index = {rule.id: number for number, rule in enumerate(RULES)}
    marks = fingerprints(report.findings)
    results = [
        _result(finding, index[finding.rule.id], mark, prefix)
        for finding, mark in zip(report.findings, marks, strict=True)
    ]
    if len(results) > LIMIT:
        # The order of the words is that of their weight; sorting keeps the order of places.
        levels = [str(severity) for severity in Severity]
        results = sorted(results, key=lambda result: levels.index(result["level"]))[:LIMIT]
    driver: dict[str, Any] = {
        "name": "madengine lint",
        "version": version,
        "rules": [_rule(rule, documentation) for rule in RULES],
    }
    if documentation:
        driver["informationUri"] = documentation
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_BASE: {"description": {"text": "The root of the sources."}}},
        "results": results,
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(rule: Rule, documentation: str) -> dict[str, Any]:
    security = rule.id in _SECURITY
    properties: dict[str, Any] = {"tags": ["security"] if security else ["correctness"]}
    if security:
        properties["security-severity"] = _SECURITY[rule.id]
    described: dict[str, Any] = {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.help},
        "fullDescription": {"text": rule.help},
        "help": {"text": f"{rule.help}  Rule {rule.name}; --ignore {rule.id} turns it off."},
        "defaultConfiguration": {"level": _level(rule.severity)},
        "properties": properties,
    }
    if documentation:
        described["helpUri"] = f"{documentation}#{rule.anchor}"
    return described


def _level(severity: Severity) -> str:
    return str(severity)  # the three words are the same


def _result(finding: Finding, index: int, fingerprint: str, prefix: str) -> dict[str, Any]:
    uri = _uri(posixpath.join(prefix, finding.place.path))
    # Code scanning shows nothing without a line.
    region = {"startLine": finding.place.line or 1}
    if finding.place.column:
        region["startColumn"] = finding.place.column
    location = {"artifactLocation": {"uri": uri, "uriBaseId": _BASE}, "region": region}
    text = f"{finding.text} ({finding.hint})" if finding.hint else finding.text
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": _level(finding.rule.severity),
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {FINGERPRINT: fingerprint},
    }


def _uri(path: str) -> str:
    """A relative URI; a colon in its first part would make a scheme of it, so it is escaped."""
    return quote(encoded(path), safe="/")
