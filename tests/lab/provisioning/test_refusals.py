"""What a technician reads where a machine cannot become a unit: one plain line with the remedy, and nothing changed."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
import requests

from lab.faults import EVERY_FAULT

pytestmark = [pytest.mark.lab, pytest.mark.slow]

# Where provisioning would leave traces.
WATCHED = "/etc /usr /opt /home /var/lib/dpkg /var/lib/docker /var/panoptes"


@pytest.fixture(scope="module")
def unit(make_unit):
    return make_unit("refusals")


@pytest.fixture
def refused(unit):
    """Runs unit.yml, which has to fail without a trace on the unit; returns its one message."""

    def run(**settings) -> str:
        unit.shell("touch /tmp/before")
        result = unit.play("unit.yml", **settings)
        assert result.code != 0, result.output
        assert result.changed == 0, result.output
        touched = unit.shell(f"find {WATCHED} -xdev -cnewer /tmp/before 2>/dev/null || true")
        assert not touched, f"the unit was changed: {touched}"
        assert set(result.roles) <= {"preflight"}, result.roles
        return result.message

    return run


def lines(message: str) -> list[str]:
    """The problems in a message, one a line."""
    return [line[2:] for line in message.splitlines() if line.startswith("- ")]


@pytest.fixture
def simulated_root(unit, make_simulated_root):
    def lay_out(os_release: str = 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian 13"\n', **answers: object) -> str:
        return make_simulated_root(unit, os_release, **answers)

    return lay_out


def test_unsupported_release_is_refused_with_those_to_install(refused, simulated_root):
    old = 'ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n'
    (line,) = lines(refused(preflight_simulated_root=simulated_root(old)))
    assert line.startswith("Debian GNU/Linux 11 (bullseye) is not supported: install one of debian 12, 13;")


def test_armv6_is_refused_with_the_board_to_use(refused, simulated_root):
    (line,) = lines(refused(preflight_simulated_root=simulated_root(machine="armv6l", architecture="armhf")))
    assert "ARMv6" in line
    assert line.endswith("use a Raspberry Pi 2 or later.")


def test_wrong_clock_is_refused_either_way(refused, simulated_root):
    (line,) = lines(refused(preflight_simulated_root=simulated_root(now=3600)))
    assert line.startswith("The clock says 1970-01-01 01:00 UTC, which is in the past")
    assert "timedatectl set-ntp true" in line
    (line,) = lines(refused(preflight_simulated_root=simulated_root(now=time.time() + 7200)))
    assert "ahead of the controller's" in line


def test_machine_without_systemd_is_refused_and_unchanged(make_unit):
    """A real machine without it: the same image, started with another first process."""
    result = make_unit("no-systemd", systemd=False).play("unit.yml")
    (line,) = lines(result.message)
    assert line.startswith("systemd does not run here as PID 1")
    assert line.endswith("use a system that boots with systemd.")
    assert result.code != 0
    assert result.changed == 0


def test_port_taken_by_a_stranger(unit, refused):
    unit.docker("exec", "--detach", unit.name, "python3", "-m", "http.server", "6563", "--bind", "127.0.0.1")
    wait = "for n in $(seq 100); do ss -Hltn sport = :6563 | grep -q . && exit 0; sleep 0.1; done; exit 1"
    unit.shell(wait)
    pid = unit.shell("ss -Hltnp sport = :6563 | sed 's/.*pid=\\([0-9]*\\).*/\\1/'")
    try:
        (line,) = lines(refused())
        assert line == (
            f"Port 6563 (config server) is taken by python3 (pid {pid}) on 127.0.0.1: "
            "stop that program, then run this again."
        )
    finally:
        unit.shell(f"kill {pid}")


def test_full_disk_is_refused_before_anything(unit, refused):
    unit.run("mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", "/var/lib/docker")
    try:
        (line,) = lines(refused())
        assert line.startswith("/var/lib/docker has 52 MB free, and ")
        assert "make room" in line
    finally:
        unit.run("umount", "/var/lib/docker")


def test_unreachable_registry_is_named_with_its_setting(lab, refused):
    host = lab["registry"].rsplit(":", 1)[0]
    (line,) = lines(refused(panoptes_registry=f"{host}:5999"))
    assert f"registry {host}:5999 is not reachable: Connection refused" in line
    assert "panoptes_registry" in line.split("The settings are")[1]


def test_untrusted_registry_is_named_with_its_setting(lab, refused):
    (line,) = lines(refused(panoptes_registry_ca=""))
    assert f"TLS certificate of {lab['registry']} is not trusted" in line
    assert "panoptes_registry_ca" in line


def test_tag_that_does_not_exist(refused):
    (line,) = lines(refused(panoptes_release="never-pushed"))
    assert "'never-pushed'" in line
    assert "check the name and the tag" in line


@pytest.fixture
def foreign_release(lab):
    """A real manifest list in the lab's registry that lacks the platform of this machine."""
    foreign = {"os": "linux", "architecture": "riscv64"}
    base = f"https://{lab['registry']}/v2/deploy-test/panoptes-utils"
    session = requests.Session()
    session.trust_env = False  # this machine may name another CA for everything
    session.verify = lab["ca_file"]

    def upload(body: bytes) -> dict:
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        place = session.post(f"{base}/blobs/uploads/", timeout=30).headers["Location"]
        session.put(place, params={"digest": digest}, data=body, timeout=30).raise_for_status()
        return {"digest": digest, "size": len(body)}

    def put(reference: str, document: dict) -> dict:
        body = json.dumps(document).encode()
        headers = {"Content-Type": document["mediaType"]}
        session.put(f"{base}/manifests/{reference}", data=body, headers=headers, timeout=30).raise_for_status()
        return {"mediaType": document["mediaType"], "size": len(body)}

    configuration = upload(json.dumps({**foreign, "rootfs": {"type": "layers", "diff_ids": []}}).encode())
    image = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", **configuration},
        "layers": [],
    }
    digest = "sha256:" + hashlib.sha256(json.dumps(image).encode()).hexdigest()
    entry = {**put(digest, image), "digest": digest, "platform": foreign}
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": [entry],
    }
    put("latest", index)
    return f"{lab['registry']}/deploy-test"


