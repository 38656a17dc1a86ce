"""The environment collector (contract 11.3), run for real with fake tools."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

COLLECTOR = "pre_scripts/run_rocenv_tool.sh"
ALWAYS = ["os_information", "cpu_information", "gpu_information", "memory_information"]
AMD = ["rocm_information", "rocm_smi_gpudeviceid", "rocm_packages_installed", "rocm_env_variables"]
NVIDIA = ["cuda_information", "cuda_packages_installed", "cuda_env_variables"]
LAST = ["pip_list", "numa_balancing"]
FULL = ["hardware_information", "bios_settings", "dmsg_gpu_drm_atom_logs"]
AMD_TEXTS = [
    "rocm_repo_setup",
    "rocm_smi",
    "ifwi_version",
    "rocm_smi_showhw",
    "rocm_smi_pcie",
    "rocm_smi_pids",
    "rocm_smi_topology",
    "rocm_smi_showserial",
    "rocm_smi_showperflevel",
    "rocm_smi_showrasinfo",
    "rocm_smi_showxgmierr",
    "rocm_smi_clocks",
    "rocm_smi_showcompute_partition",
    "rocm_smi_nodesbwi",
    "rocm_info",
]

ROCMINFO = """
*******
Agent 1
*******
  Name:                    AMD EPYC 9654
  Uuid:                    CPU-XX
  Marketing Name:          AMD EPYC 9654
  Vendor Name:             CPU
  Device Type:             CPU
*******
Agent 2
*******
  Name:                    gfx942
  Uuid:                    GPU-1111
  Marketing Name:          AMD Instinct MI300X
  Vendor Name:             AMD
  Device Type:             GPU
  ISA Info:
    ISA 1
      Name:                    amdgcn-amd-amdhsa--gfx942:sramecc+:xnack-
*******
Agent 3
*******
  Name:                    gfx942
  Uuid:                    GPU-2222
  Marketing Name:          AMD Instinct MI300X
  Vendor Name:             AMD
  Device Type:             GPU
