"""Publishers and subscribers of a unit's messages."""

import os
import re
import threading
import time
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Optional, Tuple, Union

import zmq

from panoptes_utils.logging import logger
from panoptes_utils.messaging import HUB_LIMIT, HUB_READY
from panoptes_utils.messaging.endpoint import endpoint
from panoptes_utils.serializers import from_json, to_json

TOPIC = re.compile(r"[a-zA-Z][-a-zA-Z0-9_.:]*", re.ASCII)
_SLICE_MS = 200


class PanMessaging:
    """One end of the unit's messages: make it with `create_publisher` or `create_subscriber`.

    Threads: one object may be used from several threads. Sending is serialised; receiving is too, a message goes to
    one of the waiting threads; `close` ends a waiting `receive_message` of another thread within 0.2 s. Processes:
    make a new object after a fork; the old one refuses to work there.

    Attributes:
        context: the ZeroMQ context.
        socket: the ZeroMQ socket. Using it directly is not safe from threads.
        logger: the project's logger.
    """

    def __init__(self, kind: Optional[int] = None, context: Optional[zmq.Context] = None):
        self.logger = logger
        self.context = context or zmq.Context.instance()
        # A zmq.Socket; None where no kind is given.
        self.socket: Any = self.context.socket(kind) if kind is not None else None
        self._lock = threading.RLock()
        self._process = os.getpid()
        # Bytes of the longest message that the hub takes; 0 where none has told.
        self._limit = 0

    @classmethod
    def create_publisher(
        cls,
        port: int,
        bind: bool = False,
        host: str = "localhost",
        connect: bool = True,
        curve: Optional[Any] = None,
    ) -> "PanMessaging":
        """A publisher.

        Args:
            port: a pair's in port (6500, 6510), or where to listen with `bind`.
            bind: listen on the port on loopback, for messages without a hub.
            host: where the hub is: a name, or an address of IPv4 or IPv6.
            connect: connect to the hub and wait, half a second at most, until it is ready to pass messages on.
            curve: a `panoptes_utils.messaging.curve.ClientKeys` for a hub that asks for keys.
        """
        # XPUB and not PUB: it sends the same, and tells when the hub is ready.
        publisher = cls(zmq.XPUB)
        _prepare(publisher.socket, curve)
        if bind:
            publisher.socket.bind(f"tcp://127.0.0.1:{port}")
        elif connect:
            publisher.socket.connect(endpoint(publisher.socket, _address(host), port))
            publisher._wait_for_hub(0.5)
        return publisher

    @classmethod
    def create_subscriber(
        cls,
        port: int,
        topic: str = "",
        host: str = "localhost",
        bind: bool = False,
        connect: bool = True,
        curve: Optional[Any] = None,
    ) -> "PanMessaging":
        """A subscriber.

        Args:
            port: a pair's out port (6501, 6511), or where to listen with `bind`.
            topic: what the topics of interest begin with; everything by default.
            host: where the hub is: a name, or an address of IPv4 or IPv6.
            bind: listen on the port on loopback, for messages without a hub.
            connect: connect to the hub.
            curve: a `panoptes_utils.messaging.curve.ClientKeys` for a hub that asks for keys.
        """
        subscriber = cls(zmq.SUB)
        _prepare(subscriber.socket, curve)
        subscriber.socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        if bind:
            subscriber.socket.bind(f"tcp://127.0.0.1:{port}")
        elif connect:
            subscriber.socket.connect(endpoint(subscriber.socket, _address(host), port))
        return subscriber

    @classmethod
    def create_forwarder(
        cls,
        sub_port: int,
        pub_port: int,
        ready_fn: Optional[Callable[[], Any]] = None,
        done_fn: Optional[Callable[[], Any]] = None,
    ) -> None:
        """Forward what arrives at the in port to the out port, until interrupted.

        Args:
            sub_port: the in port, where publishers connect (named after the forwarder's own end).
            pub_port: the out port, where subscribers connect.
            ready_fn: called when both ports are open.
            done_fn: called at the end.
        """
        subscriber, publisher = cls.create_forwarder_sockets(sub_port, pub_port)
        cls.run_forwarder(subscriber, publisher, ready_fn, done_fn)

    @classmethod
    def create_forwarder_sockets(cls, sub_port: int, pub_port: int) -> Tuple["PanMessaging", "PanMessaging"]:
        """The two ends of a forwarder, listening on loopback; the ports as for `create_forwarder`.

        Raises:
            zmq.ZMQError: a port is taken.
        """
        subscriber, publisher = cls(zmq.XSUB), cls(zmq.XPUB)
        for end, port in ((subscriber, sub_port), (publisher, pub_port)):
            end.socket.setsockopt(zmq.LINGER, 0)
            end.socket.bind(f"tcp://127.0.0.1:{port}")
        subscriber.socket.send(b"\x01" + HUB_READY)
        return subscriber, publisher

    @classmethod
    def run_forwarder(
        cls,
        subscriber: "PanMessaging",
        publisher: "PanMessaging",
        ready_fn: Optional[Callable[[], Any]] = None,
        done_fn: Optional[Callable[[], Any]] = None,
    ) -> None:
        """Forward between two ends until interrupted; closes both.

        Raises:
            RuntimeError: they were made before a fork.
        """
        for end in (subscriber, publisher):
            end._stay_in_process()
        try:
            if ready_fn:
                ready_fn()
            zmq.proxy(subscriber.socket, publisher.socket)
        except (KeyboardInterrupt, zmq.ContextTerminated):
            pass
        finally:
            subscriber.close()
            publisher.close()
            if done_fn:
                done_fn()

    def send_message(self, topic: str, message: Union[str, Dict[str, Any]]) -> None:
        """Publish a message.

        Args:
            topic: a letter, then letters, digits and `-_.:`.
            message: a dict; or a text, which becomes `{"message": text, "timestamp": now}`.

        Raises:
            ValueError: the topic or the kind of message is not allowed, or it is longer than the hub takes.
            InvalidSerialization: the dict holds something that has no text form.
            RuntimeError: this is not a publisher, it is closed, or it was made before a fork.
        """
        self._stay_in_process()
        frame = make_frame(topic, message)
        with self._lock:
            if self.socket is None or self.socket.type != zmq.XPUB:
                raise RuntimeError("only an open publisher can send")
            self._read_subscriptions()
            # Any subscriber could tell a limit too, and that of an earlier hub stays: neither makes it smaller.
            if 0 < self._limit < len(frame):
                raise ValueError(
                    f"message on topic {topic!r} is {len(frame):,} bytes long, the hub takes {self._limit:,}: "
                    "send the path of a file instead"
                )
            self.socket.send(frame)

    def receive_message(
        self, blocking: bool = True, flags: int = 0, timeout_ms: int = 0
    ) -> Union[Tuple[str, Any], Tuple[None, None]]:
        """The next message.

        Args:
            blocking: wait for one.
            flags: ZeroMQ flags; `zmq.NOBLOCK` is the same as `blocking=False`.
            timeout_ms: how long to wait, in milliseconds; 0 is for ever.

        Returns:
            Topic and content; (None, None) where there is none in time or it cannot be read.

        Raises:
            RuntimeError: it was made before a fork.
        """
        self._stay_in_process()
        blocking = blocking and not flags & zmq.NOBLOCK
        deadline = time.monotonic() + timeout_ms / 1000 if timeout_ms > 0 else None
        while True:
            try:
                with self._lock:
                    if self.socket is None or self.socket.type != zmq.SUB:
                        return None, None
                    wait = _SLICE_MS if blocking else 0
                    if deadline is not None:
                        wait = min(wait, max(0, int((deadline - time.monotonic()) * 1000 + 0.5)))
                    if self.socket.poll(wait):
                        return read_frame(self.socket.recv(zmq.NOBLOCK))
            except (zmq.ZMQError, ValueError) as error:
                self.logger.warning(f"message not read: {error}")
                return None, None
            if not blocking or (deadline is not None and time.monotonic() >= deadline):
                return None, None

    def close(self) -> None:
        """Close the socket; what was sent is still handed over, for a second at most."""
        if self._process != os.getpid():
            # The socket is the parent's, and so may the lock be that a thread of it held at the fork.
            self.socket = None
            return
        with self._lock:
            if self.socket is not None:
                self.socket.close()
                self.socket = None

    def __enter__(self) -> "PanMessaging":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _stay_in_process(self) -> None:
        # In a forked child libzmq says of every call that it was interrupted, and pyzmq repeats it for ever.
        if self._process != os.getpid():
            raise RuntimeError(f"made by process {self._process}, which was forked: make a new PanMessaging here")

    def _wait_for_hub(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.socket.poll(int(max(1, (deadline - time.monotonic()) * 1000))) and self._read_subscriptions():
                return

    def _read_subscriptions(self) -> bool:
        """Take in what subscribers asked for, which else would pile up; True where the hub said that it is ready."""
        ready = False
        while self.socket.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            told = self.socket.recv(zmq.NOBLOCK)
            ready = told == b"\x01" + HUB_READY or ready
            if told.startswith(b"\x01" + HUB_LIMIT) and told[1 + len(HUB_LIMIT) :].isdigit():
                self._limit = max(self._limit, int(told[1 + len(HUB_LIMIT) :]))
        return ready


def make_frame(topic: str, message: Union[str, Dict[str, Any]]) -> bytes:
    """The bytes that a message travels as: `<topic> <json>`.

    Raises:
        ValueError: the topic or the kind of message is not allowed.
        InvalidSerialization: the dict holds something that has no text form.
    """
    if not isinstance(topic, str) or not TOPIC.fullmatch(topic):
        raise ValueError(f"topic {topic!r} is not allowed: a letter, then letters, digits and -_.:")
    if isinstance(message, str):
        message = {"message": message, "timestamp": _now()}
    elif not isinstance(message, dict):
        raise ValueError(f"a message is text or a dict, not {type(message).__name__}")
    return f"{topic} {to_json(message)}".encode()


def read_frame(frame: bytes) -> Tuple[str, Any]:
    """Topic and content of the bytes of a message.

    Raises:
        ValueError: it is not a message.
    """
    from panoptes_utils.error import InvalidDeserialization

    topic, space, text = frame.decode("utf-8").partition(" ")
    if not space or not TOPIC.fullmatch(topic):
        raise ValueError(f"no topic in {frame[:40]!r}")
    try:
        return topic, from_json(text)
    except InvalidDeserialization as error:
        raise ValueError(str(error)) from error


def _now() -> str:
    if "POCSTIME" in os.environ:
        from panoptes_utils.time import current_time

        return str(current_time(pretty=True))
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _address(host: str) -> str:
    # libzmq would try ::1 first for "localhost", where no hub listens.
    return "127.0.0.1" if host == "localhost" else host


def _prepare(socket: zmq.Socket, curve: Optional[Any]) -> None:
    socket.setsockopt(zmq.LINGER, 1000)
    # A unit's link or hub may be gone for long: notice it, and come back soon but not in a storm.
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 5000)
    if curve is not None:
        curve.apply(socket)
