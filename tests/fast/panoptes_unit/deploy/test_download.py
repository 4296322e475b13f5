"""A download has no limit as long as it goes on, and ends when it does not: its lock is not held for ever."""

from __future__ import annotations

import itertools
import sys
import threading
import types

import pytest

from panoptes_unit.deploy.deadline import deadline
from panoptes_unit.deploy.engine import Engine
from panoptes_unit.errors import UnitError
from panoptes_unit.settings import Settings

IMAGE = "registry.example.org/panoptes-utils@sha256:" + "a" * 64


def downloading(current, layer="one"):
    return {"status": "Downloading", "id": layer, "progressDetail": {"current": current, "total": 1000}}


class FakeClient:
    """The engine's messages of a pull, of which some come late or never."""

    def __init__(self, messages) -> None:
        self.messages = messages

    def pull(self, *_, **__):
        yield from self.messages

    def inspect_image(self, _):
        return {}


@pytest.fixture
def engine(monkeypatch):
    """Call it with the engine's messages: an engine that gives up after 0.2 s without anything new."""
    errors = types.SimpleNamespace(DockerException=ConnectionError, ImageNotFound=LookupError, NotFound=LookupError)
    monkeypatch.setitem(sys.modules, "docker", types.SimpleNamespace(errors=errors))
    settings = Settings()
    settings.limits.stall_s = 0.2
    made = Engine(settings)

    def with_messages(messages):
        made._client = FakeClient(messages)
        return made

    return with_messages


def waiting(seconds):
    threading.Event().wait(seconds)


def test_download_that_goes_on_slowly_is_not_given_up(engine):
    def slow():
        for number in range(1, 11):
            waiting(0.05)
            yield downloading(number * 100)

    seen = []
    assert engine(slow()).pull(IMAGE, None, lambda *both: seen.append(both)) == 1000
    assert seen[-1] == (1000, 1000)


@pytest.mark.parametrize("said", ["nothing", "the same bytes", "another try"])
def test_download_that_stands_still_is_given_up_whatever_the_engine_says_meanwhile(engine, said):
    def stuck():
        yield downloading(100)
        for number in itertools.count():
            waiting(0.02)
            if said == "the same bytes":
                yield downloading(100)
            if said == "another try":
                yield {"status": f"Retrying in {number} seconds", "id": "one"}

    with pytest.raises(UnitError, match="the next bytes of registry.example.org.* longer than 0.2 s"):
        engine(stuck()).pull(IMAGE, None, lambda *_: None)


def test_connection_of_a_step_that_ran_out_of_time_is_let_go():
    class Connection:
        def __init__(self) -> None:
            self.ended = ended

        def __del__(self) -> None:
            self.ended.append(True)

    def ask():
        connection = Connection()
        waiting(10)
        return connection

    ended = []
    with pytest.raises(UnitError) as caught, deadline(0.05, "asking"):
        ask()
    assert ended, "although the error is still at hand"
    assert "asking took longer than 0.05 s" in str(caught.value)
