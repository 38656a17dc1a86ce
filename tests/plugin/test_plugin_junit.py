"""The JUnit file: valid under the xunit2 schema whatever the outcomes are, one test case per item."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

SCHEMA = Path(__file__).resolve().parents[1] / "data" / "junit-xunit2.xsd"
ROWS = "printf 'model,performance,metric\\n{}' > perf_x.csv"


def schema(*, properties: bool) -> Any:
    """The xunit2 schema of Jenkins, which knows properties of suites only.

    :param properties: allow them in test cases too, where pytest writes those of ``record_property``.
    """
    import xmlschema

    text = SCHEMA.read_text(encoding="utf-8")
    if properties:
        before, _, case = text.partition('<xs:element name="testcase">')
        skipped = '<xs:element ref="skipped"'
        case = case.replace(skipped, f'<xs:element ref="properties"/>{skipped}', 1)
        text = f'{before}<xs:element name="testcase">{case}'
    return xmlschema.XMLSchema(text)


@pytest.fixture
def mixed(repo: Any) -> Any:
    """Models with every outcome, one and several metrics, rows with and without values."""
    repo.model("good")
    repo.model("many", "printf 'performance: 1 a\\nperformance: 2 b\\nperformance: 3\\n'")
    repo.model("bad", "echo performance: 1 x; printf 'odd \\001 <&]]> \\033[31mred\\n'; exit 3")
    repo.model("rows", ROWS.format("1,10,sps\\n2,20,sps\\n"), multiple_results="perf_x.csv")
    repo.model("torn", ROWS.format("1,10,sps\\n2,,sps\\n3,nan,sps\\n"), multiple_results="perf_x.csv")
    repo.model("skipped", n_gpus="8")
    repo.model("unbuilt", dockerfile="docker/none")
    return repo


@pytest.mark.parametrize("workers", ["", "-n2"], ids=["alone", "workers"])
def test_valid_with_properties(mixed: Any, junit_properties: Any, workers: str) -> None:
    """One valid case per item: also one whose rows are reported as subtests and partly fail."""
    mixed.run("--mad-tags", "demo", "--junitxml=j.xml", *filter(None, [workers]), subprocess=bool(workers))
    schema(properties=True).validate(mixed.path / "j.xml")
    cases = {case.get("name"): case for case in mixed.junit().iter("testcase")}
    assert set(cases) == {entry["name"] for entry in mixed.entries}
    assert len(list(mixed.junit().iter("testcase"))) == len(cases)
    kinds = {
        name: {child.tag for child in case if child.tag in ("failure", "error", "skipped")}
        for name, case in cases.items()
    }
    assert kinds == {
        "good": set(),
        "many": set(),
        "bad": {"failure"},
        "rows": set(),
        "torn": {"failure"},
        "skipped": {"skipped"},
        "unbuilt": {"error"},
    }
    found = {name: junit_properties(case) for name, case in cases.items()}
    assert found["many"]["mad.metric.a"] == "1"
    assert found["many"]["mad.metric.b"] == "2"
    assert found["rows"]["mad.metric.2.sps"] == "20"
    assert found["torn"]["mad.status"] == "FAILURE"
    assert "2 of 3 rows have no performance: 2, 3" in found["torn"]["mad.reason"]
    for name, case in cases.items():
        assert len(list(case.iter("properties"))) == 1, name
        names = [item.get("name") for item in case.iter("property")]
        assert len(names) == len(set(names)), name


def test_totals(mixed: Any) -> None:
    """The counts of the suite: pytest adds each row of multiple results, as it does for any subtest."""
    result = mixed.run("--mad-tags", "demo", "--junitxml=j.xml")
    (suite,) = mixed.junit().iter("testsuite")
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("4", "1", "1")
    assert int(suite.get("tests", "")) >= len(list(suite.iter("testcase"))) == 7
    result.stdout.fnmatch_lines(["torn_2 has no performance"])
    result.stdout.no_fnmatch_line("*--full-trace*")


def test_strictly_valid_without_properties(mixed: Any) -> None:
    """``mad_junit_properties = false`` gives a file for readers that insist on the schema to the letter."""
    mixed.pytester.makeini("[pytest]\nmad_junit_properties = false\n")
    mixed.run("--mad-tags", "demo", "--junitxml=j.xml")
    schema(properties=False).validate(mixed.path / "j.xml")
    (suite,) = mixed.junit().iter("testsuite")
    assert any(item.get("name") == "mad.session" for item in suite.iter("property"))


def test_failure_text_is_printable(mixed: Any) -> None:
    """Control characters and markup of a log neither break the file nor reach it."""
    mixed.run("--mad-tags", "demo", "--junitxml=j.xml")
    (case,) = [case for case in mixed.junit().iter("testcase") if case.get("name") == "bad"]
    text = ElementTree.tostring(case, "unicode", "text")
    assert "odd  <&]]> red" in text
    assert "\x1b" not in text
