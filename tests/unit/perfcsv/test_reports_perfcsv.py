"""Contract 12.4: perf.csv is append-only, with one lock and constant work."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError, ResultError
from pytest_madengine.perfcsv.table import PerfCsv
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.results.rows import V1_COLUMNS, V2_COLUMNS, build_columns

V2_HEADER = ",".join(V2_COLUMNS)


def record(model: str = "m", *metrics: Metric, **fields: Any) -> RunRecord:
    values: dict[str, Any] = {"outcome": Outcome.SUCCESS, "columns": build_columns(n_gpus=8, n_gpus_entry=-1)}
    return RunRecord("r", "i", model, metrics=metrics or (Metric("21750", "sps"),), **{**values, **fields})


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, skipinitialspace=True))


@pytest.mark.parametrize(("schema", "columns"), [("v1", V1_COLUMNS), ("v2", V2_COLUMNS)])
def test_new_file(tmp_path: Path, schema: str, columns: tuple[str, ...]) -> None:
    path = tmp_path / "new" / "perf.csv"
    PerfCsv(path, schema).check()
    assert not path.parent.exists()
    written = PerfCsv(path, schema).append(record())
    assert path.read_text().splitlines()[0] == ",".join(columns)
    assert rows(path) == written
    assert written[0]["n_gpus"] == ("-1" if schema == "v1" else "8")


def test_unknown_schema(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mad_perf_csv_schema is 'v3'"):
        PerfCsv(tmp_path / "perf.csv", "v3")


def test_existing_v1_header_with_blanks(tmp_path: Path) -> None:
    """Contract 12.4: v1 order, `,` without blank; header bytes unchanged."""
    path = tmp_path / "perf.csv"
    before = (", ".join(V1_COLUMNS) + "\n").encode()
    path.write_bytes(before)
    (row,) = PerfCsv(path).append(record())
    content = path.read_bytes()
    assert content.startswith(before)
    assert content[len(before) :].decode() == ",".join(row.values()) + "\n"
    assert (list(row), row["n_gpus"]) == (list(V1_COLUMNS), "-1")


def test_v2_header_with_an_extra_column(tmp_path: Path) -> None:
    """Contract 12.4: filled from multiple results."""
    path = tmp_path / "perf.csv"
    path.write_text(f"{V2_HEADER},temperature\n")
    PerfCsv(path).append(
        record("m", Metric("1", "a", row="1", extra={"temperature": "55"}), Metric("2", "b"))
    )
    assert [row["temperature"] for row in rows(path)] == ["55", ""]


def test_foreign_order(tmp_path: Path) -> None:
    """Contract 12.4: four values in that order."""
    path = tmp_path / "perf.csv"
    path.write_text("status,performance,metric,model\n")
    PerfCsv(path).append(record())
    assert path.read_text() == "status,performance,metric,model\nSUCCESS,21750,sps,m\n"


def test_values_stay_text_and_old_bytes_stay(tmp_path: Path) -> None:
    """Defect 12: given perf.csv with `21750` / append / old bytes unchanged, no `21750.0`."""
    path = tmp_path / "perf.csv"
    before = b"model,performance,status\nold,21750,SUCCESS\n\xff odd,007,SUCCESS\n"
    path.write_bytes(before)
    PerfCsv(path).append(record("new", Metric("21750", "x")))
    assert path.read_bytes() == before + b"new,21750,SUCCESS\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"model,performance,status", b"model,performance,status\nm,21750,SUCCESS\n"),
        (b"model,performance,status\na,1,S", b"model,performance,status\na,1,S\nm,21750,SUCCESS\n"),
        (b"model,performance,status\r\na,1,S", b"model,performance,status\r\na,1,S\r\nm,21750,SUCCESS\r\n"),
        (
            b"\xef\xbb\xbfmodel,performance,status\n",
            b"\xef\xbb\xbfmodel,performance,status\nm,21750,SUCCESS\n",
        ),
        (b'"model", "performance","status" \n', b'"model", "performance","status" \nm,21750,SUCCESS\n'),
    ],
)
def test_final_newline_and_line_ends(tmp_path: Path, before: bytes, after: bytes) -> None:
    """Contract 12.4: a missing final newline is added first; the style of the file is kept."""
    path = tmp_path / "perf.csv"
    path.write_bytes(before)
    PerfCsv(path).check()
    PerfCsv(path).append(record())
    assert path.read_bytes() == after


def test_empty_file_is_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "perf.csv"
    path.touch()
    PerfCsv(path).check()
    PerfCsv(path).append(record())
    assert len(rows(path)) == 1


def test_worker_node_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "perf.csv"
    assert PerfCsv(path).append(record(has_row=False)) == []
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "column"),
    [
        (b"performance,status\n", "model"),
        (b"model,status\n", "performance"),
        (b"model,performance\n", "status"),
        (b"Model,Performance,Status\n", "model, performance, status"),
        (b"model;performance;status\n", "model, performance, status"),
        (b"\n", "model"),
        (b"\x00\xff\x89PNG\r\n", "model"),
        (b"\r\r\r", "model"),
        (b"x" * 200_000, "model"),
    ],
    ids=range(9),
)
def test_foreign_files_are_refused_and_untouched(tmp_path: Path, content: bytes, column: str) -> None:
    """Contract 12.4: a usage error before anything runs."""
    path = tmp_path / "perf.csv"
    path.write_bytes(content)
    for call in (PerfCsv(path).check, lambda: PerfCsv(path).append(record())):
        with pytest.raises(ConfigError, match=f"is no perf.csv: its header has no column {column}"):
            call()
    assert path.read_bytes() == content


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory"):
        PerfCsv(tmp_path).check()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="is not a regular file"):
        PerfCsv(tmp_path / "fifo").check()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError):
        PerfCsv(tmp_path / "file" / "perf.csv").check()
    with pytest.raises(ConfigError, match="cannot be used"):
        PerfCsv(tmp_path / ("x" * 300)).check()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError):
        PerfCsv(tmp_path / "loop" / "perf.csv").check()


@pytest.mark.parametrize("exists", [True, False])
def test_not_writable(tmp_path: Path, exists: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "perf.csv"
    if exists:
        path.write_text(f"{V2_HEADER}\n")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match="is not writable"):
        PerfCsv(path).check()


def test_append_that_cannot_open_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultError, match="the row of m cannot be written"):
        PerfCsv(tmp_path / "file" / "perf.csv").append(record())


_FULL = """
import resource, sys
from pathlib import Path
from pytest_madengine.errors import ResultError
from pytest_madengine.perfcsv.table import PerfCsv
from pytest_madengine.results.record import Metric, Outcome, RunRecord
path = Path(sys.argv[1])
limit = path.stat().st_size + 10
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    record = RunRecord("r", "i", "a-long-model-name", Outcome.SUCCESS, metrics=(Metric("1", "x"),))
    PerfCsv(path).append(record)
