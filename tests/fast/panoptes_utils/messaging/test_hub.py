"""The hub: pairs, ends, clashes, what it is asked to do and what it drops."""

import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
from free_ports import free_ports
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import until

from panoptes_utils.messaging import PanMessaging
from panoptes_utils.messaging.health import check
from panoptes_utils.messaging.hub import Hub
from panoptes_utils.messaging.messenger import make_frame
from panoptes_utils.messaging.monitor import read_stats
from panoptes_utils.messaging.stats import sample, show


def test_every_pair_forwards_its_own(start):
    hub = start(number=3)
    assert check(hub.pairs) == []
    wrong = [(hub.pairs[0][0], hub.pairs[1][1]), hub.pairs[2]]
    assert check(wrong, timeout=0.5) == wrong[:1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(hub, number):
    with PanMessaging.create_publisher(hub.in_port) as pub:
        pub.send_message("a", "b")
        begin = time.monotonic()
        assert hub.stop(number) == 0
        assert time.monotonic() - begin < 2


def test_a_pair_that_fails_takes_the_process_down(start):
    # A proxy ends as libzmq ends it when its sockets fail: with an error.
    broken = (
        "import zmq; real = zmq.proxy_steerable\n"
        "def fail(front, back, capture, control):\n"
        "    if 'pair-' in __import__('threading').current_thread().name and not fail.done:\n"
        "        fail.done = True; __import__('time').sleep(0.5); raise zmq.ZMQError(zmq.ENOTSOCK)\n"
        "    real(front, back, capture, control)\n"
        "fail.done = False; zmq.proxy_steerable = fail\n"
    )
    hub = start(number=2, before=broken)
    assert hub.process.wait(timeout=10) == 1
    assert "failed: " in hub.log.read_text()


def test_a_pair_that_hangs_takes_the_process_down(start):
    hanging = (
        "import time, zmq, panoptes_utils.messaging.monitor as monitor; monitor._PATIENCE = 0.3\n"
        "zmq.proxy_steerable = lambda *_: time.sleep(60)\n"
    )
    hub = start(before=hanging)
    assert hub.process.wait(timeout=20) == 1
    assert f"pair {hub.in_port}→{hub.out_port} does not answer" in hub.log.read_text()


def test_two_hubs_with_the_same_first_pair_cannot_be(hub, command):
    # On another address the ports are free, but who asks for statistics could not tell one from the other.
    done = command("--host", "127.0.0.2", "--pair", hub.in_port, hub.out_port)
    assert done.returncode == 1
    assert f"another hub with the pair {hub.in_port}→{hub.out_port} is running" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_names_the_holder(hub, command, free_ports):
    other = free_ports(1)[0]
    for pair in ((hub.in_port, other), (other, hub.out_port)):
        done = command("--pair", *pair)
        assert done.returncode == 1
        assert "is taken by python" in done.stderr
        assert f"(process {hub.process.pid})" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--pair", 80, 6501], "port 80 cannot be used, choose one from 1025 to 65535"),
        (["--pair", 6500, 65536], "port 65536 cannot be used"),
        (["--pair", 6500, 6500], "port 6500 is named twice"),
        (["--pair", 6500, 6501, "--pair", 6501, 6502], "port 6501 is named twice"),
        (["--port", 65535], "port 65536 cannot be used"),
        (["--host", "0.0.0.0"], "would let anyone on the network"),
        (["--host", "192.0.2.1", "--curve-keys", "/nowhere"], "there is no /nowhere/server.key_secret"),
        (["health", "--pair", 1, 2, "--timeout", 0.2], "no message came through 1→2"),
        (["stats", "--pair", 1026, 1027], "no hub with the pair 1026→1027"),
    ],
)
def test_impossible_requests_get_one_line(command, words, says):
    done = command(*words)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ports_one_after_the_other(command, free_ports):
    port = free_ports(1)[0]
    program = f"import sys; from panoptes_utils.messaging.cli import main; sys.exit(main(['--port', '{port}']))"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    try:
        assert f"{port}→{port + 1}" in process.stderr.readline()
        assert check([(port, port + 1)]) == []
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0
        process.stderr.close()


