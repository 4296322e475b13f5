"""What a technician relies on after `playbooks/unit.yml` and after a restart of the machine."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
from pathlib import Path

import pytest
import unit_checks as unit

TOP = Path(__file__).parents[3]
PLATFORM = {"amd64": "linux/amd64", "arm64": "linux/arm64/v8", "armhf": "linux/arm/v7"}


@pytest.fixture(scope="module", autouse=True)
def services_settled(host):
    """After the restart the engine brings the services back by itself; nothing here starts them."""
    unit.wait_healthy(host)


@pytest.fixture(scope="module")
def config(host):
    answer = host.check_output("curl -fsS http://127.0.0.1:%s/get-config", str(unit.CONFIG_PORT))
    return json.loads(answer)


def test_engine_is_enabled_and_running(host):
    docker = host.service("docker")
    assert docker.is_enabled
    assert docker.is_running


def test_engine_bounds_its_logs(host):
    daemon = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert daemon["live-restore"] is True
    used = unit.inspect(host, "config-server")["HostConfig"]["LogConfig"]
    assert used["Type"] == "local" or "max-size" in used["Config"]


@pytest.mark.parametrize("service", unit.SERVICES)
def test_image_is_the_recorded_release(host, service):
    release = unit.release(host)
    image = release["PANOPTES_UTILS_IMAGE"]
    assert "@sha256:" in image, "the release file must name a digest, never a moving tag"
    container = unit.inspect(host, service)
    assert container["Config"]["Image"] == image
    found = json.loads(host.check_output("docker image inspect %s", image))[0]
    assert found["Id"] == container["Image"]
    architecture = host.check_output("dpkg --print-architecture")
    platform = "/".join(filter(None, (found["Os"], found["Architecture"], found.get("Variant"))))
    assert platform == PLATFORM[architecture] == release["PANOPTES_PLATFORM"]


@pytest.mark.parametrize("service", unit.SERVICES)
def test_service_has_no_privileges(host, service):
    container = unit.inspect(host, service)
    settings = container["HostConfig"]
    assert container["State"]["Health"]["Status"] == "healthy", unit.logs(host)
    assert settings["ReadonlyRootfs"] is True
    assert settings["Privileged"] is False
    assert [name.upper() for name in settings["CapDrop"]] == ["ALL"]
    assert not settings["CapAdd"]
    assert any(option.startswith("no-new-privileges") for option in settings["SecurityOpt"])
    assert settings["RestartPolicy"]["Name"] == "unless-stopped"
    status = host.check_output("cat /proc/%s/status", str(container["State"]["Pid"]))
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {"1000"}
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[capabilities], 16) == 0, f"{service} holds {capabilities}={fields[capabilities]}"
    assert fields["NoNewPrivs"] == "1"


@pytest.mark.parametrize("port", [unit.CONFIG_PORT, *(port for pair in unit.PAIRS for port in pair)])
def test_port_is_on_loopback_only(host, port):
    name = host.backend.get_hostname()
    assert host.run("ss -Hltn sport = :%s", str(port)).stdout.strip(), f"nothing listens on {port} inside"
    address = unit.unit_address(name)
    # A closed port is refused; the machine itself must answer, or the refusal would prove nothing.
    with pytest.raises(ConnectionRefusedError), socket.create_connection((address, port), timeout=10):
        pass


def test_config_server_answers_for_this_unit(host, config):
    assert config["pan_id"] == "PAN000"
    assert config["directories"]["base"] == "/var/panoptes"
    command = "docker exec config-server panoptes-config-server get pan_id"
    assert host.check_output(command).strip() == config["pan_id"]


def test_written_value_is_kept_apart_from_the_roles_file(host):
    before = host.file("/var/panoptes/conf_files/pocs.yaml").sha256sum
    body = json.dumps({"molecule.written": 42})
    url = f"http://127.0.0.1:{unit.CONFIG_PORT}/set-config"
    host.check_output("curl -fsS -H 'Content-Type: application/json' -d %s %s", body, url)
    assert host.file("/var/panoptes/conf_files/pocs.yaml").sha256sum == before
    assert "42" in host.file("/var/panoptes/conf_files/pocs_local.yaml").content_string


@pytest.mark.parametrize(("sub", "pub"), unit.PAIRS)
def test_message_goes_round(host, sub, pub):
    script = f"""
