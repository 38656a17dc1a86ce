from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_madengine.context import host
from pytest_madengine.context.detect import detect_host, simulated_host
from pytest_madengine.context.probe import CommandOutput, Probe
from pytest_madengine.context.types import Gpu, HostFacts
from pytest_madengine.errors import ConfigError


@pytest.mark.parametrize(
    "tools, name",
    [
        (["apt"], "HOST_UBUNTU"),
        (["yum"], "HOST_CENTOS"),
        (["zypper"], "HOST_SLES"),
        (["tdnf"], "HOST_AZURE"),
        (["tdnf", "zypper", "yum"], "HOST_CENTOS"),
        ([], "Unable to detect Host OS"),
    ],
)
def test_host_os(tree, tools, name):
    """Contract 7.3."""
    found, warning = host.host_os(tree({f"/usr/bin/{tool}": "#!" for tool in tools}))
    assert found == name
    assert bool(warning) == (not tools)


@pytest.mark.parametrize(
    "text, value, warns",
    [
        ("1\n", "1", True),
        ("0\n", "0", False),
        ("2\n", "0", False),
        ("3\n", "1", True),
        ("", False, False),
        ("Permission denied", False, False),
        ("-1", False, False),
        ("²", False, False),
    ],
)
def test_numa_balancing(tree, text, value, warns):
    """Contract 7.3; absent or failing gives false."""
    found, warning = host.numa_balancing(tree({"/proc/sys/kernel/numa_balancing": text}))
    assert found == value
    assert type(found) is type(value)
    assert bool(warning) == warns


def test_ctx_test(tmp_path: Path):
    """Contract 7.3: the stripped text, else the text `None`."""
    assert host.ctx_test(None) == "None"
    assert host.ctx_test(tmp_path) == "None"
    (tmp_path / "ctx_test").write_text(" 1\n")
    assert host.ctx_test(tmp_path) == "1"


@pytest.mark.parametrize(
    "files, name",
    [
        ({"/proc/sys/kernel/hostname": "a\n", "/etc/hostname": "b"}, "a"),
        ({"/etc/hostname": "b\nc\n"}, "b"),
        ({}, "variable"),
    ],
)
def test_hostname(tree, files, name):
    assert host.hostname(tree(files, HOSTNAME="variable")) == name


@pytest.mark.parametrize(
    "name, vendor, count, architecture, rocm_path",
    [
        ("mi300x", "AMD", 8, "gfx942", "/opt/rocm"),
        ("mi250", "AMD", 8, "gfx90a", "/opt/rocm"),
        ("h100", "NVIDIA", 2, "NVIDIA H100 80GB HBM3", ""),
        ("pvc", "INTEL", 2, "0x0bd5", ""),
        ("cpu", "CPU", 0, "", ""),
        ("broken", "CPU", 0, "", ""),
        ("denied", "AMD", 2, "gfx1030", "/usr"),
    ],
)
def test_recorded_hosts(recorded, name, vendor, count, architecture, rocm_path):
    """Contract 7.4."""
    facts = detect_host(recorded(name), None)
    assert facts.gpu_vendor == vendor
    assert facts.gpu_count == count
    assert facts.gpu_architecture == architecture
    assert facts.rocm_path == rocm_path
    assert facts.hostname == f"{name}-host"
    assert facts.ctx_test == "None"
    assert not facts.simulated


def test_no_error_text_becomes_a_value(recorded):
    """Defect 51: given probes that print to stderr or are missing, when detecting, then values are empty."""
    facts = detect_host(recorded("broken"), None)
    assert facts == HostFacts(
        host_os="Unable to detect Host OS",
        hostname="broken-host",
        warnings=("Unable to detect Host OS: none of apt, yum, zypper, tdnf is on PATH",),
    )


def test_a_host_without_gpu_starts_no_process(recorded):
    probe = recorded("cpu")
    assert detect_host(probe, None).gpu_vendor == "CPU"
    assert probe.run.asked == []


@pytest.mark.parametrize("name, foreign", [("h100", "hipconfig"), ("pvc", "nvcc"), ("mi300x", "nvidia-smi")])
def test_only_tools_of_the_vendor_are_asked(recorded, name, foreign):
    probe = recorded(name)
    detect_host(probe, None)
    assert not any(line.startswith(foreign) for line in probe.run.asked)


def test_the_order_of_vendors_and_a_given_vendor(tree):
    """Contract 7.4: NVIDIA, AMD, INTEL, CPU; 7.2: a given vendor overrides detection."""
    node = "/sys/devices/virtual/kfd/kfd/topology/nodes/1"
    files = {
        "/dev/kfd": "",
        f"{node}/properties": "simd_count 4\ngfx_target_version 90402\n",
        "/proc/driver/nvidia/gpus/0000:1b:00.0/information": "Model: NVIDIA T4\n",
    }
    probe = tree(files)
    assert detect_host(probe, None).gpu_vendor == "NVIDIA"
    assert detect_host(probe, None, gpu_vendor="other").gpu_vendor == "NVIDIA"
    facts = detect_host(probe, None, gpu_vendor=" amd", rocm_path="/r ")
    assert (facts.gpu_vendor, facts.gpu_architecture, facts.rocm_path) == ("AMD", "gfx942", "/r")
    for vendor in ("INTEL", "CPU"):
        facts = detect_host(probe, None, gpu_vendor=vendor, rocm_path="/r")
        assert (facts.gpu_vendor, facts.gpus, facts.rocm_path) == ("CPU", (), "/r")


