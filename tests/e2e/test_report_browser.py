"""The report in headless Chromium: what users do with it, on a desktop and on a phone.

Every visit fails on any console message, page error, dialog or request.  Screenshots go to
``MAD_TEST_ARTIFACTS``, or to the temporary directory of the tests.
"""

from __future__ import annotations

import csv
import io
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import report_samples
from pytest_madengine.reports.pages import site as reporting
from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.rows import file_rows
from report_browser import CONTRAST, NAMELESS, PHONE, Visit, chromium

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
Visits = Callable[..., Visit]

VIEWS: Final = ("results", "trends", "compare")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser: Any) -> Iterator[Visits]:
    """Opens pages; at the end nothing forbidden may have happened in any of them."""
    visits: list[Visit] = []

    def start(path: Path, fragment: str = "", **options: Any) -> Visit:
        visits.append(Visit(browser, path, fragment, **options))
        return visits[-1]

    yield start
    for one in visits:
        one.close()


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept."""
    given = os.environ.get("MAD_TEST_ARTIFACTS")
    directory = Path(given) if given else tmp_path_factory.mktemp("artifacts")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with perf.csv and the sessions that wrote it, hostile texts among them."""
    directory = tmp_path_factory.mktemp("site")
    report_samples.write_site(directory)
    return directory


@pytest.fixture(scope="module")
def page(root: Path) -> Path:
    """perf.html of all that."""
    return reporting.csv_report(root / "perf.csv")


@pytest.fixture(scope="module")
def site(root: Path) -> Path:
    """The results site without the hostile session: what a screenshot shows."""
    records = report_samples.documents(hostile=False)
    return reporting.site_report(
        root / "site",
        records,
        results_dir=root / "mad-results",
        title="MAD benchmarks",
        source="14 nightly sessions",
    )


