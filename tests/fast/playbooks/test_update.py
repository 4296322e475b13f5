"""playbooks/update.yml and rollback.yml over many units, reached by a fake ssh, with a fake tool on each.

The order of units, what stops it and what is reported are the playbook's own; what a unit does is tried in the lab.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
MORE = ("failed", "rolled-back", "busy", "cut off", "without the tool")
FAKE_SSH = """#!/bin/sh
for word; do host=$last; last=$word; done
folder={folder}/$host
if [ -e "$folder/silent" ]; then echo "ssh: connect to host $host port 22: No route to host" >&2; exit 255; fi
PATH=$folder:/usr/bin:/bin sh -c "$last"
code=$?
if [ -e "$folder/cut" ]; then echo "Connection to $host closed by remote host." >&2; exit 255; fi
exit $code
"""
FAKE_TOOL = """#!/bin/sh
echo {name} >> {folder}/asked
echo "$@" > {folder}/{name}/words
{act}
"""
ENDS = {
    "updated": (0, True, ""),
    "unchanged": (0, False, "this is the newest release"),
    "held": (0, False, "pinned: visitors"),
    "deferred": (3, False, "observing: state observing"),
    "failed": (1, False, "no tag 'latest'"),
    "rolled-back": (4, True, "messaging-hub ended with 3"),
    "busy": (5, False, "another run is at work"),
    "broken": (6, True, "neither works"),
}


class Fleet:
    """Units by name, and what each does when it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        ssh = folder / "ssh"
        ssh.write_text(FAKE_SSH.format(folder=folder))
        ssh.chmod(0o755)

    def add(self, name: str, does: str) -> None:
        self.names.append(name)
        place = self.folder / name
        place.mkdir()
        if does == "silent":
            (place / "silent").touch()
            return
        if does == "without the tool":
            return
        if does == "cut off":
            act = f"touch {place}/cut"
        elif does == "says nothing":
            act = "echo 'Traceback: a fault of its own' >&2; exit 1"
        else:
            code, changed, reason = ENDS[does]
            answer = {"verdict": does, "changed": changed, "reason": reason}
            act = f"cat <<'END'\n{json.dumps(answer)}\nEND\nexit {code}"
        tool = place / "panoptes-unit"
        tool.write_text(FAKE_TOOL.format(name=name, folder=self.folder, act=act))
        tool.chmod(0o755)

    def play(self, playbook: str = "update.yml", *options: str) -> subprocess.CompletedProcess:
        common = {
            "ansible_connection": "ssh",
            "ansible_ssh_executable": str(self.folder / "ssh"),
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": str(self.folder / "tmp"),
        }
        units = {"hosts": {name: {} for name in self.names}, "vars": common}
        (self.folder / "hosts.yml").write_text(json.dumps({"units": units}))
        self.done = subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                str(TOP / "playbooks" / playbook),
                "-i",
                str(self.folder / "hosts.yml"),
                *options,
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        )
        return self.done

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().split() if path.exists() else []

    def told(self, name: str) -> str:
        """What the report says of a unit."""
        report = self.done.stdout.partition("PLAY [What came of it]")[2].partition("PLAY RECAP")[0]
        found = re.findall(rf"\[{name}\](?:: FAILED!)? => ?\n?(?:.*\n)*? *msg: (.*(?:\n    .*)*)", report)
        assert len(found) == 1, f"{name}: {found}\n{self.done.stdout}{self.done.stderr}"
        return " ".join(found[0].split()).strip("'")


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)


def test_canary_is_the_first_unit_that_answers(fleet):
    fleet.add("pan000", "silent")
    fleet.add("pan001", "broken")
    for number in range(2, 6):
        fleet.add(f"pan{number:03}", "updated")
    assert fleet.play().returncode != 0
    assert fleet.asked == ["pan001"]
    assert "No route to host" in fleet.told("pan000")
    assert fleet.told("pan001") == "broken neither works"
    for number in range(2, 6):
        assert fleet.told(f"pan{number:03}").startswith("not asked")