*** Done ***
"""


def sections(text: str) -> dict[str, list[str]]:
    """The CSV as a reader takes it: lines by section, in order."""
    lines = text.split("\n")
    assert lines[0] == "sep=|"
    assert lines[-1] == ""
    found: dict[str, list[str]] = {}
    for line in lines[1:-1]:
        match = re.fullmatch(r"------- Section: (\w+) ----------", line)
        if match:
            assert match.group(1) not in found
            found[match.group(1)] = []
        else:
            found[list(found)[-1]].append(line)
    return found


def collect(
    workspace: Any, *args: str, env: Mapping[str, str] | None = None, name: str = "dummy_env"
) -> dict[str, list[str]]:
    done = workspace.step(COLLECTOR, name, *args, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return sections((workspace.root / f"{name}.csv").read_text(encoding="utf-8"))


def values(lines: list[str]) -> dict[str, str]:
    return dict(line.split("|", 1) for line in lines)


def test_a_minimal_image_has_all_sections_of_a_cpu_system(workspace: Any) -> None:
    found = collect(workspace, "lite", "UBUNTU", env={"MAD_GPU_VENDOR": "CPU"})
    assert list(found) == ALWAYS + LAST
    for tag in found:
        assert (workspace.root / ".dummy_env" / tag / f"{tag}.txt").is_file()
    assert found["gpu_information"] == ["Num GPU|0"]
    assert values(found["cpu_information"])["CPU(s)"].isdigit()
    assert re.fullmatch(r"[\d.]+[KMGT]", values(found["memory_information"])["Total online memory"])


def test_os_information(workspace: Any) -> None:
    lines = collect(workspace)["os_information"]
    assert [line.split("|")[0] for line in lines] == [
        "Distribution",
        "Node name",
        "Kernel version",
        "OS version",
    ]
    assert lines[0] == "Distribution|Linux"
    release = Path("/proc/sys/kernel/osrelease").read_text(encoding="utf-8").strip()
    assert lines[2] == f"Kernel version| {release}"


def test_numa_balancing_keeps_its_spelling(workspace: Any) -> None:
    assert collect(workspace)["numa_balancing"][0] in ("Numa Balacing|0", "Numa Balacing|1")


def test_every_line_of_lscpu(workspace: Any) -> None:
    workspace.fake(
        "lscpu", 'printf "Architecture:   x86_64\\nNUMA node0 CPU(s):  0-3\\n  Model name: A: B | C\\n"'
    )
    lines = collect(workspace)["cpu_information"]
    assert lines == ["Architecture|x86_64", "NUMA node0 CPU(s)|0-3", "Model name|A: B | C"]


def test_memory_of_lsmem(workspace: Any) -> None:
    workspace.fake(
        "lsmem",
        'printf "\\nMemory block size:       128M\\nTotal online memory: 24G\\nTotal offline memory: 0B\\n"',
    )
    lines = collect(workspace)["memory_information"]
    assert lines == ["Memory block size|128M", "Total online memory|24G", "Total offline memory|0B"]


@pytest.fixture
def amd(workspace: Any) -> Any:
    workspace.fake("rocminfo", f"cat <<'END'\n{ROCMINFO}\nEND")
    workspace.fake(
        "rocm-smi",
        'if [[ ${1-} == -i ]]; then printf "GPU[0]\\t\\t: Device ID: \\t\\t0x74a1\\n"; '
        'printf "GPU[1]\\t\\t: GPU ID: 0x74a1\\n"; '
        'else echo "rocm-smi $*"; fi',
    )
    workspace.fake(
        "dpkg-query",
        'printf "ii |rocm-core|6.4.1-83\\nrc |rocblas|1.0\\nii |bash|5.2\\nii |hip-runtime-amd|6.4\\n"',
    )
    info = workspace.root / "rocm" / ".info"
    info.mkdir(parents=True)
    (info / "version").write_text("6.4.1-83\n", encoding="utf-8")
    return workspace


def amd_env(workspace: Any, **more: str) -> dict[str, str]:
    return {"MAD_GPU_VENDOR": "AMD", "ROCM_PATH": str(workspace.root / "rocm"), **more}


def test_amd_sections(amd: Any) -> None:
    found = collect(amd, env=amd_env(amd))
    assert list(found) == ALWAYS + AMD + LAST
    assert found["gpu_information"] == [
        "Name|gfx942",
        "Uuid|GPU-1111",
        "Marketing Name|AMD Instinct MI300X",
        "Vendor Name|AMD",
        "Name|gfx942",
        "Uuid|GPU-2222",
        "Marketing Name|AMD Instinct MI300X",
        "Vendor Name|AMD",
        "Num GPU|2",
    ]
    assert found["rocm_information"] == ["ROCm version|6.4.1-83"]
    assert found["rocm_smi_gpudeviceid"] == ["GPU Device ID|0x74a1", "GPU Device ID|0x74a1"]
    assert found["rocm_packages_installed"] == ["rocm-core|6.4.1-83", "hip-runtime-amd|6.4"]


def test_amd_tags_with_a_text_file_only(amd: Any) -> None:
    found = collect(amd, env=amd_env(amd))
    for tag in AMD_TEXTS:
        assert tag not in found
        assert (amd.root / ".dummy_env" / tag / f"{tag}.txt").is_file()
    text = amd.root / ".dummy_env/rocm_smi_topology/rocm_smi_topology.txt"
    assert text.read_text(encoding="utf-8") == "rocm-smi --showtopo\n"


def test_packages_of_an_rpm_image_are_one_per_line(workspace: Any) -> None:
    workspace.fake("rpm", 'printf "rocm-core-6.4.1-1.el9.x86_64\\nbash-5.1-1.el9\\n"')
    found = collect(workspace, "lite", "CENTOS", env={"MAD_GPU_VENDOR": "AMD"})
    assert found["rocm_packages_installed"] == ["rocm-core-6.4.1-1.el9.x86_64"]


def test_nvidia_sections(workspace: Any) -> None:
    workspace.fake("nvidia-smi", 'echo "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-abc)"')
    workspace.fake("nvcc", 'echo "Cuda compilation tools, release 12.4, V12.4.131"')
    found = collect(workspace, env={"MAD_GPU_VENDOR": "NVIDIA", "CUDA_HOME": "/usr/local/cuda"})
    assert list(found) == ALWAYS + NVIDIA + LAST
    assert found["gpu_information"] == ["Name|NVIDIA H100 80GB HBM3", "Uuid|GPU-abc", "Num GPU|1"]
    assert found["cuda_information"] == ["CUDA Version|12.4"]
    assert "CUDA_HOME|/usr/local/cuda" in found["cuda_env_variables"]


def test_cuda_version_of_the_driver_when_there_is_no_compiler(workspace: Any) -> None:
    workspace.fake("nvidia-smi", 'echo "| NVIDIA-SMI 550.1   Driver Version: 550.1   CUDA Version: 12.2 |"')
    assert collect(workspace, env={"MAD_GPU_VENDOR": "NVIDIA"})["cuda_information"] == ["CUDA Version|12.2"]


def test_intel_sections(workspace: Any) -> None:
    workspace.fake(
        "xpu-smi",
        'echo "| 0         | Device Name: Intel(R) Data Center GPU Max 1100      |"; '
        'echo "|           | UUID: 0000-1 |"',
    )
    found = collect(workspace, env={"MAD_GPU_VENDOR": "INTEL"})
    assert list(found) == ALWAYS + LAST
    assert found["gpu_information"] == ["Name|Intel(R) Data Center GPU Max 1100", "Uuid|0000-1", "Num GPU|1"]


def test_vendor_is_found_when_the_host_does_not_say(workspace: Any) -> None:
    workspace.fake("rocminfo", "true")
    assert "rocm_information" in collect(workspace)


@pytest.mark.parametrize(
    "name",
    [
        "HIP_TOKEN",
        "ROCM_API_KEY",
        "hsa_ApiKey",
        "NCCL_SECRET",
        "HIP_PASSWORD",
        "GPU_CREDENTIALS",
        "MAD_SECRETS_X",
        "HIP_PRIVATE_KEY",
    ],
)
def test_secret_variables_are_masked(amd: Any, name: str) -> None:
    found = collect(amd, env=amd_env(amd, **{name: "tops3cret", "HIP_ARGS": "--with tops3cret"}))
    variables = values(found["rocm_env_variables"])
    assert variables[name] == "***"
    assert variables["HIP_ARGS"] == "--with ***"
    for path in amd.root.rglob("*"):
        if path.is_file() and ".dummy_env" in str(path):
            assert "tops3cret" not in path.read_text(encoding="utf-8")


def test_passwords_of_urls_are_masked(amd: Any) -> None:
    env = amd_env(amd, HIP_PROXY="http://me:geheim@proxy:80 https://a:b2@c", HIP_URL="https://host/x@y:z")
    variables = values(collect(amd, env=env)["rocm_env_variables"])
    assert variables["HIP_PROXY"] == "http://me:***@proxy:80 https://a:***@c"
    assert variables["HIP_URL"] == "https://host/x@y:z"


def test_a_value_with_line_ends_stays_one_line(amd: Any) -> None:
    variables = collect(amd, env=amd_env(amd, HIP_TEXT="a\nRocm|b\n------- Section: x ----------"))[
        "rocm_env_variables"
    ]
    assert "HIP_TEXT|a Rocm|b ------- Section: x ----------" in variables


def test_other_variables_are_not_written(amd: Any) -> None:
    variables = values(collect(amd, env=amd_env(amd, HF_AUTH="x"))["rocm_env_variables"])
    assert "HF_AUTH" not in variables
    assert variables["ROCM_PATH"] == str(amd.root / "rocm")


def _python(workspace: Any, directory: Path, version: str = "3.11") -> Path:
    """A prefix with an interpreter and a package directory."""
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / f"python{version}").write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    (directory / "bin" / f"python{version}").chmod(0o755)
    (directory / "bin" / "python3").symlink_to(f"python{version}")
    packages = directory / "lib" / f"python{version}" / "site-packages"
    packages.mkdir(parents=True)
    (directory / "pyvenv.cfg").write_text("include-system-site-packages = false\n", encoding="utf-8")
    return packages


def test_pip_list_reads_metadata_without_starting_python(workspace: Any, tmp_path: Path) -> None:
    packages = _python(workspace, tmp_path / "venv")
    for folder, name, text in (
        (
            "jinja2-3.1.dist-info",
            "METADATA",
            "Metadata-Version: 2.1\nName: Jinja2\nVersion: 3.1\n\nName: no\n",
        ),
        ("old-1.0.egg-info", "PKG-INFO", "Metadata-Version: 1.0\r\nName: old\r\nVersion: 1.0\r\n"),
        ("broken-1.dist-info", "METADATA", "Metadata-Version: 2.1\n\nName: broken\n"),
        ("empty-1.dist-info", "RECORD", ""),
    ):
        (packages / folder).mkdir()
        (packages / folder / name).write_bytes(text.encode())
    (packages / "single-2.egg-info").write_text("Name: single\nVersion: 2\n", encoding="utf-8")
    (packages / "unrelated").mkdir()
    found = collect(workspace, env={"PATH": f"{workspace.bin}:{tmp_path / 'venv/bin'}"})
    assert found["pip_list"] == ["Jinja2|3.1", "old|1.0", "single|2"]


def test_pip_list_is_what_pip_lists(workspace: Any) -> None:
    """Against the real pip of the interpreter that runs these tests."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("the interpreter of the tests has no pip")
    path = f"{Path(sys.executable).parent}:{workspace.bin}"
    found = collect(workspace, env={"PATH": path, "HOME": str(Path.home())})["pip_list"]
    assert sorted(found) == sorted(listed.stdout.replace("==", "|").split())


