"""The exit status of a session agrees with its records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from pytest_madengine.results.record import Outcome, RunRecord


def lacks_hardware(records: Sequence[RunRecord]) -> bool:
    """True when nothing ran, and at least one item because of this host: a session that measured nothing."""
    return all(record.outcome is Outcome.SKIPPED for record in records) and any(
        record.lacks_hardware for record in records
    )


def exit_status(status: int, items: Iterable[RunRecord], *, sink_failed: bool, skipped_is_fine: bool) -> int:
    """What a session ends with, where pytest alone would call it a success.

    :param items: records of the model items; those of ``mad_run`` belong to the test that asked for them.
    :param skipped_is_fine: ``--mad-allow-no-hardware``.
    """
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return status
    records = list(items)
    if sink_failed or any(record.outcome is Outcome.FAILURE for record in records):
        return pytest.ExitCode.TESTS_FAILED
    if lacks_hardware(records) and not skipped_is_fine:
        return pytest.ExitCode.NO_TESTS_COLLECTED
    return status
