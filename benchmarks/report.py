"""The report of 1,000, 10,000 and 100,000 rows: building it, its size, and until a browser shows it.

Building is measured as a process of its own, the start of Python and all imports included.  A page is
interactive when its script has set everything up and the browser has painted and is idle again, counted from
the beginning of the navigation.
"""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import MB, Bar, BenchmarkError, Options, Report, child_environ, measure

SIZES = (1_000, 10_000, 100_000)
#: Of the largest: seconds to build, megabytes of the page, seconds until it is interactive.
LIMIT_BUILD = 10.0
LIMIT_SIZE = 10.0
LIMIT_INTERACTIVE = 2.0
#: Megabytes that building the largest page may take; the CSV alone has some 35.
LIMIT_MEMORY = 400.0

_BUILD = (
    "import sys; from pathlib import Path; from pytest_madengine.reports.pages.site import csv_report; "
    + ("csv_report(Path(sys.argv[1]))")
)
#: Milliseconds since the beginning of the navigation when the main thread is free after the first frame.
_IDLE = """() => new Promise((resolve) => {
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
})"""
#: Milliseconds of an action, layout included.
_SORT = """() => {
  const start = performance.now();
  document.querySelector('.dataframe th[data-key="performance"] button').click();
  document.body.getBoundingClientRect();
  return performance.now() - start;
}"""
_MODELS = 400
_METRICS = ("samples_per_second", "tokens_per_second", "latency_ms", "tflops")


def run(options: Options) -> Report:
    """Builds all sizes, then opens them in Chromium if it is there."""
    report = Report()
    pages = []
    for rows in SIZES:
        table = _perf_csv(options.directory / f"report-{rows}.csv", rows)
        pages.append((rows, table.with_suffix(".html")))
        report.bars += _build(table, rows, options)
    with _browser() as browser:
        if browser is None:
            report.notes.append("Chromium or playwright is missing: nobody looked at the pages")
            return report
        for rows, page in pages:
            report.bars.append(_interactive(browser, page, rows, options))
    return report


def _build(table: Path, rows: int, options: Options) -> list[Bar]:
    environ = child_environ(options.directory / "cache")
    argv = [sys.executable, "-c", _BUILD, str(table)]
    usages = [measure(argv, options.directory, environ) for _ in range(options.times(3))]
    seconds = min(usage.wall for usage in usages)
    peak = max(usage.peak for usage in usages) / MB
    size = table.with_suffix(".html").stat().st_size / MB
    detail = f"from {table.stat().st_size / MB:.1f} MB of CSV"
    return [
        Bar(f"page of {rows} rows", seconds, None, "s", seconds, "s", LIMIT_BUILD),
        Bar(f"page of {rows} rows, peak memory", peak, None, "MB", peak, "MB", LIMIT_MEMORY),
        Bar(f"page of {rows} rows, size", size, None, "MB", size, "MB", LIMIT_SIZE, detail),
    ]


def _interactive(browser: Any, page: Path, rows: int, options: Options) -> Bar:
    """Each time in a new context: nothing is cached."""
    seconds, sorting = [], []
    for _ in range(options.times(5)):
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_selector("html.ready")
        seconds.append(tab.evaluate(_IDLE) / 1000)
        sorting.append(tab.evaluate(_SORT))
        if f"{rows:,} rows" not in tab.inner_text("#shown"):
            raise BenchmarkError(f"the page of {rows} rows does not show them")
        context.close()
    value = median(seconds)
    detail = f"{min(seconds):.2f} to {max(seconds):.2f} s; sorting by number {median(sorting):.0f} ms"
    return Bar(f"page of {rows} rows, interactive", value, None, "s", value, "s", LIMIT_INTERACTIVE, detail)


@contextmanager
def _browser() -> Iterator[Any]:
    """The Chromium of the end-to-end tests; ``None`` where it or playwright is not installed."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "e2e"))
    try:
        from report_browser import CHROMIUM, FLAGS
    finally:
        sys.path.pop(0)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        yield None
        return
    if not Path(CHROMIUM).exists():
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


def _perf_csv(path: Path, rows: int) -> Path:
    """Nightly builds of 400 models in all 29 columns, noisy and with failures; the same every time."""
    from pytest_madengine.results.columns import V2_COLUMNS

    chance = random.Random(1)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(V2_COLUMNS)
        writer.writerows(_row(number, chance) for number in range(rows))
    return path


def _row(number: int, chance: random.Random) -> list[str]:
    model, build = number % _MODELS, number // _MODELS
    failed = chance.random() < 0.03
    value = f"{(100 + 7 * model) * chance.gauss(1, 0.02):.4f}"
    return [
        *(f"pyt_model_family_{model}_variant", "8", "1", "8", ("fp16", "bf16", "fp8")[model % 3], "nightly"),
        *(f"--batch {model % 64} --config configs/{model % 40}.csv", f"pyt,llm,train,group{model % 17}"),
        *(f"docker/model_{model}.ubuntu.amd.Dockerfile", "rocm/pytorch:rocm6.4_ubuntu22.04_py3.10"),
        *(f"sha256:{build % 7:064x}", f"ci-model_{model}_model_{model}.ubuntu.amd"),
        *(f"{model * 2654435761 + build // 5:040x}", f"gpu-node-{number % 31}", "local", "docker"),
        *(
            ("gfx942", "gfx90a")[model % 2],
            "" if failed else value,
            "" if failed else _METRICS[model % 4],
            "",
        ),
        *(
            "FAILURE" if failed else "SUCCESS",
            f"{chance.random() * 100:.3f}",
            f"{100 + chance.random() * 900:.3f}",
        ),
        *(f"data{model % 9}", "nas", "141G", f"{chance.random() * 30:.3f}", str(build), "--shm-size=64G"),
    ]
