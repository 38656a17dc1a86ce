"""Arbitrary bytes of a model through records to every output, each read by the parser of its readers."""

from __future__ import annotations

import base64
import csv
import email
import email.policy
import hashlib
import io
import json
import os
import re
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.headerregistry import Address
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.junitxml import LogXML
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pytest_madengine.cli.tables import phases_table, render, results_table, summary_line
from pytest_madengine.executors.log import LogPump
from pytest_madengine.lint.findings import Finding, Place, Report
from pytest_madengine.lint.jsonout import render_json
from pytest_madengine.lint.rules import RULES
from pytest_madengine.lint.sarif import render_sarif
from pytest_madengine.lint.text import render_text
from pytest_madengine.perfcsv.sidefiles import SideFiles
from pytest_madengine.perfcsv.table import PerfCsv
from pytest_madengine.plan.script import marker
from pytest_madengine.plugin.html import HtmlColumns
from pytest_madengine.plugin.junit import case_properties
from pytest_madengine.plugin.messages import clean_report
from pytest_madengine.plugin.terminal import TerminalView
from pytest_madengine.reports.ci import github
from pytest_madengine.reports.ci.benchjson import benchmarks
from pytest_madengine.reports.ci.openmetrics import openmetrics
from pytest_madengine.reports.mail.message import make_message
from pytest_madengine.reports.mail.page import Mail
from pytest_madengine.reports.mail.reasons import Reasons
from pytest_madengine.reports.mail.table import read_table
from pytest_madengine.reports.pages.page import asset
from pytest_madengine.reports.pages.page import render as render_page
from pytest_madengine.reports.pages.records import page_after_run, page_of_records
from pytest_madengine.results.cleaning import clean_record
from pytest_madengine.results.columns import build_columns
from pytest_madengine.results.outcome import judge
from pytest_madengine.results.record import Attempt, Metric, Outcome, RunRecord
from pytest_madengine.results.result import RunResult
from pytest_madengine.results.rows import record_rows
from pytest_madengine.results.scanner import LogScanner
from pytest_madengine.secrets import Redactor
from pytest_madengine.sinks.summaries import both_phases
from pytest_madengine.util.text import is_safe

SECRET = "Hunter22-abc"
#: What terminals, parsers of markup, CSV and JSON, GitHub's runner and the redactor take for more than text.
PIECES: list[bytes] = [
    *(b"\x1b", b"\x1b[31m", b"\x1b]0;x\x07", b"\x1b(B", b"\x0f", b"\x00", b"\x01", b"\x08", b"\r", b"\n"),
    *(
        b"\xff",
        b"\xc2\x9b",
        b"\xe2\x80\xae",
        b"\xe2\x80\x8b",
        b"\xe2\x80\xa8",
        b"\xef\xbf\xbe",
        b"\xed\xa0\x80",
    ),
    *(b"<script>", b"</script>", b"</pre>", b"]]>", b"<!--", b"&#1;", b"&lt", b'"', b"'", b"`", b"|", b"\\"),
    *(b",", b";", b"\t", b" ", b"=1+1", b"{{x}}", b"${x}", b"%0A", b"::error::", b"##[set]", b"# EOF", b"@a"),
    *(
        b"performance: 5 ",
        b"NaN",
        b"1e999",
        b"0.5",
        b"12345678901234567890",
        b"tok/s",
        b"a",
        b"ms",
        b"/",
        b"..",
    ),
    *(SECRET.encode(), SECRET.upper().encode(), SECRET[:5].encode(), SECRET[5:].encode(), b"http://u:p@h"),
]
BYTES = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=6).map(b"".join)
#: Elements of the mail page, which loads and runs nothing.
MAIL = frozenset(
    [
        *("html", "head", "meta", "title", "body", "h1", "h2", "h3", "p", "div", "span", "b", "br", "code"),
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "a", "pre", "ul", "li", "small", "strong"),
    ]
)


