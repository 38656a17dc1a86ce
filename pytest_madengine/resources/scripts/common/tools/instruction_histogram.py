# ruff: noqa: T201, UP006, UP035, PTH110, PTH118, PTH123  (must run with Python 3.6)
"""instruction_histogram.py DIRECTORY: sums counters and API domains of rocprofv3 (contract 11.2).

Reads ``rocprofv3_output_counter_collection.csv`` and ``rocprofv3_output_domain_stats.csv`` and writes
``instruction_histogram.json``::

    {"counters": {"SQ_INSTS_VALU": 12.0}, "kernels": {"gemm": {"SQ_INSTS_VALU": 12.0}},
     "domains": {"HIP_API": {"calls": 3, "duration_ns": 4500}}}

Runs inside the container with whatever python3 the image has (3.6 or later, standard library only).
"""

import csv
import json
import os
import sys
from typing import Any, Dict, Iterator, List


def rows(path: str) -> Iterator[Dict[str, str]]:
    """Rows of a CSV file by column; none when it is missing."""
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace", newline="") as stream:
            yield from csv.DictReader(stream)


def value(row: Dict[str, str], name: str) -> float:
    """A number of a row; 0 when it is missing or not a number."""
    try:
        return float(row.get(name) or 0)
    except ValueError:
        return 0.0


def histogram(directory: str) -> Dict[str, Any]:
    """The sums of one output directory."""
    counters: Dict[str, float] = {}
    kernels: Dict[str, Dict[str, float]] = {}
    for row in rows(os.path.join(directory, "rocprofv3_output_counter_collection.csv")):
        name, count = row.get("Counter_Name"), value(row, "Counter_Value")
        if name:
            counters[name] = counters.get(name, 0.0) + count
            kernel = kernels.setdefault(row.get("Kernel_Name") or "", {})
            kernel[name] = kernel.get(name, 0.0) + count
    domains: Dict[str, Dict[str, int]] = {}
    for row in rows(os.path.join(directory, "rocprofv3_output_domain_stats.csv")):
        name = row.get("Name")
        if name:
            domain = domains.setdefault(name, {"calls": 0, "duration_ns": 0})
            domain["calls"] += int(value(row, "Calls"))
            domain["duration_ns"] += int(value(row, "TotalDurationNs"))
    return {"counters": counters, "kernels": kernels, "domains": domains}


def main(arguments: List[str]) -> int:
    """Writes the file when there is something to count."""
    if len(arguments) != 1:
        print("usage: instruction_histogram.py DIRECTORY", file=sys.stderr)
        return 2
    result = histogram(arguments[0])
    if result["counters"] or result["domains"]:
        path = os.path.join(arguments[0], "instruction_histogram.json")
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(result, stream, indent=2, sort_keys=True)
            stream.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
