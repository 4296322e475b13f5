"""The observing lock fails safe: only a fresh, idle state lets an update pass."""

import calendar
import json
import os
import socket
import stat
import time
from pathlib import Path

import pytest
from hostile import hostile, http
from hypothesis import given
from hypothesis import strategies as st

from panoptes_unit.deploy.observing_lock import activity, in_window, solar_hour
from panoptes_unit.settings import Settings, Window


@pytest.fixture
def settings(tmp_path):
    made = Settings(source="r.org/a", config_url="http://127.0.0.1:1")
    made.observing.file = str(tmp_path / "current_state.json")
    return made


def write(settings, document, age_s=0.0):
    Path(settings.observing.file).write_text(document if isinstance(document, str) else json.dumps(document))
    then = time.time() - age_s
    os.utime(settings.observing.file, (then, then))


@pytest.mark.parametrize(
    ("document", "age_s", "kind"),
    [
        ({"state": "sleeping"}, 0, "idle"),
        ({"data": {"source": "ready", "dest": "parked"}}, 3600, "idle"),
        ({"data": {"source": "sleeping", "dest": "observing"}}, 0, "observing"),
        ({"state": "slewing"}, 0, "observing"),
        ({"state": "a state nobody knows"}, 0, "observing"),
        ("sleeping", 0, "unreadable"),
        ('"sleeping"', 0, "idle"),
        ({"state": ""}, 0, "unknown"),
        ([], 0, "unknown"),
        ({"state": "sleeping"}, 90000, "stale"),
        ({"state": "observing"}, 90000, "stale"),
        ({"state": "sleeping"}, -3600, "stale"),
        ({"data": {"dest": "sleeping"}, "date": "2020-01-01T00:00:00"}, 0, "stale"),
    ],
)
def test_state_file(settings, document, age_s, kind):
    write(settings, document, age_s)
    found = activity(settings)
    assert found.kind == kind
    assert found.is_idle == (kind == "idle")


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"null", "unknown", "no key"),
        (b'"sleeping"', "unknown", "not since when"),
        (b'{"state": "sleeping"}', "unknown", "not since when"),
        (b'{"state": "sleeping", "at": NOW}', "idle", "sleeping"),
        (b'{"state": "observing", "at": NOW}', "observing", "observing"),
    ],
)
def test_state_from_the_config_server_needs_its_time(settings, body, kind, said):
    settings.observing.source = "config"
    body = body.replace(b"NOW", str(time.time()).encode())
    with hostile(http(body)) as server:
        settings.config_url = server.url
        found = activity(settings)
    assert (found.kind, said in found.detail) == (kind, True), found


def test_no_file_is_unknown(settings):
    assert activity(settings).kind == "unknown"


def in_its_place(settings, tmp_path, what):
    path = Path(settings.observing.file)
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "sparse":
        path.touch()
        os.truncate(path, 50_000_000_000)
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    elif what == "device":
        if os.geteuid():
            pytest.skip("only root can make a device")
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    elif what == "link":
        (tmp_path / "other.json").write_text('{"state": "sleeping"}')
        path.symlink_to(tmp_path / "other.json")
    else:
        path.symlink_to(what)


@pytest.mark.parametrize("what", ["fifo", "folder", "sparse", "socket", "device", "link", "/dev/zero", "/etc/shadow"])
def test_what_is_no_small_file_is_unreadable_at_once(settings, tmp_path, what):
    """Row by row what a program can put in the place of POCS's state: none is waited for, read whole, or believed."""
    in_its_place(settings, tmp_path, what)
    found = activity(settings)
    assert found.kind == "unreadable"
    assert "\n" not in found.detail and settings.observing.file in found.detail


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another account")
def test_folder_of_programs_that_is_a_link_is_not_followed(settings, tmp_path):
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 1000, 1000)
    (tmp_path / "real").mkdir()
    settings.observing.file = str(tmp_path / "real/current_state.json")
    write(settings, {"state": "sleeping"})
    (tmp_path / "theirs/json_store").symlink_to(tmp_path / "real")
    assert activity(settings).is_idle
    settings.observing.file = str(tmp_path / "theirs/json_store/current_state.json")
    assert activity(settings).kind == "unreadable"


def test_config_server_that_does_not_answer_is_unreadable(settings):
    settings.observing.source = "config"
    assert activity(settings).kind == "unreadable"


