"""What a hub knows about itself, without touching a message.

Message and byte counts come from libzmq's proxy, connections from socket monitors, and what each subscriber was
sent from the kernel's own counters of its TCP connection (`loss.py`). Asking costs the data path nothing.
"""

import json
import os
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Dict, List, Sequence, Tuple

import zmq

from panoptes_utils.logging import logger
from panoptes_utils.messaging import stats_address
from panoptes_utils.messaging.bounds import MAX_CONNECTIONS, WATCH_SECONDS, Bounds
from panoptes_utils.messaging.loss import Connection, on_the_wire
from panoptes_utils.messaging.told import LONGEST, understood

Pair = Tuple[int, int]
_NO_ZEROMQ = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | _NO_ZEROMQ
_TICK = 1.0
# Looks at the memory for one look at the connections.
_LOOKS = 5
# Seconds until libzmq has closed what it tells to be disconnected.
_CLOSED_BY_NOW = 0.2
# Ended connections that may wait for that, of one pair: each has a descriptor open.
_ENDED = 16
# Seconds until a proxy that does not answer counts as failed.
_PATIENCE = 5.0


def read_stats(pair: Pair, timeout: float = 3.0) -> Dict[str, Any]:
    """The statistics of the running hub that has this pair first; `sub` in them is an in port, `pub` an out port.

    Raises:
        OSError: no such hub is running, or it did not answer in time.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(stats_address(pair[0]))
        answer, deadline = b"", time.monotonic() + timeout
        while len(answer) <= LONGEST and time.monotonic() < deadline:
            part = connection.recv(65536)
            if not part:
                break
            answer += part
        return understood(answer, connection, pair[0])


class _MonitoredPair:
    """What is known of one hub pair."""

    def __init__(self, pair: Pair, control: zmq.Socket, in_monitor: zmq.Socket, out_monitor: zmq.Socket):
        self.pair, self.control, self.in_monitor, self.out_monitor = pair, control, in_monitor, out_monitor
        self.publishers: Dict[int, Connection] = {}
        self.subscribers: Dict[int, Connection] = {}
        self.lost_by_gone = 0.0
        self.refused = 0
        self.cut_off = 0
        self.too_long = 0
        self.no_zeromq = False
        self.ended: List[Tuple[float, int, Connection]] = []
        self.last_cut: List[str] = []
        self.counts: Tuple[int, ...] = (0,) * 8
        self.rates: Tuple[float, float] = (0.0, 0.0)
        self.counted_at = time.monotonic()

    @property
    def mean_size(self) -> float:
        """Mean length of a message on the wire, in bytes."""
        messages, size = self.counts[0], self.counts[1]
        return on_the_wire(messages, size) / messages if messages else 1.0


class HubMonitor:
    """The thread of a hub that counts and tells.

    Args:
        context: the hub's context.
        pairs: its pairs.
        high_water_mark: messages that may wait for one subscriber.
        fail: called with a text where a proxy no longer answers.
        max_message: bytes of the longest message that they take.
    """

    def __init__(
        self,
        context: zmq.Context,
        pairs: Sequence[Pair],
        high_water_mark: int,
        fail: Callable[[str], None],
        max_message: int,
    ):
        self._context, self._pairs, self._fail = context, list(pairs), fail
        self._high_water_mark, self._max_message = high_water_mark, max_message
        self._monitored: List[_MonitoredPair] = []
        # A socket, from `listen` on, which comes before the thread.
        self._listener: Any = None
        self._wake_up, self._woken = os.pipe()[::-1]
        self._started = time.time()
        self._stopping = False
        self._bounds = Bounds()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def add(self, pair: Pair, in_socket: zmq.Socket, out_socket: zmq.Socket) -> zmq.Socket:
        """Monitor a pair; returns the control socket for its proxy."""
        control = self._context.socket(zmq.REP)
        control.bind(f"inproc://control-{pair[0]}")
        steer = self._context.socket(zmq.REQ)
        steer.setsockopt(zmq.LINGER, 0)
        steer.connect(f"inproc://control-{pair[0]}")
        monitors = (end.get_monitor_socket(_EVENTS) for end in (in_socket, out_socket))
        self._monitored.append(_MonitoredPair(pair, steer, *monitors))
        return control

    def listen(self) -> bool:
        """Open the socket for those who ask; False where another program has its name, which anybody may take."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(stats_address(self._pairs[0][0]))
            listener.listen(8)
        except OSError:
            listener.close()
            return False
        self._listener = listener
        return True

    def another_hub(self) -> bool:
        """Whether it is a hub with the same first pair that has the name."""
        with suppress(OSError):
            read_stats(self._pairs[0], timeout=1.0)
            return True
        return False

    def start(self) -> None:
        """Begin to monitor."""
        self._thread.start()

    def terminate_proxies(self) -> bool:
        """Tell every proxy to end, and stop monitoring; returns whether the monitoring thread has ended."""
        self._stopping = True
        os.write(self._wake_up, b"x")
        self._thread.join(timeout=1)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Give up what `listen` opened."""
        if self._listener is not None:
            self._listener.close()

    def _run(self) -> None:
        next_tick = time.monotonic() + _TICK
        self._bounds.start()
        while True:
            asked = self._rest()
            if self._stopping or self._woken in asked:
                break
            if self._listener is not None and self._listener.fileno() in asked:
                self._tell()
            self._look_after()
            if time.monotonic() >= next_tick:
                for monitored in self._monitored:
                    self._count(monitored)
                self._relieve()
                if self._listener is None and self.listen():
                    logger.info("the name of the statistics is free again: the hub tells them")
                next_tick = time.monotonic() + _TICK
        for monitored in self._monitored:
            # A proxy that has failed answers no more, and then there is nothing to end.
            with suppress(zmq.ZMQError):
                monitored.control.send(b"TERMINATE")
        for monitored in self._monitored:
            monitored.control.poll(200)
            for end in (monitored.control, monitored.in_monitor, monitored.out_monitor):
                end.close(linger=0)
        self.close()

    def _rest(self) -> List[int]:
        """Wait a moment, less where somebody asks or memory gets short; returns the descriptors that ask."""
        # Not ZeroMQ's poll, which costs ten times as much: this is what an idle hub does all night.
        poller = select.poll()
        poller.register(self._woken, select.POLLIN)
        if self._listener is not None:
            poller.register(self._listener, select.POLLIN)
        for _ in range(_LOOKS):
            asked = [descriptor for descriptor, _ in poller.poll(WATCH_SECONDS * 1000)]
            if asked or self._bounds.exceeded():
                return asked
        return []

    def _look_after(self) -> None:
        """Note who came and went, and cut off who takes too much."""
        for monitored in self._monitored:
            self._note(monitored.in_monitor, monitored, monitored.publishers)
            self._note(monitored.out_monitor, monitored, monitored.subscribers)
            self._count_too_long(monitored)
        connections = sum(len(one.publishers) + len(one.subscribers) for one in self._monitored)
        if connections > MAX_CONNECTIONS or self._bounds.exceeded():
            self._relieve()

    def _relieve(self) -> None:
        """Cut off who takes more of the hub than is due to one connection; all others notice nothing."""
        blamed = self._bounds.to_blame(
            [
                ([one for one in monitored.publishers.values() if one.is_open],
                 [one for one in monitored.subscribers.values() if one.is_open])
                for monitored in self._monitored
            ]
        )  # fmt: skip
        for monitored in self._monitored:
            told = []
            for one in (*monitored.publishers.values(), *monitored.subscribers.values()):
                if one in blamed:
                    one.cut(monitored.mean_size)
                    told.append(f"{one.peer} {blamed[one]}")
            if told:
                monitored.cut_off += len(told)
                monitored.last_cut = [*monitored.last_cut, *told][-8:]
                more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
                logger.warning(f"cut off from {monitored.pair[0]}→{monitored.pair[1]}: {told[0]}{more}")

    def _note(self, monitor: zmq.Socket, monitored: _MonitoredPair, connections: Dict[int, Connection]) -> None:
        while monitor.poll(0):
            # pyzmq's own parser of these two numbers would load asyncio, 10 MB of it.
            event, descriptor = struct.unpack("=Hi", monitor.recv_multipart()[0])
            if event == zmq.EVENT_ACCEPTED:
                connections[descriptor] = Connection(descriptor)
            elif event == zmq.EVENT_DISCONNECTED:
                gone = connections.pop(descriptor, None)
                if gone is not None:
                    if connections is monitored.subscribers:
                        monitored.lost_by_gone += gone.lost
                    elif not monitored.no_zeromq and len(monitored.ended) < _ENDED and gone.ended_by_hub():
                        monitored.ended.append((time.monotonic(), descriptor, gone))
                        continue
                    gone.close()
                if connections is monitored.publishers:
                    monitored.no_zeromq = False
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                monitored.refused += 1
            elif connections is monitored.publishers:
                # libzmq tells right afterwards that this connection has ended.
                monitored.no_zeromq = True

    def _count_too_long(self, monitored: _MonitoredPair) -> None:
        """Count publishers that libzmq disconnected for a message that is too long, which it tells nobody."""
        while monitored.ended and time.monotonic() > monitored.ended[0][0] + _CLOSED_BY_NOW:
            _, descriptor, gone = monitored.ended.pop(0)
            # Where publishers come and go fast, the number may have been another's already when it came here, whose
            # connection lives on or was ended by its publisher.
            if not gone.is_behind(descriptor) and gone.ended_by_hub():
                monitored.too_long += 1
                if monitored.too_long == 1:
                    logger.warning(
                        f"publisher {gone.peer} of {monitored.pair[0]}→{monitored.pair[1]} sent a message longer than "
                        f"{self._max_message:,} bytes: it is lost, and each one after it is counted"
                    )
            gone.close()

    def _count(self, monitored: _MonitoredPair) -> None:
        """Ask the proxy for its counters: messages and bytes received and sent at the in port and at the out port."""
        monitored.control.send(b"STATISTICS")
        deadline = time.monotonic() + _PATIENCE
        while not monitored.control.poll(int(WATCH_SECONDS * 1000)):
            # A proxy that is busy with what somebody sent answers late, and the memory does not wait for it.
            self._look_after()
            if self._stopping or time.monotonic() > deadline:
                self._fail(f"pair {monitored.pair[0]}→{monitored.pair[1]} does not answer")
                return
        counts = tuple(struct.unpack("=Q", frame)[0] for frame in monitored.control.recv_multipart())
        now = time.monotonic()
        elapsed = max(now - monitored.counted_at, 1e-6)
        messages, size = counts[0] - monitored.counts[0], counts[1] - monitored.counts[1]
        monitored.rates = (messages / elapsed, size / elapsed)
        monitored.counts, monitored.counted_at = counts, now
        for subscriber in monitored.subscribers.values():
            queue = self._high_water_mark * monitored.mean_size
            subscriber.measure(on_the_wire(messages, size), queue, monitored.mean_size)
            if subscriber.lost >= 1 and not subscriber.warned:
                subscriber.warned = True
                logger.warning(
                    f"subscriber {subscriber.peer} of {monitored.pair[0]}→{monitored.pair[1]} reads too slowly "
                    "and loses messages"
                )

    def _tell(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        for monitored in self._monitored:
            if time.monotonic() - monitored.counted_at > _TICK / 2:
                self._count(monitored)
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
                    "sub": monitored.pair[0],
                    "pub": monitored.pair[1],
                    "messages": monitored.counts[0],
                    "bytes": monitored.counts[1],
                    "messages_per_second": round(monitored.rates[0], 1),
                    "bytes_per_second": round(monitored.rates[1], 1),
                    "publishers": len(monitored.publishers),
                    "subscribers": len(monitored.subscribers),
                    "refused": monitored.refused,
                    "cut_off": monitored.cut_off,
                    "last_cut": monitored.last_cut,
                    "too_long": monitored.too_long,
                    "lost_estimate": monitored.too_long
                    + round(
                        monitored.lost_by_gone + sum(subscriber.lost for subscriber in monitored.subscribers.values())
                    ),
                    "slow_subscribers": {
                        subscriber.peer: round(subscriber.lost)
                        for subscriber in monitored.subscribers.values()
                        if subscriber.lost >= 1
                    },
                }
                for monitored in self._monitored
            ],
        }
