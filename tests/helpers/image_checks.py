"""The lab for tests, and what is asked of an image on every platform."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]


@dataclass
class Lab:
    """What lab.json says, and the docker command line of the lab."""

    content: dict

    def __getitem__(self, key: str):
        return self.content[key]

    def docker(self, *arguments, check: bool = True, **options) -> subprocess.CompletedProcess:
        """Run docker; a failure that is not expected shows what it said."""
        command = [self["docker_cli"], "--host", self["docker_host"], *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, **options)
        assert done.returncode == 0 or not check, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    def inspect(self, name: str) -> dict:
        return json.loads(self.docker("image", "inspect", name).stdout)[0]

    def run(self, image: str, *command: str, options: tuple = (), check: bool = True) -> subprocess.CompletedProcess:
        """Run a command in an image as a unit does: no capabilities, read-only, as the image's own user."""
        confined = [
            "--rm",
            "--read-only",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
            "--tmpfs",
            "/tmp",
        ]
        return self.docker("run", *confined, *options, image, *command, check=check)


TOOLS = """
for tool in solve-field astrometry-engine wcsinfo fpack funpack; do command -v $tool || exit 1; done
sextractor --version && sex --version && source-extractor --version && exiftool -ver && dcraw 2>&1 | grep -i 'raw photo'
grep '^add_path /usr/share/astrometry' /etc/astrometry.cfg || exit 1
for scale in $(seq -w 7 19); do ls /usr/share/astrometry/index-tycho2-$scale.*fits || exit 1; done
"""
POINTING = ["--ra", "84.05", "--dec", "-1.2", "--pixscale", "10.3", "--size", "900", "--seed", "7"]


def solve_simulated_sky(lab, image: str, *options: str) -> float:
    """Renders Orion's belt and solves it, both inside the image; how far off the solution is, in arcsec."""
    helper = f"{TOP / 'tests' / 'helpers' / 'sky_simulator.py'}:/sky/sky_simulator.py:ro"
    render = f"python /sky/sky_simulator.py {' '.join(POINTING)} --out /tmp/sky.fits"
    script = f"{render} && panoptes-utils image solve /tmp/sky.fits --json"
    done = lab.run(image, "sh", "-c", script, options=("--network", "none", "--volume", helper, *options))
    truth, found = (json.loads(line) for line in done.stdout.strip().splitlines())
    d_ra = (truth["ra_deg"] - found["ra_deg"]) * math.cos(math.radians(truth["dec_deg"]))
    return 3600 * math.hypot(d_ra, truth["dec_deg"] - found["dec_deg"])
