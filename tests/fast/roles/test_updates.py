"""The timers of role `updates` come in the unit's own daytime, and each is turned on or off where that is wanted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from roles_templar import ansible_says

from panoptes_unit.deploy.observing_lock import solar_hour

pytest.importorskip("ansible")
TOP = Path(__file__).parents[3]
ROLE = TOP / "roles/updates"
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
WINDOW = yaml.safe_load((TOP / "roles/release/defaults/main.yml").read_text(encoding="utf-8"))["release_window_h"]


def evaluated(name: str, **known):
    """A variable of the role, with what is known beside the shipped settings."""
    return ansible_says({**known}, f"{{{{ {name} }}}}")


@pytest.mark.parametrize("longitude", [-180, -179.9, -155.5, -70.4, -7.4, 0.0, 7.6, 82.5, 149.1, 172.6, 179.9, 180])
@pytest.mark.parametrize("name", ["_updates_calendar", "_updates_verify_calendar"])
def test_timer_begins_and_ends_in_the_units_own_daytime_wherever_it_stands(name, longitude):
    hour, minute = re.fullmatch(r"\*-\*-\* (\d\d):(\d\d):00 UTC", evaluated(name, updates_longitude=longitude)).groups()
    first = solar_hour(longitude, 3600 * int(hour) + 60 * int(minute))
    # To the minute in which the calendar is written, and the window ends with the spread.
    assert WINDOW[0] <= first <= WINDOW[1] - DEFAULTS["updates_spread_s"] / 3600 + 1 / 60


def test_weekly_look_comes_when_the_daily_one_has_begun_its_download():
    assert DEFAULTS["updates_verify_hour"] >= DEFAULTS["updates_hour"] + DEFAULTS["updates_spread_s"] / 3600


ON = {"exists": True, "enabled": True, "active": True}
OFF = {"exists": True, "enabled": False, "active": False}
DISABLED = {**ON, "enabled": False}
UPDATE, VERIFY = "panoptes-update.timer", "panoptes-verify.timer"


@pytest.mark.parametrize(
    ("update", "verify", "wanted", "turned"),
    [
        (ON, ON, (True, True), []),
        (OFF, OFF, (False, False), []),
        (ON, OFF, (True, True), [VERIFY]),
        (ON, ON, (False, True), [UPDATE]),
        (ON, ON, (True, False), [VERIFY]),
        (DISABLED, ON, (True, True), [UPDATE]),
        (OFF, ON, (True, False), [UPDATE, VERIFY]),
    ],
)
def test_only_timers_that_are_not_as_wanted_are_touched(update, verify, wanted, turned):
    known = {
        "_updates_services": {UPDATE: update, VERIFY: verify, "another.timer": ON},
        "_updates_wrong": [],
        "updates_enabled": wanted[0],
        "updates_verify": wanted[1],
    }
    assert sorted(evaluated("_updates_turned", **known)) == turned  # Ansible's intersect has no order


def test_changed_file_restarts_both():
    known = {"_updates_services": {UPDATE: ON, VERIFY: ON}, "_updates_wrong": [{"path": "x"}]}
    assert sorted(evaluated("_updates_turned", **known)) == [UPDATE, VERIFY]


def test_unit_that_has_no_timer_yet_gets_both():
    assert sorted(evaluated("_updates_turned", _updates_services={}, _updates_wrong=[])) == [UPDATE, VERIFY]
