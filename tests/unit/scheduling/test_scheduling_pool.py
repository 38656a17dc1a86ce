"""The pool of an item: the caller's environment, docker_gpus, --mad-gpus, in that order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context, Gpu, HostFacts
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.gpus import GpuDemand
from pytest_madengine.scheduling.pool import demand_of, visible_gpus
from pytest_madengine.settings import Settings

UUID = "GPU-{:08x}-1111-2222-3333-444444444444"


def facts(vendor: str = "NVIDIA", count: int = 8) -> HostFacts:
    gpus = tuple(Gpu(index, f"0000:{index:02x}:00.0", None, UUID.format(index)) for index in range(count))
    return HostFacts(gpu_vendor=vendor, gpus=gpus)


@pytest.mark.parametrize(
    ("vendor", "environ", "expected"),
    [
        ("NVIDIA", {}, range(8)),
        ("NVIDIA", {"CUDA_VISIBLE_DEVICES": "2,5"}, (2, 5)),
        ("NVIDIA", {"CUDA_VISIBLE_DEVICES": " 5 , 2,2"}, (2, 5)),
        ("NVIDIA", {"CUDA_VISIBLE_DEVICES": ""}, ()),
        ("NVIDIA", {"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ("NVIDIA", {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),
        ("NVIDIA", {"CUDA_VISIBLE_DEVICES": "1,9,2"}, (1,)),
        ("NVIDIA", {"CUDA_VISIBLE_DEVICES": UUID.format(3)}, (3,)),
        ("NVIDIA", {"CUDA_VISIBLE_DEVICES": "gpu-00000004"}, (4,)),
        ("NVIDIA", {"CUDA_VISIBLE_DEVICES": "GPU-0000"}, ()),
        ("NVIDIA", {"CUDA_VISIBLE_DEVICES": f"MIG-{UUID.format(3)}/7/0"}, (3,)),
        ("NVIDIA", {"HIP_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": "2"}, range(8)),
        ("AMD", {"ROCR_VISIBLE_DEVICES": "4,5,6,7", "HIP_VISIBLE_DEVICES": "0,3"}, (4, 7)),
        ("AMD", {"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "2"}, (1,)),
        ("AMD", {"CUDA_VISIBLE_DEVICES": "2"}, (2,)),
        ("AMD", {"ROCR_VISIBLE_DEVICES": UUID.format(6)}, (6,)),
        ("AMD", {"ROCR_VISIBLE_DEVICES": "0,1", "HIP_VISIBLE_DEVICES": ""}, ()),
        ("INTEL", {"CUDA_VISIBLE_DEVICES": "2"}, range(8)),
    ],
)
def test_what_the_caller_may_see(vendor: str, environ: dict[str, str], expected: Any) -> None:
    assert visible_gpus(facts(vendor), environ) == tuple(expected)


def test_mig_instances_are_refused() -> None:
    with pytest.raises(ConfigError, match="MIG instance"):
        visible_gpus(facts(), {"CUDA_VISIBLE_DEVICES": "MIG-5f-1-2"})


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_leaves_a_part_of_the_host(text: str) -> None:
    try:
        visible = visible_gpus(facts(), {"CUDA_VISIBLE_DEVICES": text})
    except ConfigError:
        return
    assert set(visible) <= set(range(8))


def model(count: int) -> Model:
    return Model("m", "docker/m", "scripts/m", n_gpus=count)


def test_the_three_narrow_in_order(make_settings: Callable[..., Settings]) -> None:
    context = Context({"docker_gpus": "2-6"}, facts=facts())
    settings = make_settings(gpus="3-5", environ={"CUDA_VISIBLE_DEVICES": "0,1,2,3,4"})
    assert demand_of(context, model(-1), settings) == GpuDemand((3, 4), 2)
    assert demand_of(context, model(1), settings) == GpuDemand((3, 4), 1)
    assert demand_of(context, model(0), settings) == GpuDemand((), 0)


def test_too_many_because_of_the_environment_names_it(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(environ={"CUDA_VISIBLE_DEVICES": "6"})
    with pytest.raises(PlanError) as caught:
        demand_of(Context({}, facts=facts()), model(2), settings)
    assert caught.value.message == "Too many gpus requested(2). System has 8 gpus. Context has 1 gpus."
    assert "CUDA_VISIBLE_DEVICES=6" in caught.value.hint


@pytest.mark.parametrize(
    ("docker_gpus", "system", "need", "expected"),
    [
        ("0,2-4,5-5,7", 8, -1, GpuDemand((0, 2, 3, 4, 5, 7), 6)),
        ("0,2-4,5-5,7", 8, 2, GpuDemand((0, 2, 3, 4, 5, 7), 2)),
        ("0,2-4,5-5,7", 8, 7, "Too many gpus requested(7). System has 8 gpus. Context has 6 gpus."),
        ("0-7", 8, -1, GpuDemand(tuple(range(8)), 8)),
        ("7, 0 ,0", 8, -1, GpuDemand((0, 7), 2)),
        ("0-3", 4, 0, GpuDemand((), 0)),
        ("9", 8, 1, "GPU 9 of docker_gpus does not exist (system has 8)"),
    ],
)
def test_vectors_of_contract_10_5(
    make_settings: Callable[..., Settings], docker_gpus: str, system: int, need: int, expected: Any
) -> None:
    context = Context({"docker_gpus": docker_gpus}, facts=facts(count=system))
    if isinstance(expected, str):
        with pytest.raises(PlanError) as caught:
            demand_of(context, model(need), make_settings())
        assert caught.value.message == expected
    else:
        assert demand_of(context, model(need), make_settings()) == expected
