"""``madengine history`` and ``compare``: filters, forms, exit statuses."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from history_records import make_record
from pytest_madengine.cli.app import make_app
from pytest_madengine.cli.comparing import judge
from pytest_madengine.cli.listing import plain
from pytest_madengine.gate.compare import compare_points
from pytest_madengine.history.store import HistoryStore
from pytest_madengine.results.point import Point
from pytest_madengine.results.record import Outcome
from typer.testing import CliRunner

APP = make_app("madengine")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with two runs, also as MAD_DB_URL."""
    url = f"sqlite:///{tmp_path}/history.db"
    monkeypatch.setenv("MAD_DB_URL", url)
    monkeypatch.chdir(tmp_path)
    night = {"started": "2026-11-24T21:00:00Z", "finished": "2026-11-24T21:10:00Z"}
    with HistoryStore(url) as store:
        store.add([make_record("m", "100", "7"), make_record("n", "10", metric="latency_ms")])
        store.add([make_record("gone", "1"), make_record("other", "1"), make_record("away", "1")])
        store.add(
            [
                make_record("m", "90", "7", run="run2", **night),
                make_record("n", "8", metric="latency_ms", run="run2", **night),
                make_record("gone", outcome=Outcome.FAILURE, reason="exit \x1b[1m7", run="run2", **night),
                make_record("other", "2", fingerprint="beef", run="run2", **night),
                make_record("new", "5", metric="widgets", run="run2", **night),
            ]
        )
    return url


def call(*words: str, status: int = 0, **environment: str) -> str:
    """Standard output of a command that ends with this status; errors follow."""
    result = CliRunner().invoke(APP, list(words), env=environment)
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ([], 10),
        (["--model", "m"], 2),
        (["--outcome", "FAILURE"], 1),
        (["--status", "failure"], 1),
        (["--since", "2026-11-24"], 5),
        (["--run", "latest"], 5),
        (["--run", "run1"], 5),
        (["--limit", "3"], 3),
        (["--limit", "0"], 10),
        (["--model", "m", "--run", "latest~1"], 1),
    ],
)
def test_list(url: str, options: list[str], count: int) -> None:
    assert len(json.loads(call("history", "list", *options, "--format", "json"))) == count
    rows = list(csv.DictReader(io.StringIO(call("history", "list", *options, "--format", "csv"))))
    assert len(rows) == count
    assert f"{count} result{'s' * (count != 1)} in sqlite:///" in call(
        "history", "list", *options, "--format", "table"
    )


def test_list_as_a_plain_table(url: str) -> None:
    """In a pipe every row is one complete line, and nothing controls the terminal."""
    lines = call("history", "list", "--db-url", url, "--run", "latest").splitlines()
    assert lines[1].split() == ["finished", "run", "item", "outcome", "host", "GPU", "reason"]
    failed = next(line for line in lines if "FAILURE" in line)
    assert failed.split("  ")[0] == "2026-11-24T21:10:00Z"
    assert r"exit \x1b[1m7" in failed
    assert "\x1b" not in failed


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--outcome", "GOOD"],
        ["list", "--limit", "-1"],
        ["list", "--since", "yesterday"],
        ["list", "--run", "absent"],
        ["list", "--db-url", "nonsense"],
        ["show", "absent"],
        ["show", "latest", "mm"],
        ["compare", "latest~9"],
        ["compare", "--threshold", "-1"],
        ["compare", "--threshold", "nan"],
        ["export", "x.xlsx"],
        ["replay", "absent.jsonl"],
        ["show"],
        ["list", "--nonsense"],
    ],
)
def test_wrong_arguments(url: str, words: list[str]) -> None:
    assert call("history", *words, status=4)


def test_groups_alone_show_their_help() -> None:
    assert "replay" in call("history")


def test_a_database_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at nothing makes nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAD_DB_URL", raising=False)
    assert "there is no history database" in call("history", "list", status=1)
    assert list(tmp_path.iterdir()) == []


def test_show(url: str) -> None:
    text = call("history", "show", "run1", "m")
    for part in ("m\n", "SUCCESS", "node1 gfx942 MI300X", "ci-m sha256:1", "f00d", "100", "sps"):
        assert part in text
    assert r"exit \x1b[1m7" in call("history", "show", "latest")


def test_show_in_other_forms(url: str) -> None:
    records = json.loads(call("history", "show", "latest", "--format", "json"))
    assert [record["item_id"] for record in records] == ["m", "n", "gone", "other", "new"]
    rows = list(csv.DictReader(io.StringIO(call("history", "show", "run1", "m", "--format", "csv"))))
    assert [(row["model"], row["performance"], row["run_id"]) for row in rows] == [
        ("m", "100", "run1"),
        ("m", "7", "run1"),
    ]


def test_an_item_that_is_not_there_has_a_hint(url: str) -> None:
    assert "it has" in call("history", "show", "latest", "othre", status=4)