except ResultError as error:
    print(error.message, error.hint)
"""


def test_full_disk_leaves_no_half_row(tmp_path: Path) -> None:
    """Given no room for the whole row / append / a clear error, the file as it was, the next row is fine."""
    path = tmp_path / "perf.csv"
    PerfCsv(path).append(record())
    before = path.read_bytes()
    output = subprocess.run(
        [sys.executable, "-c", _FULL, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert "the row of a-long-model-name cannot be written: File too large" in output
    assert "free some space" in output
    assert path.read_bytes() == before
    PerfCsv(path).append(record("next"))
    assert [row["model"] for row in rows(path)] == ["m", "next"]


_WRITER = """
import sys
from pathlib import Path
from pytest_madengine.perfcsv.table import PerfCsv
from pytest_madengine.results.record import Metric, Outcome, RunRecord
output = PerfCsv(Path(sys.argv[1]))
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    metrics = (Metric(str(number), "a"), Metric(f"{number}.0", "quoted, \\n" + "x" * 5000))
    output.append(RunRecord("r", "i", f"w{sys.argv[2]}", Outcome.SUCCESS, metrics=metrics))
"""


def test_concurrent_writers_lose_nothing(tmp_path: Path) -> None:
    """Defect 12: given several processes that start a file together / append / every row once, one header."""
    path = tmp_path / "perf.csv"
    processes, count = 4, 40
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(index), str(count)], stdin=subprocess.PIPE
        )
        for index in range(processes)
    ]
    for writer in writers:
        writer.communicate(b"\n", timeout=60)
    assert [writer.returncode for writer in writers] == [0] * processes
    found = rows(path)
    assert len(found) == processes * count * 2
    for index in range(processes):
        mine = [row["performance"] for row in found if row["model"] == f"w{index}"]
        assert mine == [text for number in range(count) for text in (str(number), f"{number}.0")]


def test_append_does_not_read_the_file(tmp_path: Path) -> None:
    """Defect 55: given a perf.csv of a gigabyte / append / constant work (bytes that the process reads)."""
    path = tmp_path / "perf.csv"
    path.write_text(f"{V2_HEADER}\n")
    os.truncate(path, 1_000_000_000)
    output = PerfCsv(path)
    output.append(record())
    start = _bytes_read()
    output.append(record())
    assert _bytes_read() - start < 100_000


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize("replacement", [None, f"{V2_HEADER}\n"])
def test_file_that_was_moved_away_while_waiting(
    tmp_path: Path, replacement: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a file that is moved away while we wait for its lock / append / the row is in the new file."""
    path, old = tmp_path / "perf.csv", tmp_path / "old.csv"
    path.write_text(f"{V2_HEADER}\n")
    real = fcntl.flock

    def wait(stream: Any, operation: int) -> None:
        if not old.exists():
            path.rename(old)
            if replacement:
                path.write_text(replacement)
        real(stream, operation)

    monkeypatch.setattr(fcntl, "flock", wait)
    PerfCsv(path).append(record("late"))
    assert [row["model"] for row in rows(path)] == ["late"]
    assert rows(old) == []


CELL = st.text(max_size=20)


@given(st.lists(st.tuples(CELL.filter(bool), CELL, CELL), min_size=1, max_size=4))
def test_any_text_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str, str]]
) -> None:
    """Values are written as text and never break the file; NUL, which no CSV can hold, is dropped."""
    path = tmp_path_factory.getbasetemp() / "property.csv"
    path.unlink(missing_ok=True)
    output = PerfCsv(path)
    for model, value, name in cells:
        output.append(record(model, Metric(value, name)))
    expected = [tuple(text.replace("\0", "") for text in entry) for entry in cells]
    content = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert all(len(row) == len(V2_COLUMNS) for row in content)
    index = [V2_COLUMNS.index(name) for name in ("model", "performance", "metric")]
    assert [tuple(row[i] for i in index) for row in content[1:]] == expected


def test_an_interrupt_while_the_disk_is_waited_for_keeps_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a row that is written / an interrupt during fsync / the row stays, whole."""

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "perf.csv"
    PerfCsv(path).append(record("first"))
    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        PerfCsv(path).append(record("second"))
    with path.open(newline="") as stream:
        assert [row["model"] for row in csv.DictReader(stream)] == ["first", "second"]
