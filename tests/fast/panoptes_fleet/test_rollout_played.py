"""A rollout with the real runner and playbooks: killed in the middle, gone on with, taken back."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

BACK = f"sha256:{'a' * 64}"


# The decisions are tried at every step in test_rollout.py; this is Ansible itself, several times.
@pytest.mark.skipif(not os.environ.get("PANOPTES_EVERY_FAULT"), reason="at night: make test-python")
def test_a_killed_rollout_goes_on_and_one_that_fails_is_taken_back(fleet):
    for number in range(3):
        fleet.add(f"pan{number}")
    fleet.set("pan1", seconds=2)
    fleet.set("pan2", whole_afterwards=False)
    with subprocess.Popen(
        fleet.words("rollout", "--waves", "1,100%", "--soak", "0"), stdout=subprocess.PIPE, text=True,
        env=fleet.environment,
    ) as running:  # fmt: skip
        deadline = time.monotonic() + 120
        while "deploy" not in fleet.asked("pan1") and time.monotonic() < deadline:
            time.sleep(0.05)
        busy = fleet.run("update")
        running.kill()
    assert busy.returncode == 5 and "another rollout is at work" in busy.stderr
    refused = fleet.run("rollout")
    assert refused.returncode == 5 and "is not finished" in refused.stderr
    while not json.loads((fleet.folder / "units" / "pan1" / "unit.json").read_text()).get("history"):
        assert time.monotonic() < deadline  # Ansible was not killed with it, and the unit ends what it began
        time.sleep(0.05)

    done = fleet.run("rollout", "resume", "--on-failure", "rollback")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "pan2: failed, not whole after the soak: services: messaging-hub restarts" in done.stdout
    found = json.loads(fleet.run("rollout", "show", "--json").stdout)
    assert {name: one["state"] for name, one in found["units"].items()} == dict.fromkeys(fleet.hosts, "undone")
    assert found["ended"] and found["verb"] == "update" and found["by"]
    for name in fleet.hosts:
        state = json.loads((fleet.folder / "units" / name / "unit.json").read_text())
        assert [one["verb"] for one in state["history"]] == ["deploy", "rollback"], name
        assert state["release"] == BACK


def test_a_playbook_of_ones_own(fleet, tmp_path):
    fleet.add("pan0")
    fleet.add("gone", silent=True)
    book = tmp_path / "book.yml"
    book.write_text(
        "- hosts: units\n  gather_facts: false\n  tasks:\n"
        "    - name: Touch\n      ansible.builtin.raw: echo {{ word }} > " + str(tmp_path / "touched") + "\n"
    )
    done = fleet.run("run", str(book), "-e", "word=hello")
    assert done.returncode == 3, done.stdout + done.stderr
    assert (tmp_path / "touched").read_text() == "hello\n" and "gone: waits, not reached" in done.stdout
