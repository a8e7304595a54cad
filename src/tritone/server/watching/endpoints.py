"""/metrics, /live and /ready of `tritone serve` itself, on the watchdog's port.

They answer before Triton opens its ports and while it stops. Nobody can hold them open: a connection is for one
request, a silent one is closed, and where there are too many the oldest has to go.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from tritone.server.watching.readiness import Readiness

SILENT_S = 5.0  # a caller may be, between two parts of a request
MOST_CONNECTIONS = 32


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # or a burst of connections makes the next caller wait for seconds
    block_on_close = False  # or closing would wait for the slowest caller

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._open: deque[socket.socket] = deque()
        super().__init__((host, port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        if len(self._open) > MOST_CONNECTIONS:
            with contextlib.suppress(OSError, IndexError):
                self._open.popleft().shutdown(socket.SHUT_RDWR)  # its thread ends by itself
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(ValueError):
            self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller who goes away is nobody's concern."""


def serve(host: str, port: int, registry: CollectorRegistry, readiness: Readiness) -> Callable[[], None]:
    """Answer from now on; returns what ends it. Raises OSError where the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SILENT_S

        def do_GET(self) -> None:  # http.server's name
            status, kind, body = _answer(self.path.partition("?")[0], self.headers.get("Accept", ""))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Probes come every second: nothing to note."""

    def _answer(path: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/metrics":
            encode, kind = choose_encoder(accept)
            return HTTPStatus.OK, kind, encode(registry)
        checks = {"/live": readiness.is_live, "/ready": readiness.is_ready}
        if path not in checks:
            return HTTPStatus.NOT_FOUND, "text/plain", b"there are /metrics, /live and /ready\n"
        status = HTTPStatus.OK if checks[path]() else HTTPStatus.SERVICE_UNAVAILABLE
        return status, "application/json", json.dumps(readiness.report(), ensure_ascii=False).encode() + b"\n"

    server = _Server(host, port, Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="endpoints", daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close
