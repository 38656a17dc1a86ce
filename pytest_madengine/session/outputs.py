"""What a session will write is tried before anything runs: nobody wants to learn of it hours later."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_madengine.errors import ConfigError
from pytest_madengine.util.files import try_directory

if TYPE_CHECKING:
    from pytest_madengine.settings import Settings


def check_outputs(settings: Settings, *, data: bool = False) -> None:
    """Tries every place that a session with these settings writes to; leaves nothing behind.

    :param data: models of the session have data.
    :raises ConfigError: one cannot be written; the message names the option.
    """
    tried: set[Path] = set()
    for option, path in _files(settings):
        _check_file(option, path)
        _check_directory(option, path, _resolved(option, path).parent, tried)
    for option, path in _directories(settings, data):
        _check_directory(option, path, _resolved(option, path), tried)
    _check_database(settings, tried)
    summary = settings.environ.get("GITHUB_STEP_SUMMARY") if settings.github_summary else ""
    if summary:
        _check_appended("GITHUB_STEP_SUMMARY", Path(summary), tried)


def places(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Everything that a session with these settings writes, by option; data excepted."""
    for option, path in _files(settings):
        yield option, path.parent if option == "--mad-report" else path
    yield from _directories(settings, data=False)


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Files that are replaced as a whole, by the option that names them."""
    files = {
        "--mad-output": settings.output,
        "--mad-manifest-out": None if settings.manifest is not None else settings.manifest_out,
        "--mad-summary-output": settings.summary_output,
        "--mad-build-summary": settings.build_summary,
        "--mad-run-summary": settings.run_summary,
        "--mad-openmetrics": settings.openmetrics,
        "--mad-benchmark-json": settings.benchmark_json,
        "--mad-report": None if settings.report is None else settings.report / "index.html",
    }
    for option, path in files.items():
        if path is not None:
            yield option, path


def _directories(settings: Settings, data: bool) -> Iterator[tuple[str, Path]]:
    yield "--mad-results-dir", settings.results_dir
    if data and settings.force_mirror_local is not None:
        yield "--mad-force-mirror-local", settings.force_mirror_local


def _check_database(settings: Settings, tried: set[Path]) -> None:
    """Of databases only a file of ours: one that is down fails no run, and its results can be stored later.

    So can those of a file in a directory that is not there: it may be a mount that comes back.
    """
    if not settings.db:
        return
    from pytest_madengine.history.urls import database_url

    file = database_url(settings.db, settings.environ, settings.known_hosts).file
    if file is not None and file.parent.is_dir():
        _check_file("--mad-db", file)
        _check_directory("--mad-db", file, _resolved("--mad-db", file).parent, tried)


def _check_file(option: str, path: Path) -> None:
    try:
        if path.is_dir():
            raise _unusable(option, path, "it is a directory")
        if path.exists() and not path.is_file():
            raise _unusable(option, path, "it is not a regular file")
        if path.exists() and option in ("--mad-output", "--mad-db"):
            with path.open("ab"):
                pass
    except OSError as error:
        raise _unusable(option, path, error.strerror or str(error)) from None


def _check_appended(option: str, path: Path, tried: set[Path]) -> None:
    try:
        if path.exists():
            with path.open("ab"):
                return
    except OSError as error:
        raise _unusable(option, path, error.strerror or str(error)) from None
    _check_directory(option, path, _resolved(option, path).parent, tried)


def _check_directory(option: str, path: Path, directory: Path, tried: set[Path]) -> None:
    """A directory that exists, or the nearest one above it, in which it will be made."""
    try:
        while not os.path.lexists(directory) and directory != directory.parent:
            directory = directory.parent
        if directory in tried:
            return
        if not directory.is_dir():
            raise _unusable(option, path, f"{directory} is not a directory")
        try_directory(directory)
    except OSError as error:
        raise _unusable(option, path, f"{directory}: {error.strerror or error}") from None
    tried.add(directory)


def _resolved(option: str, path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError before Python 3.13
        raise _unusable(option, path, "its symbolic links lead to themselves") from None


def _unusable(option: str, path: Path, why: str) -> ConfigError:
    hint = f"choose another place for {option}"
    return ConfigError(f"{option}: {path} cannot be written: {why}", hint=hint)
