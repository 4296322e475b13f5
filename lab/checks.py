"""What several scenarios ask of a unit, with the logs to read where the answer is wrong."""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .settings import read_lab

TOP = Path(__file__).parents[1]

SERVICES = ("config-server", "messaging-hub")
PAIRS = ((6500, 6501), (6510, 6511))
CONFIG_PORT = 6563
RELEASE_FILE = "/etc/panoptes/release.env"


def unit_address(name: str) -> str:
    """The address of a unit container in the lab's network."""
    here = read_lab()
    command = [here["docker_cli"], "--host", here["docker_host"], "inspect", name]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(answer)[0]["NetworkSettings"]["Networks"][here["network"]]["IPAddress"]


def release(host: Any) -> dict[str, str]:
    """The unit's release file as a dict."""
    lines = host.file(RELEASE_FILE).content_string.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def inspect(host: Any, container: str) -> dict:
    """`docker inspect` of one container on the unit."""
    return json.loads(host.check_output("docker inspect %s", container))[0]


def logs(host: Any) -> str:
    """What to read when a check fails: the containers' logs and the engine's journal."""
    parts = []
    for service in SERVICES:
        parts.append(f"--- docker logs {service}")
        parts.append(host.run("docker logs --tail 40 %s 2>&1", service).stdout)
    parts.append("--- journal of docker\n" + host.run("journalctl -u docker -n 40 --no-pager").stdout)
    return "\n".join(parts)


def wait_healthy(host: Any, limit_s: float = 120.0) -> None:
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


def config(host: Any) -> dict:
    """The whole configuration, as the unit's config server answers it."""
    return json.loads(host.check_output("curl -fsS http://127.0.0.1:%s/get-config", str(CONFIG_PORT)))


ROUND_TRIP = """
import sys, time
from panoptes_utils.messaging import PanMessaging
for pair in sys.argv[1:]:
    in_port, out_port = map(int, pair.split(":"))
    listener = PanMessaging.create_subscriber(out_port, topic="CHECK")
    speaker = PanMessaging.create_publisher(in_port)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        sent = time.monotonic()
        speaker.send_message("CHECK", {"pair": in_port})
        topic, message = listener.receive_message(timeout_ms=500)
        if topic == "CHECK" and message["pair"] == in_port:
            print(f"{(time.monotonic() - sent) * 1e3:.1f}")
            break
    else:
        sys.exit(f"no message came round pair {pair}")
"""


def round_trips_ms(host: Any, *pairs: tuple[int, int]) -> list[float]:
    """Milliseconds that a message took through each hub pair; fails with the logs where one came not back."""
    words = " ".join(f"{in_port}:{out_port}" for in_port, out_port in pairs)
    answer = host.run(f"docker exec messaging-hub python -c %s {words}", ROUND_TRIP)
    assert answer.rc == 0, answer.stderr + logs(host)
    return [float(line) for line in answer.stdout.split()]


@contextmanager
def scratch(host: Any) -> Iterator[str]:
    """A folder on the unit that the image's user may write."""
    path = "/var/panoptes/scratch"
    host.check_output("install -d -o 1000 -g 1000 %s", path)
    try:
        yield path
    finally:
        host.run("rm -rf %s", path)


def in_image(host: Any, folder: str, *arguments: str) -> Any:
    """Runs a command in the unit's release with `folder` at /sky: no network, no privileges."""
    image = release(host)["PANOPTES_UTILS_IMAGE"]
    options = "--rm --network none --read-only --cap-drop ALL --tmpfs /tmp -v %s:/sky %s"
    return host.run(f"docker run {options} " + " ".join(["%s"] * len(arguments)), folder, image, *arguments)


def solve(host: Any, folder: str, name: str) -> dict:
    """Solves a frame in `folder` inside the image; the answer of `panoptes-utils image solve`."""
    solved = in_image(host, folder, "panoptes-utils", "image", "solve", f"/sky/{name}", "--json")
    assert solved.rc == 0, solved.stdout + solved.stderr
    return json.loads(solved.stdout)


def simulate_sky(host: Any, folder: str) -> dict:
    """Renders Orion's belt as this unit's camera would see it to `simulated.fits`; the true pointing."""
    helper = (TOP / "tests" / "helpers" / "sky_simulator.py").read_text(encoding="utf-8")
    write = host.run(f"cat > {folder}/sky_simulator.py <<'PYTHON'\n{helper}\nPYTHON")
    assert write.rc == 0, write.stderr
    pointing = ["--ra", "84.05", "--dec", "-1.2", "--pixscale", "10.3", "--size", "900", "--seed", "7"]
    script = ["python", "/sky/sky_simulator.py", *pointing, "--out", "/sky/simulated.fits"]
    made = in_image(host, folder, *script)
    assert made.rc == 0, made.stderr
    return json.loads(made.stdout)


def separation_arcsec(one: dict, other: dict) -> float:
    """Angle between two pointings, each with ra_deg and dec_deg (haversine formula)."""
    ra1, dec1, ra2, dec2 = (
        math.radians(value) for value in (one["ra_deg"], one["dec_deg"], other["ra_deg"], other["dec_deg"])
    )
    half = math.sin((dec2 - dec1) / 2) ** 2 + math.cos(dec1) * math.cos(dec2) * math.sin((ra2 - ra1) / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(half))) * 3600
