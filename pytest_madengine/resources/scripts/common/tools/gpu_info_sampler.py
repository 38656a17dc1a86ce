# ruff: noqa: T201, UP006, UP032, UP035, UP045, PTH110, PTH118, PTH119, PTH123, PTH207  (must run with Python 3.6)
"""gpu_info_sampler.py power|vram: writes the power or memory use of the GPUs over time (contract 11.5).

Runs inside the container with whatever python3 the image has (3.6 or later, standard library only), from
the pre-script ``gpu_info_<kind>_start.sh`` until the post-script sends SIGTERM.  Each sample is one line of a
CSV file: ``time``, then one column per device; without a sample there is no file.

Settings, here for power: ``POWER_DEVICE`` (``all`` or a comma list), ``POWER_SAMPLING_RATE`` (seconds
between samples), ``POWER_MODE``, ``POWER_DUAL_GCD`` (true: only even devices of AMD), ``POWER_OUTPUT_FILE``.
The unprefixed names of madengine v1 (``DEVICE``, ``SAMPLING_RATE``, ``MODE``, ``DUAL-GCD``, ``OUTPUT_FILE``)
count when their value makes sense here and the prefixed one is absent or the built-in default: other programs
have variables of these names, too.
"""

import argparse
import csv
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

#: Device index -> watts, or percent of the memory.
Sample = Dict[int, float]
Source = Callable[[], Sample]

COLUMN = {"power": "Power(Watt) GPU{}", "vram": "vram(%) GPU{}"}
#: Signals that end the sampling.
STOP = {signal.SIGTERM, signal.SIGINT}
#: Seconds after which a command of the vendor is given up.
COMMAND_LIMIT = 20


class Settings:
    """What the environment asks for; a wrong value is replaced by its default with a warning."""

    def __init__(self, kind: str, environ: Dict[str, str]) -> None:
        self.kind = kind
        self.environ = environ
        output = "gpu_info_{}_profiler_output.csv".format(kind)
        mode = self._value("MODE", kind, r"(?i)power|vram").lower()
        self.mode = mode if mode in COLUMN else kind
        device = self._value("DEVICE", "all", r"(?i)all|\d+(\s*,\s*\d+)*")
        #: ``None``: all devices.
        self.devices: Optional[List[int]] = None
        if device.lower() != "all":
            self.devices = sorted({int(part) for part in device.split(",")})
        rate = float(self._value("SAMPLING_RATE", "0.1", r"\d+(\.\d*)?|\.\d+"))
        self.interval = max(rate, 0.01)
        self.dual_gcd = self._value("DUAL_GCD", "false", r"(?i)true|false|1|0").lower() in ("true", "1")
        self.output = self._value("OUTPUT_FILE", output, r".+")

    def _value(self, name: str, default: str, pattern: str) -> str:
        prefixed = self.environ.get("{}_{}".format(self.kind.upper(), name), "").strip()
        if prefixed and not re.fullmatch(pattern, prefixed):
            print("warning: {}_{} is {!r}: {} is used".format(self.kind.upper(), name, prefixed, default))
            prefixed = ""
        if prefixed and prefixed != default:
            return prefixed
        old = self.environ.get("DUAL-GCD" if name == "DUAL_GCD" else name, "").strip()
        if old and re.fullmatch(pattern, old):
            return old
        return prefixed or default


