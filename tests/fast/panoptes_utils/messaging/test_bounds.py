"""Whatever clients do, the hub stays small, serves the others, and names who was cut off."""

import json
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import until
from squatter import statistics_told

from panoptes_utils.messaging.bounds import MAX_ASKED, MAX_ASKED_IN_ALL, MAX_CONNECTIONS, MUCH, TREE, Bounds
from panoptes_utils.messaging.health import check
from panoptes_utils.messaging.loss import Connection
from panoptes_utils.messaging.monitor import read_stats
from panoptes_utils.messaging.stats import show

MOST_MB = 150
MANY = 60
GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00NULL" + b"\0" * 48 + b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB"


def pair_stats(hub):
    return read_stats(hub.pairs[0])["pairs"][0]


@pytest.fixture
def small_hub(start):
    """A hub whose memory is watched all the time; it has to be small and well after whatever a test did to it."""
    hub, highest, ended = start(), [0.0], threading.Event()

    def watch():
        status = Path(f"/proc/{hub.process.pid}/status")
        while not ended.wait(0.005) and hub.process.poll() is None:
            highest[0] = max(highest[0], int(status.read_text().split("VmRSS:")[1].split()[0]) / 1024)

    watching = threading.Thread(target=watch)
    watching.start()
    yield hub
    assert check(hub.pairs) == []
    ended.set()
    watching.join()
    print(f"--- at most {highest[0]:.0f} MB")
    assert highest[0] < MOST_MB


@pytest.mark.parametrize("reads", [False, True], ids=["deaf", "slow"])
def test_subscribers_that_do_not_keep_up_lose_their_messages_and_are_named_and_nobody_else_notices(
    small_hub, capsys, reads
):
    context = zmq.Context()
    publisher, reader = context.socket(zmq.PUB), context.socket(zmq.SUB)
    publisher.set_hwm(0)
    publisher.connect(f"tcp://127.0.0.1:{small_hub.in_port}")
    reader.subscribe(b"small")
    reader.setsockopt(zmq.RCVTIMEO, 20_000)
    reader.connect(f"tcp://127.0.0.1:{small_hub.out_port}")
    behind = [context.socket(zmq.SUB) for _ in range(5)]
    for one in behind:
        one.set_hwm(1)
        one.setsockopt(zmq.RCVBUF, 65536)
        one.subscribe(b"big")
        one.connect(f"tcp://127.0.0.1:{small_hub.out_port}")
    try:
        until(lambda: (publisher.send(b"small"), reader.poll(20))[1])
        until(lambda: pair_stats(small_hub)["subscribers"] == 6)
        big = b"big " + b"x" * (2 * 1024 * 1024 - 100)
        for number in range(300):
            publisher.send(big, copy=False)
            publisher.send(b"small %d" % number)
            # Whatever gets lost on the way of the one who reads is the hub's fault.
            answer = b"small"
            while answer == b"small":
                answer = reader.recv()
            assert answer == b"small %d" % number
            if reads and number % 20 == 0:
                for one in behind:
                    if one.poll(0):
                        one.recv()
        cut = pair_stats(small_hub)["last_cut"]
        assert cut
        assert all("reads too slowly" in line for line in cut)
        assert pair_stats(small_hub)["lost_estimate"] > 0
        assert "cut off from" in small_hub.log.read_text()
        show(read_stats(small_hub.pairs[0]))
        assert "cut off from" in capsys.readouterr().out
    finally:
        context.destroy(linger=0)


def test_subscribers_that_do_not_read_are_bounded_however_many_they_are(small_hub):
    context = zmq.Context()
    publisher, deaf = context.socket(zmq.PUB), [context.socket(zmq.SUB) for _ in range(MANY)]
    publisher.set_hwm(100)
    publisher.connect(f"tcp://127.0.0.1:{small_hub.in_port}")
    try:
        for number, one in enumerate(deaf):
            one.set_hwm(1)
            one.setsockopt(zmq.RCVBUF, 4096)
            # To each its own messages, so that they do not share them.
            one.subscribe(b"%03d" % number)
            one.connect(f"tcp://127.0.0.1:{small_hub.out_port}")
        until(lambda: pair_stats(small_hub)["subscribers"] == MANY)

        def cut_off():
            for number in range(MANY):
                publisher.send(b"%03d" % number + b"x" * 500_000)
            return pair_stats(small_hub)["cut_off"]

        until(cut_off, seconds=60)
        assert all("reads too slowly" in line for line in pair_stats(small_hub)["last_cut"])
    finally:
        context.destroy(linger=0)


def test_a_flood_of_subscriptions_is_cut_off(small_hub):
    context = zmq.Context()
    greedy = context.socket(zmq.XSUB)
    greedy.set_hwm(0)
    greedy.connect(f"tcp://127.0.0.1:{small_hub.out_port}")
    try:
        for _ in range(4_000):
            greedy.send(b"\x01" + os.urandom(256).hex().encode())
        until(lambda: any("subscribed to too much" in line for line in pair_stats(small_hub)["last_cut"]))
    finally:
        context.destroy(linger=0)


