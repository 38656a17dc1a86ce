"""Headless Chromium for the browser tests of the report, and what a page may not do in it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DESKTOP: Final = {"width": 1400, "height": 1000}
PHONE: Final = {"width": 360, "height": 760}

#: Texts with less contrast than WCAG AA asks for, 4.5 or 3 for large ones: "text (ratio)".
CONTRAST: Final = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const linear = (byte) => {
    const value = byte / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const mix = (top, below) => {
    const alpha = top[3] ?? 1;
    return [0, 1, 2].map((place) => top[place] * alpha + below[place] * (1 - alpha));
  };
  const ground = (node) => {
    if (!node) return [255, 255, 255];
    const own = parse(getComputedStyle(node).backgroundColor);
    return (own[3] ?? 1) === 1 ? own : mix(own, ground(node.parentElement));
  };
  const low = [];
  const root = document.querySelector("dialog[open]") ?? document.body;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || !node.checkVisibility({ checkVisibilityCSS: true, checkOpacity: true })) continue;
    if (node.closest("script, style, svg, option, :disabled, .hidden, noscript, .skip")) continue;
    const style = getComputedStyle(node);
    const back = ground(node);
    const [one, two] = [light(mix(parse(style.color), back)), light(back)];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.6 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) low.push(`${text} (${ratio.toFixed(2)})`);
  }
  return low;
}"""

#: Controls that a screen reader could not name.
NAMELESS: Final = """() => [...document.querySelectorAll(
  "button, a[href], input, select, summary, [role=application], dialog[open]")]
  .filter((node) => node.checkVisibility())
  .filter((node) => {
    const by = node.getAttribute("aria-labelledby");
    const label = node.labels?.[0]?.textContent ?? "";
    const other = by ? document.getElementById(by)?.textContent : "";
    return !(node.getAttribute("aria-label") || other || label || node.textContent || "").trim();
  }).map((node) => node.outerHTML.slice(0, 120))"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser; skips where there is none, fails in CI."""
    if not shutil.which(CHROMIUM):
        if os.environ.get("CI") == "true":
            pytest.fail(f"{CHROMIUM} is missing", pytrace=False)
        pytest.skip(f"{CHROMIUM} is missing: install the Debian packages chromium and fonts-dejavu-core")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


class Visit:
    """One page in a context of its own.  What it may not do is collected in ``errors``.

    :param options: of a playwright context: ``viewport``, ``color_scheme``, ``java_script_enabled``, ...
    """

    def __init__(
        self, browser: Any, path: Path, fragment: str = "", script: str = "", **options: Any
    ) -> None:
        self.errors: list[str] = []
        self.address = path.as_uri()
        self.context = browser.new_context(accept_downloads=True, **{"viewport": DESKTOP, **options})
        if script:
            self.context.add_init_script(script)
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", lambda message: self.errors.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.errors.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))
        self.page.on("request", self._request)
        self.page.goto(self.address + fragment)
        if options.get("java_script_enabled", True) and not script:
            self.page.wait_for_selector("html.ready")

    def _request(self, request: Any) -> None:
        url = request.url.partition("#")[0]
        if url != self.address and not url.startswith(("blob:", "data:")):
            self.errors.append(f"request: {request.url}")

    def close(self) -> None:
        """Ends the visit; nothing forbidden may have happened."""
        pwned = self.page.evaluate("window.pwned")
        self.context.close()
        assert self.errors == []
        assert pwned is None

    # ---- what a reader sees -------------------------------------------------------------------------

    def count(self) -> int:
        """Number of rows that are shown."""
        found = re.match(r"[\d,]+", self.page.inner_text("#shown"))
        assert found
        return int(found[0].replace(",", ""))

    def head(self, name: str) -> Any:
        """The header button of a column."""
        return self.page.locator(f'.dataframe th[data-key="{name}"] button')

    def cells(self, name: str) -> list[str]:
        """The texts of a column in the rows in sight."""
        place = self.page.evaluate(
            "name => [...document.querySelectorAll('.dataframe thead th')]"
            ".findIndex(th => th.dataset.key === name)",
            name,
        )
        assert place >= 0, f"no column {name}"
        found: list[str] = self.page.evaluate(
            "place => [...document.querySelectorAll('.dataframe tbody tr[data-place]')]"
            ".map(tr => tr.cells[place].innerText)",
            place,
        )
        return found

    def overflow(self) -> int:
        """Pixels that the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))
