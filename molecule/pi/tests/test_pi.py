"""A provisioned unit on ARM: what it runs, and that it comes back by itself whatever happens to power and network."""

from __future__ import annotations

import json
import shlex
import time

import pytest

from lab import checks
from lab.faults import EVERY_FAULT
from lab.flavours import FLAVOURS
from lab.settings import read_lab

# An emulated machine takes minutes for each: CI tries the two without which nothing else counts.
nightly = pytest.mark.skipif(not EVERY_FAULT, reason="at night: make test-pi")


def test_flavour_was_chosen_through_the_manifest_list(pi):
    flavour, host = FLAVOURS[pi.flavour], pi.host
    engine = flavour.platform.split("/")[1]
    assert host.check_output("dpkg --print-architecture") == flavour.debian
    assert host.check_output("docker version --format {{.Server.Arch}}") == engine
    release = checks.release(host)
    assert release["PANOPTES_PLATFORM"] == flavour.platform
    image = json.loads(host.check_output("docker image inspect %s", release["PANOPTES_UTILS_IMAGE"]))[0]
    assert image["Architecture"] == engine
    clock = float(host.check_output("docker exec config-server date +%s"))
    assert abs(clock - float(host.check_output("date +%s"))) < 60, "the containers live in another time"


def test_unit_is_whole_after_provisioning(pi):
    pi.whole()


def boot_id(pi) -> str:
    return pi.machine.ssh("cat /proc/sys/kernel/random/boot_id", limit=30)


# No board of QEMU's is a Pi: device tree and boot partition are laid out in a folder, the restart is a real one. The
# kernel's answer comes from /run, where it is only after the next start.
BOARD = """
set -e
mkdir -p /srv/pi/proc/device-tree /srv/pi/boot/firmware /srv/pi/sys/fs/cgroup /srv/pi/etc
printf 'Raspberry Pi 3 Model B Rev 1.2\\0' > /srv/pi/proc/device-tree/model
echo 'console=tty1 root=/dev/mmcblk0p2 rootwait' > /srv/pi/boot/firmware/cmdline.txt
rm -f /run/cgroup.controllers
ln -sf /run/cgroup.controllers /srv/pi/sys/fs/cgroup/cgroup.controllers
echo 'f /run/cgroup.controllers - - - - cpuset cpu io memory pids' > /etc/tmpfiles.d/board-under-test.conf
"""
ONLY_THE_ROLE = """
- name: Only the role
  hosts: units
  become: true
  gather_facts: false
  roles: [raspberry_pi]
"""


@nightly
def test_board_whose_kernel_counts_no_memory_is_restarted_once_and_comes_back(pi, tmp_path):
    (tmp_path / "play.yml").write_text(ONLY_THE_ROLE, encoding="utf-8")
    pi.machine.ssh(f"sudo sh -c {shlex.quote(BOARD)}")
    root = {"preflight_simulated_root": "/srv/pi", "raspberry_pi_root": "/srv/pi"}
    before = boot_id(pi)
    code, output, changed = pi.play(str(tmp_path / "play.yml"), **root)
    assert code == 0, output
    assert changed > 0
    after = boot_id(pi)
    assert after != before, output
    cmdline = pi.host.file("/srv/pi/boot/firmware/cmdline.txt").content_string
    assert cmdline == "console=tty1 root=/dev/mmcblk0p2 rootwait cgroup_enable=memory\n"
    pi.whole()
    code, output, changed = pi.play(str(tmp_path / "play.yml"), **root)
    assert (code, changed) == (0, 0), output
    pi.unchanged()
    assert boot_id(pi) == after


def test_power_cut_while_idle_and_no_network_at_boot(pi):
    before = pi.release()
    pi.machine.cut()
    start = time.monotonic()
    boot = pi.start(world=False)
    pi.wait_healthy()
    healthy = time.monotonic() - start
    pi.figures["power on to ssh"] = f"{boot:.0f} s"
    pi.figures["power on to both services healthy"] = f"{healthy:.0f} s, {healthy / boot:.2f} times that"
    assert pi.host.run("curl -m 5 -sk https://%s/v2/", read_lab()["registry"]).rc != 0, "the cable is not out"
    assert pi.whole() == before
    pi.machine.world(True)
    wait_for_registry(pi)
    pi.unchanged()


