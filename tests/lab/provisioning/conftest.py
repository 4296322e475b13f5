"""Drives the real playbooks through ansible-runner against unit containers of the lab and reads their events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import pytest

TOP = Path(__file__).parents[3]
SHARED = TOP / "molecule" / "shared"

ansible_runner = pytest.importorskip("ansible_runner")


@dataclass
class Result:
    """What one run of a playbook did, from its events."""

    code: int
    output: str
    changed: int
    failures: list[str] = field(default_factory=list)
    failed_tasks: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """The one failure message of a run that was refused."""
        assert len(self.failures) == 1, f"expected one message, got {self.failures}\n{self.output}"
        return self.failures[0]


class Unit:
    """A unit container and the playbooks run against it."""

    def __init__(self, name: str, lab: dict, scratch: Path) -> None:
        self.name = name
        self.lab = lab
        self.scratch = scratch
        self._hosts = scratch / "hosts.yml"
        # What the tests break is to stay broken until they look.
        settings = {"ansible_connection": "community.docker.docker", "health_enabled": False}
        self._hosts.write_text(json.dumps({"units": {"hosts": {name: settings}}}))

    def docker(self, *arguments: str) -> str:
        command = [self.lab["docker_cli"], "--host", self.lab["docker_host"], *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def run(self, *command: str) -> str:
        """Runs a command on the unit and returns what it prints."""
        return self.docker("exec", self.name, *command)

    def shell(self, script: str) -> str:
        return self.run("sh", "-c", script)

    def play(
        self,
        playbook: str,
        stop: Callable[[dict], bool] | None = None,
        options: str = "",
        tree: Path = TOP,
        **settings: object,
    ) -> Result:
        """Runs a playbook with settings as extra variables.

        Args:
            stop: called with each event; the run is interrupted when it returns True.
            options: further options of ansible-playbook.
            tree: the checkout whose playbooks, roles and configuration are used.
        """
        interrupted = []

        def on_event(event: dict) -> bool:
            if stop and stop(event):
                interrupted.append(event)
            return True

        path = Path(playbook) if Path(playbook).is_absolute() else tree / "playbooks" / playbook
        environment = {
            "ANSIBLE_CONFIG": str(tree / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "DOCKER_HOST": self.lab["docker_host"],
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = ansible_runner.run(
            private_data_dir=tempfile.mkdtemp(dir=self.scratch),
            project_dir=str(tree),
            playbook=str(path),
            inventory=[str(tree / "molecule" / "shared" / "inventory"), str(self._hosts)],
            cmdline=options or None,
            extravars=settings,
            envvars=environment,
            event_handler=on_event,
            cancel_callback=lambda: bool(interrupted),
            # How often it looks whether to stop; with its own 5 s, a quick play is over before it is interrupted.
            settings={"pexpect_timeout": 0.2},
            quiet=True,
        )
        events = list(done.events)
        details = [(event["event"], event.get("event_data", {})) for event in events]
        stats = done.stats or {}
        failed = [data for kind, data in details if kind == "runner_on_failed" and not data.get("ignore_errors")]
        return Result(
            code=done.rc,
            output="\n".join(event.get("stdout", "") for event in events),
            changed=sum((stats.get("changed") or {}).values()),
            failures=[str(data["res"].get("msg", data["res"])) for data in failed],
            failed_tasks=[data["task"] for data in failed],
            roles=[data["role"] for kind, data in details if kind == "playbook_on_task_start" and data.get("role")],
        )


@pytest.fixture(scope="session")
def make_unit(lab, tmp_path_factory):
    """Starts unit containers (as the Molecule scenarios do) and removes them at the end."""
    made = []

    def create(purpose: str, systemd: bool = True) -> Unit:
        unit = Unit(f"panoptes-deploy-{purpose}-{os.getpid()}", lab, tmp_path_factory.mktemp(purpose))
        made.append(unit)
        if not systemd:
            unit.docker(
                "run", "--detach", "--name", unit.name, "--network", lab["network"], lab["unit_image"], "sleep", "900"
            )
            return unit
        result = unit.play(str(SHARED / "create.yml"), unit_names=[unit.name])
        assert result.code == 0, result.output
        return unit

    yield create
    for unit in made:
        unit.play(str(SHARED / "destroy.yml"), unit_names=[unit.name])


@pytest.fixture(scope="session")
def make_simulated_root():
    """Lays out on a unit a directory that describes another machine: what a container cannot be for real."""

    def lay_out(unit: Unit, os_release: str, **answers: object) -> str:
        root = "/tmp/simulated-root"
        unit.shell(f"rm -rf {root}; mkdir -p {root}/etc {root}/run/systemd/system")
        for path, text in (("etc/os-release", os_release), ("simulated-answers.json", json.dumps(answers))):
            unit.run("sh", "-c", 'printf "%s" "$1" > "$2"', "sh", text, f"{root}/{path}")
        return root

    return lay_out
