"""What a run has at hand: its lock, the one who asked, the registry and its login, this machine's architecture."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from panoptes_unit.deploy import run_lock
from panoptes_unit.deploy.downtime import DowntimeWatch
from panoptes_unit.deploy.outcome import Outcome, current_user
from panoptes_unit.deploy.run import Run, credentials_for, dpkg_architecture
from panoptes_unit.errors import BusyError, UnitError
from panoptes_unit.report import Report
from panoptes_unit.settings import Settings

HOLDER = """
import sys
from pathlib import Path
from panoptes_unit.deploy.run_lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock in `tmp_path`."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        if process.poll() is None:
            process.communicate("\n")


def test_second_run_is_refused_and_names_the_first(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(run_lock, "PATIENCE_S", 0.1)
    with pytest.raises(BusyError, match=rf"process {holder.pid}\) is at work"), run_lock.exclusive(tmp_path):
        pass


def test_lock_is_free_after_a_kill(tmp_path, holder):
    holder.kill()
    holder.wait()
    with run_lock.exclusive(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_what_a_killed_run_left_at_work_is_waited_for_and_then_named(tmp_path, holder, monkeypatch):
    (tmp_path / "lock").write_text("0")  # the process that took the lock is gone, one that it started holds it
    monkeypatch.setattr(run_lock, "PATIENCE_S", 0.1)
    monkeypatch.setattr(run_lock, "LEFT_AT_WORK_S", 0.1)
    with pytest.raises(BusyError, match="docker compose ps"), run_lock.exclusive(tmp_path):
        pass


def test_timer_and_the_person_behind_sudo_are_told_apart(monkeypatch):
    monkeypatch.setenv("INVOCATION_ID", "of systemd")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert current_user() == "timer"
    monkeypatch.setenv("SUDO_USER", "anna")
    assert current_user() == "anna"
    for name in ("INVOCATION_ID", "SUDO_USER"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOGNAME", "bert")
    assert current_user() == "bert"


def test_outcome_of_a_later_version_can_be_read():
    outcome = Outcome.begun("deploy", "anna")
    assert Outcome.from_dict({**outcome.as_dict(), "field_of_2031": 1}) == outcome


def test_outcome_of_the_version_before_staging_is_read():
    now = Outcome.begun("update", "timer").as_dict()
    before = {name: value for name, value in now.items() if name not in ("fetch_s", "resumed", "sources")}
    assert Outcome.fits(before)
    assert Outcome.from_dict(before).sources == {}
    assert not Outcome.fits({**now, "sources": {"r.example.org/a": "much"}})


def test_login_is_for_the_registry_that_the_unit_follows_only(tmp_path):
    path = tmp_path / "login"
    path.write_text("anna:secret")
    path.chmod(0o600)
    settings = Settings(source="r.example.org/a:latest", registry_credentials=str(path))
    assert credentials_for(settings, "r.example.org").password == "secret"
    assert credentials_for(settings, "127.0.0.1:6599") is None
    assert credentials_for(Settings(source="r.example.org/a"), "r.example.org") is None


def test_run_on_this_unit_keeps_its_things_where_the_settings_say(tmp_path):
    settings = Settings(source="r.example.org/a:latest", state=str(tmp_path), release_file=str(tmp_path / "r.env"))
    run = Run.on_this_unit(settings, Report(quiet=True), "update", "timer")
    assert (run.store.folder, run.journal.path, run.release_file) == (
        tmp_path, tmp_path / "journal.jsonl", tmp_path / "r.env"
    )  # fmt: skip
    registry = run.registry("r.example.org")
    assert (registry.host, registry.timeout) == ("r.example.org", settings.limits.registry_s)


def test_machine_without_dpkg_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnitError, match="is this Debian"):
        dpkg_architecture()
    (tmp_path / "dpkg").write_text("#!/bin/sh\necho armhf\n")
    (tmp_path / "dpkg").chmod(0o755)
    assert dpkg_architecture() == "armhf"


def test_downtime_is_counted_for_the_service_that_was_away():
    with socket.create_server(("127.0.0.1", 0)) as stays, socket.create_server(("127.0.0.1", 0)) as goes:
        ports = {"stays": stays.getsockname()[1], "goes": goes.getsockname()[1], "was-never-there": 1}
        with DowntimeWatch(ports) as watch:
            while not hasattr(watch, "seen"):
                # The watch has asked once when both have been connected to.
                stays.accept()[0].close()
                goes.accept()[0].close()
                watch.seen = True
            goes.close()
            end = time.monotonic() + 0.2
            while time.monotonic() < end:
                stays.settimeout(0.2)
                stays.accept()[0].close()
    assert watch.away_s["goes"] > 0
    assert watch.away_s["stays"] == watch.away_s["was-never-there"] == 0.0
