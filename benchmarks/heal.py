"""What it costs a unit to look after itself, and how long it takes to be well again.

Measured on the simulated unit (`make unit` first). The table of all damages is what scenario `heal` found last
(`make test-heal`, or `molecule test -s heal`). Prints the page and writes it to heal.md.
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

from lab.patient import Patient  # noqa: E402 - stands beside the scenario that shares it
from lab.releases import Releases  # noqa: E402
from lab.unit_under_test import TEST_SETTINGS, UnitUnderTest  # noqa: E402

FIGURES = TOP / "artifacts" / "heal.json"
LOOK_CPU_LIMIT_S, NO_FETCH_LIMIT_S, VERIFY_MEMORY_LIMIT_MB = 0.3, 60.0, 64.0

# ru_oublock counts what goes to a disk, in blocks of 512 bytes; a file in memory is none.
COST = """
import json, resource, subprocess, sys, time
began = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wall_s": time.monotonic() - began, "cpu_s": used.ru_utime + used.ru_stime, "rc": done.returncode,
                  "written": used.ru_oublock * 512, "memory_mb": used.ru_maxrss * 1024 / 1e6}))
"""
# None of these needs anything from elsewhere.
DAMAGES = (
    ("containers stopped", "docker stop config-server messaging-hub"),
    ("containers removed", "docker rm --force config-server messaging-hub"),
    ("engine stopped", "systemctl stop docker.socket docker"),
    ("link of a layer, emptied", ""),
    ("container configuration, zero bytes", ""),
    ("release file, removed", ""),
    ("Compose file, emptied", ""),
)


def cost(unit: UnitUnderTest, *words: str) -> dict[str, float]:
    """CPU, wall time, bytes written and peak memory of a command on the unit."""
    found: dict[str, float] = json.loads(unit.check(f"python3 -c '{COST}' {' '.join(words)}"))
    return found


def times(patient: Patient) -> list[tuple[str, float]]:
    """How long a repair took after each damage that needs no download."""
    took = []
    for name, command in DAMAGES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        if command:
            patient.unit.check(command)
        else:
            patient.damage(*name.split(", "))
        began = time.monotonic()
        patient.unit.tool("repair", expect=0)
        took.append((name, time.monotonic() - began))
        patient.unit.must_run(patient.release)
    return took


def main(name: str = "panoptes-unit") -> None:
    """Looks, verifies, damages and repairs; then puts the unit back."""
    releases = Releases()
    unit = UnitUnderTest(testinfra.get_host(f"docker://{name}"), releases.source)
    unit.host.run("systemctl stop panoptes-health.timer")
    release = releases.offer("good-heal")
    try:
        unit.tool("deploy", "--force", expect=0)
        patient = Patient(unit, release)
        look = ("panoptes-unit", "heal", "--settings", TEST_SETTINGS)
        cost(unit, *look)  # Compose is asked once a day: that one is not the rule
        looks = [cost(unit, *look) for _ in range(7)]
        verified = cost(unit, "panoptes-unit", "verify", "--settings", TEST_SETTINGS)
        took = times(patient)
        unit.host.run("docker rm --force theirs; docker image rm theirs; docker volume rm films")
    finally:
        unit.host.run("panoptes-unit clear all; panoptes-unit deploy --force --quiet")
        unit.host.run("systemctl start panoptes-health.timer")
        releases.remove_images()
    cases = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else []
    healed = [case for case in cases if case["verdict"] == "healed"]
    cpu = statistics.median(one["cpu_s"] for one in looks)
    page = "\n".join(
        [
            "# What it costs a unit to look after itself, and how long it takes to be well again",
            "",
            f"Measured on {platform.machine()}, {os.cpu_count()} cores with a load of {os.getloadavg()[2]:.0f}, on the "
            "simulated unit. `make bench-heal` writes this page.",
            "",
            "| measure | value |",
            "|---|---|",
            f"| damages healed, of those tried by scenario `heal` | {len(healed)} of {len(cases)} |",
            f"| one look of a whole unit: CPU, median of {len(looks)} (limit {LOOK_CPU_LIMIT_S:g} s) | {cpu:.2f} s |",
            f"| one look: wall time, median | {statistics.median(one['wall_s'] for one in looks):.2f} s |",
            f"| one look: written to a disk, most | {max(one['written'] for one in looks):.0f} bytes |",
            f"| `verify` of the whole image: time, CPU | {verified['wall_s']:.0f} s, {verified['cpu_s']:.0f} s |",
            f"| `verify`: peak memory (limit {VERIFY_MEMORY_LIMIT_MB:g} MB) | {verified['memory_mb']:.0f} MB |",
            *(f"| repair of: {name} (limit {NO_FETCH_LIMIT_S:g} s) | {seconds:.1f} s |" for name, seconds in took),
            "",
            "## Every damage of scenario `heal`",
            "",
            "Times are those of the scenario's machine. «asked»: only a new store of the engine helped, others had "
            "something in it, and the test said `--new-store`.",
            "",
            "| damage | | seconds | what helped |",
            "|---|---|---|---|",
            *(f"| {one['name']} | {one['verdict']} | {one['seconds']:.0f} | {one['outcome']} |" for one in cases),
            "",
        ]
    )
    print(page)
    Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")
    missed = [
        text
        for text, bad in (
            ("damages healed", len(healed) < len(cases) or not cases),
            ("CPU of a look", cpu > LOOK_CPU_LIMIT_S),
            ("bytes written by a look", max(one["written"] for one in looks) > 0),
            ("memory of verify", verified["memory_mb"] > VERIFY_MEMORY_LIMIT_MB),
            ("time without a download", max(seconds for _, seconds in took) > NO_FETCH_LIMIT_S),
        )
        if bad
    ]
    if missed:
        sys.exit(f"bench: over the limit: {', '.join(missed)}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
