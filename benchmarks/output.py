"""A run that prints 200 MB: bars 60 MB more memory than a quiet run, 1.5 times ``docker run`` into a file."""

from __future__ import annotations

from statistics import median

from benchmarks.common import MB, Bar, Options, Report
from benchmarks.containers import session

MEGABYTES = 200
LIMIT_BYTES = 60.0
LIMIT_RATIO = 1.5

_LINE = "step 0123 | loss 1.23456 | throughput 1234.5 samples per second and gpu"
_PRINT = f"yes '{_LINE}' | head -c {MEGABYTES * 1000 * 1000}\n"
_METRIC = "echo\necho 'performance: 1 samples_per_second'"


def run(options: Options) -> Report:
    """Loud and quiet sessions; within the loud one every item alternates with ``docker run``."""
    quiet = session(options, "quiet", _METRIC, 2)
    loud = session(options, "loud", _PRINT + _METRIC, options.times(5) + 1)
    more = (loud.peak - quiet.peak) / MB
    memory = Bar(
        f"peak memory, {MEGABYTES} MB printed",
        *(loud.peak / MB, quiet.peak / MB, "MB", more, "MB more", LIMIT_BYTES),
    )
    ours, theirs = loud.column("item")[1:], loud.column("reference")[1:]
    mine, reference = median(ours), median(theirs)
    cpu = median(loud.column("cpu")[1:])
    detail = f"ratio of minima {min(ours) / min(theirs):.2f}; processor of pytest {cpu:.2f} s"
    time = Bar(
        f"time to print {MEGABYTES} MB", mine, reference, "s", mine / reference, "x", LIMIT_RATIO, detail
    )
    return Report([memory, time])
