"""Multiplies square matrices of several sizes and writes one result row per size.

The columns ``model,performance,metric`` are what a MAD repository needs; ``milliseconds`` is one more, which
goes to the record of the run.
"""

import argparse
import csv
import statistics
import time
from pathlib import Path

import numpy

REPEATS = 9


def milliseconds(size):
    """The median time of one multiplication of two ``size`` x ``size`` matrices of 32-bit floats."""
    random = numpy.random.default_rng(size)
    left, right = (random.random((size, size), dtype=numpy.float32) for _ in range(2))
    product = left @ right  # warm-up
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        numpy.matmul(left, right, out=product)
        times.append(time.perf_counter() - start)
    expected = float(numpy.dot(left[0].astype(float), right[:, 0].astype(float)))
    if abs(float(product[0, 0]) - expected) > 1e-4 * expected:
        raise SystemExit(f"wrong product for size {size}: {product[0, 0]} instead of {expected}")
    return 1000 * statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="128,256,512")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    rows = []
    for size in map(int, options.sizes.split(",")):
        elapsed = milliseconds(size)
        gflops = 2 * size**3 / elapsed / 1e6
        rows.append((size, f"{gflops:.2f}", "GFLOPS", f"{elapsed:.3f}"))
        print(f"{size} x {size}: {gflops:.2f} GFLOPS")
    with options.output.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("model", "performance", "metric", "milliseconds"))
        writer.writerows(rows)
    print(f"wrote {options.output.resolve()}")


if __name__ == "__main__":
    main()