class Markup(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class Screen:
    """What pytest's terminal reporter is asked to write."""

    _tw = SimpleNamespace(fullwidth=80)

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str, **markup: bool) -> None:
        self.text += text

    def write_line(self, text: str, **markup: bool) -> None:
        self.text += f"{text}\n"

    def write_sep(self, mark: str, title: str) -> None:
        self.text += f"{mark} {title}\n"


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_disks() -> Iterator[None]:
    """Nothing of this is kept: what is written need not survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def records_of(output: bytes, cells: list[bytes], directory: Path, redactor: Redactor) -> list[RunRecord]:
    """What becomes of a model that prints and writes this: by its log, a results file, a hook; failed."""
    texts = [os.fsdecode(cell) for cell in cells]
    scanner = LogScanner()
    log = directory / "x.live.log"
    with LogPump(log, "n", redactor, scanner, lambda name: None) as pump:
        pump.feed(f"{marker('n')}run\n".encode() + output + b"\nperformance: 7 " + cells[0])
    shown = log.read_bytes().decode()
    assert SECRET.lower() not in shown.lower()
    name, value, row, extra, file_name, warning = texts
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    readable = [text.encode("utf-8", "replace").decode("utf-8", "replace") for text in texts]
    writer.writerows(
        [["model", "performance", "metric", readable[3] or "x"], readable[:4], ["r", "5", *readable[:2]]]
    )
    seen = RunResult(0, "done", findings=scanner.findings(), log_tail=pump.tail, warnings=(warning,))
    verdicts = [
        judge(seen),
        judge(replace(seen, multiple_results=buffer.getvalue()), multiple_results="perf_x.csv"),
        judge(replace(seen, exit_code=3)),
        judge(seen, found=[Metric("5", name, row), Metric(value, name, extra={extra: value})]),
    ]
    records = []
    for number, verdict in enumerate(verdicts):
        record = RunRecord(
            *("20260101-000000", f"m[{number}{name}]", f"m{number}", verdict.outcome, verdict.reason),
            phase=verdict.phase,
            metrics=verdict.metrics,
            columns=build_columns(n_gpus=1, tags=[extra], args=value, machine_name=row, test_duration=1.5),
            configs={extra: [value, 5]},
            durations={"run": 1.5, "build": 2.0},
            image={"name": name, "id": "sha256:0"},
            host={"hostname": row},
            artifacts=(f"d/{file_name}",),
            log_file=f"d/{file_name}",
            log_tail=(*seen.log_tail, value),
            hint=verdict.hint or extra,
            warnings=verdict.warnings,
            attempts=(Attempt(verdict.outcome, verdict.reason, verdict.phase, "", 1.0),),
            gate=judged(row, value, extra) if number == 1 else {},
        )
        records.append(clean_record(record, redactor))
    return records


def judged(row: str, value: str, extra: str) -> dict[str, object]:
    """What the performance gate says of such a run."""
    numbers = {"value": 1.0, "baseline": 2.0, "n": 9, "change": -50.0, "band": 5.0, "runs": [1.0, 1.1]}
    metric = {"name": value, "row": row, "verdict": "regression", "source": extra, "changed": [extra, row]}
    return {
        "verdict": "regression",
        "reason": row,
        "message": f"{row} {extra}",
        "change": -50.0,
        "metrics": [{**metric, **numbers, "reason": "", "message": f"{value} {row}"}],
    }


@given(BYTES, st.lists(BYTES, min_size=6, max_size=6))
def test_any_bytes_of_a_model_reach_every_output_as_text(output: bytes, cells: list[bytes]) -> None:
    """faults 1.4, 1.14, 4.1, 4.3: given any output, names, units, values, files and warnings of a model
    / when records are made of them / then every output is whole for its reader, and no secret is in it."""
    redactor = Redactor([SECRET])
    with TemporaryDirectory() as place:
        directory = Path(place)
        records = records_of(output, cells, directory, redactor)
        texts = {check.__name__: check(records, directory, redactor) for check in CHECKS}
    for name, text in texts.items():
        assert SECRET.lower() not in text.lower(), name


# ---- outputs --------------------------------------------------------------------------------------------


def record_lines(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    lines = [json.dumps(record.to_dict()) for record in records]
    for line, record in zip(lines, records, strict=True):
        assert line.isascii()
        assert len(line.splitlines()) == 1
        assert RunRecord.from_dict(loaded(line)) == record
        assert is_safe(json.dumps(record.to_dict(), ensure_ascii=False))
    session = directory / "mad-results" / records[0].run_id
    session.mkdir(parents=True)
    (session / "records.jsonl").write_text("\n".join(lines) + "\n")
    return "\n".join(lines)


def tables(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    table = PerfCsv(directory / "perf.csv")
    side = SideFiles(directory)
    expected: list[dict[str, str]] = []
    for record in records:
        rows = table.append(record)
        expected += rows
        if record in records[:2]:  # the others have no other form
            side.write_item(record, rows)
            assert read_csv(directory / "perf_entry.csv") == rows
            assert loaded((directory / "perf_entry.json").read_text()) == (rows if len(rows) > 1 else rows[0])
    side.finish(records)
    assert page_after_run(directory / "perf.csv", directory / "mad-results") == ()
    assert (
        read_csv(directory / "perf.csv") == expected == [row for one in records for row in record_rows(one)]
    )
    merged = loaded((directory / "perf_super.json").read_text())
    assert [entry["metric"] for entry in merged] == [row["metric"] for row in expected]
    assert len(read_csv(directory / "perf_super.csv")) == len(expected)
    files = sorted(path for path in directory.glob("perf*") if path.suffix in (".csv", ".json"))
    assert len(files) >= 6
    parts = [path.read_bytes().decode() for path in files]
    assert all(is_safe(part) for part in parts)
    return "".join(parts)


def pages(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    page = (directory / "perf.html").read_text(encoding="utf-8")
    assert "mad-details" in page
    return tame(page)


def tame(page: str) -> str:
    """The text of a page of results: its elements are those of the template, its scripts ours."""
    assert is_safe(page)
    found, usual = Markup(without_assets(page)), usual_page()
    assert set(found.tags) <= set(usual.tags)
    assert found.attributes <= usual.attributes
    assert found.tags.count("script") - page.count('class="mad-details"') == usual.tags.count("script")
    assert [link for link in found.links if not link.startswith("#")] == usual.links
    blocks = re.findall(r'<script type="text/plain" class="mad-details">([^<]*)</script>', page)
    return "".join([*found.texts, *(zlib.decompress(base64.b64decode(block)).decode() for block in blocks)])


@cache
def usual_page() -> Markup:
    """A page of results that holds nothing odd: one that failed, one that succeeded, one with a warning."""
    metric = (Metric("5", "x"), Metric("", "y", row="r", outcome=Outcome.FAILURE))
    ran = [
        RunRecord("s", f"m{number}", "m", outcome, "why", metrics=metric, columns=build_columns(n_gpus=1))
        for number, outcome in enumerate(Outcome)
    ]
    data = page_of_records([one.to_dict() for one in ran], title="t", source="s", link=lambda *_: "")
    data.made = "2026-01-01T00:00:00Z"
    made = render_page(data)
    found = Markup(without_assets(made))
    found.tags = [tag for tag in found.tags if tag != "script"] + ["script"] * (
        found.tags.count("script") - made.count('class="mad-details"')
    )
    found.links = [link for link in found.links if not link.startswith("#")]
    return found


def without_assets(page: str) -> str:
    """A page without its style and its large script, which are the same in all and long."""
    style, start, end = asset("page.css"), page.rindex("<script>") + len("<script>"), page.rindex("</script>")
    assert hash_of(page[start:end]) in page, (
        "the last script is not the one that the policy of the page allows"
    )
    return (page[:start] + page[end:]).replace(style, "")


def hash_of(script: str) -> str:
    """As the content security policy of a page names a script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def html_cells(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    option = SimpleNamespace(option=SimpleNamespace(htmlpath=str(directory / "r.html")))
    ledger: Any = SimpleNamespace(records={str(n): [one] for n, one in enumerate(records)}, config=option)
    session: Any = SimpleNamespace(directory=directory, run_id="r")
    shown = []
    for number in range(len(records)):
        cells = ["<td>Failed</td>", "<td>id</td>", "<td>1</td>", "<td></td>"]
        HtmlColumns(session, ledger).pytest_html_results_table_row(SimpleNamespace(nodeid=str(number)), cells)
        row = "".join(cells)
        found = Markup(row)
        assert set(found.tags) <= {"td", "br", "span", "a"}
        assert found.tags.count("td") == 9
        assert found.attributes <= {"class", "data-order", "href", "title"}
        assert all(re.fullmatch(r"[A-Za-z0-9_.~/%+-]*", link) for link in found.links)
        assert is_safe(row)
        shown.append(row)
    return "".join(shown)


def mails(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    mail = Mail((read_table(directory / "perf.csv"),), Reasons(directory / "mad-results"))
    message = make_message(mail, Address(username="a", domain="b.example"))
    read = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert not read.defects
    assert [part.get_content_type() for part in read.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    plain_part, html_part = [part.get_content() for part in read.iter_parts()]
    assert str(read["Subject"]) == mail.subject
    assert is_safe(plain_part.replace("\r\n", "\n"))
    page = mail.page()
    for markup in (page, html_part):
        found = Markup(markup)
        assert set(found.tags) <= MAIL, set(found.tags) - MAIL
        assert not found.links
        assert not [name for name in found.attributes if name.startswith("on")]
    assert is_safe(page)
    return page + plain_part + html_part


def github_summary(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    import cmarkgfm
    from cmarkgfm.cmark import Options

    summary = github.step_summary(records)
    found = Markup(cmarkgfm.github_flavored_markdown_to_html(summary, Options.CMARK_OPT_UNSAFE))
    allowed = {"h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
    allowed |= {"code", "pre", "br"}
    assert set(found.tags) <= allowed, set(found.tags) - allowed
    assert found.tags.count("tr") == len(records) + found.tags.count("thead")
    assert found.attributes <= {"align"}
    assert is_safe(summary)
    return summary


def github_annotations(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    places = {record.item_id: github.Place("models.json", 3) for record in records}
    commands = github.workflow_commands(records, places)
    for command in commands:
        assert len(command.splitlines()) == 1
        parts = re.fullmatch(r"::(?:error|warning) ([^:]*?)::(.*)", command)
        assert parts is not None, command
        names = [pair.partition("=")[0] for pair in parts[1].split(",")]
        assert names in (["file", "line", "title"], ["title"]), command
        assert is_safe(command)
    return "\n".join(commands)


def open_metrics(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    text = openmetrics(records)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(families["mad_status"].samples) == len(records)
    # Readers that split lines at more than "\n" see the same lines.
    assert text.splitlines() == text.split("\n")[:-1]
    assert is_safe(text)
    return text


def benchmark_json(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    text = json.dumps(benchmarks(records), allow_nan=False)
    for entries in loaded(text):
        assert len({entry["name"] for entry in entries}) == len(entries)
        assert all(isinstance(entry["value"], (int, float)) for entry in entries)
    return text


def summaries(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    text = json.dumps(both_phases(records), allow_nan=False)
    loaded(text)
    return text


def lint(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    findings = [
        Finding(rule, Place(record.log_file or "f", 1), record.reason, record.hint, record.item_id)
        for rule, record in zip(RULES, records, strict=False)
    ]
    report = Report(tuple(findings), 1, 1)
    assert is_safe(render_text(report))
    assert len(loaded(render_json(report))["findings"]) == len(findings)
    (run,) = loaded(render_sarif(report, "1"))["runs"]
    for result in run["results"]:
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"(?:[A-Za-z0-9_.~/-]|%[0-9A-F]{2})*", uri)
    return render_text(report)


def terminal(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    screen = Screen()
    view = object.__new__(TerminalView)
    ledger = {str(number): [record] for number, record in enumerate(records)}
    view.__dict__.update(
        config=SimpleNamespace(pluginmanager=SimpleNamespace(hasplugin=lambda name: False)),
        session=SimpleNamespace(settings=SimpleNamespace(output="perf.csv"), directory="d"),
        ledger=SimpleNamespace(records=ledger, reaped=[], sink_errors=[]),
    )
    view.pytest_terminal_summary(screen)
    shown = [screen.text, render(results_table(records), False), render(phases_table(records), False)]
    shown.append(summary_line(records))
    assert all(map(is_safe, shown))
    return "".join(shown)


def junit(records: list[RunRecord], directory: Path, redactor: Redactor) -> str:
    log = LogXML(str(directory / "j.xml"), None, "pytest", "all", "total", "xunit2")
    log.suite_start = SimpleNamespace(elapsed=lambda: SimpleNamespace(seconds=1.0))  # type: ignore[assignment]
    log.pytest_sessionstart()
    for number, record in enumerate(records):
        nodeid = f"models.json::{record.item_id}"
        told = "\n".join([record.reason, *record.log_tail])
        for when in ("setup", "call", "teardown"):
            failed = when == "call" and record.outcome is Outcome.FAILURE
            report = pytest.TestReport(
                nodeid,
                ("models.json", number, record.item_id),
                {},
                "failed" if failed else "passed",
                told if failed else None,
                when,  # type: ignore[arg-type]
                [("Captured stdout call", told)],
                1.0,
                user_properties=case_properties(record, "d") if when == "teardown" else (),
            )
            clean_report(report, redactor, of_model=True)
            log.pytest_runtest_logreport(report)
    log.pytest_sessionfinish()
    text = (directory / "j.xml").read_bytes().decode()
    SCHEMA.validate(ElementTree.fromstring(text))
    assert text.count("<testcase ") == len(records)
    return text


def loaded(text: str) -> Any:
    """Strict JSON: a reader in another language knows neither NaN nor Infinity."""

    def refused(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refused)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def junit_schema() -> Any:
    """The schema of the tests of whole sessions: properties of test cases are allowed."""
    import xmlschema

    text = (Path(__file__).parents[1] / "data" / "junit-xunit2.xsd").read_text(encoding="utf-8")
    before, _, case = text.partition('<xs:element name="testcase">')
    skipped = '<xs:element ref="skipped"'
    case = case.replace(skipped, f'<xs:element ref="properties"/>{skipped}', 1)
    return xmlschema.XMLSchema(f'{before}<xs:element name="testcase">{case}')


SCHEMA = junit_schema()
CHECKS: list[Callable[[list[RunRecord], Path, Redactor], str]] = [
    *(record_lines, tables, pages, html_cells, mails, github_summary, github_annotations, open_metrics),
    *(benchmark_json, summaries, lint, terminal, junit),
]
