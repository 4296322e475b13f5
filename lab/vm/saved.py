"""A blank machine, installed and booted once and kept with its running state: every other is cloned from it."""

import hashlib
import shutil
import tempfile
import time
from pathlib import Path

import docker

from .. import emulation, engine, rootfs
from ..console import LabError, step
from ..settings import State, architecture, lock
from . import disk, images
from .boards import Board, board, command
from .machine import Machine, machines
from .qmp import Monitor


def clone(name: str, flavour: str) -> Machine:
    """A blank machine, running, cloned from the saved one; one of the same name is thrown away first."""
    source, tools = saved(flavour)
    machine = Machine.named(name)
    machine.destroy()
    machine.folder.mkdir(parents=True)
    for part in ("kernel", "initrd", "login", "ssh_host_ed25519_key.pub"):
        (machine.folder / part).symlink_to(source / part)
    machine.write(flavour, tools)
    with step(f"machine {name}: cloned and awake"):
        api = engine.client()
        machine.tool(
            [
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-b",
                str(source / "disk.qcow2"),
                "-F",
                "qcow2",
                str(machine.folder / "disk.qcow2"),
            ]
        )
        machine.on(api, state=source / "state")
        machine.wait(120)
        # It slept since it was saved.
        machine.ssh(f"sudo date --utc --set=@{time.time():.0f}")
    return machine


def saved(flavour: str) -> tuple:
    """The folder of the saved machine of a flavour, made if it is not there, and the image with QEMU."""
    kind, own = board(flavour), architecture()
    with lock():
        state = State()
        api = engine.up(state)
        cli = engine.build_cli(state)
        emulation.up(state, own, [flavour])
        bases = [rootfs.up(api, state, cli, each) for each in (own, flavour)]
    tools = images.tools(api, cli, rootfs.image_name(own), bases[0], own)
    system = images.system(api, cli, rootfs.image_name(flavour), bases[1], kind)
    recipe = repr((tools, system, disk.EDITS, disk.MAKE_DISK, disk.HOSTNAME, command(kind, "", 0)))
    target = disk.machines_folder() / f"{flavour}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not (target / "state").exists():
        folder = Path(tempfile.mkdtemp(dir=disk.machines_folder(), prefix=f"{flavour}-new-"))
        try:
            with step(f"disk of a blank machine ({flavour})"):
                disk.make(cli, tools, system, folder)
            with step(f"first boot of a blank machine ({flavour})"):
                _boot_and_save(api, tools, kind, folder)
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        _prune(flavour, target)
    return target, tools


def _prune(flavour: str, newest: Path) -> None:
    """Remove saved machines of a flavour that no recipe makes any more; one whose clones still exist stays."""
    used = {(machine.folder / "kernel").resolve().parent for machine in machines()}
    for folder in disk.machines_folder().glob(f"{flavour}-*"):
        if folder not in {newest, *used} and "-new-" not in folder.name:
            shutil.rmtree(folder)


def _boot_and_save(api: docker.DockerClient, tools: str, kind: Board, folder: Path) -> None:
    machine = Machine(folder)
    machine.write(kind.flavour, tools)
    machine.on(api)
    try:
        machine.wait(600)
        machine.ssh("sudo systemctl is-system-running --wait; sync")
        with Monitor(folder / "qmp.sock") as monitor:
            monitor.execute("stop")
            monitor.execute("migrate", uri=f"file:{folder}/state.new")
            if monitor.wait_for("query-migrate", {"completed", "failed"}, 300) == "failed":
                raise LabError("QEMU could not save the machine")
            monitor.execute("quit")
    finally:
        machine.cut(api)
    (folder / "state.new").rename(folder / "state")
