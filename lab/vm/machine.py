"""One virtual machine: switched on, cut from power, taken off the network, thrown away."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Optional

import docker

from .. import engine
from ..console import LabError, run
from ..settings import DOCKER_HOST, LABEL, NETWORK, State
from . import disk, images
from .boards import board, command
from .qmp import Monitor

_SSH = """\
Host {name}
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {login}
    IdentitiesOnly yes
    HostKeyAlias {name}
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking yes
    ConnectTimeout 20
    ServerAliveInterval 10
    ServerAliveCountMax 6
    LogLevel ERROR
"""


class Machine:
    """A machine whose files are in a folder of its own; the folder's name is the machine's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.ssh_config = folder / "ssh_config"

    @classmethod
    def named(cls, name: str) -> "Machine":
        """The machine of that name, whether it exists or not."""
        return cls(disk.machines_folder() / "machines" / name)

    @property
    def settings(self) -> dict:
        """`flavour`, `port`, `tools` (the image with QEMU)."""
        try:
            return json.loads((self.folder / "machine.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LabError(f"there is no machine {self.name}: python -m lab vm create {self.name}") from None

    @property
    def ansible_connection(self) -> dict:
        """Variables with which Ansible reaches it, and no machine of the same name in another lab."""
        return {
            "ansible_connection": "ssh",
            "ansible_ssh_common_args": f"-F {self.ssh_config}",
            "ansible_control_path": str(self.folder / "ssh.socket"),
        }

    @property
    def container(self) -> str:
        """Name of the container in which its QEMU runs."""
        return f"{NETWORK}-vm-{self.name}"

    def write(self, flavour: str, tools: str) -> None:
        """The machine's own files beside its disk."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (self.folder / "machine.json").write_text(
            json.dumps({"flavour": flavour, "port": port, "tools": tools}), encoding="utf-8"
        )
        host_key = (self.folder / "ssh_host_ed25519_key.pub").read_text(encoding="utf-8")
        (self.folder / "known_hosts").write_text(f"{self.name} {host_key}", encoding="utf-8")
        self.ssh_config.write_text(
            _SSH.format(
                name=self.name, port=port, user=images.USER, login=(self.folder / "login").resolve(), folder=self.folder
            ),
            encoding="utf-8",
        )

    def on(self, api: Optional[docker.DockerClient] = None, state: Optional[Path] = None, world: bool = True) -> None:
        """Switch it on.

        Args:
            api: The engine, if the caller has it.
            state: File with a saved state to go on from; without it the machine boots.
            world: Whether its way to the world is plugged in.
        """
        api, here = api or engine.client(), self.settings
        self._remove(api)
        (self.folder / "qmp.sock").unlink(missing_ok=True)
        wanted = command(board(here["flavour"]), str(self.folder), here["port"])
        # Everything else on this machine comes first.
        wanted = ["nice", "-n", "19", *wanted, *(["-incoming", f"file:{state}"] if state else [])]
        vm = str(disk.machines_folder())
        api.containers.run(
            here["tools"],
            wanted,
            name=self.container,
            detach=True,
            network_mode="host",
            labels={LABEL: NETWORK},
            user=f"{os.getuid()}:{os.getgid()}",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            tmpfs={"/tmp": "", "/var/tmp": ""},
            volumes={vm: {"bind": vm}},
        )
        try:
            with Monitor(self.folder / "qmp.sock") as monitor:
                monitor.wait_for("query-status", {"paused", "prelaunch"}, 60)
                monitor.execute("set_link", name="world", up=world)
                monitor.execute("cont")
        except (LabError, OSError) as error:
            log = api.containers.get(self.container).logs(tail=10).decode(errors="replace").strip()
            raise LabError(f"machine {self.name} does not start ({error}): {log}") from None

    def cut(self, api: Optional[docker.DockerClient] = None) -> None:
        """Cut the power: QEMU is killed, and what the guest had not synced is gone."""
        self._remove(api or engine.client())

    def running(self) -> bool:
        """Whether its power is on."""
        try:
            return engine.client().containers.get(self.container).status == "running"
        except docker.errors.NotFound:
            return False

    def world(self, up: bool) -> None:
        """Plug in or pull the cable to the world; ssh from this machine stays."""
        with Monitor(self.folder / "qmp.sock") as monitor:
            monitor.execute("set_link", name="world", up=up)

    def ssh(self, script: str, *, limit: float = 300) -> str:
        """Run a shell script on it; returns its output.

        Raises:
            LabError: If the login or the script fails.
        """
        return run(["ssh", "-F", self.ssh_config, self.name, script], timeout=limit)

    def wait(self, limit: float) -> float:
        """Wait until it lets a person in; returns the seconds that took."""
        start = time.monotonic()
        while True:
            login = subprocess.run(
                ["ssh", "-F", str(self.ssh_config), "-o", "ConnectTimeout=10", self.name, "true"],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            if login.returncode == 0:
                return time.monotonic() - start
            if time.monotonic() - start > limit:
                raise LabError(
                    f"{self.name} accepts no login after {limit:.0f} s ({login.stderr.strip()})\n{self.console()}"
                )
            if not self.running():
                raise LabError(f"machine {self.name} switched itself off while it started\n{self.console()}")
            time.sleep(1)

    def console(self, lines: int = 20) -> str:
        """The end of what it said on its console."""
        try:
            text = (self.folder / "console.log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def destroy(self) -> None:
        """Throw it away, disk and all."""
        if engine.answers():
            self._remove(engine.client())
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove(self, api: docker.DockerClient) -> None:
        with contextlib.suppress(docker.errors.NotFound):
            api.containers.get(self.container).remove(force=True)  # SIGKILL to QEMU, the container's first process

    def tool(self, words: list) -> None:
        """Run a program of the image with QEMU on the machine's files while it is off."""
        vm = str(disk.machines_folder())
        run(
            [
                engine.build_cli(State()),
                "--host",
                DOCKER_HOST,
                "run",
                "--rm",
                "--network",
                "none",
                "--user",
                f"{os.getuid()}:{os.getgid()}",
                "--volume",
                f"{vm}:{vm}",
                self.settings["tools"],
                *words,
            ]
        )


def machines() -> list:
    """Every machine there is, on or off."""
    folder = disk.machines_folder() / "machines"
    return [Machine(path) for path in sorted(folder.glob("*")) if (path / "machine.json").exists()]