def wait_for_registry(pi) -> None:
    end = time.monotonic() + 300
    while pi.host.run("curl -m 5 -sk https://%s/v2/", read_lab()["registry"]).rc:
        assert time.monotonic() < end, "the registry cannot be reached again"
        time.sleep(2)


@pytest.fixture(scope="module")
def update(pi):
    """Another good release, of which 32 MB are new, and the tool that would bring it."""
    from lab.releases import Releases
    from lab.unit_under_test import UnitUnderTest

    releases = Releases(pi.flavour)
    unit = UnitUnderTest(pi.host, releases.source)
    unit.settings({"limits": pi.settings["release_limits"]})
    yield releases
    releases.remove_images()


# Where the update is when the power goes: its journal's point, and what must be true on the disk as well.
POINTS = {
    "the download": ("fetch:before", "ls /var/lib/docker/tmp/GetImageBlob*"),
    "the switch": ("switch:file", "true"),
}


@pytest.mark.parametrize("during", [pytest.param("the download", marks=nightly), "the switch"])
def test_power_cut_during_an_update(pi, update, during):
    point, condition = POINTS[during]
    old = pi.release()
    new = update.offer(f"big-{point.partition(':')[0]}", 32_000_000)
    assert new != old
    halt = "--setenv=PANOPTES_UNIT_STOP_AT=switch:file" if during == "the switch" else ""
    pi.machine.ssh(
        f"sudo systemd-run --unit=update-under-test {halt} panoptes-unit update --force "
        "--settings /etc/panoptes/unit-under-test.yaml"
    )
    pi.wait_for(f"grep -q {point} /var/lib/panoptes-unit/journal.jsonl && {condition}")
    pi.machine.cut()
    pi.start()
    pi.wait_for("! test -e /var/lib/panoptes-unit/journal.jsonl")
    now = pi.whole()
    assert now in (old, new)
    left = "old" if now == old else "new"
    pi.figures[f"power cut during {during}"] = f"whole on the {left} release, nobody touched it"


@nightly
def test_power_cut_during_a_repair(pi, update):
    """All images are gone, and the power goes while the release is fetched again: nobody has to come."""
    release = pi.release()
    pi.machine.ssh(
        "sudo sh -c 'docker rm --force config-server messaging-hub; docker image rm --force $(docker image ls --quiet)'"
    )
    pi.machine.ssh(
        "sudo systemd-run --unit=repair-under-test panoptes-unit repair --settings /etc/panoptes/unit-under-test.yaml"
    )
    pi.wait_for(
        "grep -q repair-fetch:before /var/lib/panoptes-unit/journal.jsonl && ls /var/lib/docker/tmp/GetImageBlob*"
    )
    pi.machine.cut()
    pi.start()
    pi.wait_for("! test -e /var/lib/panoptes-unit/journal.jsonl", limit=3600)
    assert pi.whole() == release
    pi.figures["power cut during a repair"] = "whole on its release, nobody touched it"


@nightly
def test_dead_card_is_replaced_by_a_blank_one_that_becomes_the_same_unit(pi, tmp_path):
    """The disk is lost; a blank one with the backup of the old becomes the same unit."""
    from lab.vm import clone

    host = pi.host
    host.check_output("docker exec config-server panoptes-config-server set location.elevation '1234.5 m'")
    pi.machine.ssh("sudo hostnamectl set-hostname pan000")
    before = checks.config(host)
    history = host.run("cat /var/lib/panoptes-unit/history.jsonl").stdout
    key = host.check_output("cat /etc/ssh/ssh_host_ed25519_key.pub")
    code, output, _ = pi.play("backup.yml", backup_dir=str(tmp_path), backup_host_keys=True)
    assert code == 0, output

    start = time.monotonic()
    clone(pi.machine.name, pi.flavour)
    assert not pi.host.exists("docker")
    code, output, _ = pi.play("unit.yml", unit_restore=True, backup_dir=str(tmp_path))
    assert code == 0, output
    pi.figures["blank card to the same unit"] = f"{(time.monotonic() - start) / 60:.1f} min"
    pi.whole()
    host = pi.host
    assert checks.config(host) == before
    assert host.run("cat /var/lib/panoptes-unit/history.jsonl").stdout.startswith(history)
    assert host.check_output("hostname") == "pan000"
    assert host.check_output("cat /etc/ssh/ssh_host_ed25519_key.pub") == key
    pi.unchanged()