def test_ports_from_the_config_server(tmp_path, command, free_ports):
    pytest.importorskip("uvicorn")
    from panoptes_utils.config import config_server, set_config

    first, second, config_port = free_ports(3)
    path = tmp_path / "pocs.yaml"
    path.write_text(f"messaging:\n  cmd_port: {first}\n  msg_port: {second}\n")
    server = config_server(path, port=config_port)
    program = (
        "import sys; from panoptes_utils.messaging.cli import main;"
        f"sys.exit(main(['--from-config', '--config-port', '{config_port}']))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    try:
        assert f"{first}→{first + 1}" in process.stderr.readline()
        assert check([(first, first + 1), (second, second + 1)]) == []
        set_config("messaging.msg_port", None, port=config_port)
        done = command("--from-config", "--config-port", config_port)
        assert done.returncode == 1
        assert "messaging.msg_port is None in the configuration" in done.stderr
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stderr.close()
        server.terminate()
        server.join()


def test_health_sees_a_hub_that_hangs(hub, command):
    words = ("health", "--pair", hub.in_port, hub.out_port)
    assert command(*words).returncode == 0
    hub.process.send_signal(signal.SIGSTOP)
    try:
        done = command(*words, "--timeout", "0.5")
        assert done.returncode == 1
        assert f"no message came through {hub.in_port}→{hub.out_port}" in done.stderr
    finally:
        hub.process.send_signal(signal.SIGCONT)


def test_listens_on_loopback_only(hub):
    listening = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        host, _, port = address.partition(":")
        if state == "0A" and int(port, 16) in (hub.in_port, hub.out_port):
            listening.append(host)
    assert listening == ["0100007F"] * 2


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), end=st.sampled_from([0, 1]), greet=st.booleans())
def test_bytes_that_are_no_zeromq_do_no_harm(fuzzed_hub, data, end, greet):
    greeting = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00NULL" + b"\0" * 48
    with socket.create_connection(("127.0.0.1", fuzzed_hub.pairs[0][end]), timeout=5) as raw:
        raw.sendall((greeting if greet else b"") + data)
    assert fuzzed_hub.process.poll() is None


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(st.binary(max_size=200), min_size=1, max_size=4), kind=st.sampled_from([zmq.PUB, zmq.XSUB]))
def test_any_message_passes_or_is_dropped(fuzzed_hub, frames, kind):
    context = zmq.Context.instance()
    end = context.socket(kind)
    end.linger = 50
    end.connect(f"tcp://127.0.0.1:{fuzzed_hub.pairs[0][0 if kind == zmq.PUB else 1]}")
    end.send_multipart(frames)
    end.close()
    assert fuzzed_hub.process.poll() is None


@pytest.fixture
def fuzzed_hub(start):
    """A hub that has to be well after whatever a test did to it."""
    hub = start()
    yield hub
    assert check(hub.pairs) == []
    until(lambda: read_stats(hub.pairs[0])["pairs"][0]["publishers"] == 0, seconds=20)


@pytest.mark.parametrize("near", ["::1", "[::1]"])
@pytest.mark.parametrize("host", ["::1", "::"])
def test_a_hub_of_ipv6_is_reached_by_everything_that_takes_an_address(start, command, tmp_path, host, near):
    if not socket.has_ipv6 or "::1" not in _own_addresses():
        pytest.skip("this machine has no IPv6")
    keys, client, options = tmp_path / "keys", None, []
    if host == "::":
        client, options = _keys(keys), ["--curve-keys", keys]
    hub = start("--host", host, *options)
    assert check(hub.pairs, host=near, curve=client) == []
    for told in (host, near):
        done = command("health", "--pair", hub.in_port, hub.out_port, "--host", told, *options)
        assert (done.returncode, done.stderr) == (0, "")
    with (
        PanMessaging.create_subscriber(hub.out_port, host=near, curve=client) as sub,
        PanMessaging.create_publisher(hub.in_port, host=near, curve=client) as pub,
    ):
        until(lambda: (pub.send_message("a", {}), sub.receive_message(timeout_ms=20)[0])[1])
        pub.send_message("weather", {"safe": True})
        until(lambda: sub.receive_message(timeout_ms=5000) == ("weather", {"safe": True}))
        if client is None:
            stats = read_stats(hub.pairs[0])
            done = threading.Event()
            sending = threading.Thread(target=lambda: [pub.send_message("a", {}) for _ in iter(done.is_set, True)])
            sending.start()
            until(lambda: (sample(stats, 0.1, near), stats["pairs"][0]["topics"])[1])
            done.set()
            sending.join()


def _own_addresses():
    with socket.socket(socket.AF_INET6) as probe, suppress(OSError):
        probe.bind(("::1", 0))
        return ["::1"]
    return []


def _keys(folder):
    from panoptes_utils.messaging.curve import ClientKeys, make_keys

    if not zmq.has("curve"):
        pytest.skip("this libzmq has no CURVE")
    make_keys(folder, ["dome"])
    return ClientKeys(folder, "dome")


