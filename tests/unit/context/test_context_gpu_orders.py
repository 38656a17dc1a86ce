"""Whose GPU: on hosts where every order differs, with unequal, failing and integrated GPUs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.context.build import build_context
from pytest_madengine.context.detect import detect_host
from pytest_madengine.context.kinds import best_kind, gpu_names, kinds, named_kinds
from pytest_madengine.context.ranges import format_ranges, parse_ranges
from pytest_madengine.context.types import Gpu, HostFacts
from pytest_madengine.context.visibility import pool_of, runtime_order, visible_gpus
from pytest_madengine.errors import ConfigError


def render(facts: HostFacts, indices: Any) -> list[int | None]:
    return [gpu.render_minor for gpu in facts.gpus if gpu.index in indices]


def test_every_order_of_one_host(recorded: Any) -> None:
    """faults 3.1: given a host on which all orders differ / then each is known, from sysfs and tools."""
    facts = detect_host(recorded("orders"), None)
    assert [(gpu.index, gpu.render_minor, gpu.pci) for gpu in facts.gpus] == [
        (0, 130, "0000:e3:00.0"),
        (1, 131, "0000:c1:00.0"),
        (2, 128, "0000:46:00.0"),
        (3, 129, "0000:05:00.0"),
    ]
    # HIP counts by KFD node: 2, 3, 4, 5.
    assert [gpu.render_minor for gpu in runtime_order(facts.gpus)] == [131, 129, 130, 128]
    assert len(kinds(facts.gpus)) == 1
    assert facts.warnings == ()


@pytest.mark.parametrize(
    ("environ", "minors"),
    [
        ({"HIP_VISIBLE_DEVICES": "0"}, {131}),
        ({"CUDA_VISIBLE_DEVICES": "0"}, {131}),
        ({"ROCR_VISIBLE_DEVICES": "0"}, {131}),
        ({"ROCR_VISIBLE_DEVICES": "3,1", "HIP_VISIBLE_DEVICES": "0"}, {128}),
        ({"ROCR_VISIBLE_DEVICES": "3,1", "HIP_VISIBLE_DEVICES": "1,0"}, {128, 129}),
        ({"ROCR_VISIBLE_DEVICES": "GPU-00000000000000a4"}, {130}),
        ({"HIP_VISIBLE_DEVICES": "GPU-00000000000000A4,0"}, {130, 131}),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0"}, {131}),
        ({"HIP_VISIBLE_DEVICES": "0" * 5000 + "1"}, {129}),
        ({"HIP_VISIBLE_DEVICES": "9" * 5000}, set()),
    ],
)
def test_hip_and_rocr_count_by_kfd_node(recorded: Any, environ: dict[str, str], minors: set[int]) -> None:
    """faults 3.1: given *_VISIBLE_DEVICES / then the render node of the GPU that the runtime would use."""
    facts = detect_host(recorded("orders"), None)
    assert set(render(facts, visible_gpus(facts, environ))) == minors


def test_the_recorded_mi300x_counts_by_kfd_node(recorded: Any) -> None:
    """faults 3.1: the first HIP device of the recorded MI300X host is the node with renderD128."""
    facts = detect_host(recorded("mi300x"), None)
    assert render(facts, visible_gpus(facts, {"HIP_VISIBLE_DEVICES": "0"})) == [128]
    assert render(facts, visible_gpus(facts, {"ROCR_VISIBLE_DEVICES": "GPU-1a2b3c4d5e6f8111"})) == [136]


def test_without_kfd_amd_smi_gives_the_order_of_hip(tree: Any) -> None:
    from pytest_madengine.context.probe import CommandOutput

    listing = (
        '[{"gpu": 0, "node_id": 3, "bdf": "0000:05:00.0"}, {"gpu": 2, "node_id": 1, "bdf": "0000:06:00.0"}]'
    )
    answers = {
        "amd-smi list --csv": CommandOutput("gpu,gpu_bdf\n0,0000:05:00.0\n2,0000:06:00.0\n"),
        "amd-smi list -e --json": CommandOutput(listing),
    }
    facts = detect_host(tree({"/opt/rocm/bin/amd-smi": "#!", "/usr/bin/amd-smi": "#!"}, answers), None)
    assert [(gpu.index, gpu.runtime_index) for gpu in facts.gpus] == [(0, 1), (2, 0)]
    assert visible_gpus(facts, {"HIP_VISIBLE_DEVICES": "0"}) == (2,)


def test_graphics_of_the_processor_beside_a_card(recorded: Any) -> None:
    """faults 3.4: given an iGPU counted first and a Radeon / then the Radeon is used and named."""
    facts = detect_host(recorded("apu"), None)
    assert [(gpu.integrated, gpu.product_name) for gpu in facts.gpus] == [
        (True, "AMD Radeon Graphics"),
        (False, "Radeon RX 7900 XTX"),
    ]
    assert [gpu.index for gpu in best_kind(facts.gpus)] == [1]
    context = build_context(environ={}, facts=facts)
    assert (context.facts.gpu_architecture, context.facts.gpu_product_name) == (
        "gfx1100",
        "Radeon RX 7900 XTX",
    )
    assert context.values["docker_build_arg"] == {"MAD_SYSTEM_GPU_ARCHITECTURE": "gfx1100"}
    (warning,) = [text for text in context.warnings if "different kinds" in text]
    assert "0: gfx1036 AMD Radeon Graphics (integrated)" in warning
    assert "models run on 1" in warning


@pytest.mark.parametrize(
    ("given", "architecture"),
    [
        ({"gpus": "0"}, "gfx1036"),
        ({"string": "{'docker_gpus': '0'}"}, "gfx1036"),
        ({"environ": {"ROCR_VISIBLE_DEVICES": "0"}}, "gfx1036"),
        ({"environ": {"ROCR_VISIBLE_DEVICES": "1"}}, "gfx1100"),
        # In a job of ours the variables are those of the container.
        ({"gpus": "0", "environ": {"ROCR_VISIBLE_DEVICES": "1", "MAD_DEPLOYMENT_TYPE": "slurm"}}, "gfx1036"),
    ],
)
def test_the_facts_name_the_gpus_that_may_be_used(
    recorded: Any, given: dict[str, Any], architecture: str
) -> None:
    """faults 3.4: what a context says about the GPU is what models will run on, not GPU 0."""
    context = build_context(**{"environ": {}, **given}, facts=detect_host(recorded("apu"), None))
    assert context.facts.gpu_architecture == architecture
    assert not [text for text in context.warnings if "different kinds" in text]


def test_a_host_that_lists_0_2_and_3(recorded: Any) -> None:
    """faults 3.4: given a lost GPU and one that answers ERR! / then gaps stay, errors are no values."""
    facts = detect_host(recorded("lost"), None)
    assert [(gpu.index, gpu.architecture) for gpu in facts.gpus] == [
        (0, "NVIDIA A100-SXM4-40GB"),
        (2, ""),
        (3, "NVIDIA H100 80GB HBM3"),
    ]
    assert build_context(environ={}, facts=facts).values["docker_gpus"] == "0,2-3"
    assert "ERR" not in repr(facts.gpus)
    lost, silent = sorted(facts.warnings)[1], sorted(facts.warnings)[0]
    assert lost.startswith("lost GPU: 0000:0b:00.0")
    assert silent.startswith("GPU 2 (0000:48:00.0) does not say its name")


@pytest.mark.parametrize("environ", [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "0,1"}])
def test_fastest_first_is_unknown_among_unequal_gpus(recorded: Any, environ: dict[str, str]) -> None:
    """faults 3.1: where only CUDA knows which GPU is first, it is said, and nothing is guessed."""
    facts = detect_host(recorded("lost"), None)
    with pytest.raises(ConfigError, match="fastest GPU first"):
        visible_gpus(facts, environ)
    assert pool_of(facts, (), environ) == facts.gpus


def test_positions_and_uuids_of_cuda(recorded: Any) -> None:
    facts = detect_host(recorded("lost"), None)
    by_bus = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    # The third device is GPU 3: the lost one is not counted.
    assert visible_gpus(facts, {**by_bus, "CUDA_VISIBLE_DEVICES": "2"}) == (3,)
    assert visible_gpus(facts, {**by_bus, "CUDA_VISIBLE_DEVICES": "3"}) == ()
    assert visible_gpus(facts, {"CUDA_VISIBLE_DEVICES": "GPU-00000002"}) == (2,)
    assert visible_gpus(facts, {"CUDA_VISIBLE_DEVICES": "0,1,2"}) == (0, 2, 3)


def test_a_mig_instance_names_its_gpu_in_the_refusal(recorded: Any) -> None:
    facts = detect_host(recorded("h100"), None)
    uuid = "MIG-4d1cbb83-fd5a-5cba-a6f1-0c3aee6c6a6a"
    with pytest.raises(ConfigError, match=f"{uuid} is a MIG instance of GPU 0"):
        visible_gpus(facts, {"CUDA_VISIBLE_DEVICES": uuid})


@pytest.mark.parametrize("vendor", ["", "INTEL"])
def test_only_graphics_of_an_intel_processor(recorded: Any, vendor: str) -> None:
    """faults 3.5: only integrated Intel graphics is as without a GPU."""
    facts = detect_host(recorded("laptop"), None, gpu_vendor=vendor)
    assert (facts.gpu_vendor, facts.gpus) == ("CPU", ())


@pytest.mark.parametrize(
    ("mask", "hierarchy", "expected"),
    [
        ("0", "COMPOSITE", (0,)),
        ("1", "COMBINED", (1,)),
        ("2,3", "", (1,)),
        ("0.0,0.1", "COMPOSITE", (0,)),
        ("0,1,2,3", "FLAT", (0, 1)),
        ("", "FLAT", ()),
        ("9", "FLAT", ()),
        ("0", "FLAT", ConfigError),
        ("1.1", "COMPOSITE", ConfigError),
    ],
)
def test_ze_affinity_mask(mask: str, hierarchy: str, expected: Any) -> None:
    """faults 3.1: Level Zero counts tiles unless told otherwise; parts of GPUs cannot be leased."""
    gpus = tuple(Gpu(i, f"0000:{9 - i:02x}:00.0", 128 + i, runtime_index=i, tiles=2) for i in range(2))
    facts = HostFacts(gpu_vendor="INTEL", gpus=gpus)
    environ = {"ZE_AFFINITY_MASK": mask, **({"ZE_FLAT_DEVICE_HIERARCHY": hierarchy} if hierarchy else {})}
    if expected is ConfigError:
        with pytest.raises(ConfigError, match="tiles of GPU"):
            visible_gpus(facts, environ)
    else:
        assert visible_gpus(facts, environ) == expected


def gpu(index: int, kind: str, **more: Any) -> Gpu:
    return Gpu(index, f"i:{index}", architecture=kind, kind=kind, **more)


@pytest.mark.parametrize(
    ("gpus", "best"),
    [
        ([gpu(0, "a"), gpu(1, "b"), gpu(2, "b")], [1, 2]),
        ([gpu(0, "a"), gpu(1, "b", strength=9)], [1]),
        ([gpu(0, "a", integrated=True), gpu(1, "a2", integrated=True), gpu(2, "b")], [2]),
        ([gpu(0, ""), gpu(1, ""), gpu(2, "b")], [2]),
        ([gpu(0, "a"), gpu(1, "b")], [0]),
        ([], []),
    ],
)
def test_the_best_kind(gpus: list[Gpu], best: list[int]) -> None:
    """faults 3.4: cards before integrated graphics, named before silent, many, strong, low."""
    assert [entry.index for entry in best_kind(gpus)] == best


def test_names_of_leased_gpus() -> None:
    facts = HostFacts(gpus=(gpu(0, "a", product_name="A"), gpu(1, "b")), gpu_architecture="a")
    assert gpu_names(facts, (0,)) == ("a", "A")
    assert gpu_names(facts, (1,)) == ("b", "")
    assert gpu_names(facts, (0, 1)) == ("a, b", "A")
    assert named_kinds(facts.gpus) == "0: a A; 1: b"


@given(st.lists(st.integers(0, 300)))
def test_lists_are_written_as_they_are_read(numbers: list[int]) -> None:
    text = format_ranges(numbers)
    assert (parse_ranges(text) if text else ()) == tuple(sorted(set(numbers)))


@given(st.text(alphabet="0123456789.,- xX", max_size=30), st.sampled_from(["", "COMPOSITE"]))
def test_any_mask_leaves_a_part_of_the_host(text: str, hierarchy: str) -> None:
    facts = HostFacts(gpu_vendor="INTEL", gpus=tuple(Gpu(i, f"i:{i}", tiles=1 + i % 2) for i in range(4)))
    try:
        visible = visible_gpus(facts, {"ZE_AFFINITY_MASK": text, "ZE_FLAT_DEVICE_HIERARCHY": hierarchy})
    except ConfigError:
        return
    assert set(visible) <= set(range(4))
