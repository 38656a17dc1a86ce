"""The page itself: markup, safety, what it says first, details within their budget."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from html import unescape
from typing import Any

import pytest
from pytest_madengine.reports.pages.data import PageData, builds_as_sessions, column_of
from pytest_madengine.reports.pages.details import BLOCK, details_of
from pytest_madengine.reports.pages.page import ASSETS, MARKUP_NEWEST, MARKUP_ROWS, SCRIPTS, render
from pytest_madengine.reports.pages.table import Table

HEADER = ["model", "performance", "metric", "gpu_architecture", "status", "build_number"]
HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!-- <script>",
    "]]>&amp;\u2028\u2029",
    "{{ 7 * 7 }}{% raw %}",
    "half \ud800 \udc80",
]


def no_link(session: str, path: str) -> str:
    return ""


def page(rows: list[list[str]], header: list[str] = HEADER, **facts: list[str]) -> str:
    table = Table(header)
    table.add(rows)
    hidden = {name: column_of(name, cells) for name, cells in facts.items()}
    return render(PageData("t", "s", table, hidden))


def row(model: str = "m", value: str = "1", status: str = "SUCCESS", build: str = "1") -> list[str]:
    return [model, value, "tokens/s", "gfx", status, build]


def decoded(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))


def test_hostile_text_changes_nothing_about_the_markup() -> None:
    """Given cells, names and titles that try to break out / then only our own elements are there."""
    plain = page([row() for _ in HOSTILE])
    table = Table([*HEADER[:-1], HOSTILE[1]])
    table.add([[text] * 4 + ["FAILURE", text] for text in HOSTILE])
    facts = {
        name: column_of(name, HOSTILE) for name in ("session", "item", "reason", "finished", "fingerprint")
    }
    hostile = render(PageData(HOSTILE[0], HOSTILE[1], table, facts, notes=HOSTILE))

    def tags(text: str, name: str) -> int:
        return len(re.findall(f"<{name}[ >]", text))

    for name in ("script", "style", "table", "body", "html", "dialog", "meta"):
        assert tags(hostile, name) == tags(plain, name), name
    assert tags(hostile, "img") == 0
    # "<!--" would put the rest of a script into a state from which "</script>" does not leave.
    assert hostile.count("<!--") == plain.count("<!--") == 0
    hostile.encode()


def test_policy_allows_exactly_our_scripts_and_style() -> None:
    text = page([row()])
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in unescape(policy).split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"

    def hashes(tag: str) -> set[str]:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        return {
            f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in found
        }

    assert set(rules["script-src"].split()) == hashes("script")
    assert len(hashes("script")) == 2
    assert set(rules["style-src"].split()) == hashes("style")
    # Under this policy an attribute "style" or "onclick" would be dead.
    assert not re.search(r"<[a-z][^>]* (style|on[a-z]+)=", text)


def test_assets_are_complete_and_load_nothing() -> None:
    """Text never becomes markup or code: the functions that would do so are not used at all."""
    assert {path.stem for path in (ASSETS / "js").glob("*.js")} == set(SCRIPTS)
    markup = r"\b(innerHTML|outerHTML|insertAdjacentHTML|srcdoc|document\.write)"
    dangerous = markup + r"|\b(eval|fetch|import|Function)\("
    for path in [*ASSETS.rglob("*.js"), *ASSETS.glob("page.*")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(", text), path
        assert not re.search(dangerous, text), path


def test_large_tables_keep_the_newest_rows_in_the_markup() -> None:
    rows = [row(f"m{place}") for place in range(MARKUP_ROWS)]
    text = page(rows)
    assert text.count('<tr class="success">') == MARKUP_ROWS
    assert "The markup of this page holds" not in text
    text = page([*rows, row("last")])
    assert text.count('<tr class="success">') == MARKUP_NEWEST
    assert f"holds the newest {MARKUP_NEWEST} of 2,001 rows" in text
    assert "<td>last</td>" in text
    assert "<td>m0</td>" not in text


@pytest.mark.parametrize("header", [[], ["x"], ["status"], ["model", "model", "status", "status"]])
@pytest.mark.parametrize("rows", [[], [["a"]], [["", "b", " FAILURE "]]])
def test_any_table_makes_a_page(header: list[str], rows: list[list[str]]) -> None:
    text = page(rows, header)
    assert text.count("<table") == 1
    assert text.rstrip().endswith("</html>")


def concerns(text: str) -> list[str]:
    found = re.findall(r'<li class="(\w+)"><a href="#([^"]+)">([^<]*)</a>.*?<span class="why">([^<]*)<', text)
    return [" ".join(parts) for parts in found]


def test_what_needs_attention_is_the_present_state() -> None:
    """A failure that was repaired is none; a value outside the band is one while it is the newest."""
    rows = [row("repaired", "", "FAILURE"), row("repaired"), row("broken"), row("broken", "", "FAILURE")]
    rows += [row("slow", "100") for _ in range(6)] + [row("slow", "80")]
    rows += [row("back", "100") for _ in range(6)] + [row("back", "80"), row("back", "100")]
    rows += [row("faster", "100") for _ in range(6)] + [row("faster", "120")]
    assert concerns(page(rows)) == [
        "failure row=4 broken ",
        "worse row=11 slow tokens/s 80, -20.0 % against the median 100",
    ]


def test_runs_with_several_rows_are_one_concern() -> None:
    rows = [row("m", "", "FAILURE"), row("m_1", "1"), row("m_2", "", "FAILURE"), row("m_3", "", "FAILURE")]
    text = page(rows, session=["s1", "s2", "s2", "s2"], item=["m"] * 4, reason=["old", "new", "new", "new"])
    assert concerns(text) == ["failure run=s2/m&amp;n=1 m_2 new"]


def test_tiles_count() -> None:
    text = page(
        [row(), row("b", status="FAILURE"), row("c", status="SKIPPED"), row("d")],
        session=["s", "s", "t", "t"],
    )
    tiles = re.findall(r'<span class="label">([^<]+)</span><b>([^<]+)</b>', text)
    assert tiles == [
        ("Results", "4"),
        ("Success", "2"),
        ("Failure", "1"),
        ("Skipped", "1"),
        ("Outside the band", "0"),
    ]
    assert "2 sessions, the newest:" in text
    assert "1 success, 1 skipped" in text


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    text = page([row() for _ in range(999)] + [row(status="FAILURE")])
    assert re.findall(r"(\d+) % of the results", text) == ["99", "1", "0"]


def test_builds_stand_in_for_sessions_when_there_are_several() -> None:
    table = Table(HEADER)
    table.add([row(build="7"), row(build="8"), row(build="")])
    assert list(builds_as_sessions(table) or ()) == ["build 7", "build 8", ""]
    assert list(builds_as_sessions(table, ["s", "", ""]) or ()) == ["s", "build 8", ""]
    one = Table(HEADER)
    one.add([row()])
    assert builds_as_sessions(one) is None


def record(number: int, **fields: Any) -> dict[str, Any]:
    return {"run_id": "s", "item_id": f"m{number}", "model": "m", "outcome": "SUCCESS", **fields}


def test_details_keep_the_newest_within_the_budget() -> None:
    """Given more runs than fit / then old ones lose their logs first, then everything."""
    logs = [
        [hashlib.sha256(f"{number}/{line}".encode()).hexdigest() for line in range(20)]
        for number in range(640)
    ]
    records = [record(number, log_tail=log) for number, log in enumerate(logs)]
    full = details_of(records, no_link)
    assert (len(full.blocks), full.shortened, full.left_out) == (10, 0, 0)
    size = sum(map(len, full.blocks))
    small = details_of(records, no_link, budget=size // 2)
    assert small.shortened
    assert sum(map(len, small.blocks)) < size * 0.6
    tiny = details_of(records, no_link, budget=1000)
    assert (len(tiny.blocks), tiny.left_out) == (1, 640 - BLOCK)
    assert tiny.place[639] == 0
    assert 0 not in tiny.place
    assert decoded(tiny.blocks[0])[0]["log_tail"] == logs[639]


def test_details_of_one_run() -> None:
    given = record(
        1,
        columns={"git_commit": "abc"},
        artifacts=["d/log.txt", *(f"d/{n}.csv" for n in range(150))],
        log_file="d/log.txt",
        log_tail=["x" * 5000],
        configs={"a": 1},
        exit_code=0,
        reason="",
    )
    (block,) = details_of([given], lambda session, path: f"../{session}/{path}").blocks
    (found,) = decoded(block)
    assert found["git_commit"] == "abc"
    assert found["log"] == [["log.txt", "../s/d/log.txt"]]
    assert len(found["artifacts"]) == 100
    assert found["artifacts"][0] == ["0.csv", "../s/d/0.csv"]
    assert found["more_artifacts"] == 50
    assert len(found["log_tail"][0]) == 2000
    assert json.loads(found["configs"]) == {"a": 1}
    assert found["exit_code"] == 0
    assert "reason" not in found


def test_a_page_reads_its_columns_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """faults 2.8: given a run with many rows / when its page is made / then no column is read per row."""
    reads = 0
    fact = PageData.fact

    def counted(self: PageData, name: str) -> list[str]:
        nonlocal reads
        reads += 1
        return fact(self, name)

    monkeypatch.setattr(PageData, "fact", counted)
    counts = []
    for rows in (10, 20):
        reads = 0
        table = Table(["model", "performance", "metric", "status"])
        table.add([["m", "1", f"x{row}", "SUCCESS"] for row in range(rows)])
        hidden = {name: column_of(name, ["s"] * rows) for name in ("session", "item", "finished")}
        render(PageData("t", "s", table, hidden))
        counts.append(reads)
    assert counts[0] == counts[1]
