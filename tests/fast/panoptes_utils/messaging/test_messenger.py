"""Publishers and subscribers: what goes in comes out at the other end."""

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from panoptes_utils.messaging import PanMessaging
from panoptes_utils.messaging.messenger import TOPIC, make_frame, read_frame

contents = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name not in ("value", "unit")),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(st.text()),
    max_size=5,
)
topics = st.from_regex(TOPIC, fullmatch=True)


@pytest.fixture
def ends(hub):
    """A subscriber and a publisher of a hub, known to be connected."""
    with PanMessaging.create_subscriber(hub.out_port) as sub, PanMessaging.create_publisher(hub.in_port) as pub:
        meet(pub, sub)
        yield pub, sub


def meet(pub, *subs):
    """Send until every subscriber hears, then let them forget it."""
    for sub in subs:
        for _ in range(200):
            pub.send_message("meet", {})
            if sub.receive_message(timeout_ms=25)[0]:
                break
        else:
            pytest.fail("the subscriber never heard the publisher")
    pub.send_message("met", {})
    for sub in subs:
        while sub.receive_message(timeout_ms=2000)[0] not in ("met", None):
            pass


def test_text_and_dict_come_out_as_dicts(ends):
    pub, sub = ends
    pub.send_message("PANCHAT", "Hello")
    topic, content = sub.receive_message(timeout_ms=5000)
    assert topic == "PANCHAT"
    assert content["message"] == "Hello"
    assert abs(content["timestamp"] - datetime.now(timezone.utc).replace(tzinfo=None)).total_seconds() < 60
    pub.send_message("STATUS", {"a": {"b": [1, 2]}, "date": datetime(2017, 1, 1)})
    assert sub.receive_message(timeout_ms=5000) == ("STATUS", {"a": {"b": [1, 2]}, "date": datetime(2017, 1, 1)})


def test_quantities_arrive_as_quantities(ends):
    units = pytest.importorskip("astropy.units")
    pub, sub = ends
    pub.send_message("telemetry:commands", {"az": 45 * units.deg})
    assert sub.receive_message(timeout_ms=5000) == ("telemetry:commands", {"az": 45 * units.deg})


@given(topics, contents)
def test_every_message_is_read_as_it_was_written(topic, content):
    frame = make_frame(topic, content)
    assert frame.startswith(topic.encode() + b" ")
    assert json.loads(frame.partition(b" ")[2]) == content
    assert read_frame(frame) == (topic, content)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(frame):
    try:
        topic, _ = read_frame(frame)
    except ValueError:
        return
    assert TOPIC.fullmatch(topic)


@pytest.mark.parametrize("topic", ["", " ", "1a", "a b", "-a", "a/b", "ä", "a\n", None, 5, b"a"])
def test_topics_that_are_not_allowed(ends, topic):
    with pytest.raises(ValueError, match="topic"):
        ends[0].send_message(topic, "x")


@pytest.mark.parametrize("message", [None, 5, ["a"], b"bytes"])
def test_messages_that_are_not_allowed(ends, message):
    with pytest.raises(ValueError, match="a message is text or a dict"):
        ends[0].send_message("topic", message)


@pytest.mark.parametrize("frame", [b"", b"notopic", b"topic {broken", b"\xff\xff {}", b"1x {}", b" {}", b"a\x00 {}"])
def test_what_cannot_be_read_is_none_and_the_next_one_arrives(hub, ends, frame):
    pub, sub = ends
    pub.socket.send(frame)
    pub.send_message("good", {"a": 1})
    assert sub.receive_message(timeout_ms=5000) == (None, None)
    assert sub.receive_message(timeout_ms=5000) == ("good", {"a": 1})


def test_each_end_does_its_own_work(ends):
    pub, sub = ends
    with pytest.raises(RuntimeError, match="publisher"):
        sub.send_message("a", "b")
    assert pub.receive_message(timeout_ms=10) == (None, None)


def test_topics_are_chosen_by_prefix(hub):
    with (
        PanMessaging.create_subscriber(hub.out_port, topic="POCS") as some,
        PanMessaging.create_subscriber(hub.out_port) as every,
        PanMessaging.create_publisher(hub.in_port) as pub,
    ):
        meet(pub, every)
        for _ in range(100):
            pub.send_message("POCS-MEET", {})
            if some.receive_message(timeout_ms=50)[0]:
                break
        while some.receive_message(timeout_ms=200)[0]:
            pass
        for topic in ("weather", "POCS", "POCS-CMD", "PAWS-CMD"):
            pub.send_message(topic, {})
        assert [some.receive_message(timeout_ms=5000)[0] for _ in range(2)] == ["POCS", "POCS-CMD"]


def test_not_blocking_and_waiting_for_a_time(ends):
    _, sub = ends
    assert sub.receive_message(blocking=False) == (None, None)
    assert sub.receive_message(flags=zmq.NOBLOCK) == (None, None)
    begin = time.monotonic()
    assert sub.receive_message(timeout_ms=300) == (None, None)
    assert time.monotonic() - begin >= 0.29


def test_the_first_message_of_a_new_publisher_arrives(hub, ends):
    _, sub = ends
    for number in range(20):
        with PanMessaging.create_publisher(hub.in_port) as pub:
            pub.send_message("first", {"number": number})
        assert sub.receive_message(timeout_ms=5000) == ("first", {"number": number})


