"""A server that says what it is told to, byte by byte: nothing between it and the client makes good what is wrong."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Hostile:
    """Answers every connection with `answer`; then, where `drip` is set, with that again and again, until it is left.

    Attributes:
        url, host: where it listens, on loopback.
        asked: the first bytes of each request.
    """

    def __init__(self, answer: bytes, drip: bytes = b"", every_s: float = 0.02) -> None:
        self.answer, self.drip, self.every_s = answer, drip, every_s
        self.asked: list[bytes] = []
        self._over = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.url = f"http://{self.host}"

    def serve(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = self._server.accept()
                threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.asked.append(connection.recv(65536))
            connection.sendall(self.answer)
            while self.drip and not self._over.wait(self.every_s):
                connection.sendall(self.drip)
            # Closed with something of the request unread, a connection is reset, and the answer may be lost on the way.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(5)
            while connection.recv(65536):
                pass

    def end(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self._server.getsockname(), timeout=1).close()
        self._server.close()


@contextmanager
def hostile(answer: bytes, drip: bytes = b"") -> Iterator[Hostile]:
    """A `Hostile` that listens."""
    server = Hostile(answer, drip)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.end()
        thread.join()


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer with its length, unless a header says another one."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
