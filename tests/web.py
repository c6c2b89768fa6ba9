"""Asking a process of ours over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families


class Web:
    """What a worker or a compactor serves on its port."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text; status 0 where nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float | None:
        """Return the sum of a metric's samples that carry these labels; None without any."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        found = [s.value for f in families for s in f.samples if s.name == name and labels.items() <= s.labels.items()]
        return sum(found) if found else None
