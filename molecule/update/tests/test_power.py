"""Killed at every step: the tool, the engine, the whole unit. Afterwards wholly old or wholly new, never between.

As shipped, the tool at each point after the switch, and there engine and unit in turn; with PANOPTES_EVERY_FAULT=1
(`make test-update`) each of the three at every point.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections import defaultdict

import pytest

from lab.faults import AFTER_THE_SWITCH, EVERY_FAULT
from lab.settings import read_lab
from lab.unit_under_test import UnitUnderTest
from panoptes_unit.deploy.journal import POINTS

# kind of fault -> the points at which it was really injected
INJECTED: dict[str, set[str]] = defaultdict(set)


@pytest.fixture(scope="module")
def unit(host, releases):
    made = UnitUnderTest(host, releases.source)
    made.settings({"limits": {"soak_s": 0}})
    return made


@pytest.fixture
def step(unit, releases):
    """(the release that runs, the one that is offered, the user's configuration)."""
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


@pytest.fixture
def point(request, step, releases):
    """A point of the journal, and a release with which an update comes by it: only a bad one comes to `undo`."""
    if request.param.startswith("undo"):
        releases.offer("exits-0")
    return request.param


KILLED_AT = {
    "tool": POINTS if EVERY_FAULT else ("fetch:after", *AFTER_THE_SWITCH),
    "engine": POINTS if EVERY_FAULT else AFTER_THE_SWITCH[::2],
    "unit": POINTS if EVERY_FAULT else ("fetch:before", *AFTER_THE_SWITCH[1::2]),
}


def killed(what: str):
    return pytest.mark.parametrize("point", KILLED_AT[what], indirect=True)


def settled(unit, step, record_property, expected=None):
    """The unit is on one release, whole, and the history tells no other; `expected` where only one is right."""
    old, new, configuration = step
    running = unit.release()
    assert running in ([expected] if expected else [old, new]), unit.journal()
    unit.must_run(running)
    assert unit.configuration() == configuration
    last = unit.last()
    assert last["verdict"] != "broken", last
    assert (last["new"] if last["verdict"] == "updated" else last["old"]).endswith(running), last
    assert unit.tool("recover", expect=0)["verdict"] == "unchanged", "nothing is left to recover"
    record_property("outcome", "wholly on the " + ("new" if running == new else "old") + " release")


@pytest.mark.fault("SIGKILL of the tool at {point}")
@killed("tool")
def test_killed_tool_recovers_to_one_whole_release(unit, step, point, record_property):
    answer = unit.tool("update", "--force", env=f"PANOPTES_UNIT_DIE_AT={point}")
    assert answer["rc"] == 128 + signal.SIGKILL, answer
    INJECTED["tool"].add(point)
    unit.tool("recover", expect=0)
    settled(unit, step, record_property, expected=step[point.startswith("commit")])


def test_interruption_is_not_the_fault_of_the_image(unit, step):
    unit.tool("update", env="PANOPTES_UNIT_DIE_AT=prove:before")
    assert unit.tool("update", expect=0)["verdict"] == "updated", "it recovers by itself, and tries again"
    unit.must_run(step[1])
    assert unit.tool("recover", expect=0)["verdict"] == "unchanged", "nothing is left to recover"


@pytest.mark.fault("SIGKILL of the tool while Compose replaces containers")
def test_tool_killed_under_compose(unit, step, record_property):
    """Compose lives on without the tool; the next run waits for it before it recovers."""
    before = unit.check("docker inspect --format {{.Id}} config-server").strip()
    process = unit.start("update")
    unit.wait_for(f"test \"$(docker inspect --format '{{{{.Id}}}}' config-server 2>/dev/null)\" != {before}")
    unit.check("kill -KILL $(cat /var/lib/panoptes-unit/lock)")
    process.communicate(timeout=60)
    unit.tool("recover", expect=0)
    settled(unit, step, record_property, expected=step[0])


@pytest.mark.fault("SIGKILL of dockerd at {point}")
@killed("engine")
def test_killed_engine_comes_back_and_the_tool_ends_with_one_whole_release(unit, step, point, record_property):
    """The tool goes on: up to the end, or back, or as far as it comes without an engine."""
    unit.check("systemctl reset-failed docker")  # systemd gives up on a service that is killed too often
    process = unit.update_halted_at(point)
    unit.check("systemctl kill --kill-whom=main --signal=KILL docker")
    INJECTED["engine"].add(point)
    unit.check("kill -CONT $(cat /var/lib/panoptes-unit/lock)")
    print(*process.communicate(timeout=120))
    unit.wait_for("docker version", 60)
    unit.tool("recover", expect=0)
    certain = {"commit": step[1], "undo": step[0]}
    settled(unit, step, record_property, certain.get(point.partition(":")[0]))


@pytest.mark.fault("dockerd killed at {point}, and it stays away")
@pytest.mark.parametrize(
    ("point", "verdict"),
    [("switch:file", "broken"), ("commit:state", "updated"), ("undo:before", "broken")],
    indirect=["point"],
)
def test_what_an_absent_engine_left_open_is_finished_by_the_next_boot(unit, step, point, verdict, record_property):
    """What could not be finished without an engine is finished by the next boot; so far the history calls it broken."""
    unit.settings({"limits": {"soak_s": 0, "healthy_s": 5}})
    process = unit.update_halted_at(point)
    unit.check("systemctl kill --kill-whom=main --signal=KILL docker; systemctl stop docker.socket docker")
    unit.check("kill -CONT $(cat /var/lib/panoptes-unit/lock)")
    answer = json.loads(process.communicate(timeout=120)[0])
    unit.check("systemctl reset-failed docker; systemctl start docker")
    unit.settings({"limits": {"soak_s": 0}})
    assert answer["verdict"] == unit.last()["verdict"] == verdict, answer
    unit.tool("recover", expect=0)
    settled(unit, step, record_property, expected=step[verdict == "updated"])


def docker(*arguments: str) -> None:
    lab = read_lab()
    subprocess.run([lab["docker_cli"], "--host", lab["docker_host"], *arguments], check=True, capture_output=True)


@pytest.mark.fault("hard kill of the unit at {point}")
@killed("unit")
def test_killed_unit_recovers_at_boot_without_anybody(unit, step, point, record_property):
    """The boot unit recovers; nobody types anything."""
    process = unit.update_halted_at(point)
    docker("kill", "--signal", "KILL", unit.name)
    INJECTED["unit"].add(point)
    process.communicate(timeout=30)
    docker("start", unit.name)
    unit.wait_for("systemctl is-system-running --wait | grep -q 'running\\|degraded'", 60)
    unit.wait_for("test ! -e /var/lib/panoptes-unit/journal.jsonl", 90)
    settled(unit, step, record_property, expected=step[point.startswith("commit")])


def test_every_fault_was_injected_where_it_should_be():
    assert {kind: set(points) for kind, points in KILLED_AT.items()} == INJECTED
