"""The step summary and the workflow commands of GitHub Actions, read by GitHub's own Markdown parser."""

from __future__ import annotations

import html
import re
import string
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_madengine.reports.ci.github import (
    ANNOTATIONS,
    ROWS,
    SUMMARY_LIMIT,
    Place,
    entry_lines,
    step_summary,
    workflow_commands,
)
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.util.text import log_line, visible

NASTY = (
    "a|b",
    "`code`",
    "**bold** _em_ ~~gone~~",
    "[link](http://evil.example)",
    "http://evil.example/x www.evil.example",
    "@octocat and @org/team, mail a@b.example",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</pre></details><h1>mine</h1>",
    "line\nbreak\r\n\n# heading\n\n| a | b |",
    "$x$ ${{ secrets.X }} \\| back\\slash",
    "&lt;b&gt; &#124;",
    "tab\tnull\x00 bell\x07 esc\x1b[31m \u2028 sep \ud800",
    ":tada: #1 - [ ] task",
)
ALLOWED = {
    "h2",
    "h3",
    "p",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "code",
    "pre",
    "br",
}


def record(item: str, outcome: Outcome = Outcome.SUCCESS, **fields: Any) -> RunRecord:
    metrics = fields.pop("metrics", (Metric("1", "sps"),))
    return RunRecord("r", item, item, outcome, metrics=metrics, **fields)


class Page(HTMLParser):
    """Elements and cells of a rendered summary."""

    def __init__(self, markdown: str) -> None:
        import cmarkgfm
        from cmarkgfm.cmark import Options

        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.rows: list[int] = []
        self.pre = ""
        self._open: list[str] = []
        self.html = cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE)
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag == "br":
            self.handle_data("\n")
            return
        self._open.append(tag)
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += 1
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "td" in self._open:
            self.cells[-1] += data
        if "pre" in self._open:
            self.pre += data


def one_line(text: str) -> str:
    return visible(" ".join(text.split()))


@pytest.mark.parametrize("text", NASTY)
def test_every_text_is_shown_as_it_is(text: str) -> None:
    """No markup of a model, a reason or a log has a meaning."""
    failed = record(
        f"m {text}", Outcome.FAILURE, reason=text, hint=text, phase=text, log_tail=(text, "", text)
    )
    page = Page(step_summary([failed, record(text, metrics=(Metric(text, text, row=text),))], [text]))
    assert page.tags <= ALLOWED
    assert "href" not in page.html
    assert one_line(f"m {text}") in page.cells
    assert one_line(f"{text} ({text})") in page.cells
    assert set(page.rows) == {3, 5}
    for line in text.splitlines():
        assert one_line(log_line(line)) in " ".join(page.pre.split()) or "\u2028" in text


@pytest.mark.parametrize("text", [text for text in NASTY if "@" in text])
def test_nobody_is_told(text: str) -> None:
    """GitHub looks for at signs in text, but not in ``pre`` and ``code``, and not across a comment."""
    page = Page(step_summary([record(text, Outcome.FAILURE, reason=text)], [text]))
    outside = re.sub(r"<(pre|code)>.*?</\1>", "", page.html, flags=re.DOTALL)
    assert not re.search(r"@[A-Za-z]", html.unescape(outside))


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=60))
def test_any_text_fits_into_a_cell(text: str) -> None:
    page = Page(step_summary([record(text), record("other", reason=text)]))
    assert set(page.rows) == {5}
    assert len(page.rows) == 3
    assert page.tags <= ALLOWED


def test_failures_come_first_with_their_logs() -> None:
    records = [
        record("good"),
        record(
            "bad", Outcome.FAILURE, reason="why", hint="do this", log_tail=("a", "b"), log_file="bad/x.log"
        ),
        record("skipped", Outcome.SKIPPED, metrics=(), reason="no GPU"),
        record("many", metrics=tuple(Metric(str(n), f"m{n}", row="r") for n in range(6))),
    ]
    text = step_summary(records, ["session s"])
    assert text.startswith("\n## MAD models: 1 ❌ failed, 2 ✅ succeeded, 1 ⏭️ skipped\n")
    assert text.endswith("\n")
    page = Page(text)
    names = [cell for cell in page.cells if cell in ("good", "bad", "skipped", "many")]
    assert names == ["bad", "skipped", "good", "many"]
    assert page.pre.split() == ["a", "b"]
    assert "r: 0 m0\nr: 1 m1\nr: 2 m2\nr: 3 m3\nand 2 more" in page.cells
    assert "bad/x.log" in page.html


def test_at_most_two_hundred_rows() -> None:
    """The rest is counted."""
    records = [record(f"f{n}", Outcome.FAILURE) for n in range(20)] + [record(f"m{n}") for n in range(500)]
    text = step_summary(records)
    assert len(Page(text).rows) == ROWS + 2
    assert f"{500 - (ROWS - 20)} more did not fail." in text
    failures = step_summary([record(f"f{n}", Outcome.FAILURE) for n in range(ROWS + 7)] + [record("m")])
    assert "7 more failed." in failures
    assert "1 more did not fail." in failures