@pytest.fixture(scope="module")
def strict():
    """A hub in this process that takes short messages only, with a subscriber and a publisher that have met."""
    hub = Hub([tuple(free_ports(2))], max_message=1000)
    thread = threading.Thread(target=hub.run)
    thread.start()
    (in_port, out_port), *_ = hub.pairs
    with PanMessaging.create_subscriber(out_port) as sub, PanMessaging.create_publisher(in_port) as pub:
        until(lambda: (pub.send_message("meet", {}), sub.receive_message(timeout_ms=20)[0])[1])
        yield hub, pub, sub
    hub.stop()
    thread.join()


@given(st.integers(900, 1100))
def test_a_message_passes_or_its_sender_is_told_that_it_is_too_long(strict, length):
    hub, pub, sub = strict
    content = {"x": "x" * (length - len(make_frame("size", {"x": ""})))}
    if length > 1000:
        with pytest.raises(ValueError, match=rf"'size' is {length:,} bytes long, the hub takes 1,000"):
            pub.send_message("size", content)
    else:
        pub.send_message("size", content)
        until(lambda: sub.receive_message(timeout_ms=5000) == ("size", content))
    assert read_stats(hub.pairs[0])["pairs"][0]["too_long"] == 0


def test_a_limit_that_a_subscriber_tells_makes_none_smaller(strict):
    hub, pub, sub = strict
    with PanMessaging.create_subscriber(hub.pairs[0][1], topic="other") as liar:
        for topic in (b"\xfflimit:5", b"\xfflimit:", b"\xfflimit:-1", b"\xfflimit:x", b"last"):
            liar.socket.subscribe(topic)
        # Where it hears what it subscribed to last, the publisher has heard the rest.
        until(lambda: (pub.send_message("last", {}), liar.receive_message(timeout_ms=20)[0])[1])
        pub.send_message("fine", {"a": "x" * 500})
        until(lambda: sub.receive_message(timeout_ms=5000)[0] == "fine")


def test_a_publisher_takes_the_higher_limit_of_a_hub_that_was_started_again(start):
    hub = start("--max-message", 1000)

    def is_refused(publisher):
        try:
            publisher.send_message("a", {"x": "x" * 2000})
        except ValueError:
            return True
        return False

    with PanMessaging.create_publisher(hub.in_port) as pub:
        until(lambda: is_refused(pub))
        hub.stop()
        start("--max-message", 3000, pairs=hub.pairs)
        until(lambda: not is_refused(pub))


@pytest.mark.parametrize(("options", "length"), [(("--max-message", 1000), 2000), ((), 3 * 1024 * 1024)])
def test_a_message_that_is_sent_though_it_is_too_long_is_counted_and_ends_that_connection_only(
    start, capsys, options, length
):
    hub = start(*options)
    context = zmq.Context()
    raw = context.socket(zmq.PUB)
    raw.connect(f"tcp://127.0.0.1:{hub.in_port}")

    def pair():
        return read_stats(hub.pairs[0])["pairs"][0]

    try:
        with PanMessaging.create_subscriber(hub.out_port) as sub, PanMessaging.create_publisher(hub.in_port) as pub:
            until(lambda: (raw.send(b"a {}"), sub.receive_message(timeout_ms=20)[0])[1])
            assert pair()["too_long"] == 0
            raw.send(b"long " + b"x" * length)
            until(lambda: pair()["too_long"] == 1)
            assert pair()["lost_estimate"] == 1
            pub.send_message("good", {})
            until(lambda: sub.receive_message(timeout_ms=2000)[0] == "good")
            # It comes back.
            until(lambda: (raw.send(b"b {}"), sub.receive_message(timeout_ms=20)[0] == "b")[1])
        assert hub.log.read_text().count("sent a message longer than") == 1
        show(read_stats(hub.pairs[0]))
        assert "1 messages to" in capsys.readouterr().out
    finally:
        context.destroy(linger=0)
    assert hub.process.poll() is None
    until(lambda: pair()["publishers"] == 0)
    assert pair()["too_long"] == 1


def test_the_hub_and_its_health_check_load_little():
    program = (
        "import sys, panoptes_utils.messaging.hub, panoptes_utils.messaging.health, panoptes_utils.messaging.cli;"
        "panoptes_utils.messaging.cli._parser().parse_args([]);"
        "heavy = {'astropy', 'numpy', 'loguru', 'asyncio', 'ruamel', 'rich', 'http.client', 'shutil', 'lzma',"
        "'panoptes_utils.serializers'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