@pytest.mark.parametrize("vendor", ["AMD", "NVIDIA", "INTEL", "CPU"])
def test_a_given_vendor_on_a_host_without_gpu_is_no_error(recorded, vendor):
    """Defect 66: given a GPU-less host and `gpu_vendor`, when detecting, then there is no detection error."""
    facts = detect_host(recorded("cpu"), None, gpu_vendor=vendor)
    assert facts.gpus == ()
    assert facts.warnings == ()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.text(), st.text(), st.integers(0, 255))
def test_detection_never_raises(recorded, stdout, stderr, code):
    probe = recorded("broken", ROCM_PATH=stdout, HOME=stderr, PATH="/usr/bin:/opt/rocm/bin")
    answer = CommandOutput(stdout, stderr, code)
    foreign = Probe(probe.fs_root, lambda argv, timeout, environ: answer, probe.environ)
    facts = detect_host(foreign, Path("/absent"), rocm_path=stderr)
    assert facts.gpu_vendor in ("AMD", "NVIDIA", "INTEL", "CPU")


REAL = HostFacts(host_os="HOST_X", hostname="h", gpu_vendor="CPU", ctx_test="1", rocm_path="/r")


@pytest.mark.parametrize(
    "text, vendor, count, architecture",
    [
        ("2", "AMD", 2, "gfx942"),
        ("8:gfx90a", "AMD", 8, "gfx90a"),
        ("8:GFX942", "AMD", 8, "gfx942"),
        ("1:MI300X", "AMD", 1, "gfx942"),
        ("1:mi250x", "AMD", 1, "gfx90a"),
        ("1:MI100", "AMD", 1, "gfx908"),
        ("1:MI355X", "AMD", 1, "gfx950"),
        ("2:H100", "NVIDIA", 2, "H100"),
        ("2:A100-SXM4-40GB", "NVIDIA", 2, "A100-SXM4-40GB"),
        ("2:NVIDIA H100 80GB HBM3", "NVIDIA", 2, "NVIDIA H100 80GB HBM3"),
        ("1:T4", "NVIDIA", 1, "T4"),
        ("1:GH200", "NVIDIA", 1, "GH200"),
        ("1:L40S", "NVIDIA", 1, "L40S"),
        ("1:RTX 4090", "NVIDIA", 1, "RTX 4090"),
        ("4:0x0bd5", "INTEL", 4, "0x0bd5"),
        (" 1 : gfx942 ", "AMD", 1, "gfx942"),
        ("0", "CPU", 0, ""),
        ("0:H100", "CPU", 0, ""),
    ],
)
def test_simulated_hosts(text, vendor, count, architecture):
    facts = simulated_host(text, REAL)
    assert (facts.gpu_vendor, facts.gpu_count, facts.gpu_architecture) == (vendor, count, architecture)
    assert facts.simulated
    assert (facts.host_os, facts.hostname, facts.ctx_test) == ("HOST_X", "h", "1")
    assert [gpu.identity for gpu in facts.gpus] == [f"sim:{index}" for index in range(count)]


def test_simulated_gpus_replace_real_ones():
    real = HostFacts(
        gpu_vendor="NVIDIA", gpus=(Gpu(0, "0000:1b:00.0"),), runtime_version="12.4", gpu_product_name="X"
    )
    facts = simulated_host("1:gfx942", real)
    assert facts.gpus == (Gpu(0, "sim:0", 128),)
    assert (facts.runtime_version, facts.gpu_product_name) == ("", "")


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1025", "99999", "2:", "2:what", "2:gfx", "2.5", ":H100", "2:MI999", "٣"]
)
def test_wrong_simulations(text):
    with pytest.raises(ConfigError, match="--mad-simulate-gpus"):
        simulated_host(text, REAL)


def test_importing_the_context_is_quiet(tmp_path: Path):
    """Defect 65: given a fresh process, when importing, then no file, no log handler, no heavy library."""
    script = (
        "import sys, logging\n"
        "import pytest_madengine.context.detect, pytest_madengine.context.build\n"
        "heavy = {'docker', 'pydantic', 'pytest', '_pytest', 'pandas', 'sqlalchemy', 'jinja2', 'yaml'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert not logging.getLogger().handlers\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


def test_real_executables_on_path(tmp_path: Path):
    """The whole way with real processes: a tool on PATH, stdout and stderr apart, no shell."""
    uuid = "GPU-2d1f6c1e-8a4b-3c55-9b1a-5f0e2f1a7c01"
    smi = f"""#!/bin/sh
echo "warning: persistence mode is off" >&2
case "$*" in
  -L) echo "GPU 0: NVIDIA T4 (UUID: {uuid})" ;;
  *index,uuid*) echo "0, {uuid}, 00000000:1B:00.0" ;;
  *query-gpu=name*) echo "Tesla T4" ;;
  *) exit 9 ;;
esac
"""
    nvcc = "#!/bin/sh\necho 'Cuda compilation tools, release 12.2, V12.2.91'\n"
    for name, text in (("nvidia-smi", smi), ("nvcc", nvcc)):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
    facts = detect_host(Probe.real({"PATH": f"{tmp_path}:/usr/bin:/bin"}), None)
    assert facts.gpu_vendor == "NVIDIA"
    assert facts.gpus == (Gpu(0, "0000:1b:00.0", None, uuid),)
    assert (facts.gpu_architecture, facts.gpu_product_name) == ("NVIDIA T4", "Tesla T4")
    assert facts.runtime_version == "12.2"
