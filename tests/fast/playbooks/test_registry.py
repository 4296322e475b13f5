"""Which runs need a registry: those that fetch a release, and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ansible")

TOP = Path(__file__).parents[3]
# Nobody listens there: who asks it says so.
REGISTRY = "127.0.0.1:1"


@pytest.fixture
def refused(tmp_path):
    """Plays on this machine, taken for one that cannot be a unit: nothing comes after the preflight."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "os-release").write_text('ID=other\nVERSION_ID="1"\nPRETTY_NAME="Other 1"\n')
    backup = tmp_path / "backup.tar.gz"
    backup.touch()
    settings = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "panoptes_registry": REGISTRY,
        "preflight_simulated_root": str(root),
        "backup_from": str(backup),
    }
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(json.dumps({"units": {"hosts": {"pan000": settings}}}))

    def play(playbook: str, *options: str) -> str:
        command = [str(Path(sys.executable).parent / "ansible-playbook"), str(TOP / "playbooks" / playbook), *options]
        done = subprocess.run(
            [*command, "-i", str(TOP / "inventory"), "-i", str(hosts), "--limit", "pan000"],
            capture_output=True,
            text=True,
            env={**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        )
        assert "Other 1 is not supported" in done.stdout, done.stdout + done.stderr
        assert "changed=0" in done.stdout
        return done.stdout

    return play


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        ("unit.yml", True),
        ("unit.yml --tags system,release", True),
        ("unit.yml -e unit_restore=true", True),
        ("unit.yml --tags services", False),
        ("unit.yml --skip-tags release", False),
        ("unit.yml --tags services -e unit_restore=true", False),
        ("restore.yml", False),
    ],
)
def test_registry_is_asked_where_a_release_is_fetched(refused, words, asks):
    assert (REGISTRY in refused(*words.split())) is asks
