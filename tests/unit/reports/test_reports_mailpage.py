"""The page and the message: what mail programs keep, what a reader needs, how much of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_madengine.reports.mail.charts import charts
from pytest_madengine.reports.mail.page import CLIP, Limits, Mail, cut
from pytest_madengine.reports.mail.reasons import Reasons
from pytest_madengine.reports.mail.table import Table, read_table
from pytest_madengine.reports.mail.text import mail_text
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.record import Outcome, RunRecord

#: What Gmail, Outlook and Apple Mail show, and nothing else.
TAGS = {
    *("html", "head", "meta", "title", "body", "table", "tr", "td", "th", "div", "p", "span", "b", "br"),
    *("h1", "h2"),
}
ATTRIBUTES = {
    *("lang", "charset", "name", "content", "style", "role", "width", "height", "cellpadding", "cellspacing"),
    *("border", "bordercolor", "rules", "bgcolor", "align", "valign", "class", "nowrap"),
}
VOID = {"meta", "br"}
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&amp;<b>", "' style='x", "=1+1")


class Page(HTMLParser):
    """Checks the elements of a page and collects its tables."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.marked: list[str] = []
        self.texts: list[str] = []
        self._in_table = False
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        attributes = dict(attrs)
        assert attributes.keys() <= ATTRIBUTES, attributes
        style = attributes.get("style") or ""
        assert not any(word in style for word in ("url(", "flex", "grid", "position", "expression", "var("))
        if tag in VOID:
            return
        self.open.append(tag)
        self.names.append(tag)
        if attributes.get("class") == "dataframe":
            self.tables.append([])
            self._in_table = True
        elif self._in_table and tag == "tr":
            self.tables[-1].append([])
            if attributes.get("bgcolor") == "#fdecea":
                self.marked.append("")
        elif self._in_table and tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            self._in_table = False

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._in_table and self.open[-1] in ("td", "th", "b"):
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def write(path: Path, rows: Sequence[Mapping[str, str]]) -> Table:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, V2_COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return read_table(path)


def row(model: str, performance: str = "1", status: str = "SUCCESS", **cells: str) -> dict[str, str]:
    return {"model": model, "performance": performance, "metric": "sps", "status": status, **cells}


def mail_of(path: Path, rows: Sequence[Mapping[str, str]], results_dir: Path | None = None) -> Mail:
    return Mail((write(path / "perf.csv", rows),), Reasons(results_dir), "2026-11-27 06:30 UTC")


def test_the_page_is_complete(tmp_path: Path) -> None:
    """Every column and row, in the order of the file, whatever is in the cells."""
    rows = [row(text, args=text, tags=text * 30) for text in HOSTILE] + [row("bad", "", "FAILURE")]
    mail = mail_of(tmp_path, rows)
    page = Page(mail.page())
    (table,) = page.tables
    assert table[0] == list(V2_COLUMNS)
    assert table[1:] == [[one.get(name, "") for name in V2_COLUMNS] for one in rows]
    assert len(page.marked) == 1
    assert "<h2> perf </h2>" in mail.page()
    assert "nan" not in page.text.lower().replace("finance", "")


@pytest.mark.parametrize("kind", ["page", "message"])
def test_only_what_mail_programs_keep(tmp_path: Path, kind: str) -> None:
    """No script, style sheet, image, SVG or address of the network, and nothing that a cell smuggles in."""
    rows = [row(text, str(n), metric=text, args=text, status=text) for n, text in enumerate(HOSTILE)]
    rows += [row(text, "5", "FAILURE", machine_name=text) for text in HOSTILE] + [row("m", "7")] * 4
    source = getattr(mail_of(tmp_path, rows), kind)()
    page = Page(source)
    assert source.startswith("<!DOCTYPE html>\n")
    assert "http" not in source
    for text in HOSTILE:
        assert text in page.text


def test_failures_come_first_with_reasons(tmp_path: Path) -> None:
    record = RunRecord(
        "s1",
        "bad",
        "bad",
        Outcome.FAILURE,
        "out of <memory>",
        hint="use less",
        log_file="bad/x.log",
        columns={"n_gpus": "8"},
    )
    (tmp_path / "r/s1").mkdir(parents=True)
    (tmp_path / "r/s1/records.jsonl").write_text(json.dumps(record.to_dict()) + "\n")
    rows = [row("good", "12.5"), {"model": "bad", "status": "FAILURE", "n_gpus": "8"}]
    mail = mail_of(tmp_path, rows, tmp_path / "r")
    text = Page(mail.message()).text
    assert (
        text.index("1 failed") < text.index("out of <memory>") < text.index("use less") < text.index("12.5")
    )
    assert "s1/bad/x.log" in text
    assert mail.subject == "MAD results: 1 FAILURE, 1 SUCCESS (perf)"
    plain = mail_text(mail)
    assert plain.index("out of <memory>") < plain.index("good")


