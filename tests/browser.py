"""A headless Chromium and a dashboard to look at with it."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.broker.kafka import free_ports

PAGES = {
    "": "Now",
    "titles-and-genres": "Titles and genres",
    "countries": "Countries",
    "hours-and-devices": "Hours and devices",
    "retention": "Retention",
    "funnel": "Funnel",
    "quality": "Quality",
    "volume-anomalies": "Volume anomalies",
    "pipeline-health": "Pipeline health",
    "ledger": "Ledger",
    "null-partition": "Null partition",
}
"""Address and title of each page."""
_START_LIMIT_S = 120
_CHROMIUM = Path(__file__).parent.parent / "tools" / "chromium"
_SETTLE_LIMIT_S = 30
_METRICS = """[...document.querySelectorAll('[data-testid=stMetric]')].map(each =>
    ['stMetricLabel', 'stMetricValue'].map(part => each.querySelector(`[data-testid=${part}]`).innerText.trim()))"""
_IDLE = "document.querySelector('[data-test-script-state]')?.dataset.testScriptState === 'notRunning'"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; `tools/chromium` installs one where it may."""
    path = subprocess.run([str(_CHROMIUM)], check=True, capture_output=True, text=True).stdout.strip()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def dashboard(lake: str, log: Path) -> Iterator[str]:
    """`playlake dashboard` on a lake; its address. Ends with the block."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "playlake", "dashboard", "--lake", lake, "--port", str(port)]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            _wait_until_healthy(f"http://127.0.0.1:{port}/_stcore/health", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < limit and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            continue
    raise AssertionError(f"the dashboard did not start: {log.read_text()[-2000:]}")


def open_page(page: Page, url: str) -> None:
    """Go to a page of the dashboard and wait until its script has run to its end."""
    page.goto(url, timeout=90_000)
    page.wait_for_selector("h1", timeout=90_000)
    settle(page)


def settle(page: Page) -> None:
    """Wait until nothing runs any more."""
    page.wait_for_function(_IDLE, timeout=90_000)


def metrics(page: Page, awaited: dict[str, str]) -> dict[str, str]:
    """The big figures on the page, label to text, as soon as they are those awaited; else as they are in the end."""
    limit = time.monotonic() + _SETTLE_LIMIT_S
    found: dict[str, str] = {}
    while time.monotonic() < limit and found != awaited:
        found = metrics_now(page)
    return found


def metrics_now(page: Page) -> dict[str, str]:
    """The big figures on the page, label to text."""
    return dict(page.evaluate(_METRICS))
