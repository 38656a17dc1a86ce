"""Data sources of whole pytest runs."""

from __future__ import annotations

import json
from typing import Any

import pytest


def data_config(repo: Any, **names: Any) -> None:
    (repo.path / "data.json").write_text(json.dumps(names))


def test_local_data_is_recorded(repo: Any, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("x" * 2048)
    data_config(repo, d1={"local": str(tmp_path)})
    repo.model("m", 'echo "home $MAD_DATAHOME"; echo performance: 1 x', data="d1")
    repo.run("--mad-tags", "demo").assert_outcomes(passed=1)
    row = repo.rows()[0]
    assert (row["dataname"], row["data_provider_type"], row["data_download_duration"]) == ("d1", "local", "0")
    assert row["data_size"]
    assert any("home /data_dlm_0" in line for line in repo.records()[0]["log_tail"])


def test_an_unknown_data_name_is_a_failure_with_close_matches(repo: Any, tmp_path: Any) -> None:
    data_config(repo, imagenet={"local": str(tmp_path)})
    repo.model("m", data="imagnet").run("--mad-tags", "demo").assert_outcomes(errors=1)
    record = repo.records()[0]
    assert (record["phase"], record["outcome"]) == ("data", "FAILURE")
    assert record["reason"].startswith("data name 'imagnet' is not defined in")
    assert "imagenet" in record["reason"] + record["hint"]


def test_a_malformed_data_json_ends_before_anything_runs(repo: Any) -> None:
    (repo.path / "data.json").write_text("{")
    result = repo.model("m", data="d").run("--mad-tags", "demo")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*data.json*"])
    assert not repo.records()


def test_invalid_json_in_a_variable_names_the_variable(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_NODES", "[oops")
    data_config(repo, d={"nas": "/x"})
    result = repo.model("m", data="d").run("--mad-tags", "demo")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*NAS_NODES*"])
    assert "oops" not in result.stderr.str()


def test_a_provider_of_the_user(repo: Any, tmp_path: Any) -> None:
    """Hook pytest_mad_data_providers: one with a built-in name takes its place."""
    path = repo.path / "conftest.py"
    path.write_text(
        path.read_text()
        + f"""

class Here:
    name = "aws"
    fields = frozenset()

    def plan(self, source, access):
        return self.deliver(source, access)

    def deliver(self, source, access):
        from pytest_madengine.data.provider import Delivery

        return Delivery({str(tmp_path)!r}, read_only=True)


def pytest_mad_data_providers(config):
    return [Here()]
"""
    )
    data_config(repo, d={"aws": "s3://bucket/prefix"})
    repo.model("m", data="d").run("--mad-tags", "demo").assert_outcomes(passed=1)
    assert repo.rows()[0]["data_provider_type"] == "aws"
