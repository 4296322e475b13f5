"""How long a blank ARM machine takes to become a unit, role by role, and to come back after a restart.

Runs on a virtual machine of the lab, which needs the images of its flavour (`make bench-pi` sees to that). Prints the
table and writes it to pi.md.

    python benchmarks/pi.py [--flavour arm32v7]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import testinfra
import yaml

from lab import checks
from lab.vm import Machine, clone

TOP = Path(__file__).parents[1]


NAME = "panoptes-bench"
# Waiting for apt, for the download and for unpacking: what any way of setting up this machine would cost.
OTHERS = (
    "Install packages",
    "Install Docker Engine",
    "Install what the tool needs",
    "Bring the unit to the release",
)
SCENARIO = TOP / "molecule" / "pi" / "molecule.yml"


def provision(machine: Machine) -> tuple[float, dict]:
    """Seconds of a run of unit.yml, and of each of its tasks as `role : task`."""
    with tempfile.TemporaryDirectory() as folder:
        hosts = Path(folder) / "hosts.yml"
        described = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))
        (limits,) = described["provisioner"]["inventory"]["host_vars"].values()
        own = {**machine.ansible_connection, **limits}
        hosts.write_text(json.dumps({"units": {"hosts": {machine.name: own}}}), encoding="utf-8")
        command = ["ansible-playbook", "-i", "molecule/shared/inventory", "-i", str(hosts), "playbooks/unit.yml"]
        settings = {
            "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
            "PROFILE_TASKS_TASK_OUTPUT_LIMIT": "all",
        }
        start = time.monotonic()
        done = subprocess.run(command, cwd=TOP, env={**os.environ, **settings}, capture_output=True, text=True)
        seconds = time.monotonic() - start
    if done.returncode:
        sys.exit(f"bench: unit.yml ended with {done.returncode}\n{done.stdout[-4000:]}")
    rows = re.findall(r"^(.+?) -{2,} *([\d.]+)s$", done.stdout.split("TASKS RECAP")[-1], flags=re.MULTILINE)
    tasks: dict = defaultdict(float)
    for name, number in rows:  # some run more than once
        tasks[name.strip()] += float(number)
    return seconds, tasks


def restart(machine: Machine) -> tuple[float, float]:
    """Seconds from power on to ssh, and to both services healthy."""
    machine.ssh("sync")
    machine.cut()
    start = time.monotonic()
    machine.on()
    machine.wait(1800)
    reached = time.monotonic() - start
    host = testinfra.get_host(f"ssh://{machine.name}", ssh_config=str(machine.ssh_config), sudo=True)
    checks.wait_healthy(host, 1800)
    return reached, time.monotonic() - start


def main() -> None:
    """Measures, prints and writes the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--flavour", default="arm32v7", choices=["arm32v7", "arm64v8"])
    flavour = options.parse_args().flavour
    machine = clone(NAME, flavour)
    try:
        print("unit.yml on the blank machine ...", flush=True)
        total, tasks = provision(machine)
        print("unit.yml again ...", flush=True)
        rerun, _ = provision(machine)
        print("power off and on ...", flush=True)
        ssh, healthy = restart(machine)
    finally:
        machine.destroy()
    roles: dict = defaultdict(lambda: [0.0, 0.0])
    for name, seconds in tasks.items():
        role, _, task = name.rpartition(" : ")
        roles[role or "the playbook itself"][0] += seconds
        roles[role or "the playbook itself"][1] += seconds if task.startswith(OTHERS) else 0
    others = sum(seconds for _, seconds in roles.values())
    slow = sorted(((seconds, name) for name, seconds in tasks.items() if seconds >= 10), reverse=True)
    lines = [
        f"# A blank {flavour} machine becomes a unit",
        "",
        f"Emulated (QEMU, 2 processors, 1 GB) on {os.cpu_count()} cores; a real Pi is faster, the shares count.",
        "",
        "| part | seconds | of them apt, download and unpacking |",
        "|---|---|---|",
        *(f"| role {role} | {all_of_it:.0f} | {waiting:.0f} |" for role, (all_of_it, waiting) in roles.items()),
        f"| all of unit.yml | {total:.0f} | {others:.0f} |",
        "",
        f"Our own overhead: {total - others:.0f} s, {100 * (total - others) / total:.0f} %. Tasks of 10 s and more:",
        "",
        "| task | seconds |",
        "|---|---|",
        *(f"| {name} | {seconds:.0f} |" for seconds, name in slow),
        "",
        "| afterwards | seconds |",
        "|---|---|",
        f"| unit.yml again, nothing to change | {rerun:.0f} |",
        f"| power on to ssh | {ssh:.0f} |",
        f"| power on to both services healthy | {healthy:.0f} ({healthy / ssh:.2f} times that) |",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    (TOP / "benchmarks" / "pi.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
