"""Done when 2: the example repository as in the README, its JUnit file against the schema, its page in a
browser."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from session_support import tree_hash

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mad"
SCHEMA = Path(__file__).resolve().parents[1] / "data" / "junit-xunit2.xsd"
BASE_IMAGE = "debian:bookworm-slim"
CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@dataclass
class Demo:
    """What ``pytest --mad-tags ...`` in the example repository left."""

    directory: Path
    process: subprocess.CompletedProcess[str]
    #: The repository before the run.
    before: dict[str, str]

    def rows(self) -> list[dict[str, str]]:
        with (self.directory / "perf.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))


def repository_state() -> dict[str, str]:
    """The repository without what other runs in it may write meanwhile."""
    ours = ("mad-results", ".pytest_cache", "__pycache__", "perf")
    return {path: state for path, state in tree_hash(EXAMPLE).items() if not path.startswith(ours)}


@pytest.fixture(scope="module")
def demo(docker_client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """One run of the demo models and two that fail.  The first on a machine builds PyTorch's image."""
    from docker.errors import ImageNotFound

    try:
        docker_client.images.get(BASE_IMAGE)
    except ImageNotFound:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{BASE_IMAGE} is missing: see scripts/prepare", pytrace=False)
        pytest.skip(f"{BASE_IMAGE} is missing: see scripts/prepare")
    directory = tmp_path_factory.mktemp("demo")
    before = repository_state()
    argv = [
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
        *("--mad-tags", "demo,failing,silent", f"--mad-output={directory / 'perf.csv'}"),
        *(f"--mad-results-dir={directory / 'results'}", f"--junitxml={directory / 'j.xml'}"),
        f"--html={directory / 'h.html'}",
    ]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "160"}
    process = subprocess.run(
        argv, cwd=EXAMPLE, env=environ, capture_output=True, text=True, timeout=900, check=False
    )
    return Demo(directory, process, before)


def test_rows(demo: Demo) -> None:
    """Every demo model has its rows, with numbers; the broken ones are FAILURE, the one for GPUs SKIPPED."""
    assert demo.process.returncode == 1, demo.process.stdout + demo.process.stderr
    statuses = {row["model"]: row["status"] for row in demo.rows()}
    assert statuses == {
        "demo_torch_train": "SUCCESS",
        **{f"demo_matmul_{size}": "SUCCESS" for size in (128, 256, 512)},
        "demo_signing": "SUCCESS",
        "demo_eight_gpus": "SKIPPED",
        "demo_dynamic/md5": "SUCCESS",
        "demo_dynamic/sha256": "SUCCESS",
        "demo_fails": "FAILURE",
        "demo_silent": "FAILURE",
    }
    for row in demo.rows():
        if row["status"] == "SUCCESS":
            assert float(row["performance"]) > 0, row
            assert row["metric"]
            assert row["docker_image"].startswith("ci-demo_")
    assert repository_state() == demo.before


def schema(*, properties: bool) -> Any:
    """The xunit2 schema of Jenkins.

    It knows properties of suites only, while pytest writes those of ``record_property`` below each test case
    (its documentation says so); readers, Jenkins included, accept them.

    :param properties: allow that one thing more.
    """
    import xmlschema

    text = SCHEMA.read_text(encoding="utf-8")
    if properties:
        skipped = '<xs:element ref="skipped"'
        before, _, case = text.partition('<xs:element name="testcase">')
        case = case.replace(skipped, f'<xs:element ref="properties"/>{skipped}', 1)
        text = f'{before}<xs:element name="testcase">{case}'
    return xmlschema.XMLSchema(text)


def test_junit_is_valid(demo: Demo) -> None:
    """The XML validates against the xunit2 schema; one case per item, with properties."""
    schema(properties=True).validate(demo.directory / "j.xml")
    cases = list(ElementTree.parse(demo.directory / "j.xml").getroot().iter("testcase"))
    assert len({case.get("name") for case in cases}) == len(cases) == 8
    for case in cases:
        properties = {item.get("name"): item.get("value") for item in case.iter("property")}
        assert properties["mad.model"]
        assert properties["mad.status"] in ("SUCCESS", "FAILURE", "SKIPPED")
        if properties["mad.status"] == "SUCCESS":
            assert float(properties["mad.performance"] or "nan") > 0


