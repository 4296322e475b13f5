"""Nobody types anything: the timer's look finds the damage, twice, and has it repaired."""

from __future__ import annotations

import json

import pytest

LOOK = "panoptes-health.service"
REPAIR = "panoptes-repair.service"
RECORD = "/run/panoptes/health.json"
# Everything below which the tool may write on the disk, with times and sizes.
ON_DISK = "find /etc/panoptes /var/lib/panoptes-unit /var/panoptes -printf '%p %T@ %C@ %s\\n' | sort"


@pytest.fixture
def left_alone(patient):
    """The unit without the attempts of earlier tests, which count for a day; what it ran it still knows."""
    patient.unit.check(f"""sed -i '/"verb": "repair"/d' /var/lib/panoptes-unit/history.jsonl; rm -f {RECORD}""")
    return patient


def look(patient) -> dict:
    """As the timer does, whose part the test plays; what was found."""
    patient.host.run(f"systemctl start {LOOK}")
    return json.loads(patient.unit.check(f"cat {RECORD}"))


def test_timer_is_enabled(host):
    assert host.run("systemctl is-enabled panoptes-health.timer").stdout.strip() == "enabled"


def test_look_at_a_whole_unit_writes_nothing_to_the_disk_and_nothing_to_the_log(left_alone):
    found = look(left_alone)
    assert found["whole"], found
    before = left_alone.unit.check(ON_DISK)
    cursor = left_alone.unit.check("journalctl --lines 0 --show-cursor --quiet").partition("cursor: ")[2].strip()
    assert look(left_alone)["at"] > found["at"]
    assert left_alone.unit.check(ON_DISK) == before
    log = f"journalctl --unit {LOOK} --after-cursor '{cursor}' --output cat --no-pager --quiet"
    assert left_alone.unit.check(log).strip() == ""


@pytest.mark.parametrize(
    "damage",
    [
        "docker rm --force messaging-hub",
        "docker stop config-server",
        "systemctl stop docker.socket docker.service",
        "systemctl mask --now docker.socket docker.service",
    ],
)
def test_unit_comes_back_without_anybody_and_says_so(left_alone, damage):
    left_alone.unit.check(damage)
    assert look(left_alone)["in_turn"] == 1
    assert left_alone.unit.last()["verb"] != "repair"
    look(left_alone)
    healed = "grep --quiet '\"healed\"' /var/lib/panoptes-unit/history.jsonl"
    left_alone.unit.wait_for(f"{healed} && test $(systemctl is-active {REPAIR}) = inactive", 120)
    left_alone.unit.must_run(left_alone.release)
    last = left_alone.unit.last()
    assert (last["verb"], last["by"], last["verdict"]) == ("repair", "timer", "healed")
    assert look(left_alone)["whole"]
    assert left_alone.guests_are_as_they_were()
