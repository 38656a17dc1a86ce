"""The history store on SQLite: what goes in comes out, once (issue: history)."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_records import NASTY, make_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError, HistoryError
from pytest_madengine.history.replay import replay
from pytest_madengine.history.rowkeys import digest
from pytest_madengine.history.store import HistoryStore
from pytest_madengine.history.urls import DatabaseUrl
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.secrets import Secret


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/history.db"


@pytest.fixture
def store(url: str) -> Iterator[HistoryStore]:
    with HistoryStore(url, sleep=lambda seconds: None) as store:
        yield store


def test_a_record_comes_back_whole(store: HistoryStore) -> None:
    record = make_record(
        "m",
        "1.5",
        NASTY,
        metric=NASTY,
        reason=NASTY,
        exit_code=0,
        durations={"run": 1.0},
        log_tail=("a", "b"),
        warnings=("w",),
        attempts=make_record().attempts,
    )
    assert store.add([record]) == 1
    assert store.records("run1") == [record]
    assert store.records("run1", "m") == [record]
    assert store.records("run1", "other") == []
    (run,) = store.runs()
    assert run.to_dict() == {
        "run_id": "run1",
        "item_id": "m",
        "model": "m",
        "outcome": "SUCCESS",
        "reason": NASTY,
        "phase": "",
        "exit_code": 0,
        "started": "2026-11-23T21:00:00Z",
        "finished": "2026-11-23T21:10:00Z",
        "fingerprint": "f00d",
        "image": "ci-m",
        "image_digest": "sha256:1",
        "git_commit": "abc",
        "infrastructure": False,
        "hostname": "node1",
        "gpu_architecture": "gfx942",
        "gpu_product": "MI300X",
    }
    points = store.last("m", NASTY)
    assert {(point.value, point.number) for point in points} == {("1.5", 1.5), (NASTY, None)}


def test_adding_twice_adds_nothing(store: HistoryStore) -> None:
    records = [make_record(f"m{number}", "1") for number in range(450)]
    assert store.add(records) == 450
    assert store.add([*records, make_record("new", "1")]) == 1
    assert store.add(records * 2) == 0
    assert len(store.runs(limit=None)) == 451


def test_worker_nodes_are_left_out(store: HistoryStore) -> None:
    assert store.add([make_record("m", "1", has_row=False)]) == 0


def test_a_run_without_values_is_stored(store: HistoryStore) -> None:
    store.add([make_record("m", outcome=Outcome.FAILURE, reason="build failed", phase="build")])
    (run,) = store.runs(outcome="FAILURE")
    assert (run.reason, run.phase) == ("build failed", "build")
    assert store.runs(outcome="SUCCESS") == []


def test_rows_of_multiple_results(store: HistoryStore) -> None:
    metrics = (Metric("1", "sps", "a"), Metric("", "sps", "b", Outcome.FAILURE))
    record = dataclasses.replace(make_record("m", outcome=Outcome.FAILURE), metrics=metrics)
    store.add([record])
    assert [point.outcome for point in store.last("m_a", "sps")] == ["SUCCESS"]
    assert [(point.outcome, point.number) for point in store.last("m_b", "sps")] == [("FAILURE", None)]


def nights(count: int) -> list[RunRecord]:
    return [
        make_record(
            "m",
            str(number),
            run=f"run{number:02}",
            finished=f"2026-11-{number + 1:02}T00:00:00Z",
            fingerprint="even" if number % 2 == 0 else "odd",
            outcome=Outcome.FAILURE if number == 7 else Outcome.SUCCESS,
            host={"hostname": f"n{number % 3}", "gpu_product_name": "MI300X"},
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ({}, "9 8 7"),
        ({"fingerprint": "even"}, "8 6 4"),
        ({"outcome": "SUCCESS"}, "9 8 6"),
        ({"hostname": "n1"}, "7 4 1"),
        ({"gpu_product": "MI300X", "n_gpus": "8", "training_precision": "fp16"}, "9 8 7"),
        ({"hostname": "n1", "outcome": "SUCCESS", "fingerprint": "even"}, "4"),
        ({"hostname": "elsewhere"}, ""),
        ({"fingerprint": "x" * 100}, ""),
    ],
)
def test_last(store: HistoryStore, key: dict[str, str], values: str) -> None:
    """The newest first, within the key, whatever the order of arrival."""
    store.add(nights(10)[::-1])
    assert [point.value for point in store.last("m", "sps", 3, **key)] == values.split()
    assert store.last("m", "other") == []
    assert store.last("other", "sps") == []


def test_an_unknown_key_is_an_error(store: HistoryStore) -> None:
    with pytest.raises(ConfigError, match="unknown key driver"):
        store.last("m", "sps", driver="6")


def test_long_fingerprints_are_found(store: HistoryStore) -> None:
    store.add([make_record("m", "1", fingerprint="x" * 100)])
    assert len(store.last("m", "sps", fingerprint="x" * 100)) == 1


def test_runs_are_filtered(store: HistoryStore) -> None:
    store.add([*nights(10), make_record("other", "1")])
    assert [run.run_id for run in store.runs(model="m", limit=2)] == ["run09", "run08"]
    assert [run.run_id for run in store.runs(model="m", since="2026-11-10")] == ["run09"]
    assert [run.item_id for run in store.runs(run_id="run1")] == ["other"]
    with pytest.raises(ConfigError, match="is no time"):
        store.runs(since="yesterday")


@pytest.mark.parametrize(
    ("name", "run_id"),
    [("run03", "run03"), ("latest", "run09"), ("latest~2", "run07"), ("latest~0", "run09"), ("run%", None)],
)
def test_names_of_runs(store: HistoryStore, name: str, run_id: str | None) -> None:
    store.add(nights(10))
    if run_id is None:
        with pytest.raises(ConfigError, match="no run 'run%'"):
            store.records(name)
    else:
        assert [record.run_id for record in store.records(name)] == [run_id]


def test_ambiguous_and_missing_runs(store: HistoryStore) -> None:
    store.add(nights(10))
    with pytest.raises(ConfigError, match="several runs begin with 'run0'") as raised:
        store.records("run0")
    assert "run00" in raised.value.hint
    with pytest.raises(ConfigError, match="no run 'latest~10': 10 runs"):
        store.records("latest~10")


def test_compare(store: HistoryStore) -> None:
    a = make_record("m", "10", "20", "text", run="a")
    b = make_record("m", "5", "25", "text", run="b", fingerprint="other")
    store.add([a, b, make_record("only-a", "1", run="a"), make_record("only-b", "0", run="b")])
    found = store.compare("a", "b")
    assert [(entry.item_id, entry.ratio) for entry in found] == [
        ("m", 0.5),
        ("m", 1.25),
        ("m", None),
        ("only-a", None),
        ("only-b", None),
    ]
    assert not any(entry.comparable for entry in found)
    assert all(entry.comparable for entry in store.compare("a", "a"))
    assert json.loads(json.dumps(found[0].to_dict()))["a"]["value"] == "10"


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """A database without a store has no runs; it is not made by a question."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = path.read_bytes()
    with HistoryStore(f"sqlite:///{path}") as store:
        assert store.runs() == []
        assert store.last("m", "sps") == []
        assert store.records("latest") == []
        assert store.compare("a", "b") == []
        assert store.export(tmp_path / "x.csv") == 0
    assert path.read_bytes() == before


