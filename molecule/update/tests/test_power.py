"""Killed at every step: the tool, the engine, the whole unit. Afterwards wholly old or wholly new, never between."""

from __future__ import annotations

import itertools
import signal
import subprocess

import pytest
import unit_checks
from unit_under_test import UnitUnderTest

from panoptes_utils.unit.journal import POINTS

FORWARD = [point for point in POINTS if not point.startswith("undo")]
STEPS = [f"{step}:before" for step in ("fetch", "lock", "switch", "prove", "commit")] + ["switch:file", "commit:state"]


@pytest.fixture(scope="module")
def unit(host, releases):
    made = UnitUnderTest(host, releases.source)
    made.settings({"limits": {"soak_s": 0}})
    return made


@pytest.fixture
def step(unit, releases):
    """(the release that runs, the one that is offered)."""
    unit.check("panoptes-unit clear all")  # three interruptions would put a release into quarantine
    for name in ("good-0", "good-1"):
        releases.prepare(name)
    running = unit.release()
    other = next(name for name in ("good-0", "good-1") if releases.digests[name] != running)
    if running not in releases.digests.values():
        running = releases.offer("good-1")
        unit.tool("deploy", "--force", expect=0)
        other = "good-0"
    return running, releases.offer(other), unit.configuration()


def settle(unit, step, point, record_property):
    """Recovers and checks that the unit is on one release, whole."""
    old, new, configuration = step
    unit.tool("recover", expect=0)
    expected = new if point.startswith("commit") else old
    unit.must_run(expected)
    assert unit.configuration() == configuration
    record_property("outcome", "wholly on the " + ("new" if expected == new else "old") + " release")


@pytest.mark.fault("SIGKILL of the tool at {point}")
@pytest.mark.parametrize("point", FORWARD)
def test_tool_killed(unit, step, point, record_property):
    answer = unit.tool("update", env=f"PANOPTES_UNIT_DIE_AT={point}")
    assert answer["rc"] == 128 + signal.SIGKILL, answer
    settle(unit, step, point, record_property)


def test_interruption_is_not_the_fault_of_the_image(unit, step):
    unit.tool("update", env="PANOPTES_UNIT_DIE_AT=prove:before")
    assert unit.tool("update", expect=0)["verdict"] == "updated", "it recovers by itself, and tries again"
    unit.must_run(step[1])
    assert unit.tool("recover", expect=0)["verdict"] == "unchanged", "nothing is left to recover"


@pytest.mark.fault("SIGKILL of the tool at {point}, bad image")
@pytest.mark.parametrize("point", ["undo:before", "undo:file", "undo:after"])
def test_tool_killed_on_the_way_back(unit, releases, step, point, record_property):
    old, _, configuration = step
    releases.offer("exits-0")
    answer = unit.tool("update", "--force", env=f"PANOPTES_UNIT_DIE_AT={point}")
    assert answer["rc"] == 128 + signal.SIGKILL, answer
    unit.tool("recover", expect=0)
    unit.must_run(old)
    assert unit.configuration() == configuration
    record_property("outcome", "wholly on the old release")


@pytest.mark.fault("SIGKILL of the tool while Compose replaces containers")
def test_tool_killed_under_compose(unit, step, record_property):
    """Compose lives on without the tool; the next run waits for it before it recovers."""
    old, _, configuration = step
    before = unit.check("docker inspect --format {{.Id}} config-server").strip()
    process = unit.start("update")
    unit.wait_for(f"test \"$(docker inspect --format '{{{{.Id}}}}' config-server 2>/dev/null)\" != {before}")
    unit.check("kill -KILL $(cat /var/lib/panoptes-unit/lock)")
    process.communicate(timeout=60)
    unit.tool("recover", expect=0)
    unit.must_run(old)
    assert unit.configuration() == configuration
    record_property("outcome", "wholly on the old release")


def halted_at(unit, point, *arguments):
    """Starts an update that halts at a point; returns it when it has."""
    process = unit.start("update", *arguments, env=f"PANOPTES_UNIT_STOP_AT={point}")
    try:
        unit.wait_for("grep -q '^State:.T' /proc/$(cat /var/lib/panoptes-unit/lock)/status")
    except AssertionError:
        print(process.communicate(timeout=5))
        raise
    return process


@pytest.mark.fault("SIGKILL of dockerd at {point}")
@pytest.mark.parametrize("point", STEPS)
def test_engine_killed(unit, step, point, record_property):
    unit.check("systemctl reset-failed docker")  # systemd gives up on a service that is killed too often
    process = halted_at(unit, point)
    unit.check("systemctl kill --kill-whom=main --signal=KILL docker")
    unit.check("kill -CONT $(cat /var/lib/panoptes-unit/lock)")
    output, errors = process.communicate(timeout=120)
    unit.wait_for("docker version", 60)
    unit.tool("recover", expect=0)
    running = unit.release()
    assert running in step[:2], f"{output}{errors}"
    unit.must_run(running)
    assert unit.configuration() == step[2]
    record_property("outcome", "wholly on the " + ("new" if running == step[1] else "old") + " release")


def docker(*arguments: str) -> None:
    lab = unit_checks.lab()
    subprocess.run([lab["docker_cli"], "--host", lab["docker_host"], *arguments], check=True, capture_output=True)


@pytest.mark.fault("hard kill of the unit at {point}")
@pytest.mark.parametrize("point", STEPS)
def test_unit_killed(unit, step, point, record_property):
    """The boot unit recovers; nobody types anything."""
    process = halted_at(unit, point)
    docker("kill", "--signal", "KILL", unit.name)
    process.communicate(timeout=30)
    docker("start", unit.name)
    unit.wait_for("systemctl is-system-running --wait | grep -q 'running\\|degraded'", 60)
    unit.wait_for("test ! -e /var/lib/panoptes-unit/journal.jsonl", 90)
    expected = step[1] if point.startswith("commit") else step[0]
    unit.must_run(expected)
    assert unit.configuration() == step[2]
    record_property("outcome", "wholly on the " + ("new" if expected == step[1] else "old") + " release")


def test_every_point_is_covered():
    steps = {point.partition(":")[0] for point in itertools.chain(FORWARD, STEPS)}
    assert {*steps, "undo"} == {point.partition(":")[0] for point in POINTS}
