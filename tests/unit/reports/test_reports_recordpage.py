"""Pages from records: matching rows, reading sessions, links, sites."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError, HistoryError, ResultError
from pytest_madengine.perfcsv.table import PerfCsv
from pytest_madengine.reports.pages import site as reporting
from pytest_madengine.reports.pages.data import read_csv
from pytest_madengine.reports.pages.page import render
from pytest_madengine.reports.pages.records import (
    linker,
    matches,
    page_after_run,
    page_of_csv,
    page_of_records,
    read_records,
)
from pytest_madengine.results.columns import build_columns
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.sinks import site as site_sink


def record(session: str, item: str = "m", value: str = "1", **fields: Any) -> RunRecord:
    values: dict[str, Any] = {
        "metrics": (Metric(value, "tokens/s"),) if value else (),
        "columns": build_columns(machine_name="host"),
        "finished": f"2026-01-{len(session):02}T00:00:00Z",
        **fields,
    }
    return RunRecord(session, item, item, values.pop("outcome", Outcome.SUCCESS), **values)


def store(directory: Path, *records: RunRecord, table: bool = True) -> Path:
    for one in records:
        session = directory / "mad-results" / one.run_id
        session.mkdir(parents=True, exist_ok=True)
        with (session / "records.jsonl").open("a") as stream:
            stream.write(json.dumps(one.to_dict()) + "\n")
        if table:
            PerfCsv(directory / "perf.csv").append(one)
    return directory / "perf.csv"


def documents(*records: RunRecord) -> list[dict[str, Any]]:
    return [one.to_dict() for one in records]


def no_link(session: str, path: str) -> str:
    return ""


def details(page: Path) -> list[dict[str, Any]]:
    blocks = re.findall(r'<script type="text/plain" class="mad-details">([^<]*)<', page.read_text())
    return [entry for block in blocks for entry in json.loads(zlib.decompress(base64.b64decode(block)))]


def test_rows_find_their_records(tmp_path: Path) -> None:
    """Given equal rows of several sessions and rows of none / matched in order, from the newest."""
    path = store(tmp_path, record("s", value="1"), record("ss", value="2"), record("sss", value="1"))
    with path.open("a") as stream:
        stream.write("other,,,,,,,,,,,,,,,,,,,,SUCCESS\n")
    found = read_records(tmp_path / "mad-results")
    assert matches(read_csv(path), found.records) == [0, 1, 2, -1]
    assert matches(read_csv(path), found.records[1:]) == [-1, 0, 1, -1]
    assert matches(read_csv(path), []) == [-1] * 4


@given(
    st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5), st.sampled_from(["1", "2", ""])), max_size=6)
)
def test_every_row_finds_its_record_whatever_the_cells(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str, str]]
) -> None:
    """Given any text in names and columns / written to perf.csv and read back / each row has its record."""
    path = tmp_path_factory.mktemp("match") / "perf.csv"
    given = [
        record("s", name, value, columns=build_columns(args=args, tags=[args])) for name, args, value in cells
    ]
    table = PerfCsv(path)
    for one in given:
        table.append(one)
    path.touch()
    found = matches(read_csv(path), [json.loads(json.dumps(one.to_dict())) for one in given])
    assert len(found) == len(given)
    assert sorted(found) == list(range(len(given)))
    for place, position in enumerate(found):
        assert (
            given[place].to_dict() == {**given[position].to_dict()}
            or cells[place] == cells[position]
            or (
                [text.lstrip(" ").replace("\0", "") for text in cells[place]]
                == [text.lstrip(" ").replace("\0", "") for text in cells[position]]
            )
        )


def test_v1_files_and_extra_columns_match(tmp_path: Path) -> None:
    path = tmp_path / "perf.csv"
    path.write_text("model, n_gpus, performance, metric, status, temperature\n")
    metrics = (Metric("1", "x", row="a", extra={"temperature": "55"}), Metric("2", "x", row="b"))
    given = record("s", metrics=metrics, columns=build_columns(n_gpus=8, n_gpus_entry="-1"))
    PerfCsv(path).append(given)
    assert matches(read_csv(path), documents(given)) == [0, 0]


def test_page_of_a_csv_gains_time_and_session(tmp_path: Path) -> None:
    path = store(tmp_path, record("s"), record("ss", value="", outcome=Outcome.FAILURE, reason="it broke"))
    page = reporting.csv_report(path)
    assert page == tmp_path / "perf.html"
    text = page.read_text()
    assert '<th scope="col">finished</th><th scope="col">session</th>' in text
    assert "<td>2026-01-02T00:00:00Z</td><td>ss</td></tr>" in text
    assert 'href="#run=ss/m"' in text
    assert "it broke" in text
    assert [entry["run_id"] for entry in details(page)] == ["ss", "s"]


def test_page_of_a_csv_without_records(tmp_path: Path) -> None:
    path = store(tmp_path, record("s"))
    other = tmp_path / "elsewhere" / "perf.csv"
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    page = reporting.csv_report(other, html_path=tmp_path / "x" / "page.html")
    assert page == tmp_path / "x" / "page.html"
    assert '<th scope="col">session' not in page.read_text()
    assert not details(page)
    page = reporting.csv_report(other, results_dir=tmp_path / "mad-results")
    assert [entry["item_id"] for entry in details(page)] == ["m"]


def test_wrong_files(tmp_path: Path) -> None:
    """Contract 17: missing is a failure (1), something else than a .csv is wrong input (4)."""
    with pytest.raises(ResultError, match="does not exist"):
        reporting.csv_report(tmp_path / "perf.csv")
    with pytest.raises(ConfigError, match=r"is not a \.csv file"):
        reporting.csv_report(tmp_path / "perf.txt")
    (tmp_path / "perf.CSV").write_text("model,performance,status\n")
    assert reporting.csv_report(tmp_path / "perf.CSV").name == "perf.html"
    with pytest.raises(ConfigError, match="is not a directory"):
        reporting.csv_report(tmp_path / "perf.CSV", results_dir=tmp_path / "none")
    with pytest.raises(ResultError, match="cannot be written"):
        reporting.csv_report(tmp_path / "perf.CSV", html_path=tmp_path / "perf.CSV" / "x.html")


def test_unreadable_lines_are_counted(tmp_path: Path) -> None:
    store(tmp_path, record("s"), record("ss"))
    with (tmp_path / "mad-results" / "s" / "records.jsonl").open("ab") as stream:
        stream.write(b'{"run_id": "torn\n[1]\n{}\n\xff\xfe\n')
    found = read_records(tmp_path / "mad-results")
    assert [one["run_id"] for one in found.records] == ["s", "ss"]
    assert found.notes == ["4 unreadable lines of records.jsonl left out."]
    assert read_records(tmp_path / "nowhere").records == []
    (tmp_path / "mad-results" / "sss" / "records.jsonl").mkdir(parents=True)
    found = read_records(tmp_path / "mad-results")
    assert len(found.records) == 2
    assert found.notes[0] == "sss/records.jsonl cannot be read: Is a directory."


def test_the_newest_sessions_are_read(tmp_path: Path) -> None:
    store(tmp_path, *(record(f"s{n}") for n in range(5)))
    found = read_records(tmp_path / "mad-results", limit=2)
    assert [one["run_id"] for one in found.records] == ["s3", "s4"]
    assert found.notes == ["The newest 2 records are used; mad-results has more."]


def page_rows(records: Iterable[RunRecord], **options: Any) -> list[tuple[str, ...]]:
    data = page_of_records(documents(*records), title="t", source="s", link=no_link, **options)
    assert render(data)
    names = ("model", "performance", "status", "session", "finished")
    return list(zip(*(data.table.cells(name) for name in names), strict=True))


def test_site_shows_each_run_once_from_old_to_new() -> None:
    rows = page_rows(
        [record("sss"), record("s", value="2"), record("s", value="3"), record("ss", has_row=False)]
    )
    assert rows == [
        ("m", "3", "SUCCESS", "s", "2026-01-01T00:00:00Z"),
        ("m", "1", "SUCCESS", "sss", "2026-01-03T00:00:00Z"),
    ]
    assert page_rows([]) == []


def test_site_of_too_many_records() -> None:
    data = page_of_records(
        documents(*(record("s" * n) for n in range(1, 6))), title="t", source="s", link=no_link, limit=2
    )
    assert data.table.cells("session") == ["ssss", "sssss"]
    assert data.notes == ["The newest 2 of 5 results are shown."]


def test_site_has_columns_of_multiple_results() -> None:
    metrics = (Metric("1", "x", row="a", extra={"temperature": "55"}),)
    data = page_of_records(documents(record("s", metrics=metrics)), title="t", source="s", link=no_link)
    assert data.table.cells("temperature") == ["55"]


def test_links_are_relative_quoted_and_stay_below_the_session(tmp_path: Path) -> None:
    session = tmp_path / "mad-results" / "s"
    session.mkdir(parents=True)
    link = linker(tmp_path / "site", [tmp_path / "mad-results"])
    assert link("s", "m.1/run log#1?.log") == "../mad-results/s/m.1/run%20log%231%3F.log"
    assert link("s", "javascript:alert(1)") == "../mad-results/s/javascript%3Aalert%281%29"
    assert link("s", "m/\udcff") == "../mad-results/s/m/%FF"
    assert link("s", "m/\ud800").startswith("../mad-results/s/m/")
    for wrong in ("../x", "/etc/passwd", "a/../../x", "", "."):
        assert link("s", wrong) == "", wrong
    for session_id in ("other", "", ".", "..", "s/..", "/"):
        assert link(session_id, "x") == "", session_id


def test_site_report(tmp_path: Path) -> None:
    store(tmp_path, record("s", log_file="d/x.log"), table=False)
    page = reporting.site_report(
        tmp_path / "site",
        read_records(tmp_path / "mad-results").records,
        results_dir=tmp_path / "mad-results",
        title="Nightly <b>",
        notes=["one note"],
    )
    assert page == tmp_path / "site" / "index.html"
    text = page.read_text()
    assert "<title>Nightly &lt;b&gt;</title>" in text
    assert "one note" in text
    assert details(page)[0]["log"] == [["x.log", "../mad-results/s/d/x.log"]]


def test_site_from_a_history_database(tmp_path: Path) -> None:
    from pytest_madengine.history.store import HistoryStore

    url = f"sqlite:///{tmp_path}/history.db"
    given = [record("s", reason="r"), record("ss", "n")]
    with HistoryStore(url) as history:
        history.add(given)
    found = site_sink.history_records(url)
    assert found.records == documents(*given)
    assert not found.notes
    assert site_sink.history_records(url, limit=1).notes
    with pytest.raises(HistoryError):
        site_sink.history_records(f"sqlite:///{tmp_path}/absent/history.db")


def test_page_of_csv_says_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_madengine.reports.pages.details.details_of.__defaults__", (1,))
    given = [record("s", f"m{n}") for n in range(130)]
    path = store(tmp_path, *given)
    data = page_of_csv(read_csv(path), documents(*given), title="t", source="s", link=no_link)
    (note,) = data.notes
    assert note.startswith(
        "Details are shown of the newest 64 runs; those of 66 older ones are in records.jsonl"
    )
    assert [bool(number) for number in data.record_of] == [False] * 66 + [True] * 64


# ---- the page at the end of a run -----------------------------------------------------------------------


@pytest.mark.parametrize("sessions", [True, False])
def test_page_after_a_run_has_the_name_of_its_table(tmp_path: Path, sessions: bool) -> None:
    store(tmp_path, record("s1"))
    table = (tmp_path / "perf.csv").rename(tmp_path / "night.csv")
    assert page_after_run(table, tmp_path / "mad-results" if sessions else None) == ()
    assert '<table class="dataframe">' in (tmp_path / "night.html").read_text()


def test_page_after_a_run_is_left_out_above_the_limit(tmp_path: Path) -> None:
    """Contract 12.5: with a line that gives the command that makes it."""
    store(tmp_path, *(record("s1", f"m{number}") for number in range(3)))
    (message,) = page_after_run(tmp_path / "perf.csv", limit=2)
    assert "not made for more than 2 rows" in message
    assert "madengine report to-html" in message
    assert not (tmp_path / "perf.html").exists()
    assert page_after_run(tmp_path / "perf.csv", limit=3) == ()
    assert (tmp_path / "perf.html").exists()


def test_a_table_without_rows_gets_no_page_after_a_run(tmp_path: Path) -> None:
    assert page_after_run(tmp_path / "perf.csv") == ()
    assert not (tmp_path / "perf.html").exists()


def test_a_page_that_cannot_be_written_after_a_run_is_one_error(tmp_path: Path) -> None:
    store(tmp_path, record("s1"))
    (tmp_path / "perf.html").mkdir()
    with pytest.raises(ResultError, match=r"perf\.html cannot be written"):
        page_after_run(tmp_path / "perf.csv")
