"""What a technician relies on after `playbooks/unit.yml` and after a restart of the machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from lab import checks as unit
from lab import settings
from panoptes_unit.sources.platforms import PLATFORMS


@pytest.fixture(scope="module", autouse=True)
def services_settled(host):
    """After the restart the engine brings the services back by itself; nothing here starts them."""
    unit.wait_healthy(host)


@pytest.fixture(scope="module")
def config(host):
    return unit.config(host)


def test_unit_looks_at_itself_and_finds_itself_whole(host):
    timer = host.service("panoptes-health.timer")
    assert timer.is_enabled
    assert timer.is_running
    done = host.run("systemctl start panoptes-health.service")  # what the timer starts, in its sandbox
    log = host.run("journalctl --unit panoptes-health.service --output cat --no-pager").stdout
    assert done.rc == 0, done.stderr + log
    found = json.loads(host.check_output("cat /run/panoptes/health.json"))
    assert found["whole"] is True, f"{found}{log}"


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
    assert platform == PLATFORMS[architecture] == release["PANOPTES_PLATFORM"]


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


@pytest.mark.parametrize(("in_port", "out_port"), unit.PAIRS)
def test_message_sent_to_the_in_port_comes_out_at_the_out_port(host, in_port, out_port):
    assert unit.round_trips_ms(host, (in_port, out_port))[0] > 0


@pytest.fixture(scope="module")
def scratch(host):
    with unit.scratch(host) as folder:
        yield folder


def test_simulated_sky_is_solved(host, scratch):
    truth = unit.simulate_sky(host, scratch)
    found = unit.solve(host, scratch, "simulated.fits")
    apart = unit.separation_arcsec(truth, found)
    assert apart <= 30, f"solved {apart:.1f} arcsec from the truth: {found} against {truth}"
    assert found["pixscale_arcsec"] == pytest.approx(10.3, rel=0.01)


def test_real_frame_is_solved(host, scratch):
    shared = Path(os.environ.get("PANOPTES_SHARED_DATA") or unit.TOP.parent / "shared" / "data")
    frame = shared / "unsolved.fits"
    if not frame.is_file():
        pytest.skip(f"the real sky frame is not at {frame}: set PANOPTES_SHARED_DATA")
    here = settings.read_lab()
    target = f"{host.backend.get_hostname()}:{scratch}/real.fits"
    subprocess.run([here["docker_cli"], "--host", here["docker_host"], "cp", str(frame), target], check=True)
    host.check_output("chown 1000:1000 %s/real.fits && chmod 600 %s/real.fits", scratch, scratch)
    found = unit.solve(host, scratch, "real.fits")
    assert unit.separation_arcsec({"ra_deg": 303.209, "dec_deg": 46.019}, found) <= 30, found
    assert found["pixscale_arcsec"] == pytest.approx(10.29, abs=0.05)