@pytest.fixture(scope="module")
def rows(root: Path) -> list[dict[str, str]]:
    """Rows of perf.csv."""
    with (root / "perf.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# ---- the table ------------------------------------------------------------------------------------------


def download(visit: Visit) -> list[list[str]]:
    """The shown rows, by the button."""
    with visit.page.expect_download() as waiting:
        visit.page.click("#download")
    return list(csv.reader(io.StringIO(Path(waiting.value.path()).read_text(encoding="utf-8"), newline="")))


def test_the_table_holds_every_cell(visit: Visits, page: Path, rows: list[dict[str, str]]) -> None:
    """All columns, downloaded again: the rows of the file, newest first; formulas are made harmless."""
    one = visit(page)
    one.page.click("#columns summary")
    one.page.click("#columns button:text-is('All')")
    head, *lines = download(one)
    found = [dict(zip(head, line, strict=True)) for line in lines]
    assert set(V2_COLUMNS) | {"session", "finished", "vs median %"} == set(head)
    assert len(found) == len(rows) == one.count()
    for mine, theirs in zip(found, reversed(rows), strict=True):
        for name, cell in theirs.items():
            expected = f"'{cell}" if cell.startswith(("=", "-", "+", "@")) else cell
            assert mine[name] == expected
    assert any(line["metric"].startswith("'=HYPERLINK") for line in found)


def test_sorting(visit: Visits, page: Path, rows: list[dict[str, str]]) -> None:
    """Numbers as numbers, largest first; again: smallest first; a third time: newest first."""
    one = visit(page)
    numbers = sorted((float(row["performance"]) for row in rows if row["performance"]), reverse=True)
    newest = one.cells("performance")
    one.head("performance").click()
    shown = [float(text) for text in one.cells("performance")]
    assert shown == numbers[: len(shown)]
    assert one.page.get_attribute('th[data-key="performance"]', "aria-sort") == "descending"
    one.head("performance").click()
    shown = [float(text) for text in one.cells("performance")]
    assert shown == numbers[::-1][: len(shown)]
    one.head("performance").click()
    assert one.cells("performance") == newest
    one.head("machine_name").focus()
    one.page.keyboard.press("Enter")
    names = [text for text in one.cells("machine_name") if text]
    assert names == sorted(names)
    assert one.page.evaluate("document.activeElement.closest('th').dataset.key") == "machine_name"


def test_filters(visit: Visits, page: Path, rows: list[dict[str, str]]) -> None:
    """Search, status, model, session and column filters; each shows what the file says."""
    one = visit(page)

    def shows(test: Callable[[dict[str, str]], bool]) -> None:
        expected = sum(map(test, rows))
        one.page.wait_for_function(
            "wanted => document.querySelector('#shown').textContent.startsWith(wanted + ' ')",
            arg=str(expected),
        )

    one.page.fill("#search", "llama FP8")
    shows(lambda row: any("llama" in cell for cell in row.values()) and "fp8" in row.values())
    one.page.fill("#search", "out of memory")
    shows(lambda row: row["status"] == "FAILURE" and row["build_number"] != "0")
    one.page.click("#clear")
    shows(lambda row: True)
    one.page.click('.chip[data-status="FAILURE"]')
    shows(lambda row: row["status"] == "FAILURE")
    assert one.page.get_attribute('.chip[data-status="FAILURE"]', "aria-pressed") == "true"
    one.page.click('.chip[data-status="SKIPPED"]')
    shows(lambda row: row["status"] != "SUCCESS")
    one.page.click("#clear")
    one.page.fill("#model", "tf2_resnet50")
    shows(lambda row: row["model"] == "tf2_resnet50")
    one.page.fill("#model", "")
    one.page.select_option("#session", report_samples.run_id(3))
    shows(lambda row: row["build_number"] == "903")
    one.page.select_option("#session", "")
    one.page.click("#filter-columns")
    one.page.fill('input.filter[data-key="performance"]', ">1000")
    shows(lambda row: bool(row["performance"]) and float(row["performance"]) > 1000)
    one.page.fill('input.filter[data-key="performance"]', "300..500")
    shows(lambda row: bool(row["performance"]) and 300 <= float(row["performance"]) <= 500)
    one.page.fill('input.filter[data-key="training_precision"]', "=fp16")
    shows(
        lambda row: (
            bool(row["performance"])
            and 300 <= float(row["performance"]) <= 500
            and row["training_precision"] == "fp16"
        )
    )
    one.page.click("#filter-columns")
    shows(lambda row: True)
    one.page.fill("#search", "nothing has this")
    shows(lambda row: False)
    assert "No row matches." in one.page.inner_text(".dataframe tbody")


def test_tiles_filter(visit: Visits, page: Path, rows: list[dict[str, str]]) -> None:
    one = visit(page)
    counts = Counter(row["status"] for row in rows)
    for status, number in counts.items():
        tile = one.page.locator(f".tile.{status.lower()}")
        assert tile.locator("b").inner_text() == str(number)
        tile.click()
        assert one.count() == number
        tile.click()
    one.page.locator(".bars button").last.click()
    newest = report_samples.run_id(13)
    assert set(one.cells("session")) == {newest}
    one.page.click(".tile[class*=worse], .tile:has-text('Outside the band')")
    assert one.page.get_attribute("#tab-trends", "aria-selected") == "true"


def test_columns_can_be_chosen_and_are_remembered(visit: Visits, page: Path) -> None:
    one = visit(page)
    assert one.head("tags").count() == 0
    one.page.click("#columns summary")
    one.page.get_by_label("tags", exact=True).check()
    one.page.get_by_label("n_gpus", exact=True).uncheck()
    one.page.keyboard.press("Escape")
    assert one.head("tags").count() == 1
    assert one.head("n_gpus").count() == 0
    one.page.reload()
    one.page.wait_for_selector("html.ready")
    assert one.head("tags").count() == 1
    assert one.head("n_gpus").count() == 0


def test_the_keyboard_is_enough(visit: Visits, page: Path) -> None:
    """From the table with arrows to a run and back, to other views and to the search."""
    one = visit(page)
    keyboard = one.page.keyboard
    one.page.focus("#scroller")
    keyboard.press("ArrowDown")
    assert one.page.evaluate("document.activeElement.dataset.place") == "0"
    keyboard.press("End")
    assert one.page.evaluate("Number(document.activeElement.dataset.place)") == one.count() - 1
    keyboard.press("PageUp")
    keyboard.press("Home")
    for _ in range(8):
        keyboard.press("ArrowDown")
    place = one.page.evaluate("document.activeElement.dataset.place")
    assert place == "8"
    keyboard.press("Enter")
    one.page.wait_for_selector("dialog[open] h3")
    assert one.page.evaluate("document.activeElement.id") == "details-close"
    keyboard.press("Escape")
    one.page.wait_for_selector("dialog", state="hidden")
    assert one.page.evaluate("document.activeElement.dataset.place") == place
    one.page.focus("#tab-results")
    for view in ("trends", "compare", "results"):
        keyboard.press("ArrowRight")
        assert one.page.evaluate("document.activeElement.id") == f"tab-{view}"
        assert one.page.is_visible(f"#{view}")
    one.page.focus("#tab-results")
    keyboard.press("/")
    assert one.page.evaluate("document.activeElement.id") == "search"
    for _ in range(40):  # every control can be reached and shows where the focus is
        keyboard.press("Tab")
        assert one.page.evaluate(
            "document.activeElement === document.body"
            " || getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        )


def test_many_rows_stay_quick(visit: Visits, tmp_path: Path) -> None:
    """100,000 rows: a page below 10 MB, few rows in the document, first and last row reachable."""
    path = tmp_path / "perf.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(V2_COLUMNS)
        for number in range(100_000):
            cells = dict.fromkeys(V2_COLUMNS, f"text {number % 97}")
            cells |= {"model": f"model_{number % 500}", "performance": f"{1000 + number * 7919 % 100_003}.25"}
            cells |= {"metric": "tokens/s", "status": "SUCCESS" if number % 50 else "FAILURE"}
            cells |= {
                "test_duration": f"{number / 7:.3f}",
                "docker_sha": f"{number * 2654435761 % 2**64:016x}",
            }
            cells |= {"build_number": str(number // 500), "gpu_architecture": "gfx942"}
            writer.writerow(cells.values())
    page = reporting.csv_report(path)
    assert page.stat().st_size < 10_000_000
    one = visit(page)
    assert one.count() == 100_000
    assert one.page.locator(".dataframe tbody tr").count() < 80
    one.head("performance").click()
    assert one.cells("performance")[0] == f"{1000 + 100_002}.25"
    one.page.focus("#scroller")
    one.page.keyboard.press("End")
    assert one.page.evaluate("Number(document.activeElement.dataset.place)") == 99_999
    assert one.cells("performance")[-1] == "1000.25"
    assert one.page.locator(".dataframe tbody tr").count() < 80
    one.page.click("#tab-trends")
    one.page.wait_for_selector(".chart svg")
    one.page.click("#tab-compare")
    one.page.wait_for_selector(".comparison")


# ---- runs -----------------------------------------------------------------------------------------------


def open_run(visit: Visit, model: str, session: int) -> str:
    """Opens a run by its address; the text of the panel."""
    visit.page.evaluate("hash => { location.hash = hash; }", f"run={report_samples.run_id(session)}/{model}")
    visit.page.wait_for_selector("dialog[open] .body section")
    return str(visit.page.inner_text("dialog"))


def test_a_run_says_everything_about_itself(visit: Visits, page: Path, root: Path) -> None:
    one = visit(page)
    one.page.locator(".concerns a", has_text="jax_maxtext_mixtral").click()
    one.page.wait_for_selector("dialog[open] pre")
    text = one.page.inner_text("dialog")
    for expected in (
        *("script exited with 1: CUDA out of memory", "lower the batch size", "Decided in phase run"),
        *("RuntimeError: CUDA out of memory", "prepare", "9 min 59 s", "gpu-node-04", "AMD Instinct MI300X"),
        *("sha256:5f5f5f", "docker/jax_maxtext_mixtral.ubuntu.amd.Dockerfile", "6.12.12", "9f31c0d"),
        *(report_samples.run_id(13), "0, 1, 2, 3, 4, 5, 6, 7", "05ae7e7", "2026-11-01 22:05:29 UTC"),
    ):
        assert expected in text
    links = [urljoin(one.address, link.get_attribute("href")) for link in one.page.locator("dialog a").all()]
    assert len(links) == 3
    for link in links:
        assert Path(unquote(urlsplit(link).path)).is_file(), link
    text = open_run(one, "pyt_train_llama-3.1-70b", 10)
    assert "Attempts" in text
    assert "the engine broke off" in text
    assert "All results of this run" in text
    assert "/data/llama, 141G" in text
    text = open_run(one, "pyt_vllm_llama-3.1-8b", 12)
    assert "metric tokens_per_second printed 2 times, last value kept" in text
    one.page.click("dialog summary:text-is('Configuration')")
    assert '"sequence_length": "2048"' in one.page.inner_text("dialog")


def test_runs_have_addresses(visit: Visits, page: Path) -> None:
    """A link opens the run, next and previous follow the table, back goes back, and a wrong one says so."""
    one = visit(page, f"#run={report_samples.run_id(9)}/whisper_large_v3")
    one.page.wait_for_selector("dialog[open] section")
    assert "whisper_large_v3" in one.page.inner_text("#details-title")
    assert one.page.locator("dialog .dots .current").count() == 1
    assert "rtf" in one.page.inner_text("dialog header .value")
    one.page.click("#details-previous")
    one.page.wait_for_selector("dialog header .value:has-text('word_error')")
    assert one.page.url.endswith("&n=1")
    for _ in range(2):
        one.page.click("#details-next")
    one.page.wait_for_selector("#details-title:has-text('rccl_all_reduce')")
    assert one.page.evaluate("document.activeElement.id") == "details-next"
    one.page.go_back()
    one.page.wait_for_selector("dialog header .value:has-text('rtf')")
    one.page.mouse.click(20, 500)  # beside the panel
    one.page.wait_for_selector("dialog", state="hidden")
    assert "#" not in one.page.url
    wrong = visit(page, "#run=nowhere/nothing")
    assert "no such run" in wrong.page.inner_text("#trouble")


def test_a_click_opens_a_row_and_rows_without_a_record_show_their_cells(
    visit: Visits, root: Path, tmp_path: Path
) -> None:
    lonely = tmp_path / "perf.csv"
    lonely.write_bytes((root / "perf.csv").read_bytes())
    one = visit(reporting.csv_report(lonely))
    one.page.locator(".dataframe tbody tr[data-place] td.status").nth(9).click()
    one.page.wait_for_selector("dialog[open] dl")
    text = one.page.inner_text("dialog")
    assert "No record of this run was found" in text
    assert "rocm/pytorch:rocm6.4_ubuntu22.04_py3.10" in text
    assert re.search(r"#row=\d+$", one.page.url)


# ---- trends ---------------------------------------------------------------------------------------------


def values_of(model: str, metric: str) -> list[float]:
    """The successful values of a series, oldest first."""
    found = [row for one in report_samples.records() for row in file_rows(one, V2_COLUMNS)]
    mine = [row for row in found if row["model"] == model and row["metric"] == metric]
    return [float(row["performance"]) for row in mine if row["status"] == "SUCCESS"]


def test_charts_mark_what_is_outside_the_band(visit: Visits, site: Path) -> None:
    """The regression comes first, its points are marked, the tooltip says the band, Enter opens the run."""
    one = visit(site)
    one.page.click("#tab-trends")
    card = one.page.locator(".card").first
    card.locator("svg .values").wait_for()
    assert card.locator("h3").inner_text() == "pyt_huggingface_bert"
    values = values_of("pyt_huggingface_bert", "samples_per_second")
    assert card.locator(".dots circle").count() == len(values)
    assert card.locator(".dots circle.worse").count() == 2
    assert one.page.locator(".card").nth(1).locator(".dots circle.better").count() == 4
    assert one.page.locator(".card:has-text('rtf') .steps line").count() == 1
    card.locator(".chart").focus()
    one.page.keyboard.press("ArrowLeft")
    tip = one.page.inner_text("#tip")
    middle = median(values[:-1])
    assert f"{values[-1]:.6g} samples_per_second" in tip
    assert f"{100 * (values[-1] - middle) / middle:.1f}".replace("-", "\u2212") in tip
    assert "worse than the band" in tip
    one.page.keyboard.press("Home")
    assert f"{values[0]:.6g} samples_per_second" in one.page.inner_text("#tip")
    one.page.keyboard.press("Escape")
    assert one.page.is_hidden("#tip")
    box = card.locator(".chart").bounding_box()
    assert box
    one.page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 40)
    assert f"{values[-1]:.6g}" in one.page.inner_text("#tip")
    one.page.mouse.click(box["x"] + box["width"] - 12, box["y"] + 40)
    one.page.wait_for_selector("#details-title:has-text('pyt_huggingface_bert')")
    assert "\u221211.7 % against the median, worse than the band" in one.page.inner_text("dialog header")


def test_trends_can_be_searched_and_sorted(visit: Visits, site: Path) -> None:
    one = visit(site, "#trends")
    names = one.page.locator(".card h3")
    assert names.count() == 11
    one.page.select_option("#trend-order", "name")
    assert names.all_inner_texts() == sorted(names.all_inner_texts())
    one.page.fill("#trend-search", "llama tokens")
    one.page.wait_for_function("() => document.querySelectorAll('.card').length === 2")
    one.page.fill("#trend-search", "")
    one.page.check("#trend-only")
    one.page.wait_for_function("() => document.querySelectorAll('.card').length === 2")
    one.page.select_option("#trend-limit", "20")
    one.page.wait_for_selector(".card svg")


# ---- comparison -----------------------------------------------------------------------------------------


def test_two_sessions_side_by_side(visit: Visits, page: Path) -> None:
    """What broke is first, then by change; what cannot be compared says why."""
    one = visit(page)
    one.page.click("#tab-compare")
    lines = one.page.locator(".comparison tbody tr")
    first = lines.nth(0).inner_text()
    assert "jax_maxtext_mixtral" in first
    assert "SUCCESS \u2192 FAILURE" in first
    assert "only in B" in one.page.inner_text(".comparison")
    one.page.select_option("#compare-a", report_samples.run_id(3))
    one.page.select_option("#compare-b", report_samples.run_id(12))
    before, after = (
        {
            record.model: float(record.metrics[0].value)
            for record in report_samples.records()
            if record.run_id == wanted and record.metrics
        }
        for wanted in (report_samples.run_id(3), report_samples.run_id(12))
    )
    cells = {}
    for text in lines.all_inner_texts():
        model, _, *rest = text.split("\t")
        cells.setdefault(model, rest)
    change = 100 * (after["tf2_resnet50"] / before["tf2_resnet50"] - 1)
    assert cells["tf2_resnet50"][2].strip() == f"+{change:.1f} %"
    assert cells["tf2_resnet50"][:2] == [f"{before['tf2_resnet50']:.6g}", f"{after['tf2_resnet50']:.6g}"]
    assert cells["whisper_large_v3"][3] == "not comparable: different configuration"
    shown = [
        abs(float(text.replace("\u2212", "").strip("+\u00b1 %")))
        for text in lines.locator(".change.inside").all_inner_texts()
    ]
    assert shown == sorted(shown, reverse=True)
    one.page.click("#swap")
    assert one.page.input_value("#compare-a") == report_samples.run_id(12)
    swapped = one.page.locator(".comparison tr", has_text="tf2_resnet50").inner_text()
    assert (
        f"{100 * (before['tf2_resnet50'] / after['tf2_resnet50'] - 1):.1f}".replace("-", "\u2212") in swapped
    )
    one.page.check("#compare-only")
    assert one.page.locator(".comparison .change.inside").count() == 0
    one.page.click(".comparison th button:has-text('Model')")
    names = one.page.locator(".comparison tbody td:first-child").all_inner_texts()
    assert names == sorted(names, key=str.lower)
    one.page.locator(".comparison a").first.click()
    one.page.wait_for_selector("dialog[open] section")


def test_builds_are_compared_where_sessions_are_unknown(visit: Visits, root: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "perf.csv"
    lonely.write_bytes((root / "perf.csv").read_bytes())
    one = visit(reporting.csv_report(lonely), "#compare")
    assert one.page.input_value("#compare-b").startswith("build ")
    assert one.page.locator(".comparison tbody tr").count() > 5


# ---- looks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_every_view_is_readable(visit: Visits, site: Path, artifacts: Path, scheme: str, size: str) -> None:
    """No sideways scrolling, enough contrast, a name for every control; a screenshot of each."""
    options: dict[str, Any] = {"color_scheme": scheme}
    if size == "phone":
        options |= {"viewport": PHONE, "has_touch": True, "device_scale_factor": 2}
    one = visit(site, **options)
    one.page.emulate_media(reduced_motion="reduce")
    for view in VIEWS:
        one.page.click(f"#tab-{view}")
        if view == "trends":
            one.page.locator(".card").first.scroll_into_view_if_needed()
            one.page.wait_for_selector(".chart svg")
            one.page.evaluate("scrollTo(0, 0)")
        one.page.screenshot(path=artifacts / f"report-{size}-{scheme}-{view}.png", full_page=size == "phone")
        assert one.overflow() <= 0
        assert one.page.evaluate(CONTRAST) == []
        assert one.page.evaluate(NAMELESS) == []
    one.page.click("#tab-results")
    one.page.locator("tr.failure").first.click()
    one.page.wait_for_selector("dialog[open] pre")
    one.page.screenshot(path=artifacts / f"report-{size}-{scheme}-run.png")
    assert one.overflow() <= 0
    assert (
        one.page.evaluate(
            "(body => body.scrollWidth - body.clientWidth)(document.querySelector('dialog .body'))"
        )
        <= 0
    )
    assert one.page.evaluate(CONTRAST) == []
    assert one.page.evaluate(NAMELESS) == []
    one.page.locator("dialog h3", has_text="Provenance").evaluate("node => node.scrollIntoView()")
    one.page.screenshot(path=artifacts / f"report-{size}-{scheme}-provenance.png")


def test_the_theme_is_a_choice_that_is_remembered(visit: Visits, page: Path) -> None:
    one = visit(page, color_scheme="light")

    def background() -> str:
        return str(one.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = background()
    one.page.click("#theme")
    dark = background()
    assert dark != light
    one.page.reload()
    one.page.wait_for_selector("html.ready")
    assert background() == dark
    one.page.click("#theme")
    assert background() == light
    one.page.emulate_media(color_scheme="dark")
    assert background() == dark, "what the system says is followed again"


def test_paper_shows_every_row(
    visit: Visits, page: Path, artifacts: Path, rows: list[dict[str, str]]
) -> None:
    one = visit(page)
    one.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    one.page.emulate_media(media="print")
    assert one.page.locator(".dataframe tbody tr").count() == len(rows)
    assert one.page.is_hidden("#search")
    one.page.screenshot(path=artifacts / "report-paper.png")
    one.page.emulate_media(media="screen")
    one.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert one.page.locator(".dataframe tbody tr").count() < 80


def test_a_served_page_asks_its_server_for_nothing_else(browser: Any, page: Path) -> None:
    """Given the page behind a web server / loaded and used / then one request has come, no icon either."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            asked.append(self.path)

    handler = partial(Handler, directory=str(page.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            tab = browser.new_page()
            tab.goto(f"http://127.0.0.1:{server.server_port}/perf.html")
            tab.wait_for_selector("html.ready")
            tab.click("#tab-trends")
            tab.wait_for_selector(".chart svg")
            tab.close()
        finally:
            server.shutdown()
            thread.join()
    assert asked == ["/perf.html"]


# ---- without scripts, and against them ------------------------------------------------------------------


def test_without_javascript_the_table_is_complete(
    visit: Visits, page: Path, artifacts: Path, rows: list[dict[str, str]]
) -> None:
    one = visit(page, java_script_enabled=False)
    assert one.page.is_visible("noscript")
    assert one.page.is_visible(".concerns")
    assert one.page.is_hidden(".tabs")
    assert one.page.locator(".dataframe tbody tr").count() == len(rows)
    assert one.page.locator(".dataframe tbody tr.failure").count() == sum(
        row["status"] == "FAILURE" for row in rows
    )
    assert one.page.is_visible(".dataframe tbody tr >> nth=0")
    one.page.screenshot(path=artifacts / "report-no-script.png")


def test_an_old_browser_shows_the_table_and_says_why(
    visit: Visits, page: Path, rows: list[dict[str, str]]
) -> None:
    one = visit(page, script="delete window.DecompressionStream")
    one.page.wait_for_selector("#trouble")
    assert "cannot unpack the data" in one.page.inner_text("#trouble")
    assert one.page.locator(".dataframe tbody tr").count() == len(rows)
    assert one.page.is_visible(".dataframe tbody tr >> nth=0")


def test_hostile_texts_are_only_read(visit: Visits, page: Path) -> None:
    """Given texts that try to be markup, scripts and addresses / then they are shown as they are."""
    one = visit(page)
    one.page.fill("#search", "pwned")
    one.page.wait_for_function("() => document.querySelector('#shown').textContent.startsWith('7 of')")
    metrics = one.cells("metric")
    for text in report_samples.HOSTILE[:5]:
        assert text in metrics
    one.page.click("#tab-trends")
    one.page.click("#tab-compare")
    one.page.locator(".comparison a").last.scroll_into_view_if_needed()
    one.page.click("#tab-results")
    one.page.locator(".dataframe tbody tr[data-place]").first.click()
    one.page.wait_for_selector("dialog[open] pre")
    text = one.page.inner_text("dialog")
    for wanted in (*report_samples.HOSTILE[:5], report_samples.HOSTILE[6]):
        assert wanted in text
    assert one.page.locator("img, iframe, object").count() == 0
    targets = [link.get_attribute("href") for link in one.page.locator("a").all()]
    assert not [target for target in targets if not target.startswith(("#", "mad-results/"))]
    for link in one.page.locator("dialog a").all():
        link.hover()


def test_long_texts_do_not_widen_a_phone(visit: Visits, page: Path) -> None:
    one = visit(page, viewport=PHONE, has_touch=True)
    for view in VIEWS:
        one.page.click(f"#tab-{view}")
        assert one.overflow() <= 0, view
    one.page.click("#tab-results")
    one.page.locator(".dataframe tbody tr[data-place]").first.tap()
    one.page.wait_for_selector("dialog[open] pre")
    assert one.overflow() <= 0
    for summary in one.page.locator("dialog summary").all():
        summary.tap()
    wide = "(body => body.scrollWidth - body.clientWidth)(document.querySelector('dialog .body'))"
    assert one.page.evaluate(wide) <= 0
