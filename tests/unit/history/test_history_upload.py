"""perf.csv into dlm_table on SQLite (contract 18.1)."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from history_records import NASTY, write_csv
from pytest_madengine.errors import ConfigError, HistoryError
from pytest_madengine.history.upload import create_table, update_table
from pytest_madengine.history.urls import database_url
from pytest_madengine.results.columns import V1_COLUMNS, V2_COLUMNS


class Database:
    """A SQLite file, read past our code."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def query(self, text: str) -> list[Any]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(text).fetchall()
        finally:
            connection.close()

    def column(self, name: str) -> list[Any]:
        return [row[0] for row in self.query(f"SELECT {name} FROM dlm_table ORDER BY id")]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "dlm.db")


def row(performance: str = "1", **cells: str) -> dict[str, str]:
    return {"model": "m", "performance": performance, "metric": "sps", "status": "SUCCESS", **cells}


def upload(database: Database, tmp_path: Path, *rows: dict[str, str]) -> int:
    path = write_csv(tmp_path / "perf.csv", rows, V2_COLUMNS)
    return update_table(database.url, path).inserted


def test_the_table(database: Database) -> None:
    """18.1: id, created_date, the 29 columns, run_id; created only if absent."""
    assert create_table(database.url) == []
    assert create_table(database.url) == []
    names = [column[1] for column in database.query("PRAGMA table_info(dlm_table)")]
    assert names == ["id", "created_date", *V2_COLUMNS, "run_id"]


@pytest.mark.parametrize("columns", [V1_COLUMNS, V2_COLUMNS], ids=["v1", "v2"])
def test_the_same_file_twice(database: Database, tmp_path: Path, columns: tuple[str, ...]) -> None:
    """18.1: uploading the same file again inserts nothing, equal rows within it are kept."""
    rows = [{name: f"{name} {number // 2}" for name in columns} for number in range(1000)]
    path = write_csv(tmp_path / "perf.csv", rows, columns)
    first = update_table(database.url, path)
    assert (first.rows, first.inserted, first.warnings) == (1000, 1000, ())
    again = update_table(database.url, path)
    assert (again.rows, again.inserted) == (1000, 0)
    stored = database.query(f"SELECT {', '.join(columns)} FROM dlm_table ORDER BY id")
    assert stored == [tuple(entry.values()) for entry in rows]
    assert set(database.column("run_id")) == {first.run_id}
    if columns is V1_COLUMNS:
        assert set(database.column("nnodes")) == {None}


def test_a_file_that_has_grown(database: Database, tmp_path: Path) -> None:
    assert upload(database, tmp_path, row("1"), row("1")) == 2
    assert upload(database, tmp_path, row("1"), row("1"), row("1")) == 1
    assert len(set(database.column("run_id"))) == 2


def test_another_file_with_some_equal_rows(database: Database, tmp_path: Path) -> None:
    """A failure looks the same every night; each night has its row."""
    failure = row("", status="FAILURE")
    assert upload(database, tmp_path, row("1"), failure) == 2
    assert upload(database, tmp_path, row("2"), failure) == 2


def test_the_run_id_of_the_file_wins(database: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "p.csv", [row(run_id="nightly-7")], [*V2_COLUMNS, "run_id"])
    assert update_table(database.url, path).warnings == ()
    assert database.column("run_id") == ["nightly-7"]