@pytest.mark.parametrize("command", [["compare"], ["history", "compare"]])
def test_compare(url: str, command: list[str]) -> None:
    """latest~1 and latest by default; what cannot be compared is marked."""
    text = call(*command)
    found = {tuple(line.split()[:4]): line for line in text.splitlines()[2:]}
    assert found["m", "m", "sps", "100"].endswith("-10.00 %  worse")
    assert found["m", "m", "sps", "7"].endswith("equal")
    assert found["n", "n", "latency_ms", "10"].endswith("-20.00 %  better")
    assert found["gone", "gone", "sps", "1"].endswith("gone")
    assert found["away", "away", "sps", "1"].endswith("not run")
    assert found["other", "other", "sps", "1"].endswith("+100.00 %  not comparable")
    assert found["new", "new", "widgets", "-"].endswith("new")
    assert text.splitlines()[-1] == "1 worse, 1 gone, 1 better, 1 equal, 1 not comparable, 1 not run, 1 new"


def test_compare_in_other_forms(url: str) -> None:
    found = json.loads(call("compare", "run1", "run2", "--format", "json"))
    assert [one["verdict"] for one in found][:2] == ["worse", "equal"]
    assert found[0]["change_percent"] == pytest.approx(-10)
    rows = list(csv.DictReader(io.StringIO(call("compare", "run1", "run2", "--format", "csv"))))
    assert [float(row["change"]) for row in rows[:2]] == pytest.approx([-10, 0])


@pytest.mark.parametrize(
    ("threshold", "named"), [("5", ["m: sps worse", "gone: sps gone"]), ("15", ["gone: sps gone"])]
)
def test_threshold(url: str, threshold: str, named: list[str]) -> None:
    """Only comparable values are judged; an item that ran and lost its value is worse than any change."""
    text = call("compare", "--threshold", threshold, status=1)
    warnings = [line for line in text.splitlines() if line.startswith("WARNING")]
    assert [":".join(line.split(":")[1:3]).strip() for line in warnings] == named


def test_threshold_is_kept(url: str) -> None:
    assert call("compare", "run1", "run1", "--threshold", "0")


def test_nothing_to_compare(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    url = f"sqlite:///{tmp_path}/empty.db"
    assert "has no runs" in call("compare", "--db-url", url, "--threshold", "5", status=4)
    with HistoryStore(url) as store:
        store.create()
    assert "0 runs are stored" in call("compare", "--db-url", url, "--threshold", "5", status=4)


def point(value: str, metric: str = "sps", **fields: str) -> Point:
    texts = dict.fromkeys(Point.__dataclass_fields__, "")
    number = float(value) if value.lstrip("-").replace(".", "").isdigit() else None
    values: dict[str, Any] = {**texts, "item_id": "m", "model": "m", "fingerprint": "f", **fields}
    return Point(**{**values, "metric": metric, "value": value, "number": number})


@pytest.mark.parametrize(
    ("metric", "before", "after", "verdict"),
    [
        ("samples_per_second", "10", "9", "worse"),
        ("samples_per_second", "10", "11", "better"),
        ("ttft_ms", "10", "11", "worse"),
        ("ttft_ms", "10", "9", "better"),
        ("widgets", "10", "9", "changed"),
        ("widgets", "10", "10.0", "equal"),
        ("sps", "0", "5", "no number"),
        ("sps", "0-1", "0-1", "equal"),
        ("loss", "-10", "-11", "better"),
    ],
)
def test_verdicts(metric: str, before: str, after: str, verdict: str) -> None:
    (one,) = judge(compare_points([point(before, metric)], [point(after, metric)]), {"m"}, 0)
    assert one.verdict == verdict
    assert one.failed is (verdict == "worse")


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_export(url: str, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"out.{form}"
    assert "12 rows written" in call("history", "export", str(path))
    assert "6 rows written" in call("history", "export", str(path), "--run", "latest~0", "--db-url", url)
    other = tmp_path / "other"
    assert "4 rows written" in call("history", "export", str(other), "--format", form, "--model", "m")
    assert path.stat().st_size > 0


def test_replay(url: str, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    records = [make_record(f"r{number}", "1", run="run3") for number in range(3)]
    path.write_text("".join(json.dumps(record.to_dict()) + "\n" for record in records))
    assert "3 records stored in sqlite:///" in call("history", "replay", str(path))
    assert "0 records stored" in call("history", "replay", str(path), "--db-url", url)


def test_plain_columns() -> None:
    rows = [{"a": "x", "n": 1.5}, {"a": None, "n": 20}]
    assert plain(("a", "n"), rows, ("n",)) == "a    n\nx  1.5\n-   20\n"


@pytest.mark.parametrize(("width", "columns"), [(80, 5), (160, 7)])
def test_a_table_in_a_terminal(url: str, width: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow terminal does without host and GPU; times and run ids stay whole."""
    monkeypatch.setenv("COLUMNS", str(width))
    output = b""
    main, terminal = pty.openpty()
    program = [sys.executable, "-m", "pytest_madengine", "history", "list", "--run", "latest"]
    with subprocess.Popen(
        program, stdout=terminal, stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm"}
    ) as child:
        os.close(terminal)
        with contextlib.suppress(OSError):  # the other end is closed
            while chunk := os.read(main, 4096):
                output += chunk
        assert child.wait() == 0
    os.close(main)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", output.decode()).splitlines()
    assert len(lines[2].split()) == columns
    assert sum("2026-11-24T21:10:00Z" in line for line in lines) == 5
    assert all(len(line) <= width for line in lines[1:])
