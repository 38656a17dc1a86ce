"""The few places where private names of pytest are unavoidable, so that they can be watched."""

from __future__ import annotations

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


def swap_terminal_file(reporter: Any, wrap: Any) -> IO[str] | None:
    """Replaces the file behind pytest's terminal writer by ``wrap(file)``; returns the old file."""
    writer = getattr(reporter, "_tw", None)
    file = getattr(writer, "_file", None)
    if writer is None or file is None:
        return None
    writer._file = wrap(file)
    return file  # type: ignore[no-any-return]
