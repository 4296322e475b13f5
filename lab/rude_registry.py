"""The lab's registry behind a front that answers as registries do on a bad day: faults, too many requests, a drip."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .settings import cache, registry_address

# What is handed on of a request, and of an answer.
_ASKED = ("Accept", "Authorization", "Range")
_TOLD = ("Content-Type", "Content-Length", "Content-Range", "Docker-Content-Digest", "Docker-Distribution-Api-Version")


class RudeRegistry:
    """Listens on every address, on a free port, with the registry's own certificate.

    Attributes:
        status: what the next `times` requests for a path with `part` in it are answered, instead of what they ask for;
            0: their answers come one byte a second.
        asked: the paths of these requests.
    """

    def __init__(self, status: int, part: str, times: int = 1, headers: dict[str, str] | None = None) -> None:
        self.status, self.part, self.times, self.headers = status, part, times, headers or {}
        self.asked: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("0.0.0.0", 0), _handler(self))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cache() / "tls" / "server.crt", cache() / "tls" / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]

    def __enter__(self) -> RudeRegistry:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def is_rude_to(self, path: str) -> bool:
        """Is this request one of those? It is counted."""
        with self._lock:
            if self.part not in path or len(self.asked) >= self.times:
                return False
            self.asked.append(path)
            return True

    def pieces(self, body: http.client.HTTPResponse, drip: bool) -> Iterator[bytes]:
        """What an answer is sent in."""
        while data := body.read(1 if drip else 65536):
            yield data
            if drip and self._over.wait(1):
                return


def _handler(outer: RudeRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            rude = outer.is_rude_to(self.path)
            if rude and outer.status:
                body = b'{"errors": [{"code": "UNAVAILABLE", "message": "not today"}]}'
                if outer.status == 429:
                    body = body.replace(b"UNAVAILABLE", b"TOOMANYREQUESTS")
                self._begin(outer.status, {"Content-Type": "application/json", **outer.headers}, len(body))
                if self.command != "HEAD":
                    self.wfile.write(body)
                return
            host, _, port = registry_address().partition(":")
            trust = ssl.create_default_context(cafile=cache() / "tls" / "ca.crt")
            line = http.client.HTTPSConnection(host, int(port), timeout=30, context=trust)
            with contextlib.closing(line), contextlib.suppress(OSError):  # whoever asked has gone
                asked = {name: self.headers[name] for name in _ASKED if name in self.headers}
                line.request(self.command, self.path, headers=asked)
                answer = line.getresponse()
                told = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
                self._begin(answer.status, told)
                for piece in outer.pieces(answer, rude):
                    self.wfile.write(piece)
                    self.wfile.flush()

        def do_HEAD(self) -> None:
            self.do_GET()

        def _begin(self, status: int, headers: dict[str, str], length: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """The tests print what they need."""

    return Handler