def run(*command: str) -> str:
    """Output of a command; empty when it is missing, fails or does not end."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_LIMIT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def number(text: Any) -> Optional[float]:
    """The number a value begins with (``35.0 W``, ``{"value": 35}``); ``None`` for ``N/A`` and the like."""
    if isinstance(text, dict):
        text = text.get("value")
    match = re.match(r"\s*(\d+(?:\.\d+)?)", str(text))
    return float(match.group(1)) if match else None


def read_number(path: str) -> Optional[float]:
    """The number in a file of sysfs."""
    try:
        with open(path) as stream:
            return number(stream.read())
    except OSError:
        return None


# --- AMD -----------------------------------------------------------------------------------------------


def amd_devices(sysfs: str, dev: str) -> List[str]:
    """Device directories of the AMD GPUs this container has, in the order of their PCI addresses."""
    found = []
    for path in glob.glob(os.path.join(sysfs, "class/drm/renderD*")):
        device = os.path.join(path, "device")
        try:
            with open(os.path.join(device, "vendor")) as stream:
                vendor = stream.read().strip()
        except OSError:
            continue
        if vendor == "0x1002" and os.path.exists(os.path.join(dev, "dri", os.path.basename(path))):
            found.append(os.path.realpath(device))
    return sorted(set(found), key=os.path.basename)


def amd_sysfs_power(devices: List[str]) -> Sample:
    """Watts from the sensors of the kernel driver, which count microwatts.  A secondary die has none."""
    sample = {}
    for index, device in enumerate(devices):
        for name in ("power1_average", "power1_input"):
            paths = glob.glob(os.path.join(device, "hwmon/hwmon*", name))
            value = read_number(paths[0]) if paths else None
            if value is not None:
                sample[index] = value / 1e6
                break
    return sample


def amd_sysfs_vram(devices: List[str]) -> Sample:
    """Percent of the memory in use, from the kernel driver."""
    sample = {}
    for index, device in enumerate(devices):
        used = read_number(os.path.join(device, "mem_info_vram_used"))
        total = read_number(os.path.join(device, "mem_info_vram_total"))
        if used is not None and total:
            sample[index] = 100.0 * used / total
    return sample


def json_of(text: str) -> Any:
    """The JSON value in a tool's output, which may begin with warnings; ``None`` when there is none."""
    match = re.search(r"[\[{]", text)
    if match is None:
        return None
    try:
        return json.JSONDecoder().raw_decode(text[match.start() :])[0]
    except ValueError:
        return None


def amd_smi_entries(*options: str) -> Iterator[Tuple[int, Dict[str, Any]]]:
    """Index and object of each GPU in the output of ``amd-smi metric``."""
    data = json_of(run("amd-smi", "metric", *options, "--json"))
    if isinstance(data, dict):
        data = data.get("gpu_data")
    for entry in data if isinstance(data, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("gpu"), int):
            yield entry["gpu"], entry


def amd_smi_power() -> Sample:
    """Watts as ``amd-smi`` tells them."""
    sample = {}
    for index, entry in amd_smi_entries("--power"):
        power = entry.get("power")
        for name in ("socket_power", "current_socket_power", "average_socket_power"):
            value = number(power.get(name)) if isinstance(power, dict) else None
            if value is not None:
                sample[index] = value
                break
    return sample


def amd_smi_vram() -> Sample:
    """Percent of the memory in use as ``amd-smi`` tells it."""
    sample = {}
    for index, entry in amd_smi_entries("--mem-usage"):
        usage = entry.get("mem_usage")
        if isinstance(usage, dict):
            used, total = number(usage.get("used_vram")), number(usage.get("total_vram"))
            if used is not None and total:
                sample[index] = 100.0 * used / total
    return sample


def rocm_smi_values(option: Tuple[str, ...], wanted: str) -> Iterator[Tuple[int, str, float]]:
    """Index, label and number of the lines ``GPU[0] : <label>: <number>`` whose label matches."""
    for line in run("rocm-smi", *option).splitlines():
        match = re.match(r"GPU\[(\d+)\]\s*:\s*(.*?):\s*(\d+(?:\.\d+)?)\s*W?\s*$", line)
        if match and re.search(wanted, match.group(2)):
            yield int(match.group(1)), match.group(2), float(match.group(3))


def rocm_smi_power() -> Sample:
    """Watts as ``rocm-smi`` tells them."""
    return {index: value for index, _, value in rocm_smi_values(("--showpower",), r"(?i)power.*\(W\)")}


def rocm_smi_vram() -> Sample:
    """Percent of the memory in use as ``rocm-smi`` tells it."""
    used: Sample = {}
    total: Sample = {}
    for index, label, value in rocm_smi_values(("--showmeminfo", "vram"), r"(?i)vram total.*\(B\)"):
        (used if "used" in label.lower() else total)[index] = value
    return {index: 100.0 * used[index] / total[index] for index in used if total.get(index)}


# --- NVIDIA and INTEL ----------------------------------------------------------------------------------


def nvidia_values(*fields: str) -> Iterator[Tuple[int, List[Optional[float]]]]:
    """Index and numbers of each GPU."""
    query = "--query-gpu=index," + ",".join(fields)
    for line in run("nvidia-smi", query, "--format=csv,noheader,nounits").splitlines():
        index, *values = [number(part) for part in line.split(",")]
        if index is not None and len(values) == len(fields):
            yield int(index), values


