"""The power and memory profilers (contract 11.5), run for real with fake vendor tools and a fake sysfs."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.resources import builtin_tools, scripts_common

SAMPLER = scripts_common() / "tools" / "gpu_info_sampler.py"
#: Ends the sampler after so many samples: the fake tool is called by the sampler itself.
STOP_AFTER = (
    'n=$(($(cat "$HOME.count" 2>/dev/null) + 1)); echo $n >"$HOME.count"; ((n < 4)) || kill -TERM $PPID; '
)


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def _env(kind: str, **more: str) -> dict[str, str]:
    return {**builtin_tools()["tools"][f"gpu_info_{kind}_profiler"]["env_vars"], **more}


def _sample(workspace: Any, kind: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs the sampler itself, until its fake tool ends it."""
    environ = _env(kind, **{f"{kind.upper()}_SAMPLING_RATE": "0.01"}, **env)
    environ |= {"PATH": str(workspace.bin), "HOME": str(workspace.root / "home")}
    return subprocess.run(
        [sys.executable, SAMPLER, kind, *(options or ("--sysfs", "none", "--dev", "none"))],
        cwd=workspace.model,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _table(workspace: Any, kind: str) -> tuple[list[str], list[str]]:
    """Header and the values of the first sample."""
    rows = _rows(workspace.model / f"gpu_info_{kind}_profiler_output.csv")
    assert len(rows) >= 2
    for row in rows[1:]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", row[0])
    return rows[0], rows[1][1:]


AMD_SMI_POWER = '[{"gpu": 0, "power": {"socket_power": {"value": 95, "unit": "W"}}}, {"gpu": 1, "power": {"socket_power": "N/A"}}]'  # noqa: E501
AMD_SMI_VRAM = '{"gpu_data": [{"gpu": 0, "mem_usage": {"total_vram": {"value": 200, "unit": "MB"}, "used_vram": {"value": 50, "unit": "MB"}}}]}'  # noqa: E501


@pytest.mark.parametrize(
    ("kind", "tool", "output", "header", "values"),
    [
        ("power", "amd-smi", f"WARNING: x\n{AMD_SMI_POWER}", ["Power(Watt) GPU0"], ["95.00"]),
        ("vram", "amd-smi", AMD_SMI_VRAM, ["vram(%) GPU0"], ["25.00"]),
        (
            "power",
            "rocm-smi",
            "=== ROCm ===\nGPU[0]\t\t: Average Graphics Package Power (W): 35.5\n"
            "GPU[1]\t\t: Average Graphics Package Power (W): 0.0\n"
            "GPU[2]\t\t: Current Socket Graphics Package Power (W): 40\n",
            ["Power(Watt) GPU0", "Power(Watt) GPU2"],
            ["35.50", "40.00"],
        ),
        (
            "vram",
            "rocm-smi",
            "GPU[0]\t\t: VRAM Total Memory (B): 1000\nGPU[0]\t\t: VRAM Total Used Memory (B): 10\n",
            ["vram(%) GPU0"],
            ["1.00"],
        ),
        (
            "power",
            "nvidia-smi",
            "0, 71.50\n1, [N/A]\n2, 80\n",
            ["Power(Watt) GPU0", "Power(Watt) GPU2"],
            ["71.50", "80.00"],
        ),
        ("vram", "nvidia-smi", "0, 1, 4\n1, 0, 4\n", ["vram(%) GPU0", "vram(%) GPU1"], ["25.00", "0.00"]),
        (
            "power",
            "xpu-smi",
            "Timestamp, DeviceId, GPU Power (W)\n06:14:46.000,    0, 11.52\n06:14:46.000,    1, N/A\n",
            ["Power(Watt) GPU0"],
            ["11.52"],
        ),
        ("vram", "xpu-smi", "06:14:46.000,    3, 7\n", ["vram(%) GPU3"], ["7.00"]),
    ],
)
def test_samples_of_each_tool(
    workspace: Any, kind: str, tool: str, output: str, header: list[str], values: list[str]
) -> None:
    workspace.fake(tool, f"{STOP_AFTER}cat <<'END'\n{output}\nEND")
    done = _sample(workspace, kind)
    assert (done.returncode, done.stderr) == (0, "")
    assert _table(workspace, kind) == (["time", *header], values)


def _sysfs(root: Path, gpus: dict[str, dict[str, str]]) -> tuple[str, ...]:
    """A sysfs and /dev with AMD GPUs by PCI address; render nodes are numbered in that order."""
    for number, (address, files) in enumerate(gpus.items()):
        device = root / "sys/devices" / address
        (device / "hwmon/hwmon3").mkdir(parents=True)
        (device / "vendor").write_text("0x1002\n", encoding="utf-8")
        for name, text in files.items():
            (device / name).write_text(text + "\n", encoding="utf-8")
        node = root / f"sys/class/drm/renderD{128 + number}"
        node.mkdir(parents=True)
        (node / "device").symlink_to(device)
        (root / "dev/dri").mkdir(parents=True, exist_ok=True)
        (root / f"dev/dri/renderD{128 + number}").touch()
    return "--sysfs", str(root / "sys"), "--dev", str(root / "dev")


def _until_samples(workspace: Any, kind: str, options: tuple[str, ...], **env: str) -> None:
    """Runs the sampler until it wrote a sample."""
    output = workspace.model / f"gpu_info_{kind}_profiler_output.csv"
    process = subprocess.Popen(
        [sys.executable, SAMPLER, kind, *options],
        cwd=workspace.model,
        env={"PATH": str(workspace.bin), **_env(kind, **env)},
        stdout=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        if output.exists() and output.read_text(encoding="utf-8").count("\n") >= 2:
            process.terminate()
            break
        time.sleep(0.01)
    assert process.communicate(timeout=30)[0]
    assert process.returncode == 0


POWER = {
    "0000:03:00.0": {"hwmon/hwmon3/power1_average": "35000000"},
    "0000:04:00.0": {},
    "0000:05:00.0": {"hwmon/hwmon3/power1_input": "41000000"},
}


def test_power_of_the_kernel_driver_leaves_out_secondary_dies(workspace: Any, tmp_path: Path) -> None:
    """Contract 11.5: AMD power with ``all``."""
    _until_samples(workspace, "power", _sysfs(tmp_path, POWER))
    assert _table(workspace, "power") == (
        ["time", "Power(Watt) GPU0", "Power(Watt) GPU2"],
        ["35.00", "41.00"],
    )


def test_memory_of_the_kernel_driver(workspace: Any, tmp_path: Path) -> None:
    files = {"mem_info_vram_used": "1", "mem_info_vram_total": "8"}
    options = _sysfs(tmp_path, {"0000:03:00.0": files, "0000:04:00.0": files})
    (tmp_path / "dev/dri/renderD128").unlink()
    _until_samples(workspace, "vram", options)
    assert _table(workspace, "vram") == (["time", "vram(%) GPU0"], ["12.50"])


@pytest.mark.parametrize(
    ("env", "header"),
    [
        ({"POWER_DEVICE": "1,0"}, ["GPU0", "GPU1"]),
        ({"DEVICE": "2"}, ["GPU2"]),
        ({"DEVICE": "2", "POWER_DEVICE": "1"}, ["GPU1"]),
        ({"DEVICE": "cuda"}, ["GPU0", "GPU1", "GPU2"]),
        ({"POWER_DUAL_GCD": "true"}, ["GPU0", "GPU2"]),
        ({"DUAL-GCD": "true"}, ["GPU0", "GPU2"]),
    ],
)
def test_devices(workspace: Any, tmp_path: Path, env: dict[str, str], header: list[str]) -> None:
    """Contract 11.5: ``DEVICE`` and the unprefixed names of v1."""
    gpus = {f"0000:0{n}:00.0": {"hwmon/hwmon3/power1_average": "1000000"} for n in range(3)}
    _until_samples(workspace, "power", _sysfs(tmp_path, gpus), **env)
    assert _table(workspace, "power")[0][1:] == [f"Power(Watt) {name}" for name in header]


def test_a_mode_of_v1(workspace: Any, tmp_path: Path) -> None:
    gpus = {"0000:03:00.0": {"mem_info_vram_used": "1", "mem_info_vram_total": "2"}}
    _until_samples(workspace, "power", _sysfs(tmp_path, gpus), MODE="vram")
    assert _table(workspace, "power")[0] == ["time", "vram(%) GPU0"]


def test_a_wrong_value_warns_and_means_the_default(workspace: Any, tmp_path: Path) -> None:
    done = _sample(workspace, "power", POWER_DEVICE="first")
    assert "warning: POWER_DEVICE is 'first': all is used" in done.stdout


def test_without_samples_there_is_a_warning_and_no_file(workspace: Any) -> None:
    """Contract 11.5: no samples are not a failure."""
    workspace.fake("nvidia-smi", "echo 'no devices'; exit 9")
    done = _sample(workspace, "power")
    assert done.returncode == 0
    assert "warning: no power samples" in done.stdout
    assert list(workspace.model.iterdir()) == []


def _steps(workspace: Any, kind: str, which: str) -> list[tuple[int, str]]:
    done = []
    for step in builtin_tools()["tools"][f"gpu_info_{kind}_profiler"][which]:
        path = step["path"].removeprefix("scripts/common/")
        result = workspace.step(path, *step["args"].split(), env=_env(kind))
        done.append((result.returncode, result.stdout + result.stderr))
    return done


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (path.exists() and path.stat().st_size > 60):
        time.sleep(0.01)
    assert path.exists()


def test_both_profilers_run_together_from_pre_to_post_script(workspace: Any) -> None:
    """Contract 11.5: a sampler runs in the background from pre- to post-script."""
    workspace.real("python3")
    workspace.fake("nvidia-smi", 'if [[ $* == *power* ]]; then echo "0, 70"; else echo "0, 1, 4"; fi')
    for kind in ("power", "vram"):
        assert [status for status, _ in _steps(workspace, kind, "pre_scripts")] == [0, 0]
    for kind in ("power", "vram"):
        _wait_for(workspace.model / f"gpu_info_{kind}_profiler_output.csv")
        results = _steps(workspace, kind, "post_scripts")
        assert [status for status, _ in results] == [0, 0]
        assert f"samples in gpu_info_{kind}_profiler_output.csv" in results[0][1]
    assert _table(workspace, "power")[1] == ["70.00"]
    assert _table(workspace, "vram")[1] == ["25.00"]
    assert not list(workspace.model.glob(".gpu_info*"))


def test_an_image_without_python_and_tools_only_warns(workspace: Any) -> None:
    """Contract 11.5: no samples are not a failure."""
    before = _steps(workspace, "power", "pre_scripts")
    after = _steps(workspace, "power", "post_scripts")
    assert [status for status, _ in before + after] == [0, 0, 0, 0]
    assert "no python3" in before[0][1]
    assert "warning: gpu_info_power_profiler: no samples" in after[1][1]


def test_stop_ends_no_foreign_process(workspace: Any) -> None:
    """Given a process number that meanwhile belongs to another program, when stopped, then it lives on."""
    with subprocess.Popen(["sleep", "60"]) as other:
        (workspace.model / ".gpu_info_power.pid").write_text(f"{other.pid}\n", encoding="utf-8")
        assert workspace.step("post_scripts/gpu_info_power_stop.sh").returncode == 0
        assert other.poll() is None
        other.kill()


def test_post_needs_the_name_of_its_tool(workspace: Any) -> None:
    assert workspace.step("post_scripts/gpu_info_post.sh", "other").returncode == 2