def test_pip_list_asks_a_launcher_of_a_version_manager(workspace: Any, tmp_path: Path) -> None:
    packages = tmp_path / "far" / "site-packages"
    (packages / "a-1.dist-info").mkdir(parents=True)
    (packages / "a-1.dist-info/METADATA").write_text("Name: a\nVersion: 1\n", encoding="utf-8")
    workspace.fake("python3", f'printf "/lib\\n{packages}\\n"')
    assert collect(workspace)["pip_list"] == ["a|1"]


def test_a_package_found_twice_is_the_first_of_the_path(workspace: Any, tmp_path: Path) -> None:
    packages = _python(workspace, tmp_path / "venv")
    for directory, version in ((packages, "1"), (tmp_path / "first", "2")):
        folder = directory / f"a_b-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: A.b\nVersion: {version}\n", encoding="utf-8")
    env = {"PATH": f"{tmp_path / 'venv/bin'}:{workspace.bin}", "PYTHONPATH": str(tmp_path / "first")}
    assert collect(workspace, env=env)["pip_list"] == ["A.b|2"]


@pytest.fixture
def full_tools(workspace: Any) -> Any:
    workspace.fake(
        "lshw",
        'printf "host\\n    description: Server\\n    width: 64 bits\\n    bus: x\\n"; '
        'printf "  *-core\\n    serial: 7\\n"',
    )
    workspace.fake("dmidecode", 'printf "BIOS Information\\n\\tVendor: AMI\\n\\tVersion: 2.1\\n"')
    workspace.fake("dmesg", 'for ((i = 0; i < 60; i++)); do echo "[1] amdgpu 0000: $i"; done; echo "[2] usb"')
    workspace.fake("modinfo", 'printf "filename:       /x/amdgpu.ko\\nversion: 6.8\\n"')
    workspace.fake("lscpu", 'echo "Architecture: x"')
    return workspace