def test_times_of_all_kinds(store: HistoryStore) -> None:
    store.add(
        [
            make_record("offset", "1", finished="2026-11-23T23:00:00.500000+02:00"),
            make_record("nothing", "1", finished="", started=""),
            make_record("broken", "1", finished="soon", started="2026-01-01T00:00:00Z"),
        ]
    )
    times = {run.item_id: (run.started, run.finished) for run in store.runs()}
    assert times["offset"][1] == "2026-11-23T21:00:00Z"
    assert times["broken"] == ("2026-01-01T00:00:00Z",) * 2
    assert times["nothing"][0] == ""
    assert times["nothing"][1]


def test_a_run_id_without_end_is_refused(store: HistoryStore) -> None:
    with pytest.raises(ConfigError, match="more than 255"):
        store.add([make_record(run="x" * 256)])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(min_size=1), st.text(), st.text())
def test_any_text_is_stored(store: HistoryStore, item: str, value: str, metric: str) -> None:
    run = digest(item, value, metric)
    record = make_record(item, value, metric=metric, run=run)
    store.add([record])
    assert store.add([record]) == 0
    readable = [text.replace("\0", "").encode("utf-8", "backslashreplace").decode() for text in (item, value)]
    assert readable[1] in [point.value for point in store.last(item, metric, 1000)]
    assert record.to_dict() in [found.to_dict() for found in store.records(run, item)]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999", "14-18|32"])
def test_only_finite_numbers_are_numbers(store: HistoryStore, value: str) -> None:
    store.add([make_record("m", value)])
    (point,) = store.last("m", "sps")
    assert (point.value, point.number) == (value, None)


def test_a_database_that_is_down_is_one_clear_error(tmp_path: Path) -> None:
    waits: list[float] = []
    url = f"sqlite:///{tmp_path}/absent/history.db"
    with (
        HistoryStore(url, sleep=waits.append, hint="run later: x") as store,
        pytest.raises(HistoryError, match="unable to open database file") as raised,
    ):
        store.add([make_record("m", "1")])
    assert raised.value.hint == "run later: x"
    assert raised.value.infrastructure
    assert len(waits) == 2
    assert "\n" not in str(raised.value)


def test_what_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("hello " * 1000)
    with HistoryStore(f"sqlite:///{path}") as store, pytest.raises(HistoryError, match="not a database"):
        store.add([make_record("m", "1")])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is no database URL"),
        ("oracle://u:hush@h/d", "'oracle' is not supported"),
        ("postgresql://u:hush@h:port/d", "is no database URL"),
        ("postgresql+nodriver://u:hush@h/d", "driver of postgresql"),
        ("mysql+mysqldb://u:hush@h/d", "driver of mysql"),
    ],
)
def test_wrong_urls(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        HistoryStore(url)
    assert "hush" not in str(raised.value)


def test_replay(url: str, tmp_path: Path) -> None:
    """Replaying a session's records.jsonl is idempotent; a torn line was never a result."""
    path = tmp_path / "records.jsonl"
    lines = [json.dumps(make_record(f"m{number}", "1").to_dict()) for number in range(250)]
    path.write_text("\n".join([*lines[:10], lines[10][:50], *lines[10:]]) + "\n" + lines[0][:30], "utf-8")
    assert replay(url, path) == 250
    assert replay(DatabaseUrl(Secret(url)), path) == 0


@pytest.mark.parametrize("line", ["[]", "{}", "1", '{"run_id": 1}', '{"outcome": "x"}'])
def test_replaying_something_else(url: str, tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(line + "\n", "utf-8")
    with pytest.raises(ConfigError, match=r"x\.jsonl:1 holds no record"):
        replay(url, path)
    with pytest.raises(ConfigError, match="cannot be read"):
        replay(url, tmp_path / "absent.jsonl")


def test_a_failed_replay_says_how_to_repeat(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(make_record("m", "1").to_dict()) + "\n", "utf-8")
    url = f"sqlite:///{tmp_path}/absent/h.db"
    with pytest.raises(HistoryError) as raised:
        replay(url, path)
    assert raised.value.hint == f"run later: madengine history replay {path} --db-url {url}"
