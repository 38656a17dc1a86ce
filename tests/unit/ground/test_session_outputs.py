"""Every output of a session is tried before anything runs (faults 2.12)."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.errors import ConfigError
from pytest_madengine.session.outputs import check_outputs
from pytest_madengine.settings import Settings

FILES = {
    "output": "--mad-output",
    "summary_output": "--mad-summary-output",
    "build_summary": "--mad-build-summary",
    "run_summary": "--mad-run-summary",
    "openmetrics": "--mad-openmetrics",
    "benchmark_json": "--mad-benchmark-json",
    "manifest_out": "--mad-manifest-out",
    "summary": "GITHUB_STEP_SUMMARY",
}
DIRECTORIES = {
    "results_dir": "--mad-results-dir",
    "report": "--mad-report",
    "force_mirror_local": "--mad-force-mirror-local",
}


def settings(place: Path, name: str, path: Path) -> Settings:
    base = Settings(root=place, results_dir=place / "mad-results", output=place / "perf.csv")
    value: Any = path
    if name == "summary":
        return dataclasses.replace(base, environ={"GITHUB_STEP_SUMMARY": str(path)})
    return dataclasses.replace(base, **{name: value})


@pytest.mark.parametrize(("name", "option"), [*FILES.items(), *DIRECTORIES.items()])
def test_a_place_that_cannot_be_written_names_its_option(tmp_path: Path, name: str, option: str) -> None:
    """faults 2.12: an output below a file, below /proc, or a directory / check / an error with the option."""
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    bad = [tmp_path / "file/below/x.json", Path("/proc/no-such-directory/x.json")]
    bad.append(tmp_path / ("file" if name in DIRECTORIES else "directory"))
    for path in bad:
        with pytest.raises(ConfigError, match=f"^{option}: "):
            check_outputs(settings(tmp_path, name, path), data=True)


@pytest.mark.parametrize("name", [*FILES, *DIRECTORIES])
def test_what_can_be_written_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    """faults 2.12: a new place below new directories / check / accepted, nothing is made."""
    path = tmp_path / "new/er/x.json"
    check_outputs(settings(tmp_path, name, path), data=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("output", "summary")])
def test_a_device_is_never_replaced(tmp_path: Path, name: str) -> None:
    """faults 2.12: an output that is a FIFO / check / refused: the file would be put in its place."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="is not a regular file"):
        check_outputs(settings(tmp_path, name, tmp_path / "fifo"))
