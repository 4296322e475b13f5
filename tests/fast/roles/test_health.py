"""The timer of role `health` does not go by the clock, and is turned on or off only where it is not as wanted."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

jinja2 = pytest.importorskip("jinja2")
TOP = Path(__file__).parents[3]
ROLE = TOP / "roles/health"
VARIABLES = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
TIMER = "panoptes-health.timer"
ON = {"exists": True, "enabled": True, "active": True}
OFF = {"exists": True, "enabled": False, "active": False}


def turned(found: dict | None, wanted: object, wrong: list) -> bool:
    environment = pytest.importorskip("jinja2.nativetypes").NativeEnvironment()
    environment.filters["bool"] = lambda value: str(value).lower() in ("true", "yes", "1")
    known = {"health_enabled": wanted, "_health_wrong": wrong, "_health_timer": TIMER}
    known["_health_unit_state"] = {"services": {} if found is None else {TIMER: found}}
    for name in ("_health_found", "_health_is_on", "_health_is_off", "_health_turned"):
        known[name] = environment.from_string(VARIABLES[name]).render(known)
    return known["_health_turned"]


@pytest.mark.parametrize(
    ("found", "wanted", "wrong", "expected"),
    [
        (ON, True, [], False),
        (OFF, False, [], False),
        (None, False, [], False),
        (None, True, [], True),
        (OFF, True, [], True),
        (ON, False, [], True),
        (ON, "false", [], True),
        ({**ON, "active": False}, True, [], True),
        ({**ON, "enabled": False}, True, [], True),
        ({**ON, "enabled": False}, False, [], True),
        (ON, True, [{"path": "x"}], True),
    ],
)
def test_only_a_timer_that_is_not_as_wanted_is_touched(found, wanted, wrong, expected):
    assert turned(found, wanted, wrong) is expected


def test_every_file_that_it_writes_is_looked_at_first_and_removed_again():
    written = [entry["path"] for entry in VARIABLES["_health_files"]]
    assert written == VARIABLES["_health_own_paths"]
    assert VARIABLES["_health_probe"]["files"] == "{{ _health_own_paths }}"
    for entry in VARIABLES["_health_files"]:
        (template,) = re.findall(r"'([\w.-]+\.j2)'", entry["content"])
        assert template == f"{Path(entry['path']).name}.j2"
        assert (ROLE / "templates" / template).is_file()


def test_timer_goes_by_no_clock_and_writes_no_stamp():
    text = (ROLE / "templates/panoptes-health.timer.j2").read_text(encoding="utf-8")
    assert "OnCalendar" not in text and "Persistent" not in text
    assert re.findall(r"^On\w+=(.*)$", text, re.MULTILINE) == ["5min", "5min"]


def test_systemd_understands_the_timer(tmp_path):
    command = shutil.which("systemd-analyze") or pytest.skip("systemd-analyze is not installed here")
    for name in ("panoptes-health.timer", "panoptes-health.service"):
        text = (ROLE / f"templates/{name}.j2").read_text(encoding="utf-8")
        (tmp_path / name).write_text(re.sub(r"^ExecStart=.*", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    done = subprocess.run([command, "verify", str(tmp_path / TIMER)], capture_output=True, text=True)
    assert str(tmp_path) not in done.stderr, done.stderr
