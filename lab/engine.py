"""Docker Engine on this machine: used if it answers, else installed, and started where no systemd does it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker

from .console import LabError, as_root, out, run, step
from .settings import DOCKER_HOST, TOP, State, cache

_PLAYBOOK = TOP / "lab" / "engine.yml"
_WAIT = 60  # seconds for the engine to answer after its start


def client() -> docker.DockerClient:
    """The engine's API.

    Raises:
        LabError: If no engine answers on the configured socket.
    """
    try:
        api = docker.DockerClient(base_url=DOCKER_HOST, timeout=600)
        api.ping()
    except docker.errors.DockerException as error:
        raise LabError(f"no Docker Engine answers on {DOCKER_HOST} ({error}); run `python -m lab up`") from None
    return api


def answers() -> bool:
    """Whether an engine answers on the configured socket."""
    try:
        client().close()
    except LabError:
        return False
    return True


def up(state: State) -> docker.DockerClient:
    """Bring the engine up; nothing happens where one answers."""
    if not answers():
        if shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin") is None:
            with step("Docker Engine: install by the docker role"):
                _install(state)
        if not answers():
            with step("Docker Engine: start"):
                _start(state)
    return client()


def _systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _packages() -> set:
    lines = run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n"]).splitlines()
    return {line.split()[1] for line in lines if line.startswith("ii")}


def _install(state: State) -> None:
    if not Path("/etc/debian_version").exists():
        raise LabError(
            "there is no Docker Engine here, and the lab installs it only on Debian and its kin; "
            "install Docker, then run this again"
        )
    before = _packages()
    made = [name for name in ("/etc/docker", "/var/lib/docker", "/var/lib/containerd") if not Path(name).exists()]
    state.set("engine_paths", made)
    try:
        run(
            [Path(sys.executable).with_name("ansible-playbook"), "--inventory", "localhost,", _PLAYBOOK],
            cache() / "logs" / "engine-install.log",
            env={"ANSIBLE_CONFIG": str(TOP / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        )
    finally:
        state.set("engine_packages", sorted(set(state.get("engine_packages", [])) | (_packages() - before)))


def _start(state: State) -> None:
    if _systemd():
        run(as_root(["systemctl", "start", "docker"]))
    else:
        if os.geteuid() != 0:
            raise LabError(
                "Docker Engine is installed but not running, and there is no systemd here to start it; "
                "start dockerd, or run this as root"
            )
        log = cache() / "logs" / "dockerd.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        pid_file = cache() / "dockerd.pid"
        # Left by an engine that was cut off; its number may be another program's by now, and dockerd would refuse.
        if not _is_dockerd(state.get("dockerd_pid")):
            pid_file.unlink(missing_ok=True)
        # Its own session: the engine outlives the terminal that started it.
        with log.open("ab") as file:
            process = subprocess.Popen(
                ["dockerd", "--host", DOCKER_HOST, "--pidfile", str(pid_file)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
            )
        state.set("dockerd_pid", process.pid)
    deadline = time.monotonic() + _WAIT
    while not answers():
        if not _systemd() and process.poll() is not None:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise LabError(f"dockerd ended with exit code {process.returncode} (all of it: {log})\n{tail}")
        if time.monotonic() > deadline:
            raise LabError(f"Docker Engine did not answer within {_WAIT} s on {DOCKER_HOST}")
        time.sleep(0.2)


def build_cli(state: State) -> str:
    """The docker command line that has BuildKit: the first of those on this machine, else Debian's plugin is added."""
    known = state.get("docker_cli")
    if known and Path(known).exists():
        return known
    found = [shutil.which("docker"), "/usr/bin/docker", "/usr/local/bin/docker"]
    for name in dict.fromkeys(name for name in found if name and Path(name).exists()):
        if _has_buildkit(name):
            state.set("docker_cli", name)
            return name
    before = _packages()
    with step("Docker Engine: BuildKit's command line plugin"):
        run(
            as_root(["apt-get", "install", "--yes", "--no-install-recommends", "docker-buildx"]),
            cache() / "logs" / "buildx-install.log",
        )
    state.set("engine_packages", sorted(set(state.get("engine_packages", [])) | (_packages() - before)))
    for again in found:
        if again and Path(again).exists() and _has_buildkit(again):
            state.set("docker_cli", again)
            return again
    raise LabError(
        "no docker command line here has BuildKit; install docker-buildx (Debian) or "
        "docker-buildx-plugin (Docker's repository)"
    )


def _has_buildkit(cli: str) -> bool:
    """Version 23 moved BuildKit's client into the buildx plugin; older ones have it built in."""
    plugin = subprocess.run([cli, "buildx", "version"], capture_output=True, check=False)
    if plugin.returncode == 0 and b"buildx" in plugin.stdout:
        return True
    version = subprocess.run([cli, "version", "--format", "{{.Client.Version}}"], capture_output=True, check=False)
    major = version.stdout.decode().split(".")[0]
    return major.isdigit() and 19 <= int(major) < 23


def down(state: State) -> None:
    """Stop the engine if the lab started it, and remove it if the lab installed it."""
    _stop(state)
    packages = state.get("engine_packages", [])
    if packages:
        with step(f"Docker Engine: remove {len(packages)} packages that the lab installed"):
            if _systemd():
                run(as_root(["systemctl", "stop", "docker.socket", "docker"]))
            run(
                as_root(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "purge", "--yes", *packages]),
                cache() / "logs" / "engine-remove.log",
            )
        for path in state.get("engine_paths", []):
            run(as_root(["rm", "-rf", "--one-file-system", path]))


def _is_dockerd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "dockerd"
    except OSError:
        return False


def _stop(state: State) -> None:
    pid = state.get("dockerd_pid")
    if not pid:
        return
    if _is_dockerd(pid):
        with step("Docker Engine: stop"):
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + _WAIT
            while Path(f"/proc/{pid}").exists():
                if time.monotonic() > deadline:
                    raise LabError(
                        f"dockerd (process {pid}) did not stop within {_WAIT} s; its log is in {cache()}/logs"
                    )
                time.sleep(0.2)
    else:
        out.print("  the engine that the lab started is not running any more")
    state.set("dockerd_pid", None)