def test_each_failed_model_is_said_once(tmp_path: Path) -> None:
    """Models that still fail first; of the others, that they succeeded since.  A skip does not count."""
    rows = [
        row("flaky", "", "FAILURE", build_number="1"),
        row("flaky", "5"),
        row("broken", "", "FAILURE", build_number="1"),
        row("broken", "", "FAILURE", build_number="2"),
        row("broken", "", "SKIPPED"),
        row("gone", "", "FAILURE", gpu_architecture="gfx90a"),
        row("gone", "7", gpu_architecture="gfx942"),
    ]
    mail = mail_of(tmp_path, rows)
    found = [(one.model, one.facts, one.times, one.recovered) for one in mail.failures(9)]
    assert found == [
        ("gone", "", "", False),
        ("broken", "build 2", "failed 2 times", False),
        ("flaky", "build 1", "", True),
    ]
    text = Page(mail.message()).text
    assert "7 results of 3 models" in text
    assert text.count("has succeeded since") == 1
    plain = mail_text(mail).splitlines()
    assert "  broken (build 2, failed 2 times)" in plain
    assert "  flaky (build 1), has succeeded since" in plain
    assert "and 1 more" in mail.html(Limits(failures=2))


def test_a_column_with_the_reason_is_enough(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("model,status,reason\nm,FAILURE,because\n")
    mail = Mail((read_table(tmp_path / "x.csv"),), Reasons(None))
    assert "because" in Page(mail.message()).text
    assert "because" in mail_text(mail)


def test_the_message_says_once_what_never_changes(tmp_path: Path) -> None:
    rows = [
        row(f"m{n}", str(n), n_gpus="8", machine_name="host7", tags="x", git_commit=str(n)) for n in range(3)
    ]
    page = Page(mail_of(tmp_path, rows).message())
    (table,) = page.tables
    assert table[0] == ["model", "performance", "status"]
    assert [cells[0] for cells in table[1:]] == ["m2", "m1", "m0"]
    assert "In all rows: n_gpus 8 · machine_name host7" in page.text
    assert "23 more columns are in perf.csv." in page.text


@pytest.mark.parametrize("number", [1, 300, 5_000])
def test_gmail_clips_no_message(tmp_path: Path, number: int) -> None:
    """At most 96 kB, as many rows as fit, failures first; what is left out is counted."""
    rows = [
        row(f"model-{n}", str(n), "FAILURE" if n % 100 == 7 else "SUCCESS", gpu_architecture=f"g{n % 3}")
        for n in range(number)
    ]
    mail = mail_of(tmp_path, rows)
    source = mail.message()
    assert len(source.encode()) <= CLIP
    page = Page(source)
    (table,) = page.tables
    shown = len(table) - 1
    statuses = [cells[2] for cells in table[1:]]
    assert statuses == sorted(statuses)
    assert (f"{number - shown} more rows" in page.text) == (shown < number)
    if number == 5_000:
        assert len(source.encode()) > CLIP * 0.95, "room is not wasted"
    assert len(Page(mail.page()).tables[0]) == number + 1


def test_even_the_longest_texts_fit(tmp_path: Path) -> None:
    """Long names in every place, and many files."""
    tables = []
    for number in range(40):
        name = f"{'n' * 150}{number}"
        tables.append(
            write(
                tmp_path / f"{name}.csv", [row('"' * 3000 + str(n), "1", metric='"' * 999) for n in range(30)]
            )
        )
        tables.append(
            write(tmp_path / f"{name}f.csv", [row("&" * 3000 + str(n), "", "FAILURE") for n in range(9)])
        )
    source = Mail(tuple(tables), Reasons(None)).message()
    assert len(source.encode()) <= CLIP
    assert "more tables are not shown" in source
    Page(source)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=9),
            st.text(max_size=9),
            st.sampled_from(["SUCCESS", "FAILURE", "SKIPPED", "", "x"]),
            st.text(max_size=9),
        ),
        max_size=6,
    )
)
def test_any_table_makes_a_page(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str, str]]
) -> None:
    clean = [
        row(
            *(text.encode("utf-8", "replace").decode().replace("\0", "") for text in one[:3]),
            metric=one[3].encode("utf-8", "replace").decode().replace("\0", ""),
        )
        for one in rows
    ]
    mail = mail_of(tmp_path_factory.mktemp("any"), clean)
    for source in (mail.page(), mail.message()):
        Page(source)
    assert mail_text(mail).endswith("\n")
    assert "\n" not in mail.subject


