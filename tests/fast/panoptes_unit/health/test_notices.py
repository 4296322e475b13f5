"""Whoever is to be told is told once of each event, again until it was received, and of no secret."""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_unit import FakeUnit
from hypothesis import given
from hypothesis import strategies as st

from panoptes_unit.deploy import verdicts
from panoptes_unit.errors import ConfigurationError, UnitError
from panoptes_unit.health import healing, notices
from panoptes_unit.health.notices import HEALED, MOST, NOT_WHOLE, ROLLED_BACK, SILENT, target_of, told, waiting
from panoptes_unit.report import Report
from panoptes_unit.settings import Notify, Settings

PERIOD_S = 300.0
DAY_S = 86400.0


class Receiver:
    """A fake address on loopback: keeps what is posted, and answers `code`."""

    def __init__(self) -> None:
        self.code, self.got, self.headers = 200, [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.headers.append({"path": self.path, **self.headers})
                if outer.code < 300:
                    outer.got.append(json.loads(body))
                self.send_response(outer.code)
                if outer.code == 302:
                    self.send_header("Location", f"https://elsewhere.example.org{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.place = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def events(self) -> list[str]:
        return [record["event"] for record in self.got]


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Lines(Report):
    """What was said."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def step(self, name: str, text: str) -> None:
        self.lines.append(text)


class Unit(FakeUnit):
    """A unit that a timer looks at, and a clock that the test sets."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.now = time.time()
        self.said = Lines()
        self.heals = True

    def look(self, times: int = 1, restart: bool = False) -> None:
        for _ in range(times):
            self.now += PERIOD_S
            run = self.transaction(healing.VERB).run
            run.outcome.by, run.outcome.at, run.report = healing.BY, self.now, self.said
            if restart:
                Path(self.settings.health).unlink(missing_ok=True)
            healing.heal(run, self.engine)

    def repair(self, run) -> None:
        if self.heals:
            self.engine.up()
        run.end(verdicts.HEALED if self.heals else verdicts.BROKEN, "services: gone; and what was done")

    def break_it(self) -> None:
        self.engine.running.pop("messaging-hub", None)

    @property
    def queue(self) -> list[dict]:
        return [json.loads(path.read_text()) for path in waiting(self.store)]


@pytest.fixture
def unit(tmp_path, monkeypatch, receiver):
    made = Unit(tmp_path / "unit")
    made.deploy("old")
    made.settings.notify = Notify(to=[f"http://{receiver.place}/units"])
    made.settings.config_value = "PAN012"
    monkeypatch.setattr("time.time", lambda: made.now)
    monkeypatch.setitem(sys.modules, "panoptes_unit.health.repair", types.SimpleNamespace(repair=made.repair))
    return made


# -- events ------------------------------------------------------------------------------------------------------


def test_unit_that_heals_tells_both_once(unit, receiver):
    unit.look(3)
    assert receiver.got == []
    unit.break_it()
    unit.look()
    assert receiver.got == [], "it may only be starting"
    unit.look(4)
    assert receiver.events == [NOT_WHOLE, HEALED]
    first, second = receiver.got
    assert [one["name"] for one in first["problems"]] == ["services"]
    assert (first["unit"], first["number"], second["number"]) == ("PAN012", 1, 2)
    assert first["text"].startswith("PAN012 is not whole: services: messaging-hub has no container")
    assert second["attempt"]["verdict"] == verdicts.HEALED
    assert unit.queue == []


def test_unit_that_stays_broken_tells_it_once_also_after_restarts_of_the_machine(unit, receiver):
    unit.heals = False
    unit.break_it()
    unit.look(20)
    for _ in range(3):
        unit.look(restart=True)
        unit.look()
    assert receiver.events == [NOT_WHOLE]
    unit.engine.up()
    unit.look()
    assert receiver.events == [NOT_WHOLE, HEALED]
    assert receiver.got[1]["attempt"] is None, "it came back by other hands"


def test_release_that_was_rolled_back_is_told_once_and_what_was_before_not_at_all(unit, receiver):
    assert unit.deploy("earlier", "exits").verdict == verdicts.ROLLED_BACK
    unit.look(2)
    assert receiver.got == []
    assert unit.deploy("bad", "exits").verdict == verdicts.ROLLED_BACK
    unit.look(3)
    assert receiver.events == [ROLLED_BACK]
    assert receiver.got[0]["attempt"]["reason"] in receiver.got[0]["text"]
    assert unit.deploy("worse", "unhealthy").verdict == verdicts.ROLLED_BACK
    unit.look(2)
    assert receiver.events == [ROLLED_BACK, ROLLED_BACK]


def test_silence_of_the_registry_is_told_once_after_as_many_days_as_are_set(unit, receiver):
    unit.look()
    unit.now += 6.9 * DAY_S
    unit.look()
    assert receiver.got == []
    unit.now += 0.2 * DAY_S
    unit.look(5)
    assert receiver.events == [SILENT]
    assert "has had no answer of registry.example.org/panoptes-utils:latest since" in receiver.got[0]["text"]
    unit.run("update")
    unit.look()
    unit.now += 7.1 * DAY_S
    unit.look(2)
    assert receiver.events == [SILENT, SILENT]


@pytest.mark.parametrize(("days", "last"), [(0, 0), (7, 400 * DAY_S)])
def test_no_silence_is_told_where_none_is_wanted_and_a_look_in_the_future_is_none(unit, receiver, days, last):
    unit.settings.notify.silent_days = days
    state = unit.state
    state.last_check = {**state.last_check, "at": unit.now + last}
    unit.store.save(state)
    unit.look()
    unit.now += 8 * DAY_S
    unit.look()
    assert receiver.events == ([SILENT] if days else [])


def test_where_nobody_is_to_be_told_nothing_is_written(unit):
    unit.settings.notify = Notify()
    unit.break_it()
    unit.look(3)
    assert not (unit.store.folder / "notices").exists()
    assert told(unit.settings) == "nobody is told of events: health_notify is not set"


def test_while_nothing_happens_nothing_is_written(unit):
    unit.look()
    folder = unit.store.folder / "notices"
    before = [(path, path.stat().st_mtime_ns) for path in (folder, *folder.iterdir())]
    unit.look(3)
    assert [(path, path.stat().st_mtime_ns) for path in (folder, *folder.iterdir())] == before


# -- the queue ---------------------------------------------------------------------------------------------------


def test_what_is_not_received_waits_is_told_by_doctor_and_is_sent_again_in_order(unit, receiver):
    receiver.code = 503
    unit.break_it()
    unit.look(4)
    assert [record["event"] for record in unit.queue] == [NOT_WHOLE, HEALED]
    assert unit.said.lines[-1] == f"2 wait: http://{receiver.place} answers 503"
    with pytest.raises(UnitError, match="^2 notices wait since .*: panoptes-unit heal says why$"):
        told(unit.settings)
    receiver.code = 204
    unit.look()
    assert receiver.events == [NOT_WHOLE, HEALED]
    assert unit.queue == []
    assert told(unit.settings) == f"http://{receiver.place} is told of events"


def test_queue_is_bounded_and_keeps_the_newest(unit, receiver):
    receiver.code = 500
    unit.look()
    for number in range(MOST + 5):
        notices._queue(unit.store, number + 1, {"event": "x"})
    assert [record["number"] for record in unit.queue] == list(range(6, MOST + 6))


def test_numbers_go_on_and_a_spoiled_record_holds_up_no_other(unit, receiver):
    receiver.code = 500
    unit.break_it()
    unit.look(3)
    waiting(unit.store)[0].write_bytes(b"\0" * 20)
    receiver.code = 200
    unit.look()
    unit.break_it()
    unit.look(2)
    assert [(record["number"], record["event"]) for record in receiver.got] == [
        (2, HEALED), (3, NOT_WHOLE), (4, HEALED),
    ]  # fmt: skip


def test_disk_that_takes_no_record_keeps_no_unit_from_being_healed(unit, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(notices, "write_durably", full)
    unit.break_it()
    unit.look(2)
    assert sorted(unit.engine.running) == ["config-server", "messaging-hub"]
    assert any("No space left" in line for line in unit.said.lines)


# -- ways --------------------------------------------------------------------------------------------------------


def tell(settings: Settings, content: bytes = b"{}") -> None:
    target_of(settings).tell(content)


@pytest.fixture
def outbox():
    """A folder that the command may write to, whoever it runs as."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_command_gets_the_record_and_is_not_root(unit, outbox):
    script = f"cd {outbox}; cat >> got; id -u > who; env > env"
    unit.settings.notify = Notify(to=["/bin/sh", "-c", script])
    unit.break_it()
    unit.look(2)
    got = [json.loads(line) for line in (outbox / "got").read_text().replace("}{", "}\n{").splitlines()]
    assert [record["event"] for record in got] == [NOT_WHOLE, HEALED]
    assert int((outbox / "who").read_text()) != 0 or os.geteuid() != 0
    assert {line.partition("=")[0] for line in (outbox / "env").read_text().splitlines()} <= {
        "PATH", "LANG", "PWD", "OLDPWD", "SHLVL", "_",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/bin/false"], "/bin/false ended with 1"),
        (["/nowhere/tell"], "/nowhere/tell does not start as nobody: No such file or directory"),
        (["/bin/sh", "-c", "sleep 60 & sleep 60"], "/bin/sh did not end within 0.3 s"),
    ],
)
def test_command_that_does_not_take_it_is_told(words, said, monkeypatch):
    monkeypatch.setattr(notices, "SECONDS", 0.3)
    with pytest.raises(UnitError, match=said):
        tell(Settings(notify=Notify(to=words)))


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        (Notify(to=["http://status.example.org/"]), "is not https"),
        (Notify(to=["http://127.example.org/"]), "is not https"),
        (Notify(to=["ftp://127.0.0.1/"]), "is not https"),
        (Notify(to=["https://"]), "is no address"),
        (Notify(to=["https://[::1"]), "is no address"),
        (Notify(to=["https://a.example.org:x/"]), "is no address"),
        (Notify(to=["https://a.example.org/ b"]), "is no address"),
        (Notify(to=["https://a.example.org/", "more"]), "address alone"),
        (Notify(to=["https://ann:pw@a.example.org/"]), "put the address into a file"),
        (Notify(to=["/bin/true"], address_file="/x"), "leave one of them empty"),
        (Notify(address_file="/nowhere"), "cannot read the address for notices in /nowhere"),
    ],
)
def test_nobody_who_can_be_told_is_told_by_doctor_in_a_line(notify, said, unit):
    unit.settings.notify = notify
    with pytest.raises(ConfigurationError, match=said):
        told(unit.settings)
    unit.break_it()
    unit.look(3)
    assert said in unit.said.lines[-1]
    assert "pw" not in " ".join(unit.said.lines)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = Receiver()
    yield made, tmp_path_factory.mktemp("secret") / "address"
    made.server.shutdown()
    made.server.server_close()


SECRET = st.text("abcdefghijkl0123456789%!=+~", min_size=8, max_size=20).map(lambda text: f"s3cr3t{text}")


@given(SECRET, SECRET, st.sampled_from([200, 302, 401, 404, 500, None]))
def test_whatever_secret_is_in_an_address_reaches_its_host_and_no_line(shared, password, path, code):
    receiver, file = shared
    receiver.code, receiver.headers = code or 200, []
    place = receiver.place if code else "127.0.0.1:9"
    password = password.replace("%", "x")
    file.write_text(f"http://ann:{password}@{place}/{path.replace('%', 'x')}\n")
    file.chmod(0o600)
    target = target_of(Settings(notify=Notify(address_file=str(file))))
    said = target.name
    try:
        target.tell(b"{}")
    except UnitError as error:
        said += str(error)
    assert "s3cr3t" not in said
    if code:
        (header,) = receiver.headers
        assert base64.b64decode(header["Authorization"].split()[1]).decode() == f"ann:{password}"
        assert header["path"].startswith("/s3cr3t")


def test_file_with_an_address_that_others_can_read_is_refused(tmp_path):
    file = tmp_path / "address"
    file.write_text("https://a.example.org/s3cr3t\n")
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 0600") as error:
        target_of(Settings(notify=Notify(address_file=str(file))))
    assert "s3cr3t" not in str(error.value)
