"""The disk of a blank machine, its kernel and its keys."""

import os
import subprocess
from pathlib import Path

from ..console import LabError, run
from ..settings import DOCKER_HOST, cache
from . import images

DISK_SIZE = "12G"
HOSTNAME = "raspberrypi"

# What `docker export` leaves empty or has no place on a disk, and what must not stand in an image: keys.
EDITS = """\
rm /.dockerenv
rm /etc/resolv.conf
rm /etc/hostname
rm /etc/hosts
cd /etc
write resolv.conf resolv.conf
write hostname hostname
write hosts hosts
cd /etc/ssh
write ssh_host_ed25519_key ssh_host_ed25519_key
write ssh_host_ed25519_key.pub ssh_host_ed25519_key.pub
cd /home/{user}/.ssh
write login.pub authorized_keys
"""
MAKE_DISK = f"""\
mkfs.ext4 -q -F -E assume_storage_prezeroed=1,root_owner=0:0 -d - disk.raw {DISK_SIZE}
debugfs -w -f edits disk.raw > edits.log 2>&1
qemu-img create -q -f qcow2 -b disk.raw -F raw disk.qcow2
"""


def machines_folder() -> Path:
    """Everything about virtual machines, outside the checkout."""
    path = cache() / "vm"
    path.mkdir(exist_ok=True)
    return path


def make(cli: str, tools: str, system: str, folder: Path) -> None:
    """Fill `folder` with kernel, initrd, disk.raw, disk.qcow2 over it, and the keys of the lab."""
    docker_cli = [cli, "--host", DOCKER_HOST]
    for name in ("login", "ssh_host_ed25519_key"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"panoptes-lab {name}", "-f", folder / name])
    (folder / "resolv.conf").write_text("nameserver 10.0.2.3\n", encoding="utf-8")
    (folder / "hostname").write_text(f"{HOSTNAME}\n", encoding="utf-8")
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {HOSTNAME}\n", encoding="utf-8")
    (folder / "edits").write_text(EDITS.format(user=images.USER), encoding="utf-8")
    container = run([*docker_cli, "create", system, "true"]).strip().splitlines()[-1]
    try:
        for link, name in (("/vmlinuz", "kernel"), ("/initrd.img", "initrd")):
            run([*docker_cli, "cp", "--follow-link", f"{container}:{link}", folder / name])
        program = [*docker_cli, "run", "--rm", "--interactive", "--user", f"{os.getuid()}:{os.getgid()}"]
        program += ["--volume", f"{folder}:{folder}", "--workdir", str(folder), "--env", "LC_ALL=C.UTF-8"]
        program += [tools, "sh", "-ec", MAKE_DISK]
        with subprocess.Popen([*docker_cli, "export", container], stdout=subprocess.PIPE) as tree:
            made = subprocess.run(program, stdin=tree.stdout, capture_output=True, check=False)
        if made.returncode or tree.returncode:
            raise LabError(f"the disk could not be made: {made.stderr.decode(errors='replace').strip()}")
    finally:
        run([*docker_cli, "rm", "--force", container])
