"""Contract 12.4 and 12.5: from a record to rows."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_madengine.results.columns import seconds
from pytest_madengine.results.record import Metric, Outcome, RunRecord
from pytest_madengine.results.rows import (
    V1_COLUMNS,
    V2_COLUMNS,
    build_columns,
    file_rows,
    record_rows,
    super_records,
)

V2_HEADER = (
    "model,n_gpus,nnodes,gpus_per_node,training_precision,pipeline,args,tags,docker_file,base_docker,docker_sha,"
    "docker_image,git_commit,machine_name,deployment_type,launcher,gpu_architecture,performance,metric,"
    "relative_change,status,build_duration,test_duration,dataname,data_provider_type,data_size,"
    "data_download_duration,build_number,additional_docker_run_options"
)
V1_HEADER = (
    "model,n_gpus,training_precision,pipeline,args,tags,docker_file,base_docker,docker_sha,docker_image,git_commit,"
    "machine_name,gpu_architecture,performance,metric,relative_change,status,build_duration,test_duration,dataname,"
    "data_provider_type,data_size,data_download_duration,build_number,additional_docker_run_options"
)


def record(*metrics: Metric, outcome: Outcome = Outcome.SUCCESS, **fields: Any) -> RunRecord:
    columns = build_columns(n_gpus=8, n_gpus_entry=-1, tags=["a", "b"], test_duration=12.3456)
    values = {"columns": columns, "metrics": metrics, **fields}
    return RunRecord(run_id="r", item_id="i", model="d/m", outcome=outcome, **values)


def test_headers() -> None:
    """Contract 12.4."""
    assert ",".join(V2_COLUMNS) == V2_HEADER
    assert ",".join(V1_COLUMNS) == V1_HEADER
    assert (len(V2_COLUMNS), len(V1_COLUMNS)) == (29, 25)


def test_one_row_per_metric_with_all_columns() -> None:
    rows = record_rows(record(Metric("1", "a"), Metric("2", "b")))
    assert [list(row) for row in rows] == [list(V2_COLUMNS)] * 2
    assert [(row["model"], row["performance"], row["metric"], row["status"]) for row in rows] == [
        ("d/m", "1", "a", "SUCCESS"),
        ("d/m", "2", "b", "SUCCESS"),
    ]
    assert rows[0]["tags"] == "a,b"
    assert (rows[0]["n_gpus"], rows[0]["nnodes"], rows[0]["gpus_per_node"]) == ("8", "1", "8")


@pytest.mark.parametrize("outcome", [Outcome.FAILURE, Outcome.SKIPPED])
def test_every_item_has_a_row(outcome: Outcome) -> None:
    """Contract 12.2."""
    (row,) = record_rows(record(outcome=outcome))
    assert (row["performance"], row["metric"], row["status"]) == ("", "", str(outcome))


def test_record_without_columns() -> None:
    """A failure before anything was known still has a complete row."""
    (row,) = record_rows(RunRecord("r", "i", "m", Outcome.FAILURE))
    assert list(row) == list(V2_COLUMNS)


def test_worker_node_has_no_row() -> None:
    assert record_rows(record(has_row=False)) == []
    assert super_records(record(has_row=False)) == ([], [])


def test_v1_meaning_of_n_gpus() -> None:
    """Contract 12.4: `-1` stays in a v1 file."""
    assert file_rows(record(Metric("1", "a")), V1_COLUMNS)[0]["n_gpus"] == "-1"
    plain = RunRecord("r", "i", "m", Outcome.SUCCESS, columns={"n_gpus": "2"})
    assert file_rows(plain, V1_COLUMNS)[0]["n_gpus"] == "2"


def test_rows_of_multiple_results() -> None:
    """Contract 12.3: names, replaced cells, extra columns only where the header has them."""
    metric = Metric("5", "x", row="1", overrides={"n_gpus": "4", "args": ""}, extra={"temperature": "55"})
    (row,) = record_rows(record(metric))
    assert (row["model"], row["n_gpus"]) == ("d/m_1", "4")
    assert "temperature" not in row
    (row,) = file_rows(record(metric), ["status", "temperature", "n_gpus", "foreign", "model"])
    assert row == {
        "status": "SUCCESS",
        "temperature": "55",
        "n_gpus": "4",
        "foreign": "",
        "model": "d/m_1",
    }


@pytest.mark.parametrize(
    ("outcome", "metrics", "expected"),
    [
        ("FAILURE", ["SUCCESS", "FAILURE"], ["SUCCESS", "FAILURE"]),
        ("FAILURE", ["SUCCESS", "SUCCESS"], ["FAILURE", "FAILURE"]),
        ("SUCCESS", ["SUCCESS"], ["SUCCESS"]),
        ("SKIPPED", ["SUCCESS"], ["SKIPPED"]),
    ],
)
def test_a_failed_item_never_has_only_successful_rows(
    outcome: str, metrics: list[str], expected: list[str]
) -> None:
    entries = [Metric("1", "a", row=str(n), outcome=Outcome(text)) for n, text in enumerate(metrics)]
    rows = record_rows(record(*entries, outcome=Outcome(outcome)))
    assert [row["status"] for row in rows] == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0"),
        (0.0, "0"),
        (12.345, "12.345"),
        (12.3456, "12.346"),
        (7200.0, "7200"),
        (100, "100"),
        (1e-9, "0"),
    ],
)
def test_durations(value: float | None, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("deployment", "launcher", "expected"),
    [
        ("local", "", "docker"),
        ("slurm", "", "docker"),
        ("kubernetes", "", "native"),
        ("local", "torchrun", "torchrun"),
        ("other", "", ""),
    ],
)
def test_launcher_cell(deployment: str, launcher: str, expected: str) -> None:
    """Contract 12.4."""
    assert build_columns(deployment_type=deployment, launcher=launcher)["launcher"] == expected


def test_columns_of_several_nodes_and_data_sources() -> None:
    columns = build_columns(
        n_gpus=16,
        nnodes=2,
        gpus_per_node=8,
        data=[
            {"name": "d1", "provider": "local", "size": "1.2G", "duration": 0.0},
            {"name": "d2", "provider": "minio", "size": "3M", "duration": 1.25},
        ],
    )
    assert (columns["n_gpus"], columns["nnodes"], columns["gpus_per_node"]) == ("16", "2", "8")
    assert columns["dataname"] == "d1,d2"
    assert columns["data_provider_type"] == "local,minio"
    assert columns["data_size"] == "1.2G,3M"
    assert columns["data_download_duration"] == "0,1.25"
    assert columns["build_number"] == "0"
    assert columns["build_duration"] == ""


def test_every_super_record_has_test_duration() -> None:
    """Defect 15: given multiple results / when projected / then every perf_super record has it."""
    entries, warnings = super_records(
        record(Metric("1", "a", row="x", extra={"t": "5"}), Metric("2", "b", row="y"))
    )
    assert [entry["test_duration"] for entry in entries] == ["12.346", "12.346"]
    assert [entry["multi_results"] for entry in entries] == [{"t": "5"}, None]
    assert list(entries[0]) == [*V2_COLUMNS, "configs", "multi_results"]
    assert warnings == []


def test_configs_are_matched_per_row_for_csv_only() -> None:
    """Contract 12.6."""
    configs = [{"model": "x", "b": "1"}, {"model": "y", "b": "2"}]
    metrics = [Metric("1", "a", row="y"), Metric("1", "a", row="q")]
    entries, warnings = super_records(record(*metrics, columns={"args": "--config c.csv"}, configs=configs))
    assert [entry["configs"] for entry in entries] == [configs[1], configs[0]]
    assert len(warnings) == 1
    assert warnings[0].startswith("d/m_q: ")
    entries, warnings = super_records(record(*metrics, columns={"args": "--config c.json"}, configs=configs))
    assert [entry["configs"] for entry in entries] == [configs, configs]
    assert warnings == []
    single = record(columns={"args": "--config c.csv"}, configs=[{"model": "d/m", "b": "3"}, {"model": "z"}])
    assert super_records(single)[0][0]["configs"] == {"model": "d/m", "b": "3"}
