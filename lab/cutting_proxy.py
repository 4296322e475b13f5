"""A line that breaks: forwards TCP to a registry and cuts for good after so many bytes."""

from __future__ import annotations

import contextlib
import socket
import threading


class CuttingProxy:
    """Listens on every address, on a free port; `limit` counts bytes from the registry over all connections."""

    def __init__(self, target: tuple[str, int], limit: int) -> None:
        self.target, self.limit = target, limit
        self.was_cut = False
        self._passed = 0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("0.0.0.0", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> CuttingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def _accept(self) -> None:
        while not self.was_cut:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self.target, timeout=30)
            except OSError:
                return
            self._sockets += [near, far]
            threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if counted:
                    with self._lock:
                        self._passed += len(data)
                        if self._passed > self.limit:
                            self.was_cut = True
                            self._close()
                            return
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _close(self) -> None:
        for one in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