def test_no_manifest_for_the_platform(lab, refused, foreign_release):
    (line,) = lines(refused(panoptes_registry=foreign_release))
    assert f"no manifest for platform linux/{lab['architecture']}" in line
    assert "it has linux/riscv64" in line
    assert "set panoptes_release to a tag that has it" in line


# Each takes a run of the playbook; tests/fast/plugins tries some hundred by the plugin itself.
MISTYPED = [
    ({"docker_sorce": "distro"}, "No role reads a setting named docker_sorce: did you mean docker_source?"),
    ({"panoptes_public": "maybe"}, "panoptes_public is 'maybe': write true or false; see roles/preflight/README.md."),
    (
        {"system_timezone": "Mars/Phobos"},
        "system_timezone is 'Mars/Phobos': no such time zone: write it as Australia/Sydney.",
    ),
    ({"panoptes_regsitry": "x"}, "No role reads a setting named panoptes_regsitry: did you mean panoptes_registry?"),
    ({"panotpes_public": True}, "No role reads a setting named panotpes_public: did you mean panoptes_public?"),
    ({"docker_source": "apt"}, "docker_source is 'apt': write one of auto, distro, docker_ce."),
    (
        {"panoptes_signature_key": "cosign.pub"},
        "panoptes_signature_key is 'cosign.pub': write the text of cosign.pub, a public key in PEM.",
    ),
    ({"panoptes_pan_id": "12"}, "panoptes_pan_id is '12': write PAN and three digits, such as PAN012."),
]


@pytest.mark.parametrize(("settings", "line"), MISTYPED if EVERY_FAULT else MISTYPED[:3])
def test_mistyped_setting_is_refused_with_the_nearest(refused, settings, line):
    assert line in lines(refused(**settings))


def test_account_with_another_number(unit, refused):
    unit.run("useradd", "--uid", "1234", "panoptes")
    try:
        (line,) = lines(refused())
        assert line.startswith("The account panoptes has uid 1234, but the services run as uid 1000")
        assert "usermod -u 1000 panoptes" in line
    finally:
        unit.run("userdel", "panoptes")


def test_all_problems_in_one_message(refused, simulated_root):
    old = 'ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian 11"\n'
    found = lines(refused(preflight_simulated_root=simulated_root(old, now=0), docker_sorce="distro"))
    assert len(found) == 3, found


def test_check_mode_refuses_as_well(unit):
    result = unit.play("unit.yml", options="--check", docker_sorce="distro")
    assert result.code != 0
    assert "did you mean docker_source?" in result.message


def test_check_mode_on_a_blank_machine_changes_nothing(unit):
    unit.shell("touch /tmp/before")
    result = unit.play("unit.yml", options="--check --diff")
    assert result.code == 0, result.output
    assert result.changed > 5, "it has to say what it would do"
    assert "Would install: " in result.output
    touched = unit.shell(f"find {WATCHED} -xdev -cnewer /tmp/before 2>/dev/null || true")
    assert not touched, f"check mode changed: {touched}"
