"""Models under pytest-xdist: how many workers, and the scheduler that knows GPUs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_madengine.catalog.files import names_model_file
from pytest_madengine.errors import MadError
from pytest_madengine.plugin.itemids import item_ids
from pytest_madengine.plugin.xdist.idle import IDLE_ID, WORKER_KEY, IdleWorker
from pytest_madengine.scheduling.pool import demand_of
from pytest_madengine.scheduling.slots import worker_count

if TYPE_CHECKING:
    from pytest_madengine.plan.gpus import GpuDemand
    from pytest_madengine.plugin.itemids import ItemIds
    from pytest_madengine.plugin.xdist.scheduler import Need, PackedScheduling
    from pytest_madengine.session.items import ItemSpec
    from pytest_madengine.session.session import MadSession

#: Modules that the first item of a worker needs, and not its collection.
FIRST_ITEM = (
    "pytest_madengine.pipeline.plan",
    "pytest_madengine.pipeline.image",
    "pytest_madengine.pipeline.record",
    "pytest_madengine.plugin.junit",
    "pytest_madengine.executors.docker.executor",
    "pytest_madengine.plan.builder",
    "pytest_madengine.plan.skips",
    "pytest_madengine.results.columns",
    "pytest_madengine.results.outcome",
    "pytest_madengine.scheduling.leases",
)


def register(config: pytest.Config, session: MadSession) -> None:
    """Registers what this process needs to run models in parallel, if it does.

    :raises pytest.UsageError: the warning about another scheduler is an error (``-W error``).
    """
    if session.worker:
        if WORKER_KEY in getattr(config, "workerinput", {}):
            config.pluginmanager.register(IdleWorker(FIRST_ITEM), "madengine-idle")
        return
    if not is_distributed(config) or session.plan_only or not session.selected:
        return
    why = why_stock_scheduling(config)
    if not why:
        config.pluginmanager.register(Parallel(session), "madengine-parallel")
        return
    from pytest_madengine.plugin.messages import MadWarning

    text = f"models are scheduled by xdist, without regard to GPUs: {why}"
    try:
        config.issue_config_time_warning(MadWarning(text), stacklevel=2)
    except MadWarning as warning:
        raise pytest.UsageError(str(warning)) from None


def is_distributed(config: pytest.Config) -> bool:
    """True when xdist is there and will start workers."""
    option = config.option
    return bool(
        config.pluginmanager.hasplugin("xdist")
        and getattr(option, "dist", "no") != "no"
        and getattr(option, "tx", None)
        and not option.collectonly
    )


def why_stock_scheduling(config: pytest.Config) -> str:
    """Why our scheduler cannot be used; empty when it can."""
    import xdist

    from pytest_madengine.plugin.xdist.scheduler import INTERFACE, VERSIONS

    if config.option.dist != "load":
        return f"--dist {config.option.dist} (--dist load, the default of -n, packs them)"
    if any(not str(spec).rpartition("*")[2].startswith("popen") for spec in config.option.tx):
        return "not all workers are processes of this host (--tx)"
    version = version_of(xdist.__version__)
    unknown = f"pytest-xdist {xdist.__version__} is not a version known to work"
    if not VERSIONS[0] <= version < VERSIONS[1]:
        return unknown
    try:
        from xdist.scheduler.protocol import Scheduling
    except ImportError:
        return unknown
    members = {name for name in vars(Scheduling) if not name.startswith("_")}
    return "" if members == INTERFACE else unknown


def version_of(text: str) -> tuple[int, int]:
    """``3.8.0`` -> (3, 8); (0, 0) for a text that is no version."""
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdecimal() and minor.isdecimal()):
        return 0, 0
    return int(major), int(minor)


def auto_workers(config: pytest.Config, session: MadSession) -> int | None:
    """The number of workers of ``-n auto``: of items that can run at once; ``None`` leaves it to xdist."""
    settings = session.settings
    if not session.selected or settings.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    cpus = len(os.sched_getaffinity(0))
    needs = [gpus_of(session, spec) for specs in session.items_by_file.values() for spec in specs]
    count = worker_count(needs, pool_size(session), cpus)
    if settings.cpus_per_model:
        count = max(1, min(count, cpus // settings.cpus_per_model))
    # Ordinary tests beside the models: nobody knows yet how many.
    only_models = config.args_source is not pytest.Config.ArgsSource.ARGS and settings.tags
    if not (only_models or all(map(names_model_file, config.args))):
        count = max(count, cpus)
    return count


def pool_size(session: MadSession) -> int:
    """Number of GPUs that items may use."""
    return len(pool_indices(session))


def pool_indices(session: MadSession) -> tuple[int, ...]:
    """The GPUs that items may use: the largest pool of an item."""
    demands = [gpu_demand(session, spec) for specs in session.items_by_file.values() for spec in specs]
    return max((demand.pool for demand in demands if demand is not None), key=len, default=())


class OtherSessions:
    """How many GPUs of our pool other sessions hold, when asked."""

    def __init__(self, session: MadSession) -> None:
        self._session = session
        self._pool = pool_indices(session)
        self._last = 0

    def __call__(self) -> int:
        """The number now; as before while somebody else decides about leases, 0 where nothing can be seen."""
        if not self._pool or self._session.plan_only:
            return 0
        try:
            holders = self._session.leases.holders(self._pool)
        except MadError:
            return 0  # the lease of the item says what is wrong
        if holders is not None:
            run_id = self._session.run_id
            self._last = sum(info.get("session", run_id) != run_id for info in holders.values())
        return self._last


def gpu_demand(session: MadSession, spec: ItemSpec) -> GpuDemand | None:
    """What an item asks the leases for; ``None`` when its setup will fail because of it."""
    try:
        return demand_of(session.context, spec.selected.model, session.settings)
    except MadError:
        return None


def gpus_of(session: MadSession, spec: ItemSpec) -> int:
    """GPUs that an item will hold; 0 also for one that will be skipped or fail before it gets any."""
    from pytest_madengine.pipeline.begin import skip_reason
    from pytest_madengine.pipeline.run import ItemRun

    demand = gpu_demand(session, spec)
    if demand is None or demand.count == 0 or spec.error is not None:
        return 0
    try:
        skipped = skip_reason(ItemRun(session, spec, spec.name))
    except MadError:
        return 0
    return 0 if skipped else demand.count


def needs_of(session: MadSession, ids: ItemIds, nodeids: Sequence[str]) -> Mapping[str, Need]:
    """GPUs and expected seconds of the model items among the node ids."""
    from pytest_madengine.plugin.xdist.scheduler import Need
    from pytest_madengine.scheduling.durations import read_durations

    found: dict[str, ItemSpec] = {}
    for nodeid in nodeids:
        spec = ids.spec(nodeid)
        if spec is not None:
            found[nodeid] = spec
    durations = read_durations(session.settings.results_dir, skip=session.run_id)
    expected = durations.expected((spec.name, time_limit(session, spec)) for spec in found.values())
    return {nodeid: Need(gpus_of(session, spec), expected[spec.name]) for nodeid, spec in found.items()}


def time_limit(session: MadSession, spec: ItemSpec) -> float | None:
    """The limit of a run that somebody has chosen for this model; ``None`` without one."""
    limit = spec.selected.model.timeout
    if session.settings.timeout is not None:
        limit = session.settings.timeout
    return None if limit is None else float(limit)


class Parallel:
    """Hooks of the controlling process."""

    def __init__(self, session: MadSession) -> None:
        self.session = session

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Asks the worker for the idle item."""
        node.workerinput[WORKER_KEY] = True

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Takes the idle item out of what is counted, shown and scheduled (in place, for all that follow)."""
        if ids and ids[-1] == IDLE_ID:
            del ids[-1]

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> PackedScheduling:
        """Our scheduler."""
        from xdist.workermanage import parse_tx_spec_config

        from pytest_madengine.plugin.xdist.scheduler import PackedScheduling

        return PackedScheduling(
            config,
            log,
            capacity=pool_size(self.session),
            workers=len(parse_tx_spec_config(config)),
            others=OtherSessions(self.session),
            needs=lambda nodeids: needs_of(self.session, item_ids(config), nodeids),
        )
