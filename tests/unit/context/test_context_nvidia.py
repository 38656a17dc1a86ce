from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.context import nvidia
from pytest_madengine.context.nvidia import detect_nvidia
from pytest_madengine.context.probe import CommandOutput

FIRST = "GPU-2d1f6c1e-8a4b-3c55-9b1a-5f0e2f1a7c01"
INFORMATION = f"Model: \t\t NVIDIA L40S\nGPU UUID: \t {FIRST}\nBus Location: \t 0000:1b:00.0\n"


def test_two_h100(recorded):
    """Defect 63: two GPUs, each with the identity its lease needs; a MIG instance is no GPU of the host."""
    facts = detect_nvidia(recorded("h100"))
    assert facts.vendor == "NVIDIA"
    assert [(gpu.index, gpu.identity) for gpu in facts.gpus] == [(0, "0000:1b:00.0"), (1, "0000:43:00.0")]
    assert facts.gpus[0].uuid == FIRST
    assert facts.architecture == "NVIDIA H100 80GB HBM3"
    assert facts.product_name == "NVIDIA H100 80GB HBM3"
    assert facts.runtime_version == "12.4"
    assert facts.driver_version == "550.54.15"


@pytest.mark.parametrize("host", ["broken", "cpu", "mi300x", "pvc"])
def test_no_nvidia_gpus(recorded, host):
    """Defect 51: the failure text that nvidia-smi prints on stdout is no GPU."""
    assert detect_nvidia(recorded(host)) is None


def test_the_driver_is_enough(tree):
    """Contract 7.4: without nvidia-smi the entries of /proc count."""
    files = {
        "/proc/driver/nvidia/gpus/0000:43:00.0/information": "",
        "/proc/driver/nvidia/gpus/0000:1B:00.0/information": INFORMATION,
        "/proc/driver/nvidia/gpus/notes": "x",
    }
    probe = tree(files)
    facts = detect_nvidia(probe)
    assert [gpu.identity for gpu in facts.gpus] == ["0000:1b:00.0", "0000:43:00.0"]
    assert facts.architecture == "NVIDIA L40S"
    assert facts.product_name == "NVIDIA L40S"
    assert (facts.runtime_version, facts.driver_version) == ("", "")
    assert probe.run.asked == []


LISTING = f"GPU 0: NVIDIA T4 (UUID: {FIRST})\nGPU 1: NVIDIA T4\n"


@pytest.mark.parametrize(
    "files, query, identities",
    [
        ({}, f"0, {FIRST}, 00000000:1B:00.0\n1, [N/A], [N/A]\n", ["0000:1b:00.0", "index:1"]),
        ({}, "No devices were found\n", [FIRST, "index:1"]),
        ({"/proc/driver/nvidia/gpus/0000:1b:00.0/information": INFORMATION}, "", ["0000:1b:00.0", "index:1"]),
        (
            {
                "/proc/driver/nvidia/gpus/0000:1b:00.0/information": "",
                "/proc/driver/nvidia/gpus/0000:1c:00.0/information": "",
            },
            "",
            ["0000:1b:00.0", "0000:1c:00.0"],
        ),
    ],
)
def test_identities(tree, files, query, identities):
    answers = {
        "nvidia-smi -L": CommandOutput(LISTING),
        "nvidia-smi --query-gpu=index,uuid,pci.bus_id --format=csv,noheader": CommandOutput(query),
        "nvidia-smi --query-gpu=name --format=csv,noheader -i 0": CommandOutput("[Unknown Error]\n"),
        "nvidia-smi": CommandOutput("| NVIDIA-SMI 535.1   Driver Version: 535.1   CUDA Version: 12.2 |\n"),
    }
    facts = detect_nvidia(tree({"/usr/bin/nvidia-smi": "#!", **files}, answers))
    assert [gpu.identity for gpu in facts.gpus] == identities
    assert facts.product_name == "NVIDIA T4"
    assert facts.runtime_version == "12.2"


def test_a_hanging_nvidia_smi_is_asked_once(tree):
    files = {
        "/usr/bin/nvidia-smi": "#!",
        "/proc/driver/nvidia/gpus/0000:1b:00.0/information": INFORMATION,
    }
    probe = tree(files, {"nvidia-smi -L": CommandOutput(code=124)})
    facts = detect_nvidia(probe)
    assert len(facts.gpus) == 1
    assert probe.run.asked == ["nvidia-smi -L"]
    assert facts.warnings == ("nvidia-smi did not answer and was ended",)


@pytest.mark.parametrize(
    "text, version",
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5", "550.54.15"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  560.35.03  Release", "560.35.03"),
        ("", ""),
        ("Permission denied", ""),
    ],
)
def test_driver_versions(text, version):
    assert nvidia.parse_driver(text) == version


@pytest.mark.parametrize("text", ["CUDA Version: N/A ", "CUDA Version: ", "nothing", ""])
def test_no_cuda_version(text):
    assert nvidia.parse_cuda_version(text) == ""
    assert nvidia.parse_nvcc(text.replace("CUDA Version:", "release")) == ""


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 .+-]{0,20}[A-Za-z0-9]", fullmatch=True)


@given(st.lists(NAMES, min_size=1, max_size=9))
def test_listings_are_read_back(names):
    uuid = "GPU-00000000-0000-0000-0000-00000000000{}"
    text = "".join(f"GPU {i}: {name} (UUID: {uuid.format(i)})\n" for i, name in enumerate(names))
    listed = nvidia.parse_list(text)
    assert [entry.name for entry in listed] == names
    assert [entry.uuid for entry in listed] == [uuid.format(i) for i in range(len(names))]


@given(st.text() | st.text(alphabet="GPU 0123:(UID)-,\n[N/A]release CUDA Version.Kernel Module"))
def test_parsers_never_raise(text):
    for entry in nvidia.parse_list(text):
        assert entry.index >= 0
    for uuid, pci in nvidia.parse_query(text).values():
        assert uuid == "" or uuid.startswith("GPU-")
        assert pci == "" or pci.count(":") == 2
    for value in (
        nvidia.first_name(text),
        nvidia.parse_nvcc(text),
        nvidia.parse_cuda_version(text),
        nvidia.parse_driver(text),
    ):
        assert "\n" not in value
