"""What an update costs a unit: service gap, way back without a network, and a night on which nothing is new.

Measured on the simulated unit (`make unit` first) with releases that differ by one small layer. The peer is what a
plain `docker compose up` does to the same services. Prints the table and writes it to update.md.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import testinfra

TOP = Path(__file__).parents[1]

from lab.releases import Releases  # noqa: E402 - stands beside the scenario that shares it
from lab.unit_under_test import TEST_SETTINGS, UnitUnderTest  # noqa: E402

GAP_LIMIT_S, ROLLBACK_LIMIT_S = 3.0, 20.0
REQUESTS_LIMIT, BYTES_LIMIT, CPU_LIMIT_S = 2, 5000, 1.5

CPU = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, **json.loads(done.stdout)}))
"""
# The same services, recreated by Compose alone: what nobody can be faster than.
PLAIN = """
import json, subprocess, sys
sys.path.insert(0, "/usr/local/bin/panoptes-unit")
from panoptes_unit.deploy.downtime import DowntimeWatch
with DowntimeWatch({"config-server": 6563, "messaging-hub": 6500}) as watch:
    subprocess.run(["docker", "compose", "--project-name", "panoptes", "--file", "/etc/panoptes/compose.yaml",
                    "--env-file", "/etc/panoptes/release.env", "up", "--detach", "--wait", "--force-recreate"],
                   check=True, capture_output=True)
print(json.dumps(watch.away_s))
"""


def received(unit: UnitUnderTest) -> int:
    """Bytes that came over the unit's network so far, as its kernel counts them."""
    return int(unit.check("cat /sys/class/net/eth0/statistics/rx_bytes"))


def main(name: str = "panoptes-unit", rounds: int = 5) -> None:
    """Switches between two good releases, undoes a bad one, looks for nothing new; then puts the unit back."""
    releases = Releases()
    unit = UnitUnderTest(testinfra.get_host(f"docker://{name}"), releases.source)
    gaps: dict[str, list[float]] = {"config-server": [], "messaging-hub": []}
    plain: dict[str, list[float]] = {"config-server": [], "messaging-hub": []}
    backs, sizes, looks = [], [], []
    try:
        releases.offer("good-0")
        unit.tool("deploy", "--force", expect=0)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds} ...", file=sys.stderr, flush=True)
            releases.offer(f"good-{1 - number % 2}")
            answer = unit.tool("deploy", "--force", expect=0)
            sizes.append(answer["bytes"])
            for service, gap in answer["gap_s"].items():
                gaps[service].append(gap)
            for service, gap in json.loads(unit.check(f"python3 -c '{PLAIN}'")).items():
                plain[service].append(gap)
            before = received(unit)
            command = f"panoptes-unit update --json --quiet --settings {TEST_SETTINGS}"
            look = json.loads(unit.check(f"python3 -c '{CPU}' {command}"))
            looks.append({**look, "received": received(unit) - before})
            releases.offer("exits-0")
            start = time.monotonic()
            answer = unit.tool("update", "--force", expect=4)
            backs.append({"whole_s": time.monotonic() - start, "undo_s": answer["undo_s"]})
    finally:
        unit.host.run("panoptes-unit clear all; panoptes-unit deploy --force --quiet")
        releases.remove_images()
    asked = looks[-1]["registry"]
    rows = [
        (f"{service} away, worst of {rounds} updates (limit {GAP_LIMIT_S:g} s)", f"{max(gaps[service]):.2f} s")
        for service in gaps
    ]
    rows += [
        (
            f"{service} away, as a multiple of plain `docker compose up` (medians)",
            f"{statistics.median(gaps[service]) / statistics.median(plain[service]):.2f} "
            f"({statistics.median(gaps[service]):.2f} s / {statistics.median(plain[service]):.2f} s)",
        )
        for service in gaps
    ]
    undo = max(back["undo_s"] for back in backs)
    cpu = statistics.median(look["cpu_s"] for look in looks)
    wire = statistics.median(look["received"] for look in looks)
    rows += [
        ("downloaded for one small layer, median", f"{statistics.median(sizes) / 1e3:.1f} kB"),
        (f"verdict to old release healthy, no network, worst (limit {ROLLBACK_LIMIT_S:g} s)", f"{undo:.1f} s"),
        (f"nothing new: requests to the registry (limit {REQUESTS_LIMIT})", str(asked["requests"])),
        (f"nothing new: bytes of answers (limit {BYTES_LIMIT})", str(asked["bytes"])),
        ("nothing new: bytes received on the wire, TLS and TCP included", f"{wire:.0f}"),
        (f"nothing new: CPU (limit {CPU_LIMIT_S:g} s)", f"{cpu:.2f} s"),
    ]
    page = "\n".join(
        [
            "# What an update costs a unit",
            "",
            f"Measured on {platform.machine()}, {os.cpu_count()} cores with a load of {os.getloadavg()[2]:.0f}, on the "
            "simulated unit. `make bench-update` writes this page.",
            "",
            "| measure | value |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows),
            "",
        ]
    )
    print(page)
    Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")
    missed = [
        text
        for text, bad in (
            ("service gap", max(max(gaps[service]) for service in gaps) > GAP_LIMIT_S),
            ("way back", undo > ROLLBACK_LIMIT_S),
            ("requests", asked["requests"] > REQUESTS_LIMIT),
            ("bytes", asked["bytes"] > BYTES_LIMIT),
            ("CPU", cpu > CPU_LIMIT_S),
        )
        if bad
    ]
    if missed:
        sys.exit(f"bench: over the limit: {', '.join(missed)}")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
