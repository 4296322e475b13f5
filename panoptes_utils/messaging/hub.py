"""The hub: every pair forwards what programs send to its in port to those that listen to its out port.

The data path is libzmq's steerable proxy, one thread of C code a pair. One more thread monitors connections and
answers who asks for statistics.
"""

import os
import signal
import threading
from typing import Any, List, Optional, Sequence, Tuple

import zmq

from panoptes_utils.logging import logger
from panoptes_utils.messaging import HUB_LIMIT, HUB_READY
from panoptes_utils.messaging.endpoint import endpoint
from panoptes_utils.messaging.monitor import HubMonitor
from panoptes_utils.ports import holder_of

Pair = Tuple[int, int]
HIGH_WATER_MARK = 1000
MAX_MESSAGE = 2 * 1024 * 1024
# What a subscriber may send at once: a subscription, or the keys of its first greeting.
MAX_SUBSCRIPTION = 1024
# Subscriptions of one connection that may wait; each takes much more memory once it is in libzmq's tree.
WAITING_SUBSCRIPTIONS = 20


class CannotStart(Exception):
    """The hub cannot start; the text says why and what to do."""


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Refuse ports that cannot be.

    Raises:
        CannotStart: a port is out of range or named twice, or there is no pair.
    """
    if not pairs:
        raise CannotStart("no pair of ports; give --pair 6500 6501, --port 6500 or --from-config")
    ports = [port for pair in pairs for port in pair]
    for port in ports:
        if not 1025 <= port <= 65535:
            raise CannotStart(f"port {port} cannot be used, choose one from 1025 to 65535")
        if ports.count(port) > 1:
            raise CannotStart(f"port {port} is named twice, every port can be used once")


class Hub:
    """Any number of pairs in one process.

    Args:
        pairs: (in port, out port) of each pair.
        host: address to listen on.
        curve: a `panoptes_utils.messaging.curve.ServerKeys` where clients need keys.
        high_water_mark: messages that wait for one subscriber before it starts to lose them.
        max_message: longest message in bytes. Publishers are told and refuse a longer one; who sends it all the same is
            disconnected.

    Raises:
        CannotStart: a port is impossible or taken.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        host: str = "127.0.0.1",
        curve: Optional[Any] = None,
        high_water_mark: int = HIGH_WATER_MARK,
        max_message: int = MAX_MESSAGE,
    ):
        check_pairs(pairs)
        self.pairs, self.host = list(pairs), host
        self.context = zmq.Context()
        self.failure: Optional[str] = None
        self._ended = threading.Event()
        self._threads: List[threading.Thread] = []
        self._curve = curve
        self._high_water_mark, self._max_message = high_water_mark, max_message
        self._monitor = HubMonitor(self.context, self.pairs, high_water_mark, self._fail, max_message)
        if curve is not None:
            curve.start(self.context)
        try:
            for pair in self.pairs:
                self._open(pair)
            if not self._monitor.listen():
                first = f"{self.pairs[0][0]}→{self.pairs[0][1]}"
                if self._monitor.another_hub():
                    raise CannotStart(f"another hub with the pair {first} is running")
                logger.warning(
                    f"a program that is no hub holds the name of the statistics of {first}; "
                    "the hub forwards without statistics until that program ends"
                )
        except CannotStart:
            self._monitor.close()
            if curve is not None:
                curve.stop()
            self.context.destroy(linger=0)
            raise

    def run(self) -> Optional[str]:
        """Forward until `stop` is called or a pair fails.

        Returns:
            What failed; None after `stop`.
        """
        for thread in self._threads:
            thread.start()
        self._monitor.start()
        self._ended.wait()
        ended = self._monitor.terminate_proxies()
        for thread in self._threads:
            thread.join(timeout=0.5)
        if self._curve is not None:
            self._curve.stop()
        # A socket that a thread still uses must not be closed under it: the process ends soon anyway.
        if ended and not any(thread.is_alive() for thread in self._threads):
            self.context.destroy(linger=100)
        return self.failure

    def stop(self, *_: Any) -> None:
        """End `run`; may be called from a signal handler or another thread."""
        self._ended.set()

    def _open(self, pair: Pair) -> None:
        in_socket = self._bound(zmq.XSUB, pair[0], self._max_message, self._high_water_mark)
        out_socket = self._bound(zmq.XPUB, pair[1], MAX_SUBSCRIPTION, WAITING_SUBSCRIPTIONS)
        in_socket.send(b"\x01" + HUB_LIMIT + b"%d" % self._max_message)
        in_socket.send(b"\x01" + HUB_READY)
        control = self._monitor.add(pair, in_socket, out_socket)
        arguments = (pair, in_socket, out_socket, control)
        thread = threading.Thread(target=self._forward, args=arguments, name=f"pair-{pair[0]}")
        # A thread that hangs in C code must not keep the process: the container would never restart.
        thread.daemon = True
        self._threads.append(thread)

    def _bound(self, kind: int, port: int, longest: int, waiting: int) -> zmq.Socket:
        end = self.context.socket(kind)
        end.setsockopt(zmq.RCVHWM, waiting)
        end.setsockopt(zmq.SNDHWM, self._high_water_mark)
        end.setsockopt(zmq.MAXMSGSIZE, longest)
        # What waits for a connection goes with it, at once.
        end.setsockopt(zmq.LINGER, 0)
        end.setsockopt(zmq.TCP_KEEPALIVE, 1)
        end.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
        end.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        if self._curve is not None:
            self._curve.apply(end)
        try:
            end.bind(endpoint(end, self.host, port))
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                raise CannotStart(
                    f"port {port} is taken by {holder_of(port)}; stop that or choose another port"
                ) from error
            raise CannotStart(f"cannot listen on {self.host} port {port}: {error.strerror}") from error
        return end

    def _forward(self, pair: Pair, in_socket: zmq.Socket, out_socket: zmq.Socket, control: zmq.Socket) -> None:
        try:
            zmq.proxy_steerable(in_socket, out_socket, None, control)
            if not self._ended.is_set():
                self._fail(f"pair {pair[0]}→{pair[1]} ended")
        except zmq.ZMQError as error:
            if not self._ended.is_set():
                self._fail(f"pair {pair[0]}→{pair[1]} failed: {error.strerror}")

    def _fail(self, text: str) -> None:
        self.failure = self.failure or text
        self._ended.set()


def run_hub(pairs: Sequence[Pair], **options: Any) -> Optional[str]:
    """Run a hub until SIGTERM or SIGINT.

    Args:
        pairs: (in port, out port) of each pair.
        **options: those of `Hub`.

    Returns:
        What failed; None after a signal.

    Raises:
        CannotStart: a port is impossible or taken.
    """
    # As process 1 of a container there is no default action to rely on.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    hub = Hub(pairs, **options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hub.stop)
    for in_port, out_port in hub.pairs:
        logger.info(f"forwarding {hub.host} {in_port}→{out_port}")
    failure = hub.run()
    if failure is None:
        logger.info("stopped")
    return failure
