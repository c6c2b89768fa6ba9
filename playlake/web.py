"""A small web server in a thread, for a process whose own work is not a loop of events. Read only, GET only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from schemas.errors import ConfigError

_REQUEST_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Page:
    """An answer.

    Attributes:
        body: text or bytes as they go out.
        status: of HTTP.
        content_type: with its charset.
    """

    body: str | bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


@contextmanager
def serve(address: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> Iterator[None]:
    """Serve pages for as long as the body runs.

    Args:
        address: to listen on.
        port: to listen on.
        pages: by path; called in a thread of their own.

    Raises:
        ConfigError: nobody may listen there.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_TIMEOUT_S  # of a client that connects and says nothing

        def do_GET(self) -> None:
            make = pages.get(self.path.partition("?")[0])
            page = Page(f"there is no {self.path}; there are {', '.join(pages)}\n", 404) if make is None else make()
            body = page.body.encode() if isinstance(page.body, str) else page.body
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    try:
        server = ThreadingHTTPServer((address, port), Handler)
    except OSError as error:
        raise ConfigError(f"can't listen on {address}:{port} (--web-bind, --web-port): {error.strerror}") from None
    with server:
        threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
