"""The machine under test, switched on and off as a unit on a site is, and the playbook that a technician types."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
import testinfra
import yaml

from lab import checks
from lab.vm import Machine

TOP = Path(__file__).parents[3]
SHARED = TOP / "molecule" / "shared"

BOOT_S = 1800  # on emulated processors that others use too
HEALTHY_S = 900


class Pi:
    """A unit in a virtual machine.

    Attributes:
        machine: the virtual machine.
        settings: what the scenario sets for its units.
        figures: what was measured, name -> text; printed at the end.
    """

    def __init__(self, name: str, flavour: str, settings: dict, scratch: Path) -> None:
        self.machine = Machine.named(name)
        self.flavour = flavour
        self.settings = settings
        self.scratch = scratch
        self.figures: dict[str, str] = {}
        self._hosts = scratch / "hosts.yml"
        own = {**self.machine.ansible_connection, **settings}
        self._hosts.write_text(json.dumps({"units": {"hosts": {name: own}}}), encoding="utf-8")

    @property
    def host(self):
        """The testinfra host, as root by sudo."""
        return testinfra.get_host(f"ssh://{self.machine.name}", ssh_config=str(self.machine.ssh_config), sudo=True)

    def play(self, playbook: str, **settings) -> tuple:
        """Run a playbook; its exit code, its output and how many tasks changed something."""
        path = TOP / "playbooks" / playbook  # an absolute one stays as it is
        command = ["ansible-playbook", "-i", str(SHARED / "inventory"), "-i", str(self._hosts), str(path)]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        command += ["-e", json.dumps(settings)]
        done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, env=environment, check=False)
        changed = re.search(r"changed=(\d+)", done.stdout.split("PLAY RECAP")[-1])
        return done.returncode, done.stdout + done.stderr, int(changed.group(1)) if changed else -1

    def start(self, world: bool = True) -> float:
        """Switch it on; seconds until it lets a person in."""
        self.machine.on(world=world)
        return self.machine.wait(BOOT_S)

    def whole(self) -> str:
        """Wait until both services are healthy and check that both run the release of the release file; its digest."""
        self.wait_healthy()
        host, digest = self.host, self.release()
        for service in checks.SERVICES:
            image = checks.inspect(host, service)["Config"]["Image"]
            assert image.endswith(digest), f"{service} runs {image}, the release is {digest}{checks.logs(host)}"
        checks.round_trips_ms(host, *checks.PAIRS)
        assert checks.config(host)["pan_id"] == "PAN000"
        return digest

    def wait_healthy(self) -> None:
        """Wait until both services say that they are."""
        checks.wait_healthy(self.host, HEALTHY_S)

    def release(self) -> str:
        """The digest in the release file."""
        return checks.release(self.host)["PANOPTES_UTILS_IMAGE"].partition("@")[2]

    def unchanged(self) -> None:
        """unit.yml finds nothing to do."""
        code, output, changed = self.play("unit.yml")
        assert (code, changed) == (0, 0), output

    def wait_for(self, condition: str, limit: float = 900) -> None:
        """Wait until a shell command succeeds on the unit."""
        end = time.monotonic() + limit
        while self.host.run(f"sh -c '{condition}'").rc:
            if time.monotonic() > end:
                journal = self.host.run("cat /var/lib/panoptes-unit/journal.jsonl; journalctl -n 30 --no-pager").stdout
                raise AssertionError(f"not within {limit:.0f} s: {condition}\n{journal}{checks.logs(self.host)}")
            time.sleep(0.5)


@pytest.fixture(scope="session")
def pi(tmp_path_factory, request):
    """The scenario's one unit."""
    scenario = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "molecule.yml"
    described = yaml.safe_load(scenario.read_text(encoding="utf-8"))
    platform = described["platforms"][0]
    settings = described["provisioner"]["inventory"]["host_vars"][platform["name"]]
    unit = Pi(platform["name"], platform["flavour"], settings, tmp_path_factory.mktemp("pi"))
    request.config.stash[FIGURES] = unit.figures
    return unit


FIGURES = pytest.StashKey[dict]()


def pytest_terminal_summary(terminalreporter, config):
    """Print what was measured."""
    figures = config.stash.get(FIGURES, {})
    if figures:
        terminalreporter.section("figures of the virtual machine")
        for name, text in figures.items():
            terminalreporter.write_line(f"{name}: {text}")
