"""The observing lock fails safe: only a fresh, idle state lets an update pass."""

import calendar
import json
import os
import time
from pathlib import Path

import pytest

from panoptes_utils.unit.observing import activity, in_window, solar_hour
from panoptes_utils.unit.settings import Settings, Window


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


def test_no_file_is_unknown(settings):
    assert activity(settings).kind == "unknown"


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
