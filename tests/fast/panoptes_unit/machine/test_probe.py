"""The probe tells the truth about this machine, and about a machine laid out in a directory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time

import pytest

from panoptes_unit.machine import listeners
from panoptes_unit.machine.probe import Probe

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg-query"), reason="no dpkg on this machine")


@pytest.fixture
def machine(tmp_path):
    """A directory that describes a Raspberry Pi with a 32-bit system on a 64-bit kernel."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(
        'PRETTY_NAME="Raspbian GNU/Linux 13 (trixie)"\nID=raspbian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n'
    )
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    answers = {"architecture": "armhf", "machine": "aarch64", "now": 3600}
    (tmp_path / "simulated-answers.json").write_text(json.dumps(answers))
    return Probe(str(tmp_path))


def test_system_architecture_and_board_are_read_from_their_files(machine):
    assert machine.distribution() == {
        "id": "raspbian",
        "version": "13",
        "codename": "trixie",
        "name": "Raspbian GNU/Linux 13 (trixie)",
    }
    assert machine.architecture() == {
        "dpkg": "armhf",
        "machine": "aarch64",
        "board": "Raspberry Pi 4 Model B Rev 1.4",
    }
    assert machine.systemd() is False
    assert machine.now() == 3600


def test_machine_without_a_description(tmp_path):
    assert Probe(str(tmp_path)).distribution()["id"] == ""


def test_clock_is_this_machines():
    assert abs(Probe().now() - time.time()) < 5


@needs_dpkg
def test_packages_that_are_installed():
    found = Probe().packages(["dpkg", "there-is-no-such-package"])
    assert set(found) == {"dpkg"}
    wanted = ["dpkg-query", "-W", "-f", "${Version}", "dpkg"]
    assert found["dpkg"] == subprocess.run(wanted, capture_output=True, text=True, check=True).stdout


def test_files_are_found_with_mode_owner_age_and_checksum(tmp_path):
    file = tmp_path / "settings.json"
    file.write_bytes(b"{}\n")
    file.chmod(0o640)
    (tmp_path / "link").symlink_to("settings.json")
    found = Probe().files([f"{tmp_path}/*", f"{tmp_path}/absent", "/dev/null"])
    assert 0 <= found[str(file)].pop("age_s") < 60
    assert found[str(file)] == {
        "mode": "0640",
        "uid": os.getuid(),
        "gid": file.stat().st_gid,
        "kind": "file",
        "sha256": hashlib.sha256(b"{}\n").hexdigest(),
    }
    assert found[str(tmp_path / "link")]["target"] == str(file)
    assert f"{tmp_path}/absent" not in found
    assert found["/dev/null"]["kind"] == "other"


def test_file_that_may_not_be_read(tmp_path):
    directory = tmp_path / "directory"
    directory.mkdir(mode=0o755)
    assert Probe().files([str(directory)])[str(directory)]["kind"] == "directory"
    assert stat.S_ISDIR(directory.stat().st_mode)


def test_accounts_by_name_and_by_number():
    found = Probe().users(["root", "0", "nobody-of-that-name", "4294967290"])
    assert found["root"] == found["0"]
    assert (found["0"]["name"], found["0"]["uid"]) == ("root", 0)
    assert set(found) == {"root", "0"}
    assert Probe().groups(["0"])["0"] == {"name": "root", "gid": 0}


def test_listener_is_named_with_its_process(tmp_path):
    program = (
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    server = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline())
        (listener,) = Probe().listeners([port])[str(port)]
        assert listener["address"] == "127.0.0.1"
        assert listener["pid"] == server.pid
        assert os.getpid() in listener["ancestors"]
    finally:
        server.communicate()


def test_listener_on_ipv6_is_found_with_its_address():
    with socket.socket(socket.AF_INET6) as server:
        try:
            server.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 on this machine")
        server.listen()
        port = server.getsockname()[1]
        assert Probe().listeners([port])[str(port)][0]["address"] == "::1"


INNER, MACHINE = "a1" * 32, "b2" * 32


@pytest.mark.parametrize(
    ("group", "container"),
    [
        (f"0::/system.slice/docker-{INNER}.scope\n", INNER),
        (f"12:memory:/docker/{INNER}\n0::/\n", INNER),
        (f"0::/docker/{MACHINE}/system.slice/docker-{INNER}.scope\n", INNER),
        (f"0::/docker/{MACHINE}/system.slice/stranger.service\n", ""),
        ("0::/system.slice/docker.service\n", ""),
        ("0::/user.slice\n", ""),
    ],
)
def test_container_of_a_process_is_what_the_kernel_says(tmp_path, group, container):
    first = f"0::/docker/{MACHINE}/init.scope\n" if MACHINE in group else "0::/init.scope\n"
    for pid, text in {1: first, 7: group}.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(text)
    assert listeners.container_of(7, tmp_path) == container
    assert listeners.container_of(8, tmp_path) == listeners.container_of(0, tmp_path) == ""


def test_free_port_is_left_out():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, not listening
        assert Probe().listeners([free.getsockname()[1]]) == {}


def test_disk_of_a_path_that_does_not_exist_yet(tmp_path):
    found = Probe().disks([str(tmp_path / "not" / "yet")])
    (disk,) = found.values()
    assert 0 < disk["free"] <= disk["total"]
    assert disk["device"] == tmp_path.stat().st_dev


def test_release_file_is_read_and_an_absent_one_is_empty(tmp_path):
    path = tmp_path / "release.env"
    assert Probe().release(str(path)) == {}
    path.write_text("# comment\nPANOPTES_UTILS_IMAGE=r/panoptes-utils@sha256:00\nPANOPTES_RELEASE_TAG=latest\n")
    found = Probe().release(str(path))
    assert found == {"PANOPTES_UTILS_IMAGE": "r/panoptes-utils@sha256:00", "PANOPTES_RELEASE_TAG": "latest"}


def test_interrupted_installation_of_packages_is_noticed(tmp_path):
    updates = tmp_path / "var/lib/dpkg/updates"
    updates.mkdir(parents=True)
    assert Probe(str(tmp_path)).packages_interrupted() is False
    (updates / "tmp.i").touch()  # dpkg's own scratch file
    assert Probe(str(tmp_path)).packages_interrupted() is False
    (updates / "0001").touch()
    assert Probe(str(tmp_path)).packages_interrupted() is True
