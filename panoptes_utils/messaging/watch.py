"""What a hub knows about itself, without touching a message.

Message and byte counts come from libzmq's proxy, connections from socket monitors, and what each subscriber was
sent from the kernel's own counters of its TCP connection (`loss.py`). Asking costs the data path nothing.
"""

import json
import os
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import zmq

from panoptes_utils.logging import logger
from panoptes_utils.messaging.loss import Connection, on_the_wire

Pair = Tuple[int, int]
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_TICK = 1.0
# Seconds until a proxy that does not answer counts as failed.
_PATIENCE = 5.0


def stats_address(pair: Pair) -> str:
    """The Unix socket (abstract: no file, this machine only) on which a hub tells its statistics."""
    return f"\0panoptes-messaging-hub-{pair[0]}"


def read_stats(pair: Pair, timeout: float = 3.0) -> Dict[str, Any]:
    """The statistics of the running hub that has this pair first.

    Raises:
        OSError: no such hub is running, or it did not answer in time.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(stats_address(pair))
        answer = b""
        while True:
            part = connection.recv(65536)
            if not part:
                return json.loads(answer)
            answer += part


class _Watched:
    """One pair under watch."""

    def __init__(self, pair: Pair, control: zmq.Socket, front: zmq.Socket, back: zmq.Socket):
        self.pair, self.control, self.front, self.back = pair, control, front, back
        self.publishers: Dict[int, Connection] = {}
        self.subscribers: Dict[int, Connection] = {}
        self.lost_by_gone = 0.0
        self.refused = 0
        self.counts: Tuple[int, ...] = (0,) * 8
        self.rates: Tuple[float, float] = (0.0, 0.0)
        self.counted_at = time.monotonic()

    @property
    def mean_size(self) -> float:
        """Mean length of a message on the wire, in bytes."""
        messages, size = self.counts[0], self.counts[1]
        return on_the_wire(messages, size) / messages if messages else 1.0


class Watch:
    """The watching thread of one hub.

    Args:
        context: the hub's context.
        pairs: its pairs.
        high_water_mark: messages that may wait for one subscriber.
        fail: called with a text where a proxy no longer answers.
    """

    def __init__(
        self, context: zmq.Context, pairs: Sequence[Pair], high_water_mark: int, fail: Callable[[str], None]
    ):
        self._context, self._pairs, self._fail = context, list(pairs), fail
        self._high_water_mark = high_water_mark
        self._watched: List[_Watched] = []
        self._listener: Optional[socket.socket] = None
        self._wake_up, self._woken = os.pipe()[::-1]
        self._started = time.time()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def add(self, pair: Pair, front: zmq.Socket, back: zmq.Socket) -> zmq.Socket:
        """Watch a pair; returns the control socket for its proxy."""
        control = self._context.socket(zmq.REP)
        control.bind(f"inproc://control-{pair[0]}")
        steer = self._context.socket(zmq.REQ)
        steer.setsockopt(zmq.LINGER, 0)
        steer.connect(f"inproc://control-{pair[0]}")
        self._watched.append(
            _Watched(pair, steer, front.get_monitor_socket(_EVENTS), back.get_monitor_socket(_EVENTS))
        )
        return control

    def listen(self) -> None:
        """Open the socket for those who ask.

        Raises:
            OSError: another hub with the same first pair has it.
        """
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(stats_address(self._pairs[0]))
        self._listener.listen(8)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def terminate_proxies(self) -> bool:
        """Tell every proxy to end, and stop watching; returns whether the watching thread has ended."""
        self._stopping = True
        os.write(self._wake_up, b"x")
        self._thread.join(timeout=1)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Give up what `listen` opened."""
        if self._listener is not None:
            self._listener.close()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._woken, zmq.POLLIN)
        poller.register(self._listener.fileno(), zmq.POLLIN)
        monitors = {}
        for watched in self._watched:
            for monitor, connections in ((watched.front, watched.publishers), (watched.back, watched.subscribers)):
                poller.register(monitor, zmq.POLLIN)
                monitors[monitor] = (watched, connections)
        next_tick = time.monotonic() + _TICK
        while True:
            ready = dict(poller.poll(max(0, (next_tick - time.monotonic()) * 1000)))
            if self._stopping or self._woken in ready:
                break
            for monitor in monitors.keys() & ready.keys():
                self._note(monitor, *monitors[monitor])
            if self._listener.fileno() in ready:
                self._tell()
            if time.monotonic() >= next_tick:
                for watched in self._watched:
                    self._count(watched)
                next_tick = time.monotonic() + _TICK
        for watched in self._watched:
            # A proxy that has failed answers no more, and then there is nothing to end.
            with suppress(zmq.ZMQError):
                watched.control.send(b"TERMINATE")
        for watched in self._watched:
            watched.control.poll(200)
            for end in (watched.control, watched.front, watched.back):
                end.close(linger=0)
        self._listener.close()

    def _note(self, monitor: zmq.Socket, watched: _Watched, connections: Dict[int, Connection]) -> None:
        while monitor.poll(0):
            # pyzmq's own parser of these two numbers would load asyncio, 10 MB of it.
            event, descriptor = struct.unpack("=Hi", monitor.recv_multipart()[0])
            if event == zmq.EVENT_ACCEPTED:
                connections[descriptor] = Connection(descriptor)
            elif event == zmq.EVENT_DISCONNECTED:
                gone = connections.pop(descriptor, None)
                if gone is not None:
                    gone.close()
                    if connections is watched.subscribers:
                        watched.lost_by_gone += gone.lost
            else:
                watched.refused += 1

    def _count(self, watched: _Watched) -> None:
        """Ask the proxy for its counters: messages and bytes in and out of front and back."""
        watched.control.send(b"STATISTICS")
        deadline = time.monotonic() + _PATIENCE
        while not watched.control.poll(100):
            if self._stopping or time.monotonic() > deadline:
                self._fail(f"pair {watched.pair[0]} → {watched.pair[1]} does not answer")
                return
        counts = tuple(struct.unpack("=Q", frame)[0] for frame in watched.control.recv_multipart())
        now = time.monotonic()
        elapsed = max(now - watched.counted_at, 1e-6)
        messages, size = counts[0] - watched.counts[0], counts[1] - watched.counts[1]
        watched.rates = (messages / elapsed, size / elapsed)
        watched.counts, watched.counted_at = counts, now
        for subscriber in watched.subscribers.values():
            queue = self._high_water_mark * watched.mean_size
            subscriber.measure(on_the_wire(messages, size), queue, watched.mean_size)
            if subscriber.lost >= 1 and not subscriber.warned:
                subscriber.warned = True
                logger.warning(
                    f"subscriber {subscriber.peer} of {watched.pair[0]} → {watched.pair[1]} reads too slowly "
                    "and loses messages"
                )

    def _tell(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        for watched in self._watched:
            if time.monotonic() - watched.counted_at > _TICK / 2:
                self._count(watched)
        with connection:
            connection.settimeout(0.5)
            with suppress(OSError):
                connection.sendall(json.dumps(self._report()).encode("ascii"))

    def _report(self) -> Dict[str, Any]:
        return {
            "uptime_seconds": round(time.time() - self._started, 1),
            "high_water_mark": self._high_water_mark,
            "pairs": [
                {
                    "sub": watched.pair[0],
                    "pub": watched.pair[1],
                    "messages": watched.counts[0],
                    "bytes": watched.counts[1],
                    "messages_per_second": round(watched.rates[0], 1),
                    "bytes_per_second": round(watched.rates[1], 1),
                    "publishers": len(watched.publishers),
                    "subscribers": len(watched.subscribers),
                    "refused": watched.refused,
                    "lost_estimate": round(
                        watched.lost_by_gone + sum(subscriber.lost for subscriber in watched.subscribers.values())
                    ),
                    "slow_subscribers": {
                        subscriber.peer: round(subscriber.lost)
                        for subscriber in watched.subscribers.values()
                        if subscriber.lost >= 1
                    },
                }
                for watched in self._watched
            ],
        }
