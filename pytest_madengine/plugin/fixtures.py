"""The public fixtures.  Every one may be overridden in a conftest; names and types are API.

Order for a model item: ``mad_context``, ``mad_credentials``, ``mad_model``, ``mad_image``, ``mad_data``,
``mad_artifacts`` and last ``mad_gpus``: a GPU is not held while an image builds or data loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_madengine.catalog.model import Model
    from pytest_madengine.context.types import Context
    from pytest_madengine.pipeline.run import ItemRun
    from pytest_madengine.plan.runplan import DataMount, Image, Lease
    from pytest_madengine.results.record import RunRecord
    from pytest_madengine.session.session import MadSession


def _session(request: pytest.FixtureRequest) -> MadSession:
    from pytest_madengine.plugin.keys import session_key

    session = request.config.stash.get(session_key, None)
    if session is None:
        raise pytest.UsageError(
            "pytest-madengine is not active: give --mad-root DIR, or set mad = true in the ini file"
        )
    return session


def _run(request: pytest.FixtureRequest) -> ItemRun:
    from pytest_madengine.plugin.keys import run_key

    run: ItemRun | None = request.node.stash.get(run_key, None)
    if run is None:
        raise pytest.UsageError(f"{request.fixturename} belongs to model items; in a test use mad_run")
    return run


@pytest.fixture(scope="session")
def mad_context(request: pytest.FixtureRequest) -> Context:
    """The merged :class:`~pytest_madengine.context.types.Context` of the session."""
    return _session(request).merged_context


@pytest.fixture(scope="session")
def mad_credentials(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """The credentials: the object of ``credential.json``.  Override it to use a vault::

        @pytest.fixture(scope="session")
        def mad_credentials():
            return {"AMD_GITHUB": {"username": "ci", "password": vault.read("github")}}

    Plain texts are treated as secrets unless their field is public (``username``, ``host``, ...).
    """
    return _session(request).credentials


@pytest.fixture
def mad_model(request: pytest.FixtureRequest, mad_context: Context, mad_credentials: Any) -> Model:
    """The :class:`~pytest_madengine.catalog.model.Model` of this item; skips it where it cannot run."""
    from pytest_madengine.pipeline.begin import check_credential, skip_reason

    run = _run(request)
    _use(run, mad_context, mad_credentials)
    reason = skip_reason(run)
    if reason:
        pytest.skip(reason)
    check_credential(run)
    return run.spec.selected.model


@pytest.fixture
def mad_image(request: pytest.FixtureRequest, mad_model: Model) -> Image:
    """The :class:`~pytest_madengine.plan.runplan.Image` of this item, built or pulled."""
    run = _run(request)
    image = run.prepare_image()
    # A build phase pushes in its call: a push that fails is a failed test.
    return image if run.session.settings.build_only or run.session.plan_only else run.push_image()


@pytest.fixture
def mad_data(request: pytest.FixtureRequest, mad_model: Model) -> Iterator[tuple[DataMount, ...]]:
    """The :class:`~pytest_madengine.plan.runplan.DataMount` of every data name of the model."""
    run = _run(request)
    try:
        yield run.prepare_data()
    finally:
        run.release_data()


@pytest.fixture
def mad_artifacts(request: pytest.FixtureRequest) -> Path:
    """Directory in which the collected files of this item stay."""
    run = _run(request)
    if not run.session.plan_only:
        run.artifacts.mkdir(parents=True, exist_ok=True)
    return run.artifacts


@pytest.fixture
def mad_gpus(
    request: pytest.FixtureRequest,
    mad_model: Model,
    mad_image: Image,
    mad_data: tuple[DataMount, ...],
) -> Iterator[Lease]:
    """The :class:`~pytest_madengine.plan.runplan.Lease` of the GPUs of this item; given back at the end."""
    run = _run(request)
    held = run.acquire_gpus()
    try:
        yield run.lease
    finally:
        run.release_gpus(held)


@pytest.fixture
def mad_run(
    request: pytest.FixtureRequest, mad_context: Context, mad_credentials: Any
) -> Callable[[str], RunRecord]:
    """Runs a model inside a plain test and returns its record, whatever the outcome::

        def test_scaling(mad_run):
            one, two = mad_run("bert:gpus=1"), mad_run("bert:gpus=2")
            assert two.metrics[0].number > 1.8 * one.metrics[0].number

    The record goes to all sinks like that of an item.
    """
    from pytest_madengine.plugin.runner import run_selector

    session = _session(request)

    def call(selector: str) -> RunRecord:
        return run_selector(request, session, selector, lambda run: _use(run, mad_context, mad_credentials))

    return call


def _use(run: ItemRun, context: Context, credentials: Mapping[str, Any]) -> None:
    """Takes over what a conftest may have overridden."""
    from pytest_madengine.context.types import Context
    from pytest_madengine.credentials import typed
    from pytest_madengine.plugin.overrides import checked
    from pytest_madengine.secrets import secrets_in

    run.session.use_context(checked("mad_context", context, Context))
    run.credentials = typed(checked("mad_credentials", credentials, Mapping))  # type: ignore[type-abstract]
    run.session.redactor.add(*secrets_in(run.credentials))