def test_full_mode(full_tools: Any) -> None:
    found = collect(full_tools, "full", "UBUNTU", env={"MAD_GPU_VENDOR": "AMD"})
    assert list(found) == ALWAYS + AMD + LAST + FULL + ["amdgpu_modinfo"]
    assert found["hardware_information"] == ["description|Server", "width|64 bits", "serial|7"]
    assert found["bios_settings"] == ["Vendor|AMI", "Version|2.1"]
    assert found["dmsg_gpu_drm_atom_logs"] == [f"Log|[1] amdgpu 0000: {number}" for number in range(10, 60)]
    assert found["amdgpu_modinfo"] == ["filename|/x/amdgpu.ko", "version|6.8"]


def test_full_mode_installs_only_what_is_missing(full_tools: Any) -> None:
    full_tools.fake("apt-get", 'echo "$*" >>"$HOME.apt"')
    collect(full_tools, "full", "UBUNTU")
    assert not (full_tools.root / "home.apt").exists()
    (full_tools.bin / "lshw").unlink()
    collect(full_tools, "full", "UBUNTU")
    calls = (full_tools.root / "home.apt").read_text(encoding="utf-8")
    assert "install -y -qq --no-install-recommends lshw dmidecode kmod util-linux" in calls


@pytest.mark.parametrize("manager", ["microdnf", "dnf", "yum"])
def test_full_mode_on_centos(workspace: Any, manager: str) -> None:
    workspace.fake(manager, f'echo "{manager} $*" >>"$HOME.install"')
    workspace.fake("apt-get", 'echo "apt-get" >>"$HOME.install"')
    collect(workspace, "full", "CENTOS")
    assert (workspace.root / "home.install").read_text(encoding="utf-8").splitlines() == [
        f"{manager} install -y lshw dmidecode kmod util-linux"
    ]


