"""What all benchmarks share: measuring processes, alternating with a reference, the row of the table."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import distribution, entry_points, requires
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: Variables of our own environment that would change what is measured.
_FOREIGN: Final = ("MAD_", "MODEL_DIR", "PYTEST_", "PYTHON", "COVERAGE_", "COV_CORE_", "BUILD_NUMBER", "CI")
MB: Final = 1_000_000


@dataclass(frozen=True)
class Bar:
    """One row of the table.

    ``figure`` is what is compared with ``limit``: a ratio, a difference, or the measured value itself.
    """

    name: str
    #: Value of the plugin and of the reference, in ``unit``; ``None``: there is no reference.
    measured: float
    reference: float | None
    unit: str
    figure: float
    #: Text of the figure's unit: ``x``, ``ms``, ``us/item``, ...
    figure_unit: str
    limit: float
    detail: str = ""

    @property
    def met(self) -> bool:
        """The figure is not above the limit."""
        return self.figure <= self.limit

    @property
    def ratio(self) -> float | None:
        """Measured over reference."""
        return self.measured / self.reference if self.reference else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


@dataclass
class Report:
    """What one benchmark has to say."""

    bars: list[Bar] = field(default_factory=list)
    #: Lines below the table.
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Options:
    """How thorough to be, and on what.

    :param effort: multiplies repetitions; 1 is meant for ``make bench``.
    :param image: local image with ``bash`` for the benchmarks that start containers.
    :param directory: scratch directory, removed at the end.
    """

    effort: float
    image: str
    directory: Path

    def times(self, count: int) -> int:
        """Repetitions, at least three."""
        return max(3, round(count * self.effort))


@dataclass(frozen=True)
class Usage:
    """One process: seconds on the processor (user and system, children it waited for included), seconds on
    the clock, bytes of peak memory."""

    cpu: float
    wall: float
    peak: int


class BenchmarkError(Exception):
    """A benchmark cannot be carried out."""


def child_environ(cache: Path, **changes: str) -> dict[str, str]:
    """Our environment without what would change a measurement.

    Byte code goes to ``cache``: it is written and used even where this process runs with
    ``PYTHONDONTWRITEBYTECODE``, and nothing is written beside the sources.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**environ, "PYTHONPYCACHEPREFIX": str(cache), "COLUMNS": "200", **changes}


def measure(
    argv: Sequence[str],
    directory: Path,
    environ: Mapping[str, str],
    output: Path | None = None,
    expected: int = 0,
) -> Usage:
    """Runs a process to its end.

    :param output: file for its output; else it goes nowhere.
    :param expected: its exit status.
    :raises BenchmarkError: the process ended with another one.
    """
    log = directory / ".benchmark-errors.txt"
    with log.open("wb") as errors, (output or Path(os.devnull)).open("wb") as stream:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=directory, env=environ, stdin=subprocess.DEVNULL, stdout=stream, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        tail = log.read_text(errors="replace")[-2000:]
        raise BenchmarkError(f"{' '.join(argv)} ended with {process.returncode}: {tail}")
    log.unlink()
    return Usage(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024)


def alternate(count: int, *actions: Callable[[], T]) -> list[list[T]]:
    """Runs the actions in turn, A B C A B C ..., and returns the results of each.

    Every other round goes backwards, so that none always follows the same one.  A first round warms up
    and is not counted.
    """
    results: list[list[T]] = [[] for _ in actions]
    for action in actions:
        action()
    for number in range(count):
        order = list(enumerate(actions))
        for place, action in order if number % 2 == 0 else reversed(order):
            results[place].append(action())
    return results


def fastest(values: Sequence[float]) -> float:
    """Mean of the fastest quarter: whatever else a machine does only ever adds time."""
    chosen = sorted(values)[: max(1, len(values) // 4)]
    return sum(chosen) / len(chosen)


def pair_median(pairs: Iterable[tuple[float, float]]) -> float:
    """Median of the differences within pairs that were measured right after each other."""
    return median(first - second for first, second in pairs)


def pytest_command(*arguments: str) -> list[str]:
    """pytest with the plugins that every installation of ours has, and no others.

    Plugins of a development environment (hypothesis, playwright, ...) make both sides slower and so every
    ratio smaller.
    """
    return [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *_without_foreign_plugins(),
        *arguments,
    ]


def _without_foreign_plugins() -> list[str]:
    ours, waiting = {"pytest-madengine"}, ["pytest-madengine"]
    while waiting:
        for requirement in requires(waiting.pop()) or ():
            name = _name_of(requirement)
            if "extra ==" not in requirement and name not in ours:
                ours.add(name)
                waiting.extend([name] if _installed(name) else [])
    foreign = [
        entry.name
        for entry in entry_points(group="pytest11")
        if entry.dist is not None and _normal(entry.dist.name) not in ours
    ]
    return [word for name in sorted(set(foreign)) for word in ("-p", f"no:{name}")]


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except ModuleNotFoundError:
        return False
    return True


def _name_of(requirement: str) -> str:
    end = next((i for i, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), None)
    return _normal(requirement[:end])


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def machine() -> dict[str, str]:
    """Facts that explain absolute figures; no path and no name of this host."""
    processor = "unknown processor"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = " ".join(line.partition(":")[2].split())
                break
        memory = next(
            int(line.split()[1]) * 1024
            for line in Path("/proc/meminfo").read_text().splitlines()
            if line.startswith("MemTotal")
        )
    except (OSError, StopIteration):
        memory = 0
    return {
        "processor": f"{os.cpu_count()} x {processor}",
        "memory": f"{memory / 1024**3:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "pytest": distribution("pytest").version,
        "load": f"{os.getloadavg()[0]:.1f}",
    }
