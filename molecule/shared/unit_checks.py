"""What several scenarios ask of a unit, with the logs to read where the answer is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

SERVICES = ("config-server", "messaging-hub")
PAIRS = ((6500, 6501), (6510, 6511))
CONFIG_PORT = 6563
RELEASE_FILE = "/etc/panoptes/release.env"


def lab() -> dict:
    """What `python molecule/lab up` wrote down about the lab."""
    cache = os.environ.get("PANOPTES_LAB_CACHE")
    if not cache:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "panoptes-lab"
    return json.loads((Path(cache) / "lab.json").read_text(encoding="utf-8"))


def unit_address(name: str) -> str:
    """The address of a unit container in the lab's network."""
    here = lab()
    command = [here["docker_cli"], "--host", here["docker_host"], "inspect", name]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(answer)[0]["NetworkSettings"]["Networks"][here["network"]]["IPAddress"]


def release(host) -> dict[str, str]:
    """The unit's release file as a dict."""
    lines = host.file(RELEASE_FILE).content_string.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def inspect(host, container: str) -> dict:
    """`docker inspect` of one container on the unit."""
    return json.loads(host.check_output("docker inspect %s", container))[0]


def logs(host) -> str:
    """What to read when a check fails: the containers' logs and the engine's journal."""
    parts = []
    for service in SERVICES:
        parts.append(f"--- docker logs {service}")
        parts.append(host.run("docker logs --tail 40 %s 2>&1", service).stdout)
    parts.append("--- journal of docker\n" + host.run("journalctl -u docker -n 40 --no-pager").stdout)
    return "\n".join(parts)


def wait_healthy(host, limit_s: float = 120.0) -> None:
    """Waits until both services report healthy; fails with their logs at the limit."""
    end = time.monotonic() + limit_s
    states: dict[str, str] = {}
    while time.monotonic() < end:
        for service in SERVICES:
            answer = host.run("docker inspect --format {{.State.Health.Status}} %s", service)
            states[service] = answer.stdout.strip() or answer.stderr.strip()
        if set(states.values()) == {"healthy"}:
            return
        time.sleep(1)
    raise AssertionError(f"not healthy after {limit_s:.0f} s: {states}\n{logs(host)}")
