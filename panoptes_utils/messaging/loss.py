"""How much a slow subscriber has missed, from the kernel's counters of its TCP connection.

libzmq drops what does not fit into a subscriber's queue and counts nothing. But the kernel knows how many bytes a
connection took, and the proxy how many came in. While a connection is blocked (bytes wait in the kernel and the
peer takes none), what comes in and does not go out is first queued, then lost; what the queue held goes out when
the peer reads again. The rest is the loss, as an estimate: the share of the traffic that the subscriber asked for
is what it got before it was blocked.
"""

import fcntl
import os
import socket
import struct
import termios
from contextlib import suppress
from typing import Optional

_OUTGOING_QUEUE = termios.TIOCOUTQ
# Offsets in struct tcp_info (linux/tcp.h), the same on every architecture: tcpi_last_data_sent and _recv (ms ago),
# tcpi_bytes_acked and _received.
_LAST_SENT, _LAST_RECEIVED, _BYTES_ACKED, _BYTES_RECEIVED = 44, 52, 120, 128
_ESTABLISHED, _CLOSE_WAIT = 1, 8
_MANY = 64 * 1024
# Waits in the kernel where it takes no more, even with the smallest buffers; acknowledgements that come late are less.
_SOME = 8 * 1024
# Bytes a second that a subscriber may send for ever, above all heartbeats.
_SLOWLY = 64


def on_the_wire(messages: int, size: int) -> float:
    """Bytes that messages take with ZMTP's framing: 2 each below 256 bytes, 9 above.

    Args:
        messages: how many.
        size: bytes of all of them together.
    """
    return size + messages * (2 if size < 256 * messages else 9)


class Connection:
    """One connection of the hub, measured about once a second.

    Args:
        descriptor: the file descriptor of its TCP socket, which stays libzmq's.

    Attributes:
        peer: address and port of the other end.
        lost: about how many messages it lost, if it is a subscriber.
        warned: whether the log told so.
        sent_us: bytes that the other end has sent so far.
        asked: bytes that it sent lately; what it sends slowly, such as heartbeats, does not add up.
        unpassed: bytes that it sent since somebody has set this to 0.
        unread: about how many bytes libzmq keeps because the other end does not take them.
        idle_ms: how long nothing went either way.
    """

    def __init__(self, descriptor: int):
        self.peer = "?"
        self.lost = 0.0
        self.warned = False
        self.sent_us = self.asked = self.unpassed = self.idle_ms = 0
        self.unread = 0.0
        self._share = 1.0
        self._owed = 0.0
        self._lost = 0.0
        self._most_owed = 0.0
        self._was_waiting = False
        self._written = self._written_at_look = 0
        try:
            # A duplicate, since libzmq may close its own at any moment and the number be used again.
            self._socket: Optional[socket.socket] = socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM)
            host, port = self._socket.getpeername()[:2]
            self.peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            self._written, _ = self._read()
            self._written_at_look = self._written
        except OSError:
            self._socket = None

    def measure(self, came_in: float, queue: float, mean_size: float) -> None:
        """Take the kernel's counters.

        Args:
            came_in: bytes that publishers sent to the pair since the last time.
            queue: bytes that libzmq keeps for this subscriber before it drops.
            mean_size: bytes of a message on the wire.
        """
        if self._socket is None:
            return
        try:
            written, waiting = self._read()
        except OSError:
            return
        went_out, self._written = written - self._written, written
        # A healthy connection has a few bytes on their way at any moment; many, or again a second later, is blocked.
        blocked, self._was_waiting = waiting > _MANY or (waiting > 0 and self._was_waiting), waiting > 0
        expected = self._share * came_in
        if blocked or self._owed > 0:
            self._owed = max(0.0, self._owed + expected - went_out)
            self._most_owed = max(self._most_owed, self._owed)
            # Reading again, and no more than what comes in goes out: the queue is empty, what is owed is lost.
            # Where it never owed what the queue holds, it lost nothing: the counters were read at different moments.
            if not waiting and went_out <= expected:
                if self._most_owed > queue / 2:
                    self._lost += self._owed / mean_size
                self._owed = self._most_owed = 0.0
        elif came_in > 0 and not waiting:
            self._share += 0.3 * (min(1.0, went_out / came_in) - self._share)
        self.lost = self._lost + max(0.0, self._owed - queue) / mean_size

    def look(self, seconds: float, came_in: float = 0) -> int:
        """Read how the connection stands now; returns the bytes that the other end has sent since the last look.

        Args:
            seconds: since the last look.
            came_in: bytes that publishers sent to the pair in these, if it is a subscriber.
        """
        if self._socket is None:
            return 0
        try:
            written, waiting = self._read()
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        except OSError:
            return 0
        went_out, self._written_at_look = written - self._written_at_look, written
        # libzmq keeps messages only where the kernel takes no more. In its first second a subscriber counts as one
        # that asked for everything.
        self.unread = max(0.0, self.unread + self._share * came_in - went_out) if waiting > _SOME else 0.0
        sent = struct.unpack_from("=Q", info, _BYTES_RECEIVED)[0]
        new, self.sent_us = sent - self.sent_us, sent
        self.unpassed += new
        self.asked = max(0, self.asked + new - int(seconds * _SLOWLY))
        self.idle_ms = min(struct.unpack_from("=I", info, offset)[0] for offset in (_LAST_SENT, _LAST_RECEIVED))
        return new

    def cut(self, mean_size: float) -> None:
        """End the connection; libzmq then frees what it kept for it.

        Args:
            mean_size: bytes of a message on the wire.
        """
        self.lost += self.unread / mean_size
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self.close()

    def ended_by_hub(self) -> bool:
        """Whether the hub ended the connection of its own accord, in the middle of what the other end sends."""
        if self._socket is None:
            return False
        try:
            unread = struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, b"\0" * 4))[0]
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        except OSError:
            return False
        # Of a connection that the other end has closed libzmq reads all, unless it has given up before.
        return info[0] == _ESTABLISHED or (info[0] == _CLOSE_WAIT and unread > 0)

    def is_behind(self, descriptor: int) -> bool:
        """Whether a descriptor of this process still leads to this very connection."""
        try:
            return self._socket is not None and os.fstat(descriptor).st_ino == os.fstat(self._socket.fileno()).st_ino
        except OSError:
            return False

    @property
    def is_open(self) -> bool:
        """Whether it is still this hub's to look at: libzmq tells of the end of one that was cut off a moment later."""
        return self._socket is not None

    def close(self) -> None:
        """Give the duplicate back; without this the peer would not see the connection end."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self) -> "tuple[int, int]":
        """Bytes handed to the kernel so far, and how many of them the peer has not taken."""
        assert self._socket is not None  # for the type checker: only an open duplicate is read
        waiting = struct.unpack("i", fcntl.ioctl(self._socket, _OUTGOING_QUEUE, b"\0" * 4))[0]
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        return struct.unpack_from("=Q", info, _BYTES_ACKED)[0] + waiting, waiting
