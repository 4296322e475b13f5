"""What a no-change run of playbooks/unit.yml costs, as a multiple of a one-task `ping` play in the same run.

Measured against the simulated unit (`make unit` first). Prints the table and writes it to provisioning.md.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).parents[1]
LIMIT = 6.5
PING = """---
- name: The floor of any play
  hosts: units
  gather_facts: false
  tasks:
    - name: Ping
      ansible.builtin.ping:
"""


def run(playbook: Path) -> tuple[float, str]:
    """Wall seconds and output of one run; ends the program where the run failed."""
    inventories = ["molecule/shared/inventory", "lab/simulated_unit.yml"]
    command = ["ansible-playbook", *(part for name in inventories for part in ("-i", name)), str(playbook)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    environment["ANSIBLE_CALLBACKS_ENABLED"] = "ansible.posix.profile_tasks"
    start = time.perf_counter()
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"bench: {playbook} ended with {done.returncode} (is the unit up? `make unit`)\n{done.stdout[-4000:]}")
    return seconds, done.stdout


def main(rounds: int = 5) -> None:
    """Runs both plays alternately and prints the medians, the ratio, the task counts and the slowest tasks."""
    pings, reruns, output = [], [], ""
    with tempfile.TemporaryDirectory() as folder:
        ping = Path(folder) / "ping.yml"
        ping.write_text(PING, encoding="utf-8")
        for done in range(rounds):
            print(f"round {done + 1} of {rounds} ...", file=sys.stderr, flush=True)
            pings.append(run(ping)[0])
            seconds, output = run(TOP / "playbooks" / "unit.yml")
            reruns.append(seconds)
    recap = dict(re.findall(r"(\w+)=(\d+)", output[output.index("PLAY RECAP") :]))
    slowest = re.findall(r"^(.+?) -{3,} *([\d.]+)s$", output, flags=re.MULTILINE)[:6]
    floor, rerun = statistics.median(pings), statistics.median(reruns)
    lines = [
        "# A no-change run of unit.yml",
        "",
        f"Measured on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, against the",
        f"simulated unit; medians of {rounds} alternating rounds. `make bench-provisioning` writes this page.",
        "",
        "| measure | value |",
        "|---|---|",
        f"| one-task `ping` play | {floor:.2f} s |",
        f"| `playbooks/unit.yml`, nothing to change | {rerun:.2f} s |",
        f"| ratio (limit {LIMIT}) | {rerun / floor:.2f} |",
        f"| tasks run / skipped / changed | {recap['ok']} / {recap['skipped']} / {recap['changed']} |",
        *(f"| slowest: {name.strip()} | {seconds} s |" for name, seconds in slowest),
    ]
    page = "\n".join(lines) + "\n"
    print(page)
    Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")
    if recap["changed"] != "0":
        sys.exit(f"bench: changed={recap['changed']} on a run that had nothing to do")
    if rerun > LIMIT * floor:
        sys.exit(f"bench: {rerun / floor:.2f} × the ping play is over {LIMIT}")


if __name__ == "__main__":
    main()