@pytest.mark.parametrize(
    ("earlier", "new", "change"),
    [
        ([], row("10"), None),
        ([row("10"), row("20")], row("30"), "200.0"),
        ([row(value) for value in ["1", "10", "10", "10", "10", "10"]], row("5"), "50.0"),
        ([row("10"), row("0-1")], row("5"), "50.0"),
        ([row("10", metric="other")], row("5"), None),
        ([row("10", base_docker="other")], row("5"), None),
        ([row("10", model="other")], row("5"), None),
        ([row("10", gpu_architecture="other")], row("5"), None),
        ([row("10", status="FAILURE")], row("5"), None),
        ([row("10")], row("0-1"), None),
        ([row("10")], row("5", status="FAILURE"), None),
        ([row("0")], row("5"), None),
        ([row("10")], row(""), None),
        ([row("10")], row("5", relative_change="77"), "77"),
        ([row("10", relative_change="77")], row("5"), "50.0"),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["one file", "grown file"])
def test_relative_change(
    database: Database,
    tmp_path: Path,
    earlier: list[dict[str, str]],
    new: dict[str, str],
    change: str | None,
    together: bool,
) -> None:
    """18.1, vectors of relative_change, from rows of the same upload or of earlier ones."""
    if not together:
        upload(database, tmp_path, *earlier)
    upload(database, tmp_path, *earlier, new)
    assert database.column("relative_change")[-1] == change


def test_relative_change_looks_past_text(database: Database, tmp_path: Path) -> None:
    """18.1: five numeric rows count, however many texts lie between."""
    earlier = [row("100"), row("10"), *[row("text")] * 200, row("20"), row("30")]
    upload(database, tmp_path, *earlier)
    upload(database, tmp_path, *earlier, row("40"))
    assert database.column("relative_change")[-1] == "100.0"


def test_nothing_becomes_null_and_unknown_columns_warn(database: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "p.csv", [row("NaN", args="", temperature="5")], [*V2_COLUMNS, "temperature"])
    result = update_table(database.url, path)
    assert result.warnings == (f"{path}: column 'temperature' is not uploaded",)
    assert database.query("SELECT performance, args, tags FROM dlm_table") == [(None, None, None)]


def test_cells_are_values(database: Database, tmp_path: Path) -> None:
    """Defect 37: given CSV values with quotes and `); DROP TABLE` / when they are uploaded / then they are
    stored literally."""
    rows = [{name: f"{NASTY} {name}" for name in V2_COLUMNS}]
    assert upload(database, tmp_path, *rows) == 1
    assert database.query(f"SELECT {', '.join(V2_COLUMNS)} FROM dlm_table") == [tuple(rows[0].values())]


def test_entries_fill_empty_cells(database: Database, tmp_path: Path) -> None:
    """18.1: --model-json-path fills n_gpus, training_precision, tags, args from the entry of that name."""
    models = tmp_path / "models.json"
    models.write_text(
        '[{"name": "m", "n_gpus": "8", "tags": ["a", "b"], "args": "--x", "url": "u"}]', "utf-8"
    )
    path = write_csv(tmp_path / "p.csv", [row(args="--own"), row(model="other")], V2_COLUMNS)
    update_table(database.url, path, models)
    assert database.query("SELECT n_gpus, training_precision, tags, args FROM dlm_table ORDER BY id") == [
        ("8", None, "a,b", "--own"),
        (None, None, None, None),
    ]


def test_a_table_of_the_predecessor(database: Database, tmp_path: Path) -> None:
    """A dlm_table with columns missing is completed, its rows stay and count as earlier ones."""
    old = [name for name in V1_COLUMNS if name not in ("dataname", "data_size")]
    database.query(
        "CREATE TABLE dlm_table (id INTEGER PRIMARY KEY, created_date TIMESTAMP, "
        + ", ".join(f"{name} VARCHAR(80)" for name in old)
        + ")"
    )
    database.query(
        "INSERT INTO dlm_table (model, performance, metric, status) VALUES ('m', '10', 'sps', 'SUCCESS')"
    )
    path = write_csv(tmp_path / "p.csv", [row("5")], V2_COLUMNS)
    assert update_table(database.url, path).inserted == 1
    assert database.column("performance") == ["10", "5"]
    assert database.column("relative_change") == [None, "50.0"]


def test_columns_lost_later_are_added_again(database: Database) -> None:
    create_table(database.url)
    database.query("ALTER TABLE dlm_table DROP COLUMN data_size")
    assert create_table(database.url) == ["data_size"]


def test_a_table_that_was_emptied_is_filled_again(database: Database, tmp_path: Path) -> None:
    assert upload(database, tmp_path, row()) == 1
    database.query("DELETE FROM dlm_table")
    assert upload(database, tmp_path, row()) == 1
    database.query("DROP TABLE dlm_table")
    assert upload(database, tmp_path, row()) == 1


def test_a_file_without_rows(database: Database, tmp_path: Path) -> None:
    assert upload(database, tmp_path) == 0


def test_wrong_files_change_nothing(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        update_table(database.url, tmp_path / "absent.csv")
    assert not database.path.exists()


def test_a_failed_upload_says_how_to_repeat(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "p.csv", [row()], V2_COLUMNS)
    models = tmp_path / "models.json"
    models.write_text("[]", "utf-8")
    target = database_url(None, {"MAD_DB_URL": f"sqlite:///{tmp_path}/absent/x.db"})
    with pytest.raises(HistoryError) as raised:
        update_table(target, path, models)
    assert raised.value.hint == (
        f"run later: madengine database update-table --csv-file-path {path} --model-json-path {models}"
    )
