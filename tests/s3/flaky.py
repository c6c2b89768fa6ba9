"""A network in trouble before an S3 API: seeded dice decide what happens to each request.

flaky = FlakyS3(s3, dice)
flaky.shares = {Fault.SLOW_DOWN: 0.1, Fault.LOST_ANSWER: 0.1}
worker = workers.start(topic, lake, env=flaky.env)
worker.until(lambda: flaky.counts[Fault.LOST_ANSWER] > 3, "answers got lost")
flaky.shares = CALM

Requests go on to the S3 API as they came, `Host` included, which their signatures cover.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.s3.server import S3


class Fault(StrEnum):
    """What may happen to a request; one of them at most."""

    SLOW_DOWN = "503 SlowDown in place of an answer; never forwarded"
    ERROR = "500 InternalError in place of an answer; never forwarded"
    DENIED = "403 SignatureDoesNotMatch, which repeats the key's id; never forwarded"
    RESET = "the connection reset; never forwarded"
    LOST_ANSWER = "forwarded, and the connection reset in place of the answer"
    LOST_COMMIT = "the same, for conditional puts alone: commit files of a Delta log"
    LATE = "the connection ended, and forwarded a moment later"
    SLOW = "answered late"
    SILENT = "never answered; never forwarded"
    TRUNCATED = "of a GET: the connection ends in the middle of the answer"


CALM: Final[Mapping[Fault, float]] = {}
AWAY: Final[Mapping[Fault, float]] = {Fault.RESET: 1.0}
THROTTLED: Final[Mapping[Fault, float]] = {Fault.SLOW_DOWN: 1.0}
DEAF: Final[Mapping[Fault, float]] = {Fault.SILENT: 1.0}
DENIED: Final[Mapping[Fault, float]] = {Fault.DENIED: 1.0}

_ANSWERS: Final = {
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.ERROR: (500, "InternalError"),
    Fault.DENIED: (403, "SignatureDoesNotMatch"),
}
_LONGEST_DELAY_S: Final = 1.0
_HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding"}


class FlakyS3:
    """A proxy on a port of its own.

    Attributes:
        shares: of the requests to which each fault happens, together at most 1; may be changed at any time.
        counts: how often each fault happened so far.
        env: the AWS variables that lead through it.
    """

    def __init__(self, s3: S3, dice: random.Random) -> None:
        """Start it, calm."""
        self.shares = CALM
        self.counts: Counter[Fault] = Counter()
        self._dice, self._lock = dice, threading.Lock()
        self._server = _Server(self, s3.port)
        self.env = {**s3.env, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_address[1]}"}
        self._thread = threading.Thread(target=self._server.serve_forever, name="flaky s3", daemon=True)
        self._thread.start()

    def fate(self, *, is_get: bool, is_conditional_put: bool) -> tuple[Fault | None, float]:
        """Roll the dice for one request: what happens to it, and a second roll in 0–1 for how much."""
        with self._lock:
            left, amount = self._dice.random(), self._dice.random()
            for fault, share in self.shares.items():
                left -= share
                if left < 0:
                    if (fault is Fault.TRUNCATED and not is_get) or (
                        fault is Fault.LOST_COMMIT and not is_conditional_put
                    ):
                        break
                    self.counts[fault] += 1
                    return fault, amount
        return None, amount

    def close(self) -> None:
        """End it; fails when it failed itself meanwhile, which would have looked like a fault."""
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        assert [] == self._server.trouble


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, flaky: FlakyS3, target_port: int) -> None:
        self.flaky, self.target_port = flaky, target_port
        self.closing = threading.Event()
        self.trouble: list[BaseException] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without the orderly end first, which a reset connection does not have

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):  # a client that was killed, mostly
            self.trouble.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: the second of two waits for the first one's acknowledgement
    server: _Server

    def handle_expect_100(self) -> bool:
        told = super().handle_expect_100()
        self.wfile.flush()
        return told

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault, amount = self.server.flaky.fate(
            is_get=self.command == "GET",
            is_conditional_put=self.command == "PUT" and "If-None-Match" in self.headers,
        )
        if fault in _ANSWERS:
            code, name = _ANSWERS[fault]
            key = self.server.flaky.env["AWS_ACCESS_KEY_ID"]
            told = f"<AWSAccessKeyId>{key}</AWSAccessKeyId><StringToSign>{key}</StringToSign>"
            text = f"<Error><Code>{name}</Code><Message>Not now.</Message>{told if code == 403 else ''}</Error>"
            self._answer(code, name, {"Content-Type": "application/xml"}, f"<?xml version='1.0'?>{text}".encode())
            return
        if fault is Fault.RESET:
            self._reset()
            return
        if fault is Fault.SILENT:
            self.server.closing.wait()
            self._reset()
            return
        if fault is Fault.LATE:
            self.connection.shutdown(socket.SHUT_RDWR)
        if fault in (Fault.LATE, Fault.SLOW):
            self.server.closing.wait(amount * _LONGEST_DELAY_S)
        status, reason, headers, answer = self._forward(body)
        if fault in (Fault.LATE, Fault.LOST_ANSWER, Fault.LOST_COMMIT):
            self._reset()
        elif fault is Fault.TRUNCATED:
            self._answer(status, reason, headers, answer, sent=int(amount * len(answer)))
            self._reset()
        else:
            self._answer(status, reason, headers, answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def _forward(self, body: bytes) -> tuple[int, str, dict[str, str], bytes]:
        target = http.client.HTTPConnection("127.0.0.1", self.server.target_port, timeout=60)
        with contextlib.closing(target):
            target.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    target.putheader(name, value)
            target.endheaders(body)
            response = target.getresponse()
            headers = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
            return response.status, response.reason, headers, response.read()

    def _answer(
        self, status: int, reason: str, headers: Mapping[str, str], body: bytes, sent: int | None = None
    ) -> None:
        self.send_response_only(status, reason)
        for name, value in headers.items():
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD" and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body[:sent])

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None: ...
