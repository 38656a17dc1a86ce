"""Contract 17, first row: perf.html."""

from __future__ import annotations

import csv
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import ResultError
from pytest_madengine.reports.pages.csvpage import count_rows, to_html


class Page(HTMLParser):
    """Cells of the table as a browser sees them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.rows: list[list[str]] = []
        self.marks: list[str] = []
        self.tables: list[str] = []
        self.tags: set[str] = set()
        #: Whatever a browser would fetch.
        self.loaded: list[str] = []
        #: What a reader sees: all text but scripts and styles.
        self.read = ""
        self._cell = False
        self._code = False
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        sources = ("src", "srcset", "data", "background", *(("href",) if tag == "link" else ()))
        found = [value or "" for name, value in attrs if name in sources]
        self.loaded += [value for value in found if not value.startswith("data:")]
        if tag == "table":
            self.tables.append(dict(attrs)["class"] or "")
        if tag == "tr":
            self.rows.append([])
            self.marks.append(dict(attrs).get("class") or "")
        self._cell = tag in ("th", "td")
        self._code = tag in ("script", "style")
        if self._cell:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._code = False
        self._cell = self._cell and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        self.read += "" if self._code else data
        if self._cell:
            self.rows[-1][-1] += data


def page(tmp_path: Path, text: str) -> Page:
    (tmp_path / "perf.csv").write_text(text, encoding="utf-8")
    to_html(tmp_path / "perf.csv", tmp_path / "perf.html")
    return Page(tmp_path / "perf.html")


def test_complete_page_with_one_table(tmp_path: Path) -> None:
    """Contract 17: complete page, one table, stripped header, escaped cells, empty cells empty, marks."""
    seen = page(
        tmp_path,
        "model, performance, status\n"
        "<script>alert(1)</script>,1 & 2,SUCCESS\n"
        'b,,FAILURE\n"c,\n""d""",,SKIPPED\ne\n',
    )
    assert seen.text.startswith("<!DOCTYPE html>")
    assert seen.text.rstrip().endswith("</html>")
    assert seen.tables == ["dataframe"]
    assert seen.rows == [
        ["model", "performance", "status"],
        ["<script>alert(1)</script>", "1 & 2", "SUCCESS"],
        ["b", "", "FAILURE"],
        ['c,\n"d"', "", "SKIPPED"],
        ["e", "", ""],
    ]
    assert seen.marks == ["", "success", "failure", "skipped", ""]
    assert "NaN" not in seen.read
    assert not seen.tags & {"img", "iframe", "object", "embed", "base"}
    assert not seen.loaded
    assert "default-src 'none'" in unescape(seen.text)
    assert "prefers-color-scheme: dark" in seen.text


def test_name_of_the_file_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "<b>&.csv"
    path.write_text("model\n")
    to_html(path, tmp_path / "out.html")
    assert "<title>&lt;b&gt;&amp;</title>" in (tmp_path / "out.html").read_text()


def test_empty_file_and_surplus_cells(tmp_path: Path) -> None:
    """A cell that has no header gets a column without a name: every row of a table is equally long."""
    assert page(tmp_path, "").rows == [[]]
    assert page(tmp_path, "a\n1,2\n").rows == [["a", ""], ["1", "2"]]
    assert page(tmp_path, "a\n1\n1,2\n").rows == [["a", ""], ["1", ""], ["1", "2"]]


def test_old_page_is_replaced_or_kept(tmp_path: Path) -> None:
    (tmp_path / "perf.html").write_text("old")
    with pytest.raises(ResultError, match="cannot be read"):
        to_html(tmp_path / "missing.csv", tmp_path / "perf.html")
    (tmp_path / "bad.csv").write_text(f"a\n{'x' * 140_000}\n")
    with pytest.raises(ResultError, match="is no readable CSV"):
        to_html(tmp_path / "bad.csv", tmp_path / "perf.html")
    assert (tmp_path / "perf.html").read_text() == "old"
    assert page(tmp_path, "a\n1\n").rows == [["a"], ["1"]]


def test_count_rows(tmp_path: Path) -> None:
    path = tmp_path / "perf.csv"
    for text, count in [("", 0), ("a\n", 0), ('a\n"x\ny"\n\n2\n', 2), ("a\n" + "1\n" * 9, 4)]:
        path.write_text(text)
        assert count_rows(path, 3) == count
    with pytest.raises(ResultError, match="cannot be read"):
        count_rows(tmp_path / "missing.csv", 3)


@given(
    st.lists(
        st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=8), min_size=2),
        min_size=1,
        max_size=4,
    )
)
def test_cells_arrive_as_they_are(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    """Given any text in the cells / rendered / a browser reads the same text back."""
    path = tmp_path_factory.getbasetemp() / "html-property.csv"
    width = min(map(len, rows))
    cut = [["x", *row[:width]] for row in rows]
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(cut)
    to_html(path, path.with_suffix(".html"))
    seen = Page(path.with_suffix(".html")).rows
    assert seen == [[cell.strip() for cell in cut[0]], *cut[1:]]