def test_a_failing_installation_only_warns(workspace: Any) -> None:
    workspace.fake("apt-get", "exit 100")
    done = workspace.step(COLLECTOR, "dummy_env", "full", "UBUNTU")
    assert done.returncode == 0
    assert "warning: apt-get ended with status 100" in done.stderr


def test_an_unknown_mode_warns_and_means_lite(workspace: Any) -> None:
    done = workspace.step(COLLECTOR, "dummy_env", "fast", "UBUNTU")
    assert done.returncode == 0
    assert "warning: unknown rocenv_mode 'fast'" in done.stderr
    found = sections((workspace.root / "dummy_env.csv").read_text(encoding="utf-8"))
    assert "bios_settings" not in found


def test_tools_that_fail_leave_no_error_text(amd: Any) -> None:
    """Defect 51: given probes that print to stderr and fail / collected / no error text."""
    for tool in ("rocminfo", "rocm-smi", "dpkg-query", "lscpu", "lsmem"):
        amd.fake(tool, "echo 'Permission denied' >&2; exit 1")
    found = collect(amd, env=amd_env(amd))
    assert found["gpu_information"] == ["Num GPU|0"]
    assert not any("denied" in line for lines in found.values() for line in lines)


def test_nothing_of_an_earlier_run_is_read(amd: Any) -> None:
    collect(amd, env=amd_env(amd))
    (amd.bin / "rocminfo").unlink()
    assert collect(amd, env=amd_env(amd))["gpu_information"] == ["Num GPU|0"]


def test_odd_names_are_names(workspace: Any) -> None:
    collect(workspace, name="-a b'$(touch x)_env")
    assert not list(workspace.root.rglob("x"))


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_missing_name_is_an_error(workspace: Any, name: str) -> None:
    assert workspace.step(COLLECTOR, name).returncode == 1


def test_an_output_that_cannot_be_written_is_an_error(workspace: Any) -> None:
    (workspace.root / "dummy_env.csv").mkdir()
    done = workspace.step(COLLECTOR, "dummy_env")
    assert done.returncode == 1
    assert "cannot write" in done.stderr


def test_without_its_library_it_says_so(workspace: Any) -> None:
    (workspace.root / "scripts/common").unlink()
    (workspace.model / "run_rocenv_tool.sh").write_text(
        (Path(__file__).parents[3] / "pytest_madengine/resources/scripts/common" / COLLECTOR).read_text(
            encoding="utf-8"
        ),
        encoding="utf-8",
    )
    done = workspace.run("bash", "run_rocenv_tool.sh", "dummy_env")
    assert done.returncode == 1
    assert "is missing" in done.stderr