@pytest.mark.parametrize("there", [0, 500_000, SUMMARY_LIMIT - 2_000, SUMMARY_LIMIT - 310, SUMMARY_LIMIT])
def test_never_more_than_github_takes(there: int) -> None:
    """Also with long names, reasons and logs, and after what others wrote: it is whole Markdown."""
    tail = tuple("<é&" * 300 for _ in range(40))
    records = [
        record(f"{n}" + "<" * 500, Outcome.FAILURE, reason="|" * 900, log_tail=tail) for n in range(300)
    ]
    text = step_summary(records, ["x" * 500], SUMMARY_LIMIT - there)
    assert len(text.encode()) <= SUMMARY_LIMIT - there
    assert text.count("<details>") == text.count("</details>")
    assert text.count("<pre>") == text.count("</pre>")
    assert bool(text) == (there < SUMMARY_LIMIT - 1_000)


# ---- workflow commands ----------------------------------------------------------------------------------


def test_errors_and_warnings() -> None:
    records = [
        record("good"),
        record("bad", Outcome.FAILURE, reason="100%\nof: it", hint="do, this"),
        record("slow", warnings=("odd",), gate={"verdict": "regression", "change": "-9.9 %"}),
    ]
    places = {"bad": Place("a,b/models.json", 7), "slow": Place("models.json")}
    assert workflow_commands(records, places) == [
        "::error file=a%2Cb/models.json,line=7,title=bad failed::100%25%0Aof: it%0Ado, this",
        "::warning file=models.json,title=slow%3A regression::-9.9 %25",
        "::warning file=models.json,title=slow%3A warning::odd",
    ]


def test_equal_warnings_are_said_once() -> None:
    records = [record(f"m{n}", warnings=("no GPU", f"odd {n}"[: 4 + n])) for n in range(3)]
    assert workflow_commands(records, {"m0": Place("models.json", 3)}) == [
        "::warning file=models.json,line=3,title=m0 and 2 more%3A warning::no GPU",
        "::warning file=models.json,line=3,title=m0%3A warning::odd ",
        "::warning title=m1%3A warning::odd 1",
        "::warning title=m2%3A warning::odd 2",
    ]


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=80), st.text(max_size=40))
def test_a_command_is_one_line_with_our_properties(text: str, name: str) -> None:
    """No text begins a line, ends the properties or adds one."""
    (command,) = workflow_commands([record(name, Outcome.FAILURE, reason=text)], {name: Place(text, 3)})
    assert len(command.splitlines()) == 1
    found = re.fullmatch(r"::error (?P<properties>[^:]*?)::(?P<message>.*)", command)
    assert found is not None
    names = [pair.partition("=")[0] for pair in found["properties"].split(",")]
    assert names in (["file", "line", "title"], ["line", "title"])


def test_github_keeps_ten_of_a_kind() -> None:
    """The tenth counts the rest, so that none vanishes silently."""
    ten = workflow_commands([record(f"m{n}", Outcome.FAILURE, reason="x") for n in range(ANNOTATIONS)], {})
    assert len(ten) == ANNOTATIONS
    assert all("failed::x" in command for command in ten)
    many = workflow_commands([record(f"m{n}", Outcome.FAILURE, reason="x") for n in range(25)], {})
    assert len(many) == ANNOTATIONS
    assert many[-1] == "::error title=MAD models::16 more failures: see the summary"


# ---- lines of models.json -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('[\n {"name": "a"},\n {\n  "tags": [],\n  "name": "b"\n }\n]', [2, 5]),
        ('[{"name": "a"}, {"name": "b"}]', [1, 1]),
        ('\ufeff[\n\n{"dockerfile": "x"},\n{"name"\n: "b"}]', [3, 4]),
        ("[]", []),
        ("{}", []),
        ("", []),
        ('{"a": [{"name": "x"}]}', []),
        ('[{"name": "a"},\n{broken', [1]),
        ("[" * 100_000, []),
    ],
)
def test_lines_of_entries(text: str, lines: list[int]) -> None:
    assert entry_lines(text) == lines


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": st.text(string.printable, max_size=9)}, optional={"args": st.text(max_size=9)}
        ),
        max_size=8,
    ),
    st.sampled_from([None, 1, "\t"]),
)
def test_lines_of_any_file(entries: list[dict[str, str]], indent: Any) -> None:
    import json

    text = json.dumps(entries, indent=indent)
    lines = entry_lines(text)
    assert len(lines) == len(entries)
    for entry, number in zip(entries, lines, strict=True):
        assert json.dumps(entry["name"]) in text.split("\n")[number - 1]
