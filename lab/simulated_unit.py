"""`make unit`, `make unit-clean`: a simulated unit on this machine, provisioned as a technician does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).parents[1]
SHARED = TOP / "molecule" / "shared"
NAME = "panoptes-unit"


def playbook(path: Path, name: str, *arguments: str) -> None:
    """Runs a playbook of the repository for the unit of that name; its output goes to the terminal."""
    shipped = Path(__file__).with_name("simulated_unit.yml").read_text(encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg")}
    # In a folder of its own: Ansible would read a folder group_vars beside it.
    with tempfile.TemporaryDirectory() as folder:
        hosts = Path(folder, "hosts.yml")
        hosts.write_text(shipped.replace(NAME, name), encoding="utf-8")
        command = ["ansible-playbook", "-i", str(SHARED / "inventory"), "-i", str(hosts), *arguments, str(path)]
        code = subprocess.run(command, cwd=TOP, env=environment).returncode
    if code:
        sys.exit(f"unit: {path.relative_to(TOP)} ended with exit code {code}; its last failed task above says why")


def container(state: str, name: str) -> None:
    """Creates or destroys the unit container with the playbooks that the Molecule scenarios use."""
    playbook(SHARED / f"{state}.yml", name, "-e", json.dumps({"unit_names": [name]}))


def report(name: str) -> None:
    """Asks the unit what a person wants to know of it and prints the answers.

    Raises:
        SystemExit: an answer is wrong or missing; the text says which, with the logs of the services.
    """
    import testinfra

    from . import checks as unit
    from . import settings

    here = settings.read_lab()
    os.environ["DOCKER_HOST"] = here["docker_host"]
    host = testinfra.get_host(f"docker://{name}")
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
A simulated unit is running in the container {name} ({unit.unit_address(name)} in network {here["network"]}).

  release         {release["PANOPTES_UTILS_IMAGE"]} ({release["PANOPTES_PLATFORM"]})
  config server   {address} answers: {config["pan_id"]}, {config["name"]}, {config["directories"]["base"]}""")
    for (in_port, out_port), milliseconds in trips.items():
        print(f"  messaging hub   {in_port}→{out_port}: round trip in {milliseconds:.1f} ms")
    print(f"""  sky             simulated at RA {truth["ra_deg"]:.4f} Dec {truth["dec_deg"]:+.4f} deg,
                  solved    at RA {found["ra_deg"]:.4f} Dec {found["dec_deg"]:+.4f} deg:\
 {apart:.1f} arcsec apart, {found["pixscale_arcsec"]:.2f} arcsec/pixel

Both services listen on the unit's own loopback only. To look around:
  {here["docker_cli"]} exec -it {name} bash        then: curl {address}/get-config
  make unit-clean                           removes it
""")
    if apart > 30:
        sys.exit("unit: the solution is more than 30 arcsec from the truth")


def make(name: str) -> None:
    """Provisions the simulated unit and reports on it."""
    container("create", name)
    playbook(TOP / "playbooks" / "unit.yml", name)
    report(name)


def remove(name: str) -> None:
    """Removes the simulated unit with its disk; one that is not there is no error."""
    container("destroy", name)