def test_unknown_source_is_not_idle(settings):
    settings.observing.source = "guess"
    assert not activity(settings).is_idle


def utc(hour):
    return calendar.timegm((2026, 3, 20, 0, 0, 0)) + hour * 3600


@pytest.mark.parametrize(
    ("longitude", "utc_hour", "solar"),
    [(0, 12, 12), (-155.58, 12, 1.628), (149.07, 12, 21.938), (180, 13, 1), (-180, 11, 23)],
)
def test_solar_time_by_longitude(longitude, utc_hour, solar):
    assert solar_hour(longitude, utc(utc_hour)) == pytest.approx(solar, abs=0.001)


def test_window_is_daytime_where_the_unit_stands():
    mauna_loa, siding_spring = Window(longitude=-155.58), Window(longitude=149.07)
    assert in_window(mauna_loa, utc(22))
    assert not in_window(mauna_loa, utc(10))
    assert in_window(siding_spring, utc(2))
    assert not in_window(siding_spring, utc(10))
    assert in_window(Window(start_h=22, end_h=3), utc(1)), "a window over midnight"
    assert in_window(Window(start_h=0, end_h=0), utc(1)), "no window"


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ("[" * 200_000, "unreadable"),
        ('{"data": ' * 200_000, "unreadable"),
        ('{"state": "sleeping", "at": NaN}', "unreadable"),
        ('{"state": "sleeping", "at": Infinity}', "unreadable"),
        ('{"state": "sleeping", "at": 1e999}', "unreadable"),
        ('{"state": "sleeping", "at": ' + "9" * 400 + "}", "unreadable"),
        ('{"state": "sleeping", "date": "' + "9" * 400 + '"}', "idle"),  # no date: that of the file counts
        ('{"state": "sleeping", "date": "0001-01-01T00:00:00+14:00"}', "idle"),
        ('{"state": "sleeping", "date": "9999-12-31T23:59:59-14:00"}', "idle"),
        ('{"state": "sleeping", "at": -1e300}', "idle"),
        ('{"state": "sleeping", "at": 1e300}', "idle"),
        ('{"state": "sleeping", "at": true}', "stale"),
        ('{"state": "sleeping", "at": [1]}', "idle"),
        ('{"state": ["sleeping"]}', "unknown"),
        ('{"data": {"dest": {"a": 1}}}', "unknown"),
        ('{"state": "' + "x" * 60_000 + '"}', "observing"),
        ('{"state": "\\u001b]0;owned\\u0007"}', "observing"),
        ("x" * 100_000, "unreadable"),
        ('"sleeping"\x00', "unreadable"),
    ],
)
def test_state_file_out_of_bounds_has_an_answer_in_one_line(settings, document, kind):
    write(settings, document)
    found = activity(settings)
    assert found.kind == kind
    assert found.detail.isprintable() and len(found.detail) < 500


@pytest.mark.parametrize("at", ["1e11", "-5", '"2999-01-01T00:00:00"', "0.5", '"1970-01-01"', "NaN", "1e999"])
def test_no_time_keeps_an_idle_state_fresh_for_ever(settings, at):
    write(settings, f'{{"state": "sleeping", "at": {at}}}', age_s=settings.observing.max_age_s + 60)
    assert activity(settings).kind in ("stale", "unreadable")


STATES = st.text() | st.floats() | st.integers() | st.none() | st.lists(st.text())


@given(STATES, STATES, st.sampled_from(["at", "date"]))
def test_any_record_has_an_answer_and_is_idle_only_if_its_state_is(tmp_path_factory, state, at, name):
    made = Settings(source="r.org/a")
    made.observing.file = str(tmp_path_factory.getbasetemp() / "current_state.json")
    write(made, {"data": {"dest": state}, name: at})
    found = activity(made)
    assert found.detail.isprintable()
    assert not found.is_idle or state in made.observing.idle


@pytest.mark.parametrize(
    "answer", [http(b"[" * 200_000), http(b"NaN"), http(b'"sleeping"', "Content-Length: abc"), b"\x1b[31m\r\n\r\n", b""]
)
def test_config_server_that_answers_out_of_bounds_is_unreadable(settings, answer):
    settings.observing.source = "config"
    with hostile(answer) as server:
        settings.config_url = server.url
        found = activity(settings)
    assert found.kind == "unreadable" and found.detail.isprintable()
