"""Text, JSON and SARIF; golden files pin all of them (UPDATE_GOLDEN=1 rewrites them)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_samples import LintFiles
from pytest_madengine.lint import sarif
from pytest_madengine.lint.findings import Finding, Place, Report, Severity, fingerprints, in_order
from pytest_madengine.lint.jsonout import render_json
from pytest_madengine.lint.rules import ODD_TAG, RULES, WRONG_TYPE
from pytest_madengine.lint.sarif import render_sarif
from pytest_madengine.lint.text import render_text, summary
from pytest_madengine.util.text import escaped, is_safe

GOLDEN = Path(__file__).with_name("golden")
SCHEMA: Any = json.loads((Path(__file__).parents[2] / "data" / "sarif-2.1.0-rtm.5.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft4Validator(SCHEMA)
#: One finding of every sort: of an entry, a file, a line, a directory; with and without hint and model.
FILES: dict[str, Any] = {
    "models.json": """[
    {
        "name": "m",
        "dockerfile": "docker/m",
        "scripts": "scripts/m/run.sh",
        "timeout": -5,
        "num_gpus": 2,
        "env": {}
    },
    {
        "name": "m",
        "dockerfile": "docker/n",
        "scripts": "scripts/a b/run.sh"
    }
]
""",
    "docker/m.ubuntu.amd.Dockerfile": "FROM debian\n",
    "scripts/a b/run.sh": "echo\r\n",
    "scripts/d/models.json": "[",
    "scripts/d/get_models_json.py": "",
    "scripts/e/get_models_json.py": "def list_models():\n    return []\n",
}


def check_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture
def report(lint_files: LintFiles) -> Report:
    return lint_files(FILES)


def test_text(report: Report) -> None:
    check_golden("lint.txt", render_text(report))


def test_json(report: Report) -> None:
    check_golden("lint.json", render_json(report))


def test_sarif(report: Report) -> None:
    text = render_sarif(report, "1.2.3", prefix="bench/mad", documentation="https://docs.invalid/lint-rules")
    check_golden("lint.sarif", text)
    VALIDATOR.validate(json.loads(text))


def test_sarif_for_code_scanning(report: Report) -> None:
    """What GitHub needs beyond the schema: rules by index, relative addresses, lines, fingerprints."""
    (run,) = json.loads(render_sarif(report, "1.2.3"))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.id for rule in RULES]
    assert len(run["results"]) == len(report.findings)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["partialFingerprints"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"]["uriBaseId"] == "%SRCROOT%"
        assert not place["artifactLocation"]["uri"].startswith(("/", "."))
        assert place["region"]["startLine"] >= 1
    assert "scripts/a%20b/run.sh" in {
        one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]
    }
    assert len({one["partialFingerprints"]["madengineLint/v1"] for one in run["results"]}) == len(
        run["results"]
    )


def test_sarif_has_no_more_results_than_code_scanning_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most serious ones stay."""
    monkeypatch.setattr(sarif, "LIMIT", 3)
    found = [Finding(rule, Place("f", line), "x") for line, rule in enumerate((ODD_TAG, WRONG_TYPE) * 2, 1)]
    (run,) = json.loads(render_sarif(Report(tuple(found)), "1"))["runs"]
    assert [one["level"] for one in run["results"]] == ["error", "error", "note"]


def test_nothing_found(lint_files: LintFiles) -> None:
    report = lint_files()
    assert render_text(report) == "no problems in 1 model and 3 files\n"
    assert json.loads(render_json(report))["findings"] == []
    VALIDATOR.validate(json.loads(render_sarif(report, "1")))


def test_fingerprints_do_not_depend_on_lines(lint_files: LintFiles, tmp_path: Path) -> None:
    found = [Finding(WRONG_TYPE, Place("models.json", line), "x", model="m") for line in (1, 2)]
    moved = [Finding(WRONG_TYPE, Place("models.json", line), "x", model="m") for line in (8, 9)]
    assert fingerprints(found) == fingerprints(moved)
    assert len(set(fingerprints(found))) == 2


def test_order_and_repetition() -> None:
    places = [Place("b", 2), Place("b"), Place("a", 10), Place("models.json", 3), Place("a", 9)]
    found = in_order(Finding(WRONG_TYPE, place, "x") for place in (*places, *places))
    assert [str(one.place) for one in found] == ["models.json:3", "a:9", "a:10", "b", "b:2"]


def test_colour() -> None:
    report = Report((Finding(WRONG_TYPE, Place("f", 1, 2), "x"),), 1, 1)
    assert render_text(report, colour=True).startswith("f:1:2: \x1b[31merror\x1b[0m MAD101 x\n")
    assert summary(report) == "1 error in 1 model and 1 file"
    assert report.count(Severity.NOTE) == 0


@pytest.mark.parametrize(
    ("text", "expected"), [("ä b", "ä b"), ("\x1b[1m", "\\x1b[1m"), ("a\nb", "a\\nb"), ("\udcff", "\\xff")]
)
def test_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected


TEXTS = st.text(st.characters() | st.sampled_from("\x1b\n\udc80%:/\\"), max_size=12)
FINDINGS = st.builds(
    Finding,
    st.sampled_from(RULES),
    st.builds(Place, TEXTS.filter(bool), st.integers(0, 9), st.integers(0, 9)),
    TEXTS,
    TEXTS,
    TEXTS,
)


@settings(deadline=None)
@given(st.lists(FINDINGS, max_size=4).map(tuple))
def test_any_findings(findings: tuple[Finding, ...]) -> None:
    """Whatever files and models are called, every form stays whole: no control characters, valid SARIF."""
    report = Report(findings, 1, 1, ("x\x1b",))
    text = render_text(report)
    assert is_safe(text)
    assert text.count("\n") == len(findings) + sum(bool(one.hint) for one in findings) + 2
    text.encode()
    loaded = json.loads(render_json(report))
    assert [entry["rule"] for entry in loaded["findings"]] == [one.rule.id for one in findings]
    VALIDATOR.validate(json.loads(render_sarif(report, "1", prefix="a b")))
