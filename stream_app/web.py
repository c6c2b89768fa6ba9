"""The worker's pages on Faust's web server: metrics, alive, ready."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from schemas.errors import ConfigError
from stream_app.metrics import WorkerMetrics, WorkerState


def not_ready(state: WorkerState, freshness_limit_s: float) -> list[str]:
    """Return why a worker is not ready, each in a line; empty when it is.

    Args:
        state: of the worker.
        freshness_limit_s: how old, by the broker's time, a record may get that is not in the lake.
    """
    reasons = []
    if not state.is_joined:
        reasons.append("the consumer group has not assigned Kafka partitions yet")
    if state.store_trouble is not None:
        reasons.append(f"the store is away: {state.store_trouble}")
    if state.broker_trouble is not None:
        reasons.append(f"the broker is away: {state.broker_trouble}")
    if state.registry_trouble is not None:
        reasons.append(f"the schema registry is away: {state.registry_trouble}")
    if state.oldest_waiting_s > freshness_limit_s:
        reasons.append(
            f"a record has waited {state.oldest_waiting_s:.0f} s for the lake; the limit is {freshness_limit_s:g} s"
        )
    return reasons


def add_pages(app: Any, metrics: WorkerMetrics, state: Callable[[], WorkerState], freshness_limit_s: float) -> None:
    """Add `/metrics`, `/healthz` and `/readyz` to a Faust app.

    `/healthz` answers 200 for as long as the app's loop turns: a worker whose threads failed ends by itself. `/readyz`
    answers 503, with the reasons, while `not_ready` has any.
    """

    async def show_metrics(web: Any, request: Any) -> Any:
        return web.bytes(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(web: Any, request: Any) -> Any:
        return web.text("alive\n")

    async def readyz(web: Any, request: Any) -> Any:
        reasons = not_ready(state(), freshness_limit_s)
        return web.text("".join(f"{line}\n" for line in reasons or ["ready"]), status=503 if reasons else 200)

    for path, page in (("/metrics", show_metrics), ("/healthz", healthz), ("/readyz", readyz)):
        app.page(path)(page)


def require_free_port(address: str, port: int) -> None:
    """Check that a server may listen there, so that a wrong address is told before anything is started.

    Raises:
        ConfigError: it may not.
    """
    try:
        with socket.create_server((address, port)):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror  # no host: negative
        raise ConfigError(f"can't listen on {address}:{port} (--web-bind, --web-port): {reason}") from None
