"""GPU selection, contract 10.5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_samples import context, facts, model, settings
from pytest_madengine.context.types import Context, Gpu, HostFacts
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.gpus import GpuDemand, demand_in, gpu_need, gpu_pool, parse_gpu_list, pool_and_need


@pytest.mark.parametrize(
    ("listed", "system", "need", "expected"),
    [
        ("0,2-4,5-5,7", 8, -1, GpuDemand((0, 2, 3, 4, 5, 7), 6)),
        ("0,2-4,5-5,7", 8, 2, GpuDemand((0, 2, 3, 4, 5, 7), 2)),
        ("0-7", 8, -1, GpuDemand(tuple(range(8)), 8)),
        ("7, 0 ,0", 8, -1, GpuDemand((0, 7), 2)),
        ("0-3", 4, 0, GpuDemand((), 0)),
    ],
)
def test_contract_10_5_pool(listed: str, system: int, need: int, expected: GpuDemand) -> None:
    """Contract 10.5, rows with a result; also defect 63: integer -1 means all GPUs."""
    chosen = context({"docker_gpus": listed}, host=facts(count=system))
    assert pool_and_need(chosen, model(n_gpus=need), settings()) == expected


@pytest.mark.parametrize(
    ("listed", "need", "text"),
    [
        ("0,2-4,5-5,7", 7, "Too many gpus requested(7). System has 8 gpus. Context has 6 gpus."),
        ("9", 1, "GPU 9 of docker_gpus does not exist (system has 8)"),
    ],
)
def test_contract_10_5_failures(listed: str, need: int, text: str) -> None:
    """Contract 10.5, rows that are a FAILURE with an exact text."""
    with pytest.raises(PlanError) as caught:
        pool_and_need(context({"docker_gpus": listed}), model(n_gpus=need), settings())
    assert caught.value.message == text


@pytest.mark.parametrize(("text", "part"), [("3-1", "3-1"), ("a", "a"), ("0,1-", "1-"), ("0,,1", "''")])
def test_contract_10_5_malformed_lists_name_the_part(text: str, part: str) -> None:
    """Contract 10.5: usage error naming the part."""
    with pytest.raises(ConfigError, match=part):
        parse_gpu_list(text)


def test_empty_list_is_empty() -> None:
    assert parse_gpu_list(" ") == ()


@given(st.text(alphabet="0123456789-, ab", max_size=20) | st.text(max_size=10))
def test_any_text_is_a_sorted_list_or_a_usage_error(text: str) -> None:
    try:
        found = parse_gpu_list(text)
    except ConfigError:
        return
    assert list(found) == sorted(set(found))


@given(st.sets(st.integers(0, 200)))
def test_lists_read_back_what_was_written(indices: set[int]) -> None:
    assert parse_gpu_list(",".join(map(str, indices))) == tuple(sorted(indices))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, 3),
        ({"n_gpus": 2}, 2),
        ({"n_gpus": "2"}, 2),
        ({"gpus_per_node": 4, "gpu_count": 5, "n_gpus": 6, "num_gpus": 7, "ngpus": 8}, 4),
        ({"gpu_count": 5, "n_gpus": 6, "ngpus": 8}, 5),
        ({"num_gpus": 7, "ngpus": 8}, 7),
        ({"ngpus": -1}, -1),
        ({"slurm": {"gpus_per_node": 8}}, 8),
        ({"k8s": {"gpu_count": 6}}, 6),
        ({"kubernetes": {"gpu_count": 6}, "n_gpus": 1}, 1),
    ],
)
def test_count_precedence(values: dict[str, object], expected: int) -> None:
    """Contract 10.5: context alias > slurm/k8s block > model."""
    assert gpu_need(model(n_gpus=3), context(values)) == expected


@pytest.mark.parametrize("value", ["two", True, 1.5, -2, ""])
def test_a_count_of_the_context_that_is_none(value: object) -> None:
    with pytest.raises(ConfigError, match="n_gpus"):
        gpu_need(model(), context({"n_gpus": value}))


def test_mad_gpus_narrows_the_pool() -> None:
    chosen = context({"docker_gpus": "0-3"})
    assert pool_and_need(chosen, model(n_gpus=-1), settings(gpus="2-5")) == GpuDemand((2, 3), 2)
    with pytest.raises(PlanError, match="GPU 11 of --mad-gpus does not exist"):
        pool_and_need(chosen, model(), settings(gpus="11"))


def test_mad_cpu_needs_no_gpu() -> None:
    assert pool_and_need(context(), model(n_gpus=-1), settings(cpu=True)).count == 0


def test_all_of_no_gpus_is_not_a_run_without_devices() -> None:
    with pytest.raises(PlanError, match="Context has 0 gpus"):
        pool_and_need(context(host=facts("CPU", 0)), model(n_gpus=-1), settings())


def _unequal() -> HostFacts:
    """GPUs 0, 2, 3, 5: one of its own kind, three equal ones."""
    gpus = tuple(
        Gpu(index, f"0000:{index:02x}:00.0", architecture=kind, kind=kind)
        for index, kind in ((0, "gfx1030"), (2, "gfx1100"), (3, "gfx1100"), (5, "gfx1100"))
    )
    return HostFacts(gpu_vendor="AMD", gpus=gpus)


@pytest.mark.parametrize(
    ("listed", "need", "expected"),
    [
        (None, -1, GpuDemand((2, 3, 5), 3)),
        (None, 2, GpuDemand((2, 3, 5), 2)),
        ("0,2", -1, GpuDemand((0,), 1)),
        ("5", 1, GpuDemand((5,), 1)),
        ("0", -1, GpuDemand((0,), 1)),
        (None, 4, "Too many gpus requested(4). System has 4 gpus. Context has 3 gpus of one kind."),
        ("1", 1, "GPU 1 of docker_gpus does not exist (system has 4: 0,2-3,5)"),
        ("4", 1, "GPU 4 of docker_gpus does not exist (system has 4: 0,2-3,5)"),
    ],
)
def test_gaps_and_unequal_kinds(listed: str | None, need: int, expected: GpuDemand | str) -> None:
    """faults 3.4: given a host with gaps and two kinds / then -1 takes one kind, a run never mixes them."""
    chosen = Context({} if listed is None else {"docker_gpus": listed}, facts=_unequal())
    if isinstance(expected, str):
        with pytest.raises(PlanError) as caught:
            demand_in(need, chosen.facts, gpu_pool(chosen, settings()))
        assert caught.value.message == expected
    else:
        assert demand_in(need, chosen.facts, gpu_pool(chosen, settings())) == expected