def nvidia_power() -> Sample:
    """Watts as ``nvidia-smi`` tells them."""
    return {index: values[0] for index, values in nvidia_values("power.draw") if values[0] is not None}


def nvidia_vram() -> Sample:
    """Percent of the memory in use as ``nvidia-smi`` tells it."""
    sample = {}
    for index, (used, total) in nvidia_values("memory.used", "memory.total"):
        if used is not None and total:
            sample[index] = 100.0 * used / total
    return sample


def xpu_values(metric: str) -> Sample:
    """The last number of each device: lines ``<time>, <device>, <value>``."""
    sample = {}
    for line in run("xpu-smi", "dump", "-d", "-1", "-m", metric, "-n", "1").splitlines():
        parts = line.split(",")
        index, value = (number(parts[1]), number(parts[-1])) if len(parts) >= 3 else (None, None)
        if index is not None and value is not None:
            sample[int(index)] = value
    return sample


# --- sampling ------------------------------------------------------------------------------------------


def sources(mode: str, sysfs: str, dev: str) -> Iterator[Tuple[str, Source]]:
    """Name and function of every source this container may have, the cheapest first."""
    devices = amd_devices(sysfs, dev)
    power = mode == "power"
    if devices:
        read = amd_sysfs_power if power else amd_sysfs_vram
        yield "AMD kernel driver", lambda: read(devices)
    yield "amd-smi", amd_smi_power if power else amd_smi_vram
    yield "rocm-smi", rocm_smi_power if power else rocm_smi_vram
    yield "nvidia-smi", nvidia_power if power else nvidia_vram
    yield "xpu-smi", lambda: xpu_values("1" if power else "5")


def chosen(settings: Settings, source: str, sample: Sample) -> List[int]:
    """The devices that get a column."""
    amd = source in ("AMD kernel driver", "amd-smi", "rocm-smi")
    indices = sorted(sample)
    if settings.devices is not None:
        return settings.devices
    if amd and settings.mode == "power":
        # The package's power is reported by its primary die only: a secondary one says nothing or zero.
        indices = [index for index in indices if sample[index] > 0] or indices
    if amd and settings.dual_gcd:
        indices = [index for index in indices if index % 2 == 0]
    return indices


def find_source(settings: Settings, sysfs: str, dev: str) -> Optional[Tuple[List[int], Source]]:
    """The first source that gives a value for a device we want."""
    for name, read in sources(settings.mode, sysfs, dev):
        if name == "AMD kernel driver" or shutil.which(name) is not None:
            sample = read()
            indices = chosen(settings, name, sample)
            if any(index in sample for index in indices):
                print(
                    "{} of devices {} every {} s from {}".format(
                        settings.mode, ",".join(map(str, indices)), settings.interval, name
                    )
                )
                return indices, read
    return None


def sample_until_told(settings: Settings, indices: List[int], read: Source) -> int:
    """Writes samples until told to stop; their number.  The file appears with the first one."""
    count = 0
    due = time.monotonic()
    with open(settings.output, "w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["time", *[COLUMN[settings.mode].format(index) for index in indices]])
        while True:
            now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
            sample = read()
            if any(index in sample for index in indices):
                row = ["{:.2f}".format(sample[index]) if index in sample else "" for index in indices]
                writer.writerow([now, *row])
                # A killed container leaves whole lines.
                stream.flush()
                count += 1
            # A slow source skips samples; it does not fall behind.
            moment = time.monotonic()
            due = max(due + settings.interval, moment)
            if signal.sigtimedwait(STOP, due - moment) is not None:
                return count


def main(arguments: List[str]) -> int:
    """Samples until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Samples GPU power or memory use into a CSV file.")
    parser.add_argument("kind", choices=sorted(COLUMN))
    parser.add_argument("--sysfs", default="/sys", help="root of sysfs")
    parser.add_argument("--dev", default="/dev", help="root of the device nodes")
    options = parser.parse_args(arguments)
    # Blocked and waited for between two samples: a sample is never cut.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    settings = Settings(options.kind, dict(os.environ))
    found = find_source(settings, options.sysfs, options.dev)
    if found is None:
        print("warning: no {} samples: no GPU tool of this container gives any".format(settings.mode))
        return 0
    count = sample_until_told(settings, *found)
    print("{} samples in {}".format(count, settings.output))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
