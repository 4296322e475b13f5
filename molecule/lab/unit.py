"""`make unit`: a simulated unit on this machine, provisioned by the playbook that a technician runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
SHARED = TOP / "molecule" / "shared"
NAME = "panoptes-unit"


def playbook(path: Path, *arguments: str) -> None:
    """Runs a playbook of the repository with the lab's inventory; its output goes to the terminal."""
    inventories = ["-i", str(SHARED / "inventory"), "-i", str(Path(__file__).with_name("simulated-unit.yml"))]
    command = ["ansible-playbook", *inventories, *arguments, str(path)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg")}
    code = subprocess.run(command, cwd=TOP, env=environment).returncode
    if code:
        sys.exit(f"unit: {path.relative_to(TOP)} ended with {code}; its last failed task above says why")


def container(state: str) -> None:
    """Creates or destroys the unit container with the playbooks that the Molecule scenarios use."""
    playbook(SHARED / f"{state}.yml", "-e", json.dumps({"unit_names": [NAME]}))


def report() -> None:
    """Asks the unit what a person wants to know of it and prints the answers.

    Raises:
        SystemExit: an answer is wrong or missing; the text says which, with the logs of the services.
    """
    import testinfra

    sys.path.insert(0, str(SHARED))
    import unit_checks as unit

    here = unit.lab()
    os.environ["DOCKER_HOST"] = here["docker_host"]
    host = testinfra.get_host(f"docker://{NAME}")
    try:
        unit.wait_healthy(host)
        config = unit.config(host)
        trips = dict(zip(unit.PAIRS, unit.round_trips_ms(host, *unit.PAIRS)))
        print("unit: simulating a sky and solving it inside the unit ...", flush=True)
        with unit.scratch(host) as folder:
            truth = unit.simulate_sky(host, folder)
            found = unit.solve(host, folder, "simulated.fits")
    except AssertionError as error:
        sys.exit(f"unit: {error}")
    apart = unit.separation_arcsec(truth, found)
    release = unit.release(host)
    address = f"http://127.0.0.1:{unit.CONFIG_PORT}"
    print(f"""
A simulated unit is running in the container {NAME} ({unit.unit_address(NAME)} in network {here["network"]}).

  release         {release["PANOPTES_UTILS_IMAGE"]} ({release["PANOPTES_PLATFORM"]})
  config server   {address} answers: {config["pan_id"]}, {config["name"]}, {config["directories"]["base"]}""")
    for (sub, pub), milliseconds in trips.items():
        print(f"  messaging hub   {sub} → {pub}: round trip in {milliseconds:.1f} ms")
    print(f"""  sky             simulated at RA {truth["ra_deg"]:.4f} Dec {truth["dec_deg"]:+.4f} deg,
                  solved    at RA {found["ra_deg"]:.4f} Dec {found["dec_deg"]:+.4f} deg:\
 {apart:.1f} arcsec apart, {found["pixscale_arcsec"]:.2f} arcsec/pixel

Both services listen on the unit's own loopback only. To look around:
  {here["docker_cli"]} exec -it {NAME} bash        then: curl {address}/get-config
  make unit-clean                           removes it
""")
    if apart > 30:
        sys.exit("unit: the solution is more than 30 arcsec from the truth")


def main(remove: bool = False) -> None:
    """Provisions the simulated unit and reports on it, or removes it."""
    if remove:
        container("destroy")
        return
    container("create")
    playbook(TOP / "playbooks" / "unit.yml")
    report()
