"""Hooks that users may implement in a conftest or plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_madengine.data.provider import Provider
    from pytest_madengine.plan.runplan import RunPlan
    from pytest_madengine.results.record import Metric, RunRecord


@pytest.hookspec
def pytest_mad_result(config: pytest.Config, record: RunRecord) -> None:
    """Called once for every finished item, in the controlling process only, after perf.csv has its rows.

    A user sink is just an implementation of this hook.  An exception is reported at the end of the
    session and makes it fail; it does not disturb other items.  Example::

        def pytest_mad_result(config, record):
            for metric in record.metrics:
                print(record.model, record.outcome, metric.value, metric.name)
    """


@pytest.hookspec(firstresult=True)
def pytest_mad_parse_metrics(config: pytest.Config, plan: RunPlan, log: str) -> Sequence[Metric] | None:
    """Called after a run that ended with status 0, in the process that ran it; the first answer that is
    not ``None`` replaces the metrics found by the built-in rules.

    Values are read by the grammar of docs/reference/formats.md.  An answer that is empty or not a collection
    of metrics makes the run a FAILURE with a reason, and so does a metric without a value or with the outcome
    FAILURE.

    :param log: path of the complete (redacted) run log.

    Example, for models that print ``throughput=123``::

        import re
        from pathlib import Path
        from pytest_madengine import Metric

        def pytest_mad_parse_metrics(config, plan, log):
            found = re.findall(r"throughput=([0-9.]+)", Path(log).read_text())
            return [Metric(found[-1], "samples_per_second")] if found else None
    """


@pytest.hookspec(firstresult=True)
def pytest_mad_plan(config: pytest.Config, plan: RunPlan) -> RunPlan | None:
    """Called for every plan before it runs (also for ``--mad-plan``), in the process that runs it;
    the first answer that is not ``None`` replaces the plan.

    Example, a site that wants every run on a core set::

        import dataclasses

        def pytest_mad_plan(config, plan):
            options = dataclasses.replace(plan.options, cpuset_cpus="0-31")
            return dataclasses.replace(plan, options=options)
    """


@pytest.hookspec
def pytest_mad_finish(config: pytest.Config, records: Sequence[RunRecord]) -> None:
    """Called once at the end of a session with all its records, in the controlling process only.

    Example::

        def pytest_mad_finish(config, records):
            failed = [record.item_id for record in records if record.outcome == "FAILURE"]
            post_to_chat(f"{len(records)} models, failed: {', '.join(failed) or 'none'}")
    """


@pytest.hookspec
def pytest_mad_data_providers(config: pytest.Config) -> Sequence[Provider] | None:
    """Called once per process when the plugin becomes active; the providers are tried for every data name.

    One with the name of a built-in provider takes its place, others are tried last.  Subclass
    :class:`pytest_madengine.RemoteProvider` and give ``name`` and ``connect()``: cache, resume,
    retries and verification come with it.  Example, data of a company's store::

        from pytest_madengine import RemoteProvider

        class CompanyStore(RemoteProvider):
            name = "store"
            def connect(self, source, access):
                return company_store.open(source.path)

        def pytest_mad_data_providers(config):
            return [CompanyStore()]
    """
