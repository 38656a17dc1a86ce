"""The idle item inside a worker's loop, which is pytest's own loop over ``session.items``."""

from __future__ import annotations

import sys

import pytest
from pytest_madengine.plugin.xdist.idle import IDLE_ID, IdleWorker


class Seen:
    """What other plugins and xdist see."""

    def __init__(self) -> None:
        self.modified: list[str] = []
        self.collected: list[str] = []
        self.started: list[str] = []
        self.imported: list[bool] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.modified = [item.nodeid for item in items]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.collected = [item.nodeid for item in session.items]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.started.append(nodeid)
        self.imported.append("colorsys" in sys.modules)


def test_it_comes_last_runs_nothing_and_reports_nothing(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile("def test_a(): pass\ndef test_b(): pass\n")
    seen = Seen()
    sys.modules.pop("colorsys", None)
    result = pytester.inline_run("-p", "no:madengine", path, plugins=[IdleWorker(["colorsys"]), seen])
    result.assertoutcome(passed=2)
    names = [f"{path.name}::test_a", f"{path.name}::test_b"]
    assert seen.modified == names
    assert seen.collected == [*names, IDLE_ID]
    assert seen.started == names
    assert seen.imported == [True, True]


def test_session_fixtures_end_at_a_last_idle_item(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def session():
            yield
            raise ValueError("late trouble")

        def test_a(): pass
        """
    )
    result = pytester.inline_run("-p", "no:madengine", path, plugins=[IdleWorker()])
    passed, skipped, failed = result.listoutcomes()
    assert [report.nodeid for report in passed] == [f"{path.name}::test_a"]
    assert not skipped
    (report,) = failed
    assert (report.nodeid, report.when) == (IDLE_ID, "teardown")
    assert "late trouble" in str(report.longrepr)
