"""Ctrl-C, a shutdown and a lost terminal, once and twice; and losses while an update is open.

As shipped, one at each point after the switch; with PANOPTES_EVERY_FAULT=1 (`make test-update`) all at every point.
"""

from __future__ import annotations

import itertools
import json
import signal

import pytest

from lab.checks import SERVICES
from lab.faults import AFTER_THE_SWITCH, EVERY_FAULT
from lab.unit_under_test import UnitUnderTest
from panoptes_unit.deploy.journal import POINTS

LOCK = "/var/lib/panoptes-unit/lock"
SIGNALS = ("INT", "TERM", "HUP")


def signals() -> list[tuple[str, str, int]]:
    """(point, signal, how often)."""
    if EVERY_FAULT:
        return list(itertools.product(POINTS, SIGNALS, (1, 2)))
    kinds = itertools.cycle(itertools.product(SIGNALS, (2,)))
    return [("fetch:before", "TERM", 1), *((point, *next(kinds)) for point in AFTER_THE_SWITCH)]


LOSSES = {
    "the old image": "docker image rm --force {old} > /dev/null; ! docker image inspect {old} 2> /dev/null",
    "the release file": "rm -f /etc/panoptes/release.env",
    "all containers": "docker rm --force $(docker ps --all --quiet) > /dev/null",
}
LOST_AT = AFTER_THE_SWITCH if EVERY_FAULT else ["prove:after"]


@pytest.fixture(scope="module")
def unit(host, releases):
    return UnitUnderTest(host, releases.source)


@pytest.fixture
def bad_for_undo(request, offered, releases):
    """The releases; only a bad one comes to `undo`."""
    point = request.node.callspec.params["point"]
    if point.startswith("undo"):
        releases.offer("exits-0")
    return offered


@pytest.mark.fault("SIG{name} at {point}, {times} time(s)")
@pytest.mark.parametrize(("point", "name", "times"), signals())
def test_signalled_tool_ends_with_one_whole_release(unit, bad_for_undo, point, name, times, record_property):
    old, new = bad_for_undo
    configuration = unit.configuration()
    process = unit.update_halted_at(point, "--force")
    unit.check(f"kill -{name} $(cat {LOCK}); kill -CONT $(cat {LOCK})")
    for _ in range(times - 1):
        unit.host.run(f"kill -{name} $(cat {LOCK})")  # it may be over already
    answer = json.loads(process.communicate(timeout=120)[0])
    if point.startswith("commit"):
        wanted, verdict, code = new, "updated", 0
    elif point in AFTER_THE_SWITCH:
        wanted, verdict, code = old, "rolled-back", 4
    else:
        wanted, verdict, code = old, "failed", 1
    assert (answer["verdict"], answer["exit_code"]) == (verdict, code), answer
    unit.must_run(wanted)
    assert unit.configuration() == configuration
    assert unit.tool("recover", expect=0)["verdict"] == "unchanged", "nothing is left to recover"
    assert wanted not in unit.tool("status")["quarantine"]
    record_property("outcome", f"{verdict}: wholly on the {'new' if wanted == new else 'old'} release")


@pytest.mark.fault("{what} gone, then SIGKILL of the tool at {point}")
@pytest.mark.parametrize("what", LOSSES)
@pytest.mark.parametrize("point", LOST_AT)
def test_loss_while_an_update_is_open_is_made_good(unit, bad_for_undo, point, what, record_property):
    old, new = bad_for_undo
    image = unit.image()
    process = unit.update_halted_at(point, "--force")
    unit.check(LOSSES[what].format(old=image))
    unit.check(f"kill -KILL $(cat {LOCK})")
    assert process.wait(timeout=60) == 128 + signal.SIGKILL
    unit.tool("recover", expect=0)
    # A bad release that power cuts kept from its verdict is tried once more, and gets it.
    answer = unit.tool("update")
    assert answer["verdict"] in ("updated", "restored", "unchanged", "held", "rolled-back"), f"{answer}{unit.journal()}"
    running = unit.release()
    assert running in (old, new)
    unit.must_run(running)
    assert running not in unit.tool("status")["quarantine"]
    record_property("outcome", f"wholly on the {'new' if running == new else 'old'} release")


@pytest.mark.fault("containers {how}")
@pytest.mark.parametrize("how", ["removed", "stopped", "removed, and every image pruned"])
def test_newest_release_that_does_not_run_is_brought_up_again(unit, offered, how, record_property):
    unit.tool("update", expect=0)
    running = unit.release()
    unit.check("docker stop --time 1 $(docker ps --quiet)")
    if how.startswith("removed"):
        unit.check("docker container prune --force")
        told = {row["service"]: row["status"] for row in unit.tool("status")["services"]}
        assert told == dict.fromkeys(SERVICES, "absent")
        problem = next(one for one in unit.tool("doctor")["answer"] if one["name"] == "services")["problem"]
        assert "config-server has no container" in problem and problem.endswith(": panoptes-unit repair")
    if how.endswith("pruned"):
        unit.check("docker image prune --all --force")
    answer = unit.tool("update", expect=0)
    assert answer["verdict"] == "restored", answer
    assert "0.0 kB to download" not in answer["stderr"], "an image that is gone is to be downloaded"
    unit.must_run(running)
    assert unit.tool("update", expect=0)["verdict"] == "unchanged"
    record_property("outcome", f"{answer['reason']}; {answer['bytes'] / 1e6:.1f} MB")


@pytest.mark.fault("full disk under the tool's state, from {point} on")
@pytest.mark.parametrize("point", AFTER_THE_SWITCH if EVERY_FAULT else ["prove:before", "commit:before"])
def test_full_disk_leaves_one_whole_release(unit, bad_for_undo, point, record_property):
    old, new = bad_for_undo
    folder = "/var/lib/panoptes-unit"
    kept = "/run/panoptes-unit.kept"
    room = f"$(($(du --summarize --block-size=1k {folder} | cut --fields=1) + 2048))k"  # what is there, and a little
    unit.check(f"cp -a {folder} {kept} && mount -t tmpfs -o size={room} none {folder} && cp -a {kept}/. {folder}/")
    try:
        process = unit.update_halted_at(point, "--force")
        unit.host.run(f"dd if=/dev/zero of={folder}/filler bs=4k 2>&1")
        unit.check(f"kill -CONT $(cat {LOCK})")
        output, said = process.communicate(timeout=120)
        answer = json.loads(output)
        assert "Traceback" not in said
        ends = {"updated": new, "rolled-back": old, "failed": old, "broken": ""}
        assert answer["exit_code"] == process.returncode, said
        if ends[answer["verdict"]]:
            unit.must_run(ends[answer["verdict"]])
        unit.check(f"rm {folder}/filler")
        assert unit.tool("recover", expect=0)["exit_code"] == 0
        assert unit.release() in (old, new)
        unit.must_run(unit.release())
    finally:
        unit.check(
            f"rm -rf {folder}/filler {kept} && cp -a {folder} {kept} && umount {folder} && cp -a {kept}/. {folder}/"
        )
    record_property("outcome", f"{answer['verdict']}: {answer['reason'][:70]}")