def test_a_message_that_never_ends_is_cut_off(small_hub):
    part = b"\x03" + (10**6).to_bytes(8, "big") + b"x" * 10**6
    with socket.create_connection(("127.0.0.1", small_hub.in_port), timeout=1) as endless:
        endless.sendall(GREETING)

        def cut_off():
            # From the moment on that it is cut off, sending fails.
            with suppress(OSError):
                for _ in range(20):
                    endless.sendall(part)
            return "sent more than the hub could pass on" in small_hub.log.read_text()

        until(cut_off, seconds=60)


def test_a_message_of_endless_small_parts_harms_nobody(small_hub):
    with socket.create_connection(("127.0.0.1", small_hub.in_port), timeout=2) as endless:
        endless.sendall(GREETING)
        # libzmq stops reading them, or the hub cuts them off.
        with pytest.raises(OSError):
            for _ in range(10_000):
                endless.sendall(b"\x01\x04abcd" * 10_000)


def test_too_many_connections_push_out_the_idle_ones(small_hub):
    held = []
    try:
        for number in range(MAX_CONNECTIONS + 60):
            port = (small_hub.in_port, small_hub.out_port)[number % 2]
            held.append(socket.create_connection(("127.0.0.1", port), timeout=20))
        until(lambda: pair_stats(small_hub)["cut_off"] >= 60, seconds=20)
        assert check(small_hub.pairs) == []

        def within():
            pair = pair_stats(small_hub)
            return pair["publishers"] + pair["subscribers"] <= MAX_CONNECTIONS

        # The check came on top, with two more.
        until(within)
    finally:
        for one in held:
            one.close()


def test_a_topic_longer_than_is_allowed_ends_that_connection_only(small_hub):
    context = zmq.Context()
    try:
        long = context.socket(zmq.SUB)
        long.subscribe(b"x" * 5000)
        monitor = long.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        long.connect(f"tcp://127.0.0.1:{small_hub.out_port}")
        assert monitor.poll(10_000)
    finally:
        context.destroy(linger=0)


class FakeConnection(Connection):
    """A connection whose kernel counters a test chooses."""

    def __init__(self, sent_us, asked, unpassed, unread, idle_ms):
        super().__init__(-1)
        self.sent_us, self.asked, self.unpassed, self.unread, self.idle_ms = sent_us, asked, unpassed, unread, idle_ms

    def look(self, seconds, came_in=0):
        """What the test chose stays."""
        return 0


BOUNDS = Bounds()
amounts, sizes = st.integers(0, 10**6), st.integers(0, 10**8)
connections = st.lists(st.builds(FakeConnection, amounts, amounts, sizes, sizes, amounts), max_size=40)


@settings(deadline=None)
@given(publishers=connections, subscribers=connections, over=st.booleans())
def test_blame_ends_every_excess_and_takes_nobody_without_one(publishers, subscribers, over):
    BOUNDS._over, BOUNDS._blamed = over, 0
    held = max((max(one.unread, TREE * one.sent_us) for one in subscribers), default=0)
    anything = held or any(one.unpassed for one in publishers)
    greedy = (
        any(one.asked > MAX_ASKED for one in subscribers) or sum(one.asked for one in subscribers) > MAX_ASKED_IN_ALL
    )
    blamed = BOUNDS.to_blame([(publishers, subscribers)])
    left = [one for one in subscribers if one not in blamed]
    assert all(one.asked <= MAX_ASKED for one in left)
    assert sum(one.asked for one in left) <= MAX_ASKED_IN_ALL
    assert bool(blamed) == bool(greedy or (over and anything))
    if held >= MUCH:
        assert not blamed.keys() & set(publishers), "a publisher pays for a subscriber"


def test_a_name_of_the_statistics_that_somebody_took_does_not_keep_the_hub_from_starting(start, free_ports):
    port = free_ports(1)[0]
    with statistics_told(port, listens=False):
        hub = start(pairs=[(port, free_ports(1)[0])])
        assert check(hub.pairs) == []
        assert hub.log.read_text().count("forwards without statistics") == 1

    def told():
        with suppress(OSError):
            return pair_stats(hub)["sub"] == port

    # It tells them as soon as it can.
    until(told)


@pytest.mark.parametrize("answer", [b"", b"{", b"[" * 100_000, b"{}", b"x" * 2_000_000], ids=len)
def test_statistics_of_somebody_else_are_no_statistics(free_ports, answer):
    port = free_ports(1)[0]
    with statistics_told(port, answer), pytest.raises(OSError, match="statistics"):
        read_stats((port, port + 1))


PAIRS = st.lists(st.fixed_dictionaries({}, optional={"sub": st.integers(0, 70_000), "pub": st.none()}), max_size=2)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.binary(max_size=200) | st.builds(lambda pairs: json.dumps({"pairs": pairs}).encode(), PAIRS))
def test_whatever_somebody_tells_is_of_this_hub_or_no_statistics(free_ports, told):
    port = free_ports(1)[0]
    with statistics_told(port, told):
        try:
            stats = read_stats((port, port + 1))
        except OSError:
            return
    assert stats["pairs"][0]["sub"] == port
