"""What an item adds to ``docker run --rm`` of the same image and script: bar 0.25 s, and where it goes."""

from __future__ import annotations

from statistics import median

from benchmarks.common import Bar, Options, Report, pair_median
from benchmarks.containers import median_of, session

LIMIT_SECONDS = 0.25


def run(options: Options) -> Report:
    """A session of models that only print a metric; the image is built before the first counted item."""
    found = session(options, "overhead", "echo 'performance: 1 samples_per_second'", options.times(20) + 1)
    items = found.items[1:]
    ours, theirs = found.column("item")[1:], found.column("reference")[1:]
    more = pair_median(zip(ours, theirs, strict=True))
    detail = f"{len(items)} items; least {min(ours):.3f} s against {min(theirs):.3f} s"
    bar = Bar(
        *("a model that does nothing", median(ours), median(theirs), "s"),
        *(more, "s more", LIMIT_SECONDS, detail),
    )
    lines = {
        "phases of pytest": median_of([item["phases"] for item in items]),
        "steps on the host": median_of([item["steps"] for item in items]),
        "phases in the container": median_of([item["container"] for item in items]),
        "processor of pytest": {"user+system": median(item["cpu"] for item in items)},
    }
    notes = ["Where the time of such a model goes (medians, ms):"]
    notes += [f"  {title}: {_milliseconds(values)}" for title, values in lines.items()]
    return Report([bar], notes)


def _milliseconds(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds * 1000:.0f}" for name, seconds in values.items())
