"""A few hosts on this machine: a fake ssh and a fake panoptes-unit, under the real Ansible and playbooks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

TOP = Path(__file__).parents[3]
TOOL = Path(__file__).parent / "fake_panoptes_unit.py"
NEW, OLD = f"sha256:{'b' * 64}", f"sha256:{'a' * 64}"
# What tells the units of one machine apart: the folder in front of PATH.
FAKE_SSH = """#!/bin/sh
for word; do host=$last; last=$word; done
PATH={folder}/units/$host/bin:/usr/bin:/bin exec sh -c "$last"
"""


class FakeFleet:
    """An inventory, and behind each name of it a folder in which the fake unit keeps its state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory"
        self.state = folder / "state"
        (self.inventory / "host_vars").mkdir(parents=True)
        self.hosts: dict[str, dict[str, Any]] = {}
        self.ssh = folder / "fake_ssh"
        self.ssh.write_text(FAKE_SSH.format(folder=folder))
        self.ssh.chmod(0o755)

    def add(self, name: str, **state: Any) -> None:
        """A unit; `state` is what fake_panoptes_unit.py knows. `silent=True`: nobody listens at its address."""
        place = self.folder / "units" / name
        (place / "bin").mkdir(parents=True)
        tool = place / "bin" / "panoptes-unit"
        tool.write_text(f'#!/bin/sh\nexec {sys.executable} -S {TOOL} {place} "$@"\n')
        tool.chmod(0o755)
        variables: dict[str, Any] = {"ansible_python_interpreter": sys.executable, "ansible_become": False}
        if state.pop("silent", False):
            with socket.socket() as one:
                one.bind(("127.0.0.1", 0))
                variables |= {"ansible_host": "127.0.0.1", "ansible_port": one.getsockname()[1]}
        else:
            variables |= {
                "ansible_connection": "ssh",
                "ansible_host": name,
                "ansible_ssh_executable": str(self.ssh),
                "ansible_remote_tmp": str(place / "tmp"),
            }
        variables |= state.pop("variables", {})
        self.set(name, **{"release": OLD, "offers": NEW, **state})
        self.hosts[name] = variables
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump({"units": {"hosts": self.hosts}}, sort_keys=False))

    def set(self, name: str, **state: Any) -> None:
        path = self.folder / "units" / name / "unit.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**before, **state}))

    def asked(self, name: str) -> list[str]:
        """The verbs that a unit was asked for, in order."""
        path = self.folder / "units" / name / "asked"
        return path.read_text().split() if path.exists() else []

    def acted(self, name: str) -> list[str]:
        return [verb for verb in self.asked(name) if verb not in ("status", "doctor", "history")]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(TOP), "XDG_STATE_HOME": str(self.state), "COLUMNS": "200"}

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "panoptes_fleet", "-i", str(self.inventory), *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*words), capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=TOP, env=self.environment
        )


@pytest.fixture
def fleet(tmp_path):
    return FakeFleet(tmp_path)
