"""The e-mail page and message in headless Chromium, on a desktop and on a phone.

The texts of the samples try to become markup and scripts: every visit fails on any console message, dialog or
request.  Screenshots go to ``MAD_TEST_ARTIFACTS``, or to the temporary directory of the tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import report_samples
from pytest_madengine.reports.mail.page import CLIP, Mail
from pytest_madengine.reports.mail.reasons import Reasons
from pytest_madengine.reports.mail.table import read_table
from report_browser import CONTRAST, DESKTOP, PHONE, Visit, chromium

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
sizes = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
kinds = pytest.mark.parametrize("kind", ["page", "message"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``page.html`` and ``message.html`` of a sample site, and ``good.html`` of its harmless part."""
    directory = tmp_path_factory.mktemp("mail")
    table = read_table(report_samples.write_site(directory))
    mail = Mail((table,), Reasons(directory / "mad-results"), "2026-11-27 06:30 UTC")
    (directory / "page.html").write_text(mail.page(), encoding="utf-8")
    (directory / "message.html").write_text(mail.message(), encoding="utf-8")
    return directory


@pytest.fixture
def visit(browser: Any, pages: Path) -> Iterator[Callable[..., Visit]]:
    """Opens one of the pages; scripts may run, so that a smuggled one would be seen."""
    visits: list[Visit] = []

    def start(kind: str, size: dict[str, int]) -> Visit:
        visits.append(Visit(browser, pages / f"{kind}.html", script="window.watched = 1", viewport=size))
        return visits[-1]

    yield start
    for one in visits:
        one.close()


@kinds
@sizes
def test_a_reader_sees_it_all(
    visit: Callable[..., Visit], tmp_path: Path, kind: str, size: dict[str, int]
) -> None:
    """No sideways scrolling, enough contrast, failures with their reasons above the charts and tables."""
    page = visit(kind, size).page
    artifacts = Path(os.environ.get("MAD_TEST_ARTIFACTS") or tmp_path)
    artifacts.mkdir(parents=True, exist_ok=True)
    name = "phone" if size == PHONE else "desktop"
    page.screenshot(
        path=str(artifacts / f"mail-{kind}-{name}.png"),
        clip={"x": 0, "y": 0, "width": size["width"], "height": 1600},
        full_page=True,
    )
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert page.evaluate(CONTRAST) == []
    text = page.inner_text("body")
    assert text.index("failed") < text.index("Failures") < text.index("Performance") < text.index("perf\n")
    assert "CUDA out of memory" in text.partition("Performance")[0]
    for hostile in report_samples.HOSTILE[:4]:
        assert " ".join(hostile.split()) in " ".join(text.split())
    assert "nan" not in text.lower().split()


@sizes
def test_bars_have_the_lengths_of_their_values(visit: Callable[..., Visit], size: dict[str, int]) -> None:
    """A chart is what it says: pixels in proportion to the numbers, to two pixels."""
    page = visit("message", size).page
    checked = 0
    for chart in page.locator("p + table:not([class]):not([role])").all():
        bars = []
        for row in chart.locator("xpath=./tbody/tr").all():
            cells = row.locator("xpath=./td")
            width = cells.nth(1).locator("td[bgcolor]").first.bounding_box()["width"]
            bars.append((float(cells.nth(2).inner_text()), width))
        top_value, top_width = max(bars)
        for value, width in bars:
            if value > 0:
                assert abs(width - top_width * max(value / top_value, 0.01)) <= top_width * 0.01 + 2
                checked += 1
    assert checked > 5


def test_words_of_outcomes_are_whole_on_a_phone(visit: Callable[..., Visit]) -> None:
    """``SUCCESS`` and numbers stand on one line each."""
    page = visit("message", PHONE).page
    heights = page.evaluate(
        "[...document.querySelectorAll('.dataframe td b')].map(node => node.getClientRects().length)"
    )
    assert heights
    assert set(heights) == {1}


def test_gmail_clips_nothing(pages: Path) -> None:
    assert (pages / "message.html").stat().st_size <= CLIP
