"""The dashboard's pages in a headless Chromium, over a lake of many small files that all came just now."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from bench import lakes
from compaction.gold import refresh
from sink.lake import Lake
from tests.browser import PAGES, chromium, dashboard, open_page

DAYS = 30
FLUSHES = 500
WANTED_S = 1.5
_CACHED_S = 10.5


def measure(bootstrap: str, events: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds from asking for a page's address, caches run out, to its script's end; the first load warms up."""
    lake = Lake.at(str(folder / "pages"))
    lakes.fill(lake, events, DAYS, flush_rows=events // FLUSHES)
    refresh(lake)
    found: dict[str, Any] = {"rows": events, "files": len(lake.table("silver").file_uris())}
    with chromium() as browser, dashboard(lake.uri, folder / "log") as url:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        for path in PAGES:
            open_page(page, f"{url}/{path}")
            found[path or "now"] = [round(_load_s(page, f"{url}/{path}"), 2) for _ in range(rounds)]
            print(f"  {path or 'now':18} {found[path or 'now']} s (wanted <= {WANTED_S})", flush=True)
    slowest = max(statistics.median(found[path or "now"]) for path in PAGES)
    print(f"the slowest page's median: {slowest:.2f} s (wanted <= {WANTED_S})")
    return {**found, "slowest_median_s": slowest}


def _load_s(page: Any, address: str) -> float:
    time.sleep(_CACHED_S)
    start = time.monotonic()
    open_page(page, address)
    return time.monotonic() - start
