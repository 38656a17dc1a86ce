"""The few places where private names of pytest are unavoidable, so that they can be watched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

import pytest


def add_suite_property(config: pytest.Config, name: str, value: str) -> None:
    """Adds a property to the ``<testsuite>`` of ``--junitxml``; without that option does nothing.

    pytest offers this only as a session fixture, which under xdist runs in workers and is lost.
    """
    from _pytest.junitxml import xml_key

    xml = config.stash.get(xml_key, None)
    if xml is not None:
        xml.add_global_property(name, value)


def uncaptured_stream(reporter: Any) -> IO[str] | None:
    """A stream of our own to where pytest's terminal writer writes.

    While a test runs, pytest's capture points file descriptor 1 elsewhere; a duplicate made before that
    (in ``pytest_configure``) still reaches the terminal.
    """
    file = getattr(getattr(reporter, "_tw", None), "_file", None)
    if file is None:
        return None
    try:
        number = os.dup(file.fileno())
    except (OSError, ValueError, AttributeError):
        return file  # type: ignore[no-any-return]  # not backed by a descriptor, so never redirected
    return os.fdopen(number, "w", encoding="utf-8", errors="replace", buffering=1)


def swap_terminal_file(reporter: Any, wrap: Any) -> IO[str] | None:
    """Replaces the file behind pytest's terminal writer by ``wrap(file)``; returns the old file."""
    writer = getattr(reporter, "_tw", None)
    file = getattr(writer, "_file", None)
    if writer is None or file is None:
        return None
    writer._file = wrap(file)
    return file  # type: ignore[no-any-return]


def load_conftests(config: pytest.Config, directory: Path) -> None:
    """Loads ``conftest.py`` of a directory and of those above it, as pytest does when it collects there.

    :raises pytest.UsageError: one cannot be imported.
    """
    from _pytest.config import ConftestImportFailure

    try:
        config.pluginmanager._loadconftestmodules(
            directory,
            config.getoption("importmode"),
            rootpath=config.rootpath,
            consider_namespace_packages=config.getini("consider_namespace_packages"),
        )
    except ConftestImportFailure as error:
        cause = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())
        raise pytest.UsageError(f"{error.path} cannot be imported: {cause}") from None