def test_tables_without_models_are_only_shown(tmp_path: Path) -> None:
    (tmp_path / "env.csv").write_text("name,version\nrocm,6.2\n")
    (tmp_path / "empty.csv").write_text("")
    mail = Mail((read_table(tmp_path / "empty.csv"), read_table(tmp_path / "env.csv")), Reasons(None))
    assert mail.subject == "MAD results: no results (empty, env)"
    for source in (mail.page(), mail.message()):
        page = Page(source)
        assert page.tables == [[["name", "version"], ["rocm", "6.2"]]]
        assert "failed" not in page.text
        assert "no rows" in page.text
    assert "rocm" in mail_text(mail)


def test_the_text_part(tmp_path: Path) -> None:
    rows = [
        row("good", "10"),
        row("good", "20"),
        row("bad", "", "FAILURE", machine_name="h7", build_number="3"),
    ]
    assert mail_text(mail_of(tmp_path, rows)).splitlines() == [
        "MAD results: 1 FAILURE, 2 SUCCESS (perf)",
        "2026-11-27 06:30 UTC",
        "",
        "Failures",
        "  bad (build 3, h7)",
        "",
        "sps",
        "  good  20  +100.0 %",
        "",
        "perf",
        "----",
        "  model  performance  metric  status",
        "  bad                 sps     FAILURE",
        "  good   20           sps     SUCCESS",
        "  good   10           sps     SUCCESS",
    ]


def test_the_text_part_is_short(tmp_path: Path) -> None:
    text = mail_text(mail_of(tmp_path, [row(f"m{n}", "", "FAILURE") for n in range(300)]))
    assert "and 280 more" in text
    assert "250 more rows are in perf.csv" in text


def test_cut() -> None:
    assert (cut("abc", 3), cut("abcd", 3), cut("abcd", None)) == ("abc", "ab…", "abcd")


# ---- charts ---------------------------------------------------------------------------------------------


def chart_rows(tmp_path: Path, rows: Sequence[Mapping[str, str]]) -> Table:
    return write(tmp_path / "c.csv", rows)


def test_bars_are_relative_to_the_largest(tmp_path: Path) -> None:
    table = chart_rows(
        tmp_path, [row("a", "50"), row("b", "100"), row("c", "text"), row("d", "5", "FAILURE")]
    )
    (chart,), left = charts(table.rows, 9)
    assert (chart.metric, left) == ("sps", 0)
    assert [(bar.label, bar.value, bar.width, bar.trend, bar.change) for bar in chart.bars] == [
        ("a", "50", 50, (), ""),
        ("b", "100", 100, (), ""),
    ]


def test_trend_and_change(tmp_path: Path) -> None:
    """Against the mean of up to five values before; better or worse by what the metric's name says."""
    rows = [row("a", value) for value in ("1", "10", "10", "10", "10", "10", "5")]
    rows += [row("b", value, metric="latency_ms") for value in ("10", "20", "30")]
    rows += [row("c", value, metric="oddity") for value in ("10", "20")]
    found, _ = charts(chart_rows(tmp_path, rows).rows, 9)
    bars = {chart.metric: chart.bars[0] for chart in found}
    assert list(bars) == ["oddity", "latency_ms", "sps"]
    assert (bars["sps"].change, bars["sps"].verdict) == ("-50.0 %", -1)
    assert bars["sps"].trend == (2, 18, 18, 18, 18, 18, 9)
    assert (bars["latency_ms"].change, bars["latency_ms"].verdict) == ("+100.0 %", -1)
    assert (bars["oddity"].change, bars["oddity"].verdict) == ("+100.0 %", 0)


@pytest.mark.parametrize(
    "values", [("0", "0", "0"), ("-1", "-2", "-3"), ("0", "5"), ("1e308", "1e308", "-1e308")]
)
def test_numbers_that_charts_cannot_show_well(tmp_path: Path, values: tuple[str, ...]) -> None:
    (chart,), _ = charts(chart_rows(tmp_path, [row("a", value) for value in values]).rows, 9)
    assert 1 <= chart.bars[0].width <= 100
    assert all(height >= 1 for height in chart.bars[0].trend)


def test_architectures_are_apart(tmp_path: Path) -> None:
    rows = [row("a", "1", gpu_architecture="gfx90a"), row("a", "2", gpu_architecture="gfx942")]
    (chart,), _ = charts(chart_rows(tmp_path, rows).rows, 9)
    assert [bar.label for bar in chart.bars] == ["a (gfx90a)", "a (gfx942)"]


def test_the_newest_bars_are_kept(tmp_path: Path) -> None:
    found, left = charts(chart_rows(tmp_path, [row(f"m{n}", "1") for n in range(9)]).rows, 4)
    assert [bar.label for bar in found[0].bars] == ["m5", "m6", "m7", "m8"]
    assert left == 5