# One that answers and one that does not; the others with PANOPTES_EVERY_FAULT=1 (`make test-python`).
@pytest.mark.parametrize("does", ["broken", "says nothing", *(MORE if os.environ.get("PANOPTES_EVERY_FAULT") else ())])
def test_a_unit_that_does_not_come_through_stops_the_batches_after_its_own(fleet, does):
    for number in range(12):
        fleet.add(f"pan{number:03}", does if number == 7 else "updated")
    assert fleet.play().returncode != 0
    asked = set(fleet.asked) | {"pan007"}
    assert asked == {f"pan{number:03}" for number in range(9)}  # 1, 5, and a quarter of 12
    for number in range(12):
        line = fleet.told(f"pan{number:03}")
        if number == 7:
            assert not line.startswith(("updated", "not asked"))
        else:
            assert line.startswith("updated" if number < 9 else "not asked")


def test_offline_and_waiting_units_stop_nobody_and_are_told(fleet):
    does = ["updated", "silent", "unchanged", "held", "deferred", "updated", "silent", "updated"]
    for number, one in enumerate(does):
        fleet.add(f"pan{number:03}", one)
    assert fleet.play().returncode != 0, "units that were not reached are not up to date"
    for number, one in enumerate(does):
        assert fleet.told(f"pan{number:03}").startswith("not reached" if one == "silent" else one)
    (fleet.folder / "asked").unlink()
    assert fleet.play("update.yml", "--limit", "!pan001:!pan006").returncode == 0
    assert sorted(fleet.asked) == ["pan000", "pan002", "pan003", "pan004", "pan005", "pan007"]


def test_force_and_check_mode_reach_the_units(fleet):
    fleet.add("pan000", "updated")
    assert fleet.play("update.yml", "--check").returncode == 0
    assert fleet.asked == []
    assert fleet.told("pan000").startswith("not asked: check mode")
    assert fleet.play("update.yml", "-e", "update_force=true").returncode == 0
    assert (fleet.folder / "pan000" / "words").read_text().split() == ["deploy", "--json", "--quiet", "--force"]
    assert re.search(r"pan000 +: ok=\d+ +changed=1 ", fleet.done.stdout)


def test_rollback_reports_each_unit_in_one_line(fleet):
    fleet.add("pan000", "updated")
    fleet.add("pan001", "failed")
    fleet.add("pan002", "without the tool")
    done = fleet.play("rollback.yml")
    assert done.returncode != 0
    assert sorted(fleet.asked) == ["pan000", "pan001"]
    assert "msg: failed no tag 'latest'" in done.stdout
    assert "panoptes-unit is not there: run playbooks/unit.yml" in done.stdout
    said = done.stdout + done.stderr
    assert said.count("no tag 'latest'") == 1
    assert "Origin:" not in said
    assert '"verdict"' not in said


def test_status_of_a_machine_that_is_no_unit_is_one_line(fleet):
    fleet.add("pan000", "failed")
    fleet.add("pan001", "without the tool")
    fleet.add("pan002", "says nothing")
    done = fleet.play("status.yml", "--check")
    assert done.returncode != 0
    assert sorted(fleet.asked) == ["pan000", "pan002"], "status changes nothing: it answers in check mode, too"
    assert '"reason": "no tag' in done.stdout, "a unit that does not work is told by its own answer"
    assert re.search(r"pan000 +: ok=2 .*failed=0", done.stdout)
    assert "msg: panoptes-unit is not there: run playbooks/unit.yml\n" in done.stdout
    assert "a fault of its own" in done.stdout
    assert "No such file" not in done.stdout + done.stderr


@pytest.mark.parametrize("playbook", ["rollback.yml", "repair.yml"])
def test_check_mode_asks_nothing_of_the_unit(fleet, playbook):
    fleet.add("pan000", "updated")
    done = fleet.play(playbook, "--check")
    assert done.returncode == 0
    assert "not asked: check mode" in done.stdout
    assert fleet.asked == []
