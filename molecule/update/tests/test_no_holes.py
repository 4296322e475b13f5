"""Ends of an update that once left less than a whole unit, blamed the wrong one, or lost a person's text.

As shipped, a part of the damaged records and read-only folders; with PANOPTES_EVERY_FAULT=1 (`make test-update`) all.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from lab import checks
from lab.faults import EVERY_FAULT
from lab.releases import Releases
from lab.unit_under_test import TEST_SETTINGS, UnitUnderTest

LOCK = "/var/lib/panoptes-unit/lock"
LOCAL = "/var/panoptes/conf_files/pocs_local.yaml"
GO_ON = f"kill -CONT $(cat {LOCK})"


@pytest.fixture(scope="module")
def unit(host, releases):
    return UnitUnderTest(host, releases.source)


def ended(process) -> dict:
    output, said = process.communicate(timeout=180)
    assert output.strip(), said
    return json.loads(output)


@pytest.mark.fault("an edit {how} during the soak of a release that {then}")
@pytest.mark.parametrize("how", ["in the file", "through the server"])
@pytest.mark.parametrize("then", ["works", "is undone"])
def test_no_text_of_a_person_is_lost(unit, releases, offered, how, then, record_property):
    unit.settings({"limits": {"round_trip_s": 3}})
    unit.check(f"echo 'name: as it was' > {LOCAL}")
    if then == "is undone":
        releases.offer("second-pair-dead")
    process = unit.update_halted_at("prove:before", "--force")
    if how == "in the file":
        unit.check(f"echo 'name: typed meanwhile' > {LOCAL}")
    else:
        checks.wait_healthy(unit.host, 60)
        unit.check("docker exec config-server panoptes-config-server set name 'typed meanwhile'")
    unit.check(GO_ON)
    answer = ended(process)
    aside = unit.check(f"find {answer['kept']} -name pocs_local.yaml | xargs cat")
    now = unit.check(f"cat {LOCAL}")
    if then == "works":
        assert (answer["verdict"], "typed meanwhile" in now, "as it was" in aside) == ("updated", True, True), answer
    else:
        assert (answer["verdict"], "as it was" in now, "typed meanwhile" in aside) == ("rolled-back", True, True), (
            answer
        )
    assert answer["kept"] in unit.check("panoptes-unit status"), "a person is told where it is"
    record_property("outcome", f"{answer['verdict']}: the other text is in {answer['kept']}")


@pytest.mark.fault("release.env gone, and a bad release comes")
def test_state_knows_what_ran_where_the_release_file_is_gone(unit, releases, offered, record_property):
    releases.offer("exits-0")
    unit.check("rm /etc/panoptes/release.env")
    answer = unit.tool("update", expect=4)
    unit.must_run(offered[0])
    record_property("outcome", answer["reason"][:90])


@pytest.mark.fault("release.env gone while the unit observes")
def test_observing_lock_holds_without_the_release_file(unit, offered, record_property):
    state = "/var/panoptes/json_store/panoptes/current_state.json"
    unit.settings({"observing": {"source": "file"}})
    unit.check(f'mkdir -p $(dirname {state}) && echo \'{{"data": {{"dest": "observing"}}}}\' > {state}')
    unit.check("rm /etc/panoptes/release.env")
    answer = unit.tool("update", expect=3)
    unit.check(f"rm {state}")
    unit.must_run(offered[0])
    record_property("outcome", answer["reason"][:90])


WORLDS = {
    "something in compose.yaml that Compose does not take": (
        "cp -p /etc/panoptes/compose.yaml /run/compose.kept && echo 'volume: none' >> /etc/panoptes/compose.yaml",
        "cp -p /run/compose.kept /etc/panoptes/compose.yaml",
    ),
    "a stranger on the hub's port": (
        "docker stop --time 1 messaging-hub && systemd-run --unit=stranger python3 -m http.server 6500 "
        "&& until python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 6500))'; do sleep 0.1; done",
        "systemctl stop stranger",
    ),
    "a foreign container of our name": (
        "docker rm --force config-server && docker create --name config-server {old} true",
        "docker rm --force config-server",
    ),
    "a program of a shared layer emptied": (
        "docker stop --time 1 messaging-hub && cp -p {hub} /run/hub.kept && : > {hub}",
        "cp /run/hub.kept {hub}",
    ),
}


@pytest.mark.fault("{world}")
@pytest.mark.parametrize("world", WORLDS)
def test_fault_of_the_world_is_not_blamed_on_a_good_release(unit, offered, world, record_property):
    new = offered[1]
    places = "find /var/lib/docker/overlay2 -path '*/diff/*/panoptes-env/bin/panoptes-messaging-hub'"
    hub = unit.check(f"{places} | head -n 1").strip()
    spoil, mend = (text.format(old=unit.image(), hub=hub) for text in WORLDS[world])
    unit.check(spoil)
    try:
        answer = unit.tool("update", "--force")
        assert answer["verdict"] in ("failed", "deferred", "broken"), answer
        assert answer["exit_code"] == answer["rc"] == {"failed": 1, "deferred": 3, "broken": 6}[answer["verdict"]]
        assert unit.tool("status")["quarantine"] == {}
        told = unit.last()
        assert told["reason"] == answer["reason"] and "interrupted" not in told["reason"]
    finally:
        unit.check(mend)
    assert unit.tool("update", expect=0)["verdict"] == "updated", "once the world is mended"
    unit.must_run(new)
    record_property("outcome", f"{answer['verdict']}: {answer['reason'][:80]}")


@pytest.mark.fault("a crash of long ago, then a kill in the switch")
def test_crash_of_long_ago_does_not_count_against_the_old_release(unit, offered, record_property):
    unit.check("kill -KILL $(docker inspect --format {{.State.Pid}} messaging-hub)")
    unit.wait_for("docker inspect --format {{.RestartCount}} messaging-hub | grep -q '^[1-9]'")
    checks.wait_healthy(unit.host, 60)
    unit.tool("update", env="PANOPTES_UNIT_DIE_AT=switch:file")
    answer = unit.tool("recover", expect=0)
    assert answer["verdict"] == "rolled-back", answer
    unit.must_run(offered[0])
    record_property("outcome", answer["reason"][:90])


@pytest.mark.fault("systemctl stop at {point}")
@pytest.mark.parametrize("point", ["switch:file", "prove:before", "undo:before"])
def test_stopped_service_of_the_timer_leaves_a_whole_unit(unit, releases, offered, point, record_property):
    if point.startswith("undo"):
        releases.offer("exits-0")
    lines = [
        "[Service]",
        "ExecStart=",
        f"ExecStart=/usr/local/bin/panoptes-unit update --force --settings {TEST_SETTINGS}",
        f"Environment=PANOPTES_UNIT_STOP_AT={point}",
    ]
    folder = "/run/systemd/system/panoptes-update.service.d"
    text = shlex.quote("\n".join(lines))
    unit.check(f"mkdir -p {folder} && echo {text} > {folder}/test.conf && systemctl daemon-reload")
    try:
        unit.check("systemctl start --no-block panoptes-update")
        unit.wait_for(f"grep -q '^State:.T' /proc/$(cat {LOCK})/status")
        unit.check("systemctl stop panoptes-update")
    finally:
        unit.check(f"rm -r {folder} && systemctl daemon-reload")
    unit.must_run(offered[0])
    assert unit.tool("recover", expect=0)["verdict"] == "unchanged", "nothing is left to recover"
    record_property("outcome", unit.last()["verdict"])


DAMAGES = {
    "empty": ": > {0}",
    "null": "echo null > {0}",
    "a list": "echo '[1]' > {0}",
    "of wrong types": 'echo \'{{"current": 7, "quarantine": [], "deferrals": null}}\' > {0}',
    "binary": "head -c 300 /dev/urandom > {0}",
    "a folder": "rm {0} && mkdir {0}",
}


@pytest.mark.fault("{name} is {damage}")
@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, damage) for name in ("state.json", "history.jsonl") for damage in DAMAGES]
    if EVERY_FAULT
    else [("state.json", "null"), ("state.json", "binary"), ("history.jsonl", "a folder")],
)
def test_damaged_record_is_told_in_a_line_and_updates_go_on(unit, offered, name, damage, record_property):
    path = f"/var/lib/panoptes-unit/{name}"
    unit.check(DAMAGES[damage].format(path))
    try:
        for verb in ("status", "doctor", "history"):
            assert "Traceback" not in unit.host.run(f"panoptes-unit {verb}").stderr
        answer = unit.tool("update", "--force")
        assert "Traceback" not in answer["stderr"]
        assert (answer["rc"], answer["verdict"]) == (0, "updated"), answer
        unit.must_run(offered[1])
    finally:
        unit.host.run(f"test -d {path} && rmdir {path}")
    record_property("outcome", answer["verdict"])


SPOILED = {
    "empty": ": > {0}",
    "full of zero bytes": "truncate --size 0 {0} && truncate --size 400 {0}",
    "cut in half": "truncate --size $(($(stat --format %s {0}) / 2)) {0}",
    "gone": "rm {0}",
}


@pytest.mark.fault("{name} is {damage}")
@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, damage) for name in ("compose.yaml", Path(TEST_SETTINGS).name) for damage in SPOILED]
    if EVERY_FAULT
    else [("compose.yaml", "empty"), (Path(TEST_SETTINGS).name, "cut in half")],
)
def test_damaged_file_that_the_tool_works_by_is_put_back_as_it_was(unit, offered, name, damage, record_property):
    path = f"/etc/panoptes/{name}"
    unit.tool("update", "--force", expect=0)
    text, before = unit.check(f"cat {path}"), unit.check("docker ps --quiet --no-trunc | sort")
    unit.check(SPOILED[damage].format(path))
    try:
        answer = unit.tool("update", "--force", expect=0)
        assert f"{path} was damaged" in answer["stderr"]
        assert unit.check(f"cat {path}") == text
        unit.must_run(offered[1])
        assert unit.check("docker ps --quiet --no-trunc | sort") == before, "what works is not restarted"
    finally:
        unit.host.run(f"rm --force {path}.damaged")
    record_property("outcome", answer["verdict"])


@pytest.mark.fault("{folder} turns read-only {when}")
@pytest.mark.parametrize(
    ("folder", "when"),
    [
        (folder, when)
        for folder in ("/var/lib/panoptes-unit", "/etc/panoptes")
        for when in ("before the run", "at switch:saved", "at prove:before", "at commit:before")
    ]
    if EVERY_FAULT
    else [("/var/lib/panoptes-unit", "at prove:before"), ("/etc/panoptes", "before the run")],
)
def test_read_only_folder_is_told_in_a_line_and_made_good(unit, offered, folder, when, record_property):
    read_only = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    if when == "before the run":
        unit.check(read_only)
        try:
            answer = unit.tool("update", "--force")
        finally:
            unit.check(f"umount {folder}")
    else:
        process = unit.update_halted_at(when.removeprefix("at "), "--force")
        unit.check(read_only)
        unit.check(GO_ON)
        try:
            output, said = process.communicate(timeout=180)
        finally:
            unit.check(f"umount {folder}")
        answer = {**json.loads(output), "rc": process.returncode, "stderr": said}
    assert "Traceback" not in answer["stderr"]
    assert answer["rc"] == answer["exit_code"], answer
    assert unit.tool("recover", expect=0)["verdict"] in ("unchanged", "interrupted", "rolled-back", "updated")
    if answer["rc"] in (1, 4) and not when.startswith("at commit"):  # after a proof, recovery may finish what was begun
        unit.must_run(offered[0])
    assert unit.tool("update", expect=0)["verdict"] in ("updated", "unchanged", "held")
    running = unit.release()
    assert running in offered
    unit.must_run(running)
    assert unit.tool("status")["quarantine"] == {}
    record_property("outcome", f"{answer['verdict']}: {answer['reason'][:70]}")


def test_images_of_a_source_that_was_left_go(unit, releases, offered):
    moved = Releases(folder="moved-tests")
    moved.offer("good-0")
    unit.settings({"source": moved.source})
    try:
        for name in ("good-0", "good-1"):
            moved.offer(name)
            unit.tool("deploy", "--force", expect=0)
        names = set(unit.check("docker images --digests --format {{.Repository}}").split())
        assert names == {moved.source.rpartition(":")[0]}
    finally:
        unit.settings({})
        releases.offer("good-0")
        unit.tool("deploy", "--force", expect=0)
        moved.remove_images()


def test_deferred_nights_leave_one_fetched_release_and_a_week_of_them_is_told(unit, releases, offered):
    hour = int(unit.check("date -u +%H"))
    unit.settings({"window": {"longitude": 0.0, "start_h": (hour + 2) % 24, "end_h": (hour + 3) % 24}})
    for night in range(7):
        digest = releases.offer(f"good-{night % 3}")
        answer = unit.tool("update") if digest != offered[0] else {"reason": ""}
    while "times" not in answer["reason"]:
        releases.offer("good-2")
        answer = unit.tool("update", expect=3)
    assert "a unit that is never on by day does not update" in answer["reason"]
    told = {item["name"]: item["problem"] for item in unit.tool("doctor")["answer"]}
    assert "never on by day" in told["window"]
    kept = unit.check("docker images --digests --format {{.Digest}}").split()
    assert len(kept) <= 3, "current, previous, and the one that waits"
