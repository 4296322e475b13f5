#!/usr/bin/env python3
"""Measure the two services; each figure that depends on the machine is a ratio to a peer in the same run.

Peers: the config server of panoptes-utils 0.3.8 (in a throwaway environment) and a bare `zmq_proxy`.
Writes benchmarks/services.md.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zmq
from services_config import change_figures, config_figures, image_figures, memory_alone
from services_hub import hub_figures
from services_processes import TOP, say

HERE = Path(__file__).parent


def kill_figures(kills):
    say(f"{kills} × kill -9 during writes (about {kills * 0.3:.0f} s)")
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/fast/panoptes_utils/config/test_durability.py", "-k", "kill_9"],
        cwd=TOP,
        env={**os.environ, "PANOPTES_TEST_KILLS": str(kills)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stdout)
        raise SystemExit("an acknowledged write was lost, or a file damaged")
    seconds = time.monotonic() - begin
    return [(f"{kills:,} × kill -9 during writes", f"0 acknowledged writes lost, 0 files damaged ({seconds:.0f} s)",
             "", "", "0 lost")]  # fmt: skip


def machine():
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    return (
        f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"libzmq {zmq.zmq_version()}; load average at the start {os.getloadavg()[0]:.1f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured [5]")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement [2]")
    parser.add_argument("--kills", type=int, default=1000, help="how often the server is killed; 0: not at all [1000]")
    parser.add_argument("--peer-python", type=Path, help="python with the peer installed [one is made for the run]")
    parser.add_argument("--output", type=Path, default=HERE / "services.md")
    parser.add_argument("--memory", action="store_true", help="print the memory of both services and nothing else")
    options = parser.parse_args()
    if options.memory:
        with tempfile.TemporaryDirectory() as folder:
            return memory_alone(Path(folder))
    where = machine()
    with tempfile.TemporaryDirectory() as folder:
        rows = config_figures(Path(folder), options.rounds, options.seconds, options.peer_python)
        rows += change_figures(Path(folder), options.rounds, options.seconds)
    rows += image_figures()
    # Many short turns: what else runs on the machine then hits ours and the peer alike.
    rows += hub_figures(options.rounds * 2, options.seconds / 8)
    if options.kills:
        rows += kill_figures(options.kills)
    lines = ["| what | ours | peer | ratio | goal |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    table = "\n".join(lines)
    print(table)
    options.output.write_text(
        "# Figures of the services\n\n"
        f"Made by `make bench-services`. Machine: {where}.\n"
        f"Medians of {options.rounds} rounds, ours and peer in turn. Peers: the config server of panoptes-utils\n"
        "0.3.8, one client that changes things alone, a bare `zmq_proxy` in pyzmq. The publisher keeps a bounded\n"
        "number of messages on their way; p99 is the time until one message has reached every subscriber, CPU what\n"
        "the forwarder's process spent on one message.\n\n"
        f"{table}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    sys.exit(main())
