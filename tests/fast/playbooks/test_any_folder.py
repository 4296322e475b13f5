"""A playbook is typed in any folder: it works, and one line says what is not read there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ansible")

TOP = Path(__file__).parents[3]


@pytest.fixture
def typed(tmp_path):
    """Types a command in a folder, as somebody does who has set nothing; the unit is one that the preflight refuses."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "os-release").write_text('ID=other\nVERSION_ID="1"\nPRETTY_NAME="Other 1"\n')
    settings = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "preflight_simulated_root": str(root),
    }
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(json.dumps({"units": {"hosts": {"pan000": settings}}}))

    def run(folder: Path, *words: Path | str) -> subprocess.CompletedProcess:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        return subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**environment, "HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1"},
        )

    run.hosts = ("-i", str(TOP / "inventory"), "-i", str(hosts), "--limit", "pan000", "--tags", "services")
    return run


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_in_another_folder_it_works_and_says_what_is_not_read(typed, tmp_path):
    done = typed(tmp_path, TOP / "playbooks/unit.yml", *typed.hosts)
    assert "Other 1 is not supported" in done.stdout, done.stdout + done.stderr
    assert lines(done.stderr)[0] == (
        f"{TOP}/ansible.cfg is not read in this folder: cd {TOP}, or export ANSIBLE_CONFIG={TOP}/ansible.cfg"
    )


def test_every_playbook_finds_what_it_is_made_of(typed, tmp_path):
    playbooks = sorted((TOP / "playbooks").glob("*.yml"))
    done = typed(tmp_path, *playbooks, *typed.hosts, "--syntax-check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall("^playbook: ", done.stdout, re.MULTILINE)) == len(playbooks) > 5


def test_in_a_folder_of_everybody_it_works_and_says_why_nothing_is_read(typed, checkout):
    checkout.chmod(0o777)
    done = typed(checkout, "playbooks/unit.yml", *typed.hosts)
    assert "Other 1 is not supported" in done.stdout, done.stdout + done.stderr
    wanted = f"Ansible reads no ansible.cfg in a folder that everybody may write: chmod o-w {checkout}"
    assert wanted in lines(done.stderr)
    checkout.chmod(0o755)
    done = typed(checkout, "playbooks/unit.yml", *typed.hosts)
    assert "Other 1 is not supported" in done.stdout
    assert "ansible.cfg" not in done.stderr


def test_without_a_unit_it_does_not_end_as_if_all_were_well(typed, tmp_path):
    done = typed(tmp_path, TOP / "playbooks/unit.yml")
    assert done.returncode != 0
    assert lines(done.stderr)[-1] == f"No unit is named. Say where they stand: -i {TOP}/inventory/"


def test_who_has_settings_of_their_own_is_told_nothing(typed, tmp_path):
    (tmp_path / "ansible.cfg").write_text("[defaults]\nforks = 3\n")
    done = typed(tmp_path, TOP / "playbooks/unit.yml", *typed.hosts)
    assert "Other 1 is not supported" in done.stdout
    assert "is not read" not in done.stderr
