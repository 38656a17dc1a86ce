"""Files of earlier sessions may hold anything: no later session fails because of them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError
from pytest_madengine.history.replay import replay
from pytest_madengine.perfcsv.sidefiles import SideFiles
from pytest_madengine.reports.mail.reasons import Reasons
from pytest_madengine.reports.pages.page import render
from pytest_madengine.reports.pages.records import linker, page_of_records, read_records
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.journal import Journal
from pytest_madengine.results.record import Attempt, Metric, Outcome, RunRecord
from pytest_madengine.scheduling.durations import read_durations
from pytest_madengine.session.resume import successes

WHOLE: Final = RunRecord(
    "s1",
    "m",
    "m",
    Outcome.SUCCESS,
    reason="why",
    phase="run",
    metrics=(Metric("1.5", "sps", "m_1", overrides={"n_gpus": "8"}, extra={"more": "x"}),),
    columns={"n_gpus": "8", "tags": "a"},
    configs={"a": [1, {"b": None}]},
    exit_code=0,
    started="2026-11-23T21:00:00Z",
    finished="2026-11-23T21:10:00Z",
    durations={"build": 1.0, "run": 2.5},
    image={"name": "ci-m"},
    host={"hostname": "h", "gpu_count": 8},
    lease={"gpus": [0, 1], "devices": [{"index": 0}], "from": "a", "to": "b"},
    data=({"name": "d", "size": 1},),
    artifacts=("m/x.csv",),
    log_file="m/x.log",
    log_tail=("end",),
    warnings=("w",),
    attempts=(Attempt(Outcome.FAILURE, "r", "run", "t", 1.0),),
    gate={"verdict": "ok"},
    resume_key="k",
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.sampled_from(
        [10**400, 1e308, float("nan"), float("inf"), -0.0, "\ud800", "SUCCESS", "../..", "\0", "\u2028"]
    )
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON value, its own (empty) included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, part in inner for place in places(part, (*at, key)))]


PLACES: Final = places(WHOLE.to_dict())


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A line as a session writes it, with any one value in it replaced or gone; or anything else."""
    record: Any = copy.deepcopy(WHOLE.to_dict())
    place = draw(st.sampled_from(PLACES))
    if place:
        whole = record
        for key in place[:-1]:
            whole = whole[key]
        if draw(st.booleans()):
            whole[place[-1]] = draw(JSON)
        else:
            del whole[place[-1]]
    else:
        record = draw(JSON)
    entry = record if draw(st.booleans()) else {"event": "finish", "nodeid": "m", "record": record}
    text = json.dumps(entry).encode()
    deep = b"[" * 100_000
    return draw(
        st.sampled_from([text, text, text, text[: len(text) // 2], deep, b"\xff\xfe", b'{"a":' * 500])
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('history')}/h.db"


@settings(max_examples=60, deadline=None)
@given(st.lists(lines(), max_size=3))
def test_files_of_an_earlier_session_may_hold_anything(
    tmp_path_factory: pytest.TempPathFactory, url: str, damaged: list[bytes]
) -> None:
    """faults 2.14: any JSON, any bytes in records.jsonl and journal.jsonl / every reader / a record is read
    what is none is left out and no reader raises."""
    results = tmp_path_factory.mktemp("damaged")
    session = results / "s1"
    session.mkdir()
    good = WHOLE.to_dict()
    content = b"\n".join([json.dumps(good).encode(), *damaged, b""])
    (session / "records.jsonl").write_bytes(content)
    finish = json.dumps({"event": "finish", "nodeid": "good", "record": good}).encode()
    (session / "journal.jsonl").write_bytes(b"\n".join([finish, *damaged, b""]))

    journal = Journal(session / "journal.jsonl")
    assert journal.finished()["good"] == WHOLE
    journal.started()
    found, notes = successes(results, "last")
    assert found["m"].outcome is Outcome.SUCCESS
    assert len(notes) <= 1
    for record in found.values():
        assert isinstance(record.resume_key, str)
    assert read_durations(results).known("m") is not None
    pages = read_records(results)
    assert pages.records
    assert len(pages.records) == 1 + len(damaged) or pages.notes
    render(page_of_records(pages.records, title="t", source="s", link=linker(results, [results])))
    Reasons(results).of(tuple(V2_COLUMNS), {})
    assert replay(url, session / "records.jsonl") <= 1 + len(damaged)


@settings(max_examples=60, deadline=None)
@given(JSON | st.lists(JSON, max_size=3), st.sampled_from(["", "model\n", '"', "\0\n", "a,b\n1\n"]))
def test_side_files_of_an_earlier_session_may_hold_anything(
    tmp_path_factory: pytest.TempPathFactory, content: Any, table: str
) -> None:
    """faults 2.14: any JSON in perf_super.json and its siblings / the end of a run / its records are added,
    or what was there is set aside with a note."""
    place = tmp_path_factory.mktemp("side")
    (place / "perf.csv").write_text("")
    for name in ("perf_super.json", "perf_entry.json", "common_info.json", "perf_entry_super.json"):
        (place / name).write_text(json.dumps(content))
    (place / "perf_super.csv").write_text(table)
    messages = SideFiles(place).finish([WHOLE])
    written = json.loads((place / "perf_super.json").read_text())
    assert written[-1]["model"] == "m_m_1"
    kept = len(written) > 1 or content == []
    assert kept or messages


def test_a_file_without_any_record_is_not_replayed(tmp_path: Path, url: str) -> None:
    """faults 2.14: another file / replay / an error that names its first line; a note beside records."""
    (tmp_path / "x.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match=r"x\.jsonl:1 holds no record"):
        replay(url, tmp_path / "x.jsonl")
    (tmp_path / "y.jsonl").write_text(json.dumps(WHOLE.to_dict()) + "\n{}\n[]\n")
    told: list[str] = []
    replay(url, tmp_path / "y.jsonl", told.append)
    assert told[0].startswith(f"2 lines left out: {tmp_path}/y.jsonl:2 holds no record")
