"""Role raspberry_pi on a boot partition, a device tree and settings laid out under a directory of the test's own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ansible")
TOP = Path(__file__).parents[3]
CMDLINE = "console=serial0,115200 console=tty1 root=PARTUUID=1-02 rootfstype=ext4 fsck.repair=yes rootwait"
PLAYBOOK = """\
- name: Only the role
  hosts: localhost
  connection: local
  gather_facts: false
  roles: [raspberry_pi]
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="the role writes files of root"),
    pytest.mark.skipif(not shutil.which("ansible-playbook"), reason="ansible is not on PATH"),
]


@pytest.fixture
def pi(tmp_path):
    root = tmp_path / "pi"
    for name, text in {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
        "boot/firmware/cmdline.txt": CMDLINE + "\n",
        "etc/fstab": "PARTUUID=1-01 /boot/firmware vfat defaults 0 2\nPARTUUID=1-02 / ext4 defaults 0 1\n",
        "dev/watchdog": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def play(pi, *options):
    playbook = pi.parent / "play.yml"
    playbook.write_text(PLAYBOOK, encoding="utf-8")
    settings = {
        "preflight_simulated_root": str(pi),
        "raspberry_pi_root": str(pi),
        "ansible_python_interpreter": sys.executable,
    }
    command = ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(settings), *options, str(playbook)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, env=environment)
    done.recap = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", done.stdout.split("PLAY RECAP")[-1])}
    return done


def text(pi, name):
    return (pi / name).read_text(encoding="utf-8")


def test_board_is_set_up_once_and_then_left_alone(pi):
    looked = play(pi, "--check", "--diff")
    assert looked.returncode == 0, looked.stdout
    assert looked.recap["changed"] > 0
    assert not (pi / "etc/systemd").exists(), "check mode wrote something"

    done = play(pi)
    assert done.returncode == 0, done.stdout
    assert "RuntimeWatchdogSec=15" in text(pi, "etc/systemd/system.conf.d/90-panoptes.conf")
    assert "SystemMaxUse=100M" in text(pi, "etc/systemd/journald.conf.d/90-panoptes.conf")
    assert re.search(r"^w .*/usbfs_memory_mb .* 200$", text(pi, "etc/tmpfiles.d/panoptes-usb.conf"), re.MULTILINE)
    fstab = text(pi, "etc/fstab")
    assert re.search(r"^PARTUUID=1-02 / ext4 defaults,noatime 0 1$", fstab, re.MULTILINE), fstab
    assert re.search(r"^tmpfs /tmp tmpfs mode=1777,nosuid,nodev,size=256m ", fstab, re.MULTILINE), fstab
    assert "PARTUUID=1-01 /boot/firmware vfat defaults 0 2" in fstab
    camera = pi / "etc/systemd/user/gvfs-gphoto2-volume-monitor.service"
    assert str(camera.readlink()) == "/dev/null"
    # This kernel counts memory already: nothing to ask it for, nothing to restart.
    assert text(pi, "boot/firmware/cmdline.txt") == CMDLINE + "\n"

    again = play(pi)
    assert again.returncode == 0, again.stdout
    assert again.recap["changed"] == 0
    assert again.recap["ok"] == 3, "a finished board costs the reading of its state and nothing more"


def test_kernel_without_memory_cgroup_is_told_once_and_restarted(pi):
    (pi / "sys/fs/cgroup/cgroup.controllers").write_text("cpuset cpu io pids\n")
    cmdline = pi / "boot/firmware/cmdline.txt"
    cmdline.write_text(CMDLINE + " cgroup_disable=memory\n")
    asked = play(pi)
    assert asked.returncode != 0
    assert "sudo reboot" in asked.stdout
    assert cmdline.read_text() == CMDLINE + " cgroup_enable=memory\n"
    assert list(cmdline.parent.glob("cmdline.txt.*~")), "no copy of the old file was kept"

    # Typed again without the restart: the file is right already and the same advice comes.
    before = cmdline.stat().st_mtime_ns
    assert "sudo reboot" in play(pi).stdout
    assert cmdline.stat().st_mtime_ns == before

    # After it.
    (pi / "sys/fs/cgroup/cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    assert play(pi).recap["changed"] == 0


def test_boot_partition_that_is_not_mounted_is_named(pi):
    (pi / "sys/fs/cgroup/cgroup.controllers").write_text("cpuset cpu io pids\n")
    shutil.rmtree(pi / "boot")
    refused = play(pi)
    assert refused.returncode != 0
    assert "no cmdline.txt in /boot/firmware or /boot" in refused.stdout


def test_settings_taken_back_are_removed(pi):
    assert play(pi).returncode == 0
    done = play(pi, "-e", '{"raspberry_pi_usb_memory_mb": 0, "raspberry_pi_watchdog_s": 0}')
    assert done.returncode == 0, done.stdout
    assert not (pi / "etc/tmpfiles.d/panoptes-usb.conf").exists()
    assert not (pi / "etc/systemd/system.conf.d/90-panoptes.conf").exists()


def test_machine_that_is_no_pi_is_left_alone(pi):
    (pi / "proc/device-tree/model").write_text("linux,dummy-virt\0")
    done = play(pi)
    assert done.returncode == 0, done.stdout
    assert done.recap["changed"] == 0
    assert done.recap["ok"] == 3  # argument check, include, probe
    assert not (pi / "etc/systemd").exists()