import time
from panoptes_utils.messaging import PanMessaging
listener = PanMessaging.create_subscriber({pub}, topic="MOLECULE")
speaker = PanMessaging.create_publisher({sub})
end = time.monotonic() + 20
while time.monotonic() < end:
    speaker.send_message("MOLECULE", {{"pair": {sub}}})
    topic, message = listener.receive_message(timeout_ms=500)
    if topic == "MOLECULE":
        assert message["pair"] == {sub}, message
        print("round")
        break
"""
    answer = host.run("docker exec messaging-hub python -c %s", script)
    assert answer.stdout.strip() == "round", answer.stderr + unit.logs(host)


@pytest.fixture(scope="module")
def scratch(host):
    """A folder on the unit that the image's user may write."""
    path = "/var/panoptes/molecule-scratch"
    host.check_output("install -d -o 1000 -g 1000 %s", path)
    yield path
    host.run("rm -rf %s", path)


def in_image(host, scratch: str, *arguments: str):
    image = unit.release(host)["PANOPTES_UTILS_IMAGE"]
    command = "docker run --rm --network none --read-only --cap-drop ALL --tmpfs /tmp -v %s:/sky " + " ".join(
        ["%s"] * (1 + len(arguments))
    )
    return host.run(command, scratch, image, *arguments)


def separation_arcsec(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    ra1, dec1, ra2, dec2 = (math.radians(value) for value in (ra1, dec1, ra2, dec2))
    half = math.sin((dec2 - dec1) / 2) ** 2 + math.cos(dec1) * math.cos(dec2) * math.sin((ra2 - ra1) / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(half))) * 3600


def test_simulated_sky_is_solved(host, scratch):
    helper = (TOP / "tests" / "sky_simulator.py").read_text(encoding="utf-8")
    write = host.run("cat > %s/sky_simulator.py <<'PYTHON'\n" + helper + "\nPYTHON", scratch)
    assert write.rc == 0, write.stderr
    pointing = "--ra 84.05 --dec -1.2 --pixscale 10.3 --size 900 --seed 7".split()
    made = in_image(host, scratch, "python", "/sky/sky_simulator.py", *pointing, "--out", "/sky/simulated.fits")
    assert made.rc == 0, made.stderr
    truth = json.loads(made.stdout)
    solved = in_image(host, scratch, "panoptes-utils", "image", "solve", "/sky/simulated.fits", "--json")
    assert solved.rc == 0, solved.stdout + solved.stderr
    found = json.loads(solved.stdout)
    apart = separation_arcsec(truth["ra_deg"], truth["dec_deg"], found["ra_deg"], found["dec_deg"])
    assert apart <= 30, f"solved {apart:.1f} arcsec from the truth: {found} against {truth}"
    assert found["pixscale_arcsec"] == pytest.approx(10.3, rel=0.01)


def test_real_frame_is_solved(host, scratch):
    shared = Path(os.environ.get("PANOPTES_SHARED_DATA") or TOP.parent / "shared" / "data")
    frame = shared / "unsolved.fits"
    if not frame.is_file():
        pytest.skip(f"the real sky frame is not at {frame}: set PANOPTES_SHARED_DATA")
    here = unit.lab()
    name = host.backend.get_hostname()
    target = f"{name}:{scratch}/real.fits"
    subprocess.run([here["docker_cli"], "--host", here["docker_host"], "cp", str(frame), target], check=True)
    host.check_output("chown 1000:1000 %s/real.fits && chmod 600 %s/real.fits", scratch, scratch)
    solved = in_image(host, scratch, "panoptes-utils", "image", "solve", "/sky/real.fits", "--json")
    assert solved.rc == 0, solved.stdout + solved.stderr
    found = json.loads(solved.stdout)
    assert separation_arcsec(303.209, 46.019, found["ra_deg"], found["dec_deg"]) <= 30, found
    assert found["pixscale_arcsec"] == pytest.approx(10.29, abs=0.05)
