"""uvicorn's HTTP protocol with the bounds that it leaves to a reverse proxy, which a unit does not have."""

from typing import Any, Optional

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADERS = 16 * 1024
MAX_FROM_ONE_MACHINE = 32
MAX_CONNECTIONS = 256


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request head is too long, or whose request does not arrive in time.

    Where there are too many connections, the one that has been quiet the longest makes room for the new one: who keeps
    connections without using them keeps nobody out.
    """

    _in_head = True
    _head_bytes = 0
    _requests = 0
    _waiting_since: Optional[float] = None
    _heard_at = 0.0
    _dropped = False

    def connection_made(self, transport: Any) -> None:
        """A client connected: it has to send its first request soon."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        # One machine of the network must not take the connections that the unit's own programs need.
        client = self.client[0] if self.client else "127.0.0.1"
        if not client.startswith("127.") and client != "::1":
            connections: Any = self.connections
            others = [one for one in connections if one.client and one.client[0] == client]
            if len(others) > MAX_FROM_ONE_MACHINE:
                self._drop()
        self._heard_at = self.loop.time()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """A part of a request arrived."""
        requests = self._requests
        self._heard_at = self.loop.time()
        super().data_received(data)
        if self._in_head and requests == self._requests:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEADERS:
                self._too_long()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._waiting_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """The request's head is there; what follows is its body."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there."""
        self._in_head, self._head_bytes = True, 0
        self._waiting_since = None
        self._requests += 1
        super().on_message_complete()

    def close_if_waiting_since(self, moment: float) -> None:
        """End the connection where a request has been incomplete since before the moment (event loop time)."""
        if self._waiting_since is not None and self._waiting_since < moment and not self.transport.is_closing():
            self._drop()

    def _make_room(self) -> None:
        connections: Any = self.connections
        held = [one for one in connections if not one._dropped]
        if len(held) > MAX_CONNECTIONS:
            quiet = [one for one in held if one is not self and one._is_quiet]
            min(quiet or held, key=lambda one: one._heard_at)._drop()

    @property
    def _is_quiet(self) -> bool:
        """Whether no whole request of the connection is still being answered."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete or self._waiting_since is not None

    def _drop(self) -> None:
        self._dropped = True
        self.transport.abort()

    def _too_long(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()