def test_a_publisher_without_a_hub_does_not_wait_for_ever(free_ports):
    with PanMessaging.create_publisher(free_ports(1)[0]) as pub:
        pub.send_message("a", "b")


def test_a_restarted_hub_is_found_again(start):
    hub = start()
    with PanMessaging.create_subscriber(hub.out_port) as sub, PanMessaging.create_publisher(hub.in_port) as pub:
        meet(pub, sub)
        hub.stop()
        start(pairs=hub.pairs)
        meet(pub, sub)


def test_without_a_hub_when_one_end_listens(free_ports):
    port = free_ports(1)[0]
    with PanMessaging.create_publisher(port, bind=True) as pub, PanMessaging.create_subscriber(port) as sub:
        meet(pub, sub)
        pub.send_message("a", {"b": 1})
        assert sub.receive_message(timeout_ms=5000) == ("a", {"b": 1})


def test_many_threads_send_and_receive(ends):
    pub, sub = ends
    count, received, lock = 200, [], threading.Lock()

    def send(name):
        for number in range(count):
            pub.send_message(f"t{name}", {"number": number})

    def receive():
        while True:
            topic, content = sub.receive_message(timeout_ms=2000)
            if topic is None:
                return
            with lock:
                received.append((topic, content["number"]))

    threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
    threads += [threading.Thread(target=receive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(received) == sorted((f"t{name}", number) for name in range(4) for number in range(count))


def test_close_ends_a_waiting_receive(ends):
    _, sub = ends
    got = []
    thread = threading.Thread(target=lambda: got.append(sub.receive_message()))
    thread.start()
    sub.close()
    thread.join(timeout=5)
    assert got == [(None, None)]
    assert sub.receive_message() == (None, None)
    sub.close()


def test_closed_publishers_say_so(ends):
    pub, _ = ends
    pub.close()
    with pytest.raises(RuntimeError, match="open publisher"):
        pub.send_message("a", "b")


IN_A_FORKED_CHILD = """
import os, signal, sys
from panoptes_utils.messaging import PanMessaging as P
port, other = {ports}
publisher, subscriber = P.create_publisher(port, bind=True), P.create_subscriber(port)
publisher.send_message("a", {{}})
child = os.fork()
if not child:
    signal.alarm(20)  # one that spins is ended, and fails the test
    try:
        {action}
    except RuntimeError as error:
        print(error)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
publisher.send_message("a", {{}})
"""


@pytest.mark.parametrize(
    ("action", "refused"),
    [
        ("publisher.send_message('a', {})", True),
        ("subscriber.receive_message()", True),
        ("subscriber.receive_message(blocking=False)", True),
        ("P.run_forwarder(subscriber, publisher)", True),
        ("publisher.close(), subscriber.close()", False),
        ("del publisher, subscriber", False),
        ("pass", False),
        ("publisher = P.create_publisher(other, bind=True); publisher.send_message('a', {}); publisher.close()", False),
    ],
)
def test_in_a_forked_child_no_end_of_the_parent_works_or_spins(free_ports, action, refused):
    program = IN_A_FORKED_CHILD.format(ports=free_ports(2), action=action)
    # From 3.12 on Python warns of every fork in a process with threads, which ZeroMQ's are.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("which was forked: make a new PanMessaging" in done.stdout) == refused


def test_forwarder_started_from_python_passes_messages_on(free_ports):
    in_port, out_port = free_ports(2)
    ready, done = threading.Event(), threading.Event()
    front, back = PanMessaging.create_forwarder_sockets(in_port, out_port)
    thread = threading.Thread(target=PanMessaging.run_forwarder, args=(front, back, ready.set, done.set), daemon=True)
    thread.start()
    assert ready.wait(5)
    with PanMessaging.create_subscriber(out_port) as sub, PanMessaging.create_publisher(in_port) as pub:
        meet(pub, sub)
        pub.send_message("a", {"b": 1})
        assert sub.receive_message(timeout_ms=5000) == ("a", {"b": 1})
    with pytest.raises(zmq.ZMQError, match="in use"):
        PanMessaging.create_forwarder_sockets(in_port, out_port)


def test_a_subscriber_that_listens_needs_no_hub(free_ports):
    port = free_ports(1)[0]
    with PanMessaging.create_subscriber(port, bind=True) as sub, PanMessaging.create_publisher(port) as pub:
        meet(pub, sub)
        pub.send_message("a", {"b": 1})
        assert sub.receive_message(timeout_ms=5000) == ("a", {"b": 1})


def test_a_forwarder_ends_when_it_is_interrupted(free_ports):
    in_port, out_port = free_ports(2)
    program = (
        "from panoptes_utils.messaging import PanMessaging as P\n"
        f"P.create_forwarder({in_port}, {out_port}, lambda: print('ready', flush=True), lambda: print('done'))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        with PanMessaging.create_subscriber(out_port) as sub, PanMessaging.create_publisher(in_port) as pub:
            meet(pub, sub)
            # libzmq's proxy notices a signal only while it waits.
            assert sub.receive_message(timeout_ms=300) == (None, None)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=10) == ("done\n", None)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
