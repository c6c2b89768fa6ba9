"""A schema registry behind TLS and a password: a reverse proxy in front of Apicurio, as operators put one there."""

from __future__ import annotations

import base64
import http.client
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.broker.secured import USER, make_certificates
from tests.registry import Apicurio

_PASSED_ON = ("Content-Type", "Accept")


@dataclass
class SecuredRegistry:
    """What a client needs, and how often each answer was given.

    Attributes:
        address: `127.0.0.1:port/path`, without scheme, user and password.
        authority: PEM file of the certificate authority.
        password: of `USER`; of letters and digits.
        answers: HTTP status of each request, in their order.
    """

    address: str
    authority: Path
    password: str
    answers: list[int]

    def url(self, password: str | None = None) -> str:
        """With user and password in it."""
        return f"https://{USER}:{password or self.password}@{self.address}"


@contextmanager
def behind_tls(registry: Apicurio, folder: Path) -> Iterator[SecuredRegistry]:
    """Put a proxy in front of a registry that runs, for as long as the block lasts; its keys are in `folder`."""
    authority, keystore = folder / "authority.pem", folder / "registry.pem"
    make_certificates(authority, keystore)
    upstream = urlsplit(registry.url)
    password = secrets.token_hex(16)
    expected = "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()
    answers: list[int] = []

    class Proxy(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != expected:
                self._answer(401, "application/json", b'{"error_code": 40101, "message": "Unauthorized"}')
                return
            headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
            connection = http.client.HTTPConnection(upstream.netloc, timeout=30)
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                self._answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
            finally:
                connection.close()

        do_GET = do_POST = do_PUT = _pass_on

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            answers.append(status)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing: the test reads `answers`."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of clients that don't trust us."""

    server = Server(("127.0.0.1", 0), Proxy)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keystore)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield SecuredRegistry(f"127.0.0.1:{server.server_port}{upstream.path}", authority, password, answers)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