# ---- the page in a browser ----------------------------------------------------------------------------


@dataclass
class Browser:
    page: Any
    errors: list[str]

    def column(self, name: str) -> list[str]:
        """Texts of a column, from top to bottom."""
        return [cell.inner_text() for cell in self.page.locator(f"td.col-{name}").all()]

    def sort(self, name: str) -> list[str]:
        self.page.click(f"th[data-column-type={name}]")
        return self.column(name)


@pytest.fixture
def browser(demo: Demo, tmp_path: Path) -> Iterator[Browser]:
    """The page of the demo, opened in Chromium; errors on its console are collected."""
    if not Path(CHROMIUM).exists() or not shutil.which(CHROMIUM):
        if os.environ.get("CI") == "true":
            pytest.fail(f"{CHROMIUM} is missing", pytrace=False)
        pytest.skip(f"{CHROMIUM} is missing: install the Debian packages chromium and fonts-dejavu-core")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=CHROMIUM,
            args=list(FLAGS),
            viewport={"width": 1400, "height": 1000},
        )
        page = context.pages[0]
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("requestfailed", lambda request: errors.append(f"failed: {request.url}"))
        page.goto((demo.directory / "h.html").as_uri())
        page.wait_for_selector("td.col-performance")
        yield Browser(page, errors)
        page.screenshot(path=str(tmp_path / "page.png"), full_page=True)
        context.close()
    assert errors == []


def test_page_shows_our_columns(demo: Demo, browser: Browser) -> None:
    """Metrics, reasons and links of each model, equal to the table."""
    heads = [cell.inner_text() for cell in browser.page.locator("#results-table th").all()]
    assert {"Performance", "Metric", "GPUs", "Reason", "Log"} <= set(heads)
    values = "\n".join(browser.column("performance")).splitlines()
    assert set(values) - {""} == {row["performance"] for row in demo.rows()} - {""}
    assert "script exited with 7" in browser.column("reason")
    links = browser.page.locator("td.col-log a").all()
    assert links
    for link in links:
        assert (demo.directory / unquote(link.get_attribute("href"))).is_file()
    environment = browser.page.locator("#environment").inner_text()
    assert "mad.plugin_version" in environment
    # A failed model shows the end of its log without another click.
    assert "something went wrong after the measurement" in browser.page.locator("body").inner_text()
    details = "\n".join(cell.inner_text() for cell in browser.page.locator("div.log").all())
    assert "Skipped: " not in details, "a tuple of pytest is shown"
    width = browser.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0, "the page scrolls sideways"


def test_page_sorts_by_our_columns(browser: Browser) -> None:
    """A click sorts by numbers, a second one the other way."""

    def numbers(texts: list[str]) -> list[float]:
        return [float(text.split()[0]) for text in texts if text.strip()]

    first, second = numbers(browser.sort("performance")), numbers(browser.sort("performance"))
    assert len(first) > 3
    assert {tuple(first), tuple(second)} == {tuple(sorted(first)), tuple(sorted(first, reverse=True))}
    metrics = [text for text in browser.sort("metric") if text]
    assert metrics in (sorted(metrics), sorted(metrics, reverse=True))


def test_page_filters_outcomes(browser: Browser) -> None:
    """The check boxes of pytest-html hide rows with our cells like any other."""
    shown = len(browser.column("performance"))
    browser.page.click("input[data-test-result=passed]")
    assert 0 < len(browser.column("performance")) < shown


def test_records(demo: Demo) -> None:
    """Every row stands in a record; the records name host and image."""
    (path,) = demo.directory.glob("results/*/records.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(records) == 8
    for record in records:
        assert record["host"]["hostname"]
        assert record["image"]["name"].startswith("ci-demo_")
