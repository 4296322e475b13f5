"""Too old an Ansible is the first thing that a playbook says, and the last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
PRETEND = """
import sys, ansible.release
ansible.release.__version__ = sys.argv.pop(1)
from ansible.cli.playbook import main
main(["ansible-playbook", *sys.argv[1:]])
"""


def play(version: str, playbook: Path) -> subprocess.CompletedProcess:
    """Run a playbook of ours with an Ansible that says that it is another version; no unit is there to be reached."""
    return subprocess.run(
        [sys.executable, "-c", PRETEND, version, str(playbook), "-i", "localhost,"],
        capture_output=True,
        text=True,
        env={**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
    )


# The longest and the shortest; the others with PANOPTES_EVERY_FAULT=1 (`make test-python`).
EVERY = sorted(path.name for path in (TOP / "playbooks").glob("*.yml"))


@pytest.mark.parametrize("playbook", EVERY if os.environ.get("PANOPTES_EVERY_FAULT") else ["unit.yml", "check.yml"])
def test_too_old_an_ansible_is_said_before_any_task(playbook):
    done = play("2.17.5", TOP / "playbooks" / playbook)
    assert done.returncode == 1
    assert "ansible-core 2.19 is needed, this is 2.17.5" in done.stderr
    assert "PLAY" not in done.stdout
    assert "Traceback" not in done.stderr


def test_an_ansible_that_is_new_enough_goes_on():
    done = play("2.20.1rc1", TOP / "playbooks" / "status.yml")
    assert done.returncode == 0, done.stderr
    assert "is needed" not in done.stderr
