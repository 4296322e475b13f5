"""The hub: every pair forwards what publishers send to one port to subscribers at another.

The data path is libzmq's steerable proxy, one thread of C code a pair. One more thread watches connections and
answers who asks for statistics.
"""

import os
import signal
import socket
import threading
from typing import Any, List, Optional, Sequence, Tuple

import zmq

from panoptes_utils.logging import logger
from panoptes_utils.messaging import HUB_READY
from panoptes_utils.messaging.watch import Watch
from panoptes_utils.ports import holder_of

Pair = Tuple[int, int]
HIGH_WATER_MARK = 1000
MAX_MESSAGE = 2 * 1024 * 1024


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
        pairs: publisher-side and subscriber-side port of each pair.
        host: address to listen on.
        curve: a `panoptes_utils.messaging.curve.ServerKeys` where clients need keys.
        high_water_mark: messages that wait for one subscriber before it starts to lose them.
        max_message: longest message in bytes; who sends a longer one is disconnected.

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
        self._watch = Watch(self.context, self.pairs, high_water_mark, self._fail)
        if curve is not None:
            curve.start(self.context)
        try:
            for pair in self.pairs:
                self._open(pair)
            self._watch.listen()
        except (CannotStart, OSError) as problem:
            self._watch.close()
            if curve is not None:
                curve.stop()
            self.context.destroy(linger=0)
            if isinstance(problem, CannotStart):
                raise
            raise CannotStart(f"another hub with the pair {self.pairs[0]} is running") from problem

    def run(self) -> Optional[str]:
        """Forward until `stop` is called or a pair fails.

        Returns:
            What failed; None after `stop`.
        """
        for thread in self._threads:
            thread.start()
        self._watch.start()
        self._ended.wait()
        ended = self._watch.terminate_proxies()
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
        front, back = self._bound(zmq.XSUB, pair[0]), self._bound(zmq.XPUB, pair[1])
        front.send(b"\x01" + HUB_READY)
        control = self._watch.add(pair, front, back)
        thread = threading.Thread(target=self._forward, args=(pair, front, back, control), name=f"pair-{pair[0]}")
        # A thread that hangs in C code must not keep the process: the container would never restart.
        thread.daemon = True
        self._threads.append(thread)

    def _bound(self, kind: int, port: int) -> zmq.Socket:
        end = self.context.socket(kind)
        end.setsockopt(zmq.RCVHWM, self._high_water_mark)
        end.setsockopt(zmq.SNDHWM, self._high_water_mark)
        end.setsockopt(zmq.MAXMSGSIZE, self._max_message)
        end.setsockopt(zmq.LINGER, 100)
        end.setsockopt(zmq.TCP_KEEPALIVE, 1)
        end.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
        end.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        if ":" in self.host:
            end.setsockopt(zmq.IPV6, 1)
        if self._curve is not None:
            self._curve.apply(end)
        name = f"[{self.host}]" if ":" in self.host else self.host
        try:
            end.bind(f"tcp://{name}:{port}")
        except zmq.ZMQError as problem:
            if problem.errno == zmq.EADDRINUSE:
                raise CannotStart(
                    f"port {port} is taken by {holder_of(port)}; stop that or choose another port"
                ) from problem
            raise CannotStart(f"cannot listen on {self.host} port {port}: {problem.strerror}") from problem
        return end

    def _forward(self, pair: Pair, front: zmq.Socket, back: zmq.Socket, control: zmq.Socket) -> None:
        try:
            zmq.proxy_steerable(front, back, None, control)
            if not self._ended.is_set():
                self._fail(f"pair {pair[0]} → {pair[1]} ended")
        except zmq.ZMQError as problem:
            if not self._ended.is_set():
                self._fail(f"pair {pair[0]} → {pair[1]} failed: {problem.strerror}")

    def _fail(self, text: str) -> None:
        self.failure = self.failure or text
        self._ended.set()


def run_hub(pairs: Sequence[Pair], **options: Any) -> Optional[str]:
    """Run a hub until SIGTERM or SIGINT.

    Args:
        pairs: publisher-side and subscriber-side port of each pair.
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
    for front, back in hub.pairs:
        logger.info(f"forwarding {hub.host} {front} → {back}")
    failure = hub.run()
    if failure is None:
        logger.info("stopped")
    return failure


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return socket.inet_aton(host)[0] == 127
    except OSError:
        return host in ("localhost", "::1")
