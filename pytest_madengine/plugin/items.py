"""Collectors and the model item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_madengine.plugin.garbage import garbage_collector_paused
from pytest_madengine.plugin.keys import run_key, session_key
from pytest_madengine.plugin.markers import markers_key
from pytest_madengine.plugin.overrides import checked

if TYPE_CHECKING:
    from pytest_madengine.pipeline.run import ItemRun
    from pytest_madengine.plan.runplan import DataMount, Image, Lease
    from pytest_madengine.session.items import ItemSpec
    from pytest_madengine.session.session import MadSession


def run_model(
    mad_model: Any,
    mad_image: Image,
    mad_data: tuple[DataMount, ...],
    mad_artifacts: Path,
    mad_gpus: Lease,
    subtests: pytest.Subtests,
    request: pytest.FixtureRequest,
) -> None:
    """Runs one model in its container and asserts on its verdict (the body of every model item).

    :raises MadError: the outcome is FAILURE; the message is the reason.
    :raises PerformanceRegression: it is a SUCCESS, and worse than its history or its reference.
    """
    __tracebackhide__ = True
    from pytest_madengine.plan.runplan import Lease
    from pytest_madengine.results.multiple import failing_part
    from pytest_madengine.results.record import Outcome

    run: ItemRun = request.node.stash[run_key]
    _take_fixtures(run, mad_model, mad_image)
    run.data = _data_mounts(mad_data)
    run.lease = checked("mad_gpus", mad_gpus, Lease)
    run.make_plan()
    if run.session.plan_only:
        show_plan(request.config, run)
        pytest.skip("planned, not run (--mad-plan)")
    verdict = run.execute()
    run.in_subtest = True
    for metric in verdict.metrics:
        if metric.row:
            with subtests.test(msg=metric.row):
                if metric.outcome is Outcome.FAILURE:
                    why = failing_part(metric)
                    pytest.fail(f"{run.model_name}_{metric.row} has {why}", pytrace=False)
    run.in_subtest = False
    if verdict.outcome is Outcome.SKIPPED:
        pytest.skip(verdict.reason)
    if verdict.outcome is Outcome.FAILURE:
        raise run.error_of(verdict)
    if run.gate.failures:
        from pytest_madengine.errors import PerformanceRegression

        raise PerformanceRegression("; ".join(run.gate.failures))
    if run.gate.expected:
        pytest.xfail(run.gate.expected)


def build_model(
    mad_model: Any, mad_image: Image, mad_artifacts: Path, request: pytest.FixtureRequest
) -> None:
    """Pushes the image of one model, which its setup built (the body of every item of a build phase).

    :raises MadError: the push failed.
    """
    __tracebackhide__ = True
    from pytest_madengine.results.record import Outcome

    run: ItemRun = request.node.stash[run_key]
    _take_fixtures(run, mad_model, mad_image)
    if run.session.plan_only:
        pytest.skip("an image is built, nothing is run (--mad-build-only)")
    run.push_image()
    reference = run.push.get("reference")
    run.decide(Outcome.SUCCESS, f"built and pushed as {reference}" if reference else "built")


def _take_fixtures(run: ItemRun, model: object, image: object) -> None:
    from pytest_madengine.catalog.model import Model
    from pytest_madengine.plan.runplan import Image

    checked("mad_model", model, Model)
    run.image = checked("mad_image", image, Image)


def _data_mounts(value: object) -> tuple[DataMount, ...]:
    from pytest_madengine.plan.runplan import DataMount

    mounts = value if isinstance(value, list) else checked("mad_data", value, tuple)
    return tuple(checked("mad_data (an entry)", mount, DataMount) for mount in mounts)


def show_plan(config: pytest.Config, run: ItemRun) -> None:
    """Prints the plan of an item (``--mad-plan``) past pytest's capture."""
    from pytest_madengine.plan.view import render_plan

    assert run.plan is not None
    text = render_plan(run.plan, run.session.redactor)
    capture = config.pluginmanager.getplugin("capturemanager")
    terminal = config.get_terminal_writer()
    with capture.global_and_fixture_disabled():
        terminal.line()
        terminal.line(text)


class MadFile(pytest.Module):
    """``models.json``, ``get_models_json.py`` or a build manifest as a collector of model items.

    A ``pytest.Module`` so that module-scoped fixtures work; nothing is imported.
    """

    obj = None

    def collect(self) -> Iterable[pytest.Item]:
        """The selected items of this file."""
        session: MadSession = self.config.stash[session_key]
        with garbage_collector_paused():
            yield from self._items(session.items_by_file.get(session.source_of(self.path), ()))

    def _items(self, specs: Iterable[ItemSpec]) -> Iterator[MadItem]:
        fixtures: Any = None
        build_only = self.config.stash[session_key].settings.build_only
        body = build_model if build_only else run_model
        for spec in specs:
            item = MadItem.from_parent(self, name=spec.name, callobj=body, fixtureinfo=fixtures)
            item.set_spec(spec)
            # The same for all items of the file, and costly to compute.
            fixtures = item._fixtureinfo
            yield item


class MadItem(pytest.Function):
    """One model with its parameters and Dockerfile as a test."""

    spec: ItemSpec

    def set_spec(self, spec: ItemSpec) -> None:
        """Attaches what the item stands for; its tags become markers."""
        self.spec = spec
        tags = spec.selected.model.tags
        marks = self.config.stash[markers_key].of(tags)
        # What add_marker() does for each of them, for all of them at once.
        self.own_markers += marks
        self.keywords.update((mark.name, mark) for mark in marks)
        self.extra_keyword_matches.update(tags)

    def reportinfo(self) -> tuple[Path, int, str]:
        """The entry's file: a model has no line of Python to point at."""
        return self.path, 0, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """At most 15 lines for an error of the model; a traceback only for other exceptions."""
        from pytest_madengine.errors import MadError

        if isinstance(excinfo.value, MadError) and run_key in self.stash:
            return "\n".join(self.stash[run_key].failure_lines(excinfo.value))
        return super().repr_failure(excinfo)
