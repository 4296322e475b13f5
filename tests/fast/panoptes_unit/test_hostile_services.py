"""A release under proof that answers as no service does: each is the plain refusal that blames it, and in time."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import pytest
import zmq
from hostile import hostile, http
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoptes_unit import services, web
from panoptes_unit.errors import HealthError
from panoptes_unit.services import ask_config, check_config, check_pair

# What a config server of a hostile release says, and what is said of it.
ANSWERS = {
    "nested": (http(b"[" * 200_000), "deep"),
    "no JSON": (http(b"<html>"), "not JSON"),
    "half a character": (http(b'"\\ud800"'), "half a character"),
    "NaN": (http(b"NaN"), "no number"),
    "digits": (http(b"9" * 5000), "5000 digits"),
    "too long": (http(b'"' + b"x" * 2_000_000 + b'"'), "more than 1000000 bytes"),
    "too long, in chunks": (http(b"fffff\r\n" + b"x" * 0xFFFFF + b"\r\n", "Transfer-Encoding: chunked"), "more than"),
    "date of the year 99999": (http(b'"PAN000"', "Date: Mon, 01 Jan 99999 00:00:00 GMT"), "no clock shows"),
    "date of another age": (http(b'"PAN000"', "Date: Mon, 01 Jan 1601 00:00:00 GMT"), "no clock shows"),
    "length abc": (http(b'"PAN000"', "Content-Length: abc"), "whose length is 'abc'"),
    "length -1": (http(b'"PAN000"', "Content-Length: -1"), "whose length is '-1'"),
    "length of 400 digits": (http(b'"PAN000"', "Content-Length: " + "9" * 400), "whose length"),
    "length too large": (http(b'"PAN000"', "Content-Length: 900"), "cut short"),
    "chunk of negative length": (http(b"-1\r\nxx\r\n", "Transfer-Encoding: chunked"), "no usable answer"),
    "chunk without a length": (http(b"zz\r\nxx\r\n", "Transfer-Encoding: chunked"), "no usable answer"),
    "redirect": (http(b"", "Location: http://127.0.0.1:1/", status="302 Found"), "no usable answer"),
    "redirect elsewhere": (http(b"", "Location: https://example.org/", status="302 Found"), "no usable answer"),
    "no HTTP": (b"\x1b]0;owned\x07\r\n\r\n", "no usable answer"),
    "nothing": (b"", "no usable answer"),
    "200 headers": (http(b'"PAN000"', *[f"X-{number}: y" for number in range(200)]), "no usable answer"),
    "escape sequences in the status": (http(b"", status="500 \x1b]0;owned\x07\x9b31m"), "no usable answer"),
    "another value, with escape sequences": (http(b'"\\u001b]0;owned\\u0007"'), "is '.x1b]0;owned.x07' and not"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_config_server_that_answers_out_of_bounds_is_refused_plainly(name):
    answer, words = ANSWERS[name]
    with hostile(answer) as server, pytest.raises(HealthError, match=words) as caught:
        check_config(server.url, "pan_id", "PAN000", timeout=5)
    assert str(caught.value).isprintable()


# Each of them says a byte now and then, and never ends.
DRIPS = {
    "status line": (b"", b"H"),
    "headers": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "header after header": (b"HTTP/1.1 200 OK\r\n", b"X"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n", b" "),
    "body without a length": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "length of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "silence": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b""),
}


@pytest.mark.parametrize("where", DRIPS)
def test_config_server_that_drips_ends_at_the_limit(where):
    answer, drip = DRIPS[where]
    with hostile(answer, drip or b"") as server:
        if not drip:
            server.drip, server.every_s = b" ", 60
        with pytest.raises(HealthError, match="no usable answer"):
            check_config(server.url, "pan_id", "PAN000", timeout=0.3)


def test_limit_holds_in_a_thread_too():
    said = []
    with hostile(b"HTTP/1.1 200 OK\r\n\r\n", b" ") as server:

        def ask():
            try:
                ask_config(server.url, "pan_id", 0.3)
            except OSError as error:
                said.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(timeout=20)
    assert len(said) == 1


def test_answer_that_never_ends_is_left_when_it_is_too_long(monkeypatch):
    monkeypatch.setattr(web, "WIRE_LIMIT", 100_000)
    with hostile(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 5000) as server:
        server.every_s = 0
        with pytest.raises(HealthError, match="more than 100000 bytes"):
            check_config(server.url, "pan_id", "PAN000", timeout=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.tuples(st.text(max_size=40), st.binary(max_size=80)))
def test_whatever_a_config_server_says_is_a_value_or_a_plain_refusal(answer):
    if isinstance(answer, tuple):
        answer = b"HTTP/1.1 200 OK\r\n" + answer[0].encode() + b"\r\n\r\n" + answer[1]
    with hostile(answer) as server:
        try:
            check_config(server.url, "pan_id", "PAN000", timeout=5)
        except HealthError as error:
            assert str(error).isprintable()


@contextmanager
def hub(*frames):
    """A hub that answers each message with `frames`, which are functions of it; the ports of its pair."""
    context = zmq.Context()
    inside, outside = context.socket(zmq.SUB), context.socket(zmq.PUB)
    for one in (inside, outside):
        one.setsockopt(zmq.LINGER, 0)
    inside.setsockopt(zmq.SUBSCRIBE, b"")
    ports = [one.bind_to_random_port("tcp://127.0.0.1") for one in (inside, outside)]
    over = threading.Event()

    def pass_on():
        while not over.is_set():
            if inside.poll(50):
                message = inside.recv()
                outside.send_multipart([frame(message) for frame in frames])

    thread = threading.Thread(target=pass_on)
    thread.start()
    try:
        yield ports
    finally:
        over.set()
        thread.join()
        context.destroy(linger=0)


def test_hub_that_passes_messages_on_works():
    with hub(lambda message: message) as ports:
        assert check_pair(*ports, timeout=10) < 10


@pytest.mark.parametrize(
    "frame",
    [
        lambda message: message.split()[0] + b" no JSON",
        lambda message: message.split()[0],
        lambda message: message.split()[0] + b' {"sent": "x"}',
        lambda message: message.split()[0] + b" " + b"[" * 4000,
        lambda message: message + b"\x1b]0;owned\x07\xff",
    ],
)
def test_hub_that_returns_something_else_is_refused_plainly(frame):
    with hub(frame) as ports, pytest.raises(HealthError, match="is not what was sent") as caught:
        check_pair(*ports, timeout=10)
    assert str(caught.value).isprintable()


def test_hub_that_returns_too_much_is_refused_and_the_message_not_held():
    with hub(lambda message: message + b" " * 5_000_000) as ports, pytest.raises(HealthError, match="no message came"):
        check_pair(*ports, timeout=0.5)


def test_hub_that_is_no_hub_is_refused_within_the_limit():
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [server.getsockname()[1] for server in (one, other)]
        with pytest.raises(HealthError, match="no message came back within 0.3 s"):
            check_pair(*ports, timeout=0.3)


def test_one_limit_holds_for_the_ports_and_the_message(monkeypatch):
    given = []

    def slow(address, timeout):
        given.append(timeout)
        time.sleep(0.1)
        return socket.socket()

    monkeypatch.setattr(services.socket, "create_connection", slow)
    with pytest.raises(HealthError):
        check_pair(1, 1, timeout=0.25)
    assert given[1] < given[0]
