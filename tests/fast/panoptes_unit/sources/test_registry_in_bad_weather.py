"""A registry that is busy, ill or slow costs a moment and no night, and never holds the run for ever."""

from __future__ import annotations

import socket
import threading
import time
from email.utils import formatdate
from typing import ClassVar

import pytest

from panoptes_unit.deploy.deadline import deadline
from panoptes_unit.errors import RegistryError, UnitError
from panoptes_unit.sources import registry as module
from panoptes_unit.sources.registry import Registry


@pytest.fixture
def ill(stand_in, monkeypatch):
    """A registry that answers with the codes in `answers` first, and the waits that it was given."""
    waits: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)

    class Ill(stand_in):
        answers: ClassVar[list] = []

        def answer(self, request):
            if self.answers:
                code, headers = self.answers.pop(0)
                return self.send(request, code, b"{}", headers)
            return super().answer(request)

    with Ill() as server:
        server.answers = []
        server.put_index("a/b", "latest", ["linux/amd64"])
        yield server, waits


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_moment_of_illness_is_waited_for(ill, code):
    server, waits = ill
    server.answers = [(code, {}), (code, {})]
    assert Registry(server.host, waits=(2, 8, 30)).digest_of("a/b").startswith("sha256:")
    assert waits == [2, 8]


def test_registry_says_itself_how_long_to_wait(ill):
    server, waits = ill
    server.answers = [
        (429, {"Retry-After": "5"}),
        (503, {"Retry-After": formatdate(time.time() + 60, usegmt=True)}),
        (429, {"Retry-After": "86400"}),
        (429, {"Retry-After": "soon"}),
    ]
    Registry(server.host, waits=(1, 1, 1, 1)).digest_of("a/b")
    assert waits == [5, pytest.approx(60, abs=3), module.LONGEST_WAIT_S, 1]


def test_lasting_illness_ends_in_one_line(ill):
    server, waits = ill
    server.answers = [(500, {})] * 9
    with pytest.raises(RegistryError, match="answers 500"):
        Registry(server.host, waits=(2, 8, 30)).digest_of("a/b")
    assert waits == [2, 8, 30]


def test_what_no_further_try_can_mend_is_said_at_once(ill):
    server, waits = ill
    with pytest.raises(RegistryError):
        Registry(server.host, waits=(2, 8, 30)).digest_of("no/such")
    assert waits == []


def test_loopback_is_asked_without_the_proxy_of_the_environment(ill, monkeypatch):
    server, _ = ill
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert Registry(server.host).digest_of("a/b").startswith("sha256:")


def test_byte_now_and_then_passes_no_limit_of_the_whole_step():
    """Each read is answered in time, and the answer never ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not over.is_set():
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return
                    over.wait(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(UnitError, match="asking for it took longer than 0.5 s"), deadline(0.5, "asking for it"):
                Registry(f"127.0.0.1:{server.getsockname()[1]}", timeout=5).digest_of("a/b")
        finally:
            over.set()
            thread.join()


def test_deadline_of_a_thread_has_no_effect_and_ends_nothing():
    done = []

    def act():
        with deadline(0.01, "it"):
            time.sleep(0.05)
            done.append(1)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert done == [1]
