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
    "db": "--mad-db",
}
DIRECTORIES = {
    "results_dir": "--mad-results-dir",
    "report": "--mad-report",
    "force_mirror_local": "--mad-force-mirror-local",
}


def settings(place: Path, name: str, path: Path) -> Settings:
    if name == "db":
        return Settings(
            root=place, results_dir=place / "mad-results", output=place / "perf.csv", db=f"sqlite:///{path}"
        )
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
    for path in bad[2:] if name == "db" else bad:
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


@pytest.mark.parametrize(("name", "option"), [*FILES.items(), *DIRECTORIES.items()])
def test_links_that_lead_to_themselves_name_the_option(tmp_path: Path, name: str, option: str) -> None:
    """faults 2.12: an output below a symbolic link to itself / check / an error with the option."""
    (tmp_path / "loop").symlink_to("loop")
    if name == "db":  # nothing can be said of a directory that cannot be seen: the database is down
        check_outputs(settings(tmp_path, name, tmp_path / "loop/x.db"))
        return
    with pytest.raises(ConfigError, match=f"^{option}: "):
        check_outputs(settings(tmp_path, name, tmp_path / "loop/x.json"), data=True)


def test_a_database_in_a_directory_that_takes_no_file_is_refused() -> None:
    """faults 2.12: --mad-db with a file in /proc / check / an error with the option."""
    with pytest.raises(ConfigError, match=r"^--mad-db: /proc/x\.db cannot be written"):
        check_outputs(settings(Path("/tmp"), "db", Path("/proc/x.db")))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////absent/directory/x.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:/proc/x.db?mode=ro&uri=true",
        "mysql+pymysql://user:password@192.0.2.1:1/name",
        "postgresql://user@192.0.2.1:1/name",
    ],
)
def test_a_database_that_is_down_refuses_nothing(tmp_path: Path, url: str) -> None:
    """faults 2.12: a server that is down, a directory that is absent / check / accepted, nothing is made."""
    base = Settings(root=tmp_path, results_dir=tmp_path / "r", output=tmp_path / "perf.csv", db=url)
    check_outputs(base)
    assert list(tmp_path.iterdir()) == []
