"""The state of a unit, read once by Ansible: what the roles decide by.

`Probe` only reads. Each of its methods answers one question and returns plain dictionaries, lists and strings.
Runs on Python 3.9 with the standard library only, because an Ansible module carries this file to units.
"""

from __future__ import annotations

import glob
import grp
import http.client
import json
import os
import platform
import pwd
import re
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..guarded import Folder, UnsafeError, open_folder
from .listeners import listeners_on

# A file under a test's root directory that stands for what cannot be faked by files alone: the answers of
# dpkg, uname and the clock. Keys: architecture, machine, now.
SIMULATED_ANSWERS = "simulated-answers.json"
COMPOSE_PROJECT = "panoptes"
DOCKER_SOCKET = "/var/run/docker.sock"
RELEASE_FILE = "/etc/panoptes/release.env"


class Probe:
    """Reads the state of the machine it runs on.

    Args:
        root: where the machine's own description is read from (os-release, device tree, systemd's mark); a
            test lays out a directory that describes another machine. Everything else is always the real one.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = Path(root)
        simulated = self.root / SIMULATED_ANSWERS
        self._simulated: Dict[str, Any] = json.loads(simulated.read_text()) if simulated.exists() else {}

    def distribution(self) -> Dict[str, Any]:
        """`id`, `version` (major as in os-release), `codename`, `name` of the distribution; empty if unknown.

        A 64-bit Raspberry Pi OS calls itself debian, the 32-bit one raspbian. Source: os-release(5).
        """
        fields = {}
        for name in ("etc/os-release", "usr/lib/os-release"):
            try:
                text = (self.root / name).read_text(encoding="utf-8")
            except OSError:
                continue
            for key, value in re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE):
                fields[key] = value.strip().strip("\"'")
            break
        return {
            "id": fields.get("ID", ""),
            "version": fields.get("VERSION_ID", ""),
            "codename": fields.get("VERSION_CODENAME", ""),
            "name": fields.get("PRETTY_NAME", ""),
        }

    def architecture(self) -> Dict[str, Any]:
        """`dpkg` (amd64, armhf, arm64; empty without dpkg), `machine` (the kernel's word), `board` (a Pi's model)."""
        dpkg = self._simulated.get("architecture")
        if dpkg is None:
            dpkg = _output(["dpkg", "--print-architecture"])
        try:
            board = (self.root / "proc/device-tree/model").read_text(encoding="utf-8").rstrip("\0\n")
        except (OSError, UnicodeDecodeError):
            board = ""
        return {
            "dpkg": dpkg,
            "machine": self._simulated.get("machine") or platform.machine(),
            "board": board,
        }

    def systemd(self) -> bool:
        """True when systemd is PID 1. Source: sd_booted(3)."""
        return (self.root / "run/systemd/system").is_dir()

    def container(self) -> bool:
        """True inside a container, where there is no clock to set and no kernel of its own."""
        return (self.root / "run/systemd/container").exists() or (self.root / ".dockerenv").exists()

    def now(self) -> float:
        """This machine's clock in seconds since 1970."""
        return float(self._simulated.get("now", time.time()))

    def disks(self, paths: List[str]) -> Dict[str, Any]:
        """path -> `free` and `total` bytes of the file system that holds (or will hold) it, and its `device` number."""
        found = {}
        for path in paths:
            place = Path(path)
            while not place.exists() and place != place.parent:
                place = place.parent
            usage = shutil.disk_usage(place)
            found[path] = {"free": usage.free, "total": usage.total, "device": place.stat().st_dev}
        return found

    def packages(self, names: List[str]) -> Dict[str, Any]:
        """name -> version of those Debian packages that are installed."""
        if not names:
            return {}
        # dpkg-query prints what it knows and complains about the rest.
        text = _output(["dpkg-query", "-W", "-f", "${db:Status-Status} ${binary:Package} ${Version}\n", *names])
        rows = [line.split() for line in text.splitlines()]
        return {row[1].split(":")[0]: row[2] for row in rows if len(row) == 3 and row[0] == "installed"}

    def packages_interrupted(self) -> bool:
        """True where dpkg was cut off in the middle: apt then refuses everything. Source: dpkg's dbmodify.c."""
        updates = self.root / "var/lib/dpkg/updates"
        return updates.is_dir() and any(path.name.isdigit() for path in updates.iterdir())

    def package_lists_age(self) -> float:
        """Seconds since apt's lists were fetched; 10 years where there are none (as in most container images)."""
        lists = [path.stat().st_mtime for path in Path("/var/lib/apt/lists").glob("*_Packages*")]
        return max(0.0, time.time() - max(lists)) if lists else 10 * 365.25 * 86400

    def files(self, patterns: List[str]) -> Dict[str, Any]:
        """path -> `kind`, `mode`, `uid`, `gid`, `age_s` and, by kind, `sha256` or `target`; without absent paths."""
        found = {}
        for pattern in patterns:
            for path in glob.glob(pattern) if glob.has_magic(pattern) else [pattern]:  # noqa: PTH207 - absolute
                described = _describe_file(path)
                if described:
                    found[path] = described
        return found

    def users(self, wanted: List[str]) -> Dict[str, Any]:
        """Name or number (as text) -> `name`, `uid`, `gid`, `groups`, `home`. Absent users are left out."""
        found = {}
        for key in wanted:
            try:
                entry = pwd.getpwuid(int(key)) if str(key).isdigit() else pwd.getpwnam(str(key))
            except KeyError:
                continue
            groups = sorted(group.gr_name for group in grp.getgrall() if entry.pw_name in group.gr_mem)
            found[str(key)] = {
                "name": entry.pw_name,
                "uid": entry.pw_uid,
                "gid": entry.pw_gid,
                "groups": groups,
                "home": entry.pw_dir,
            }
        return found

    def groups(self, wanted: List[str]) -> Dict[str, Any]:
        """Name or number (as text) -> `name`, `gid`. Absent groups are left out."""
        found = {}
        for key in wanted:
            try:
                entry = grp.getgrgid(int(key)) if str(key).isdigit() else grp.getgrnam(str(key))
            except KeyError:
                continue
            found[str(key)] = {"name": entry.gr_name, "gid": entry.gr_gid}
        return found

    def services(self, units: List[str]) -> Dict[str, Any]:
        """systemd unit -> `exists`, `active`, `enabled`, and `active_s`, for how long; empty without systemd.

        Seconds by the clock that only counts up: a Pi starts its services before it knows what time it is.
        """
        if not units or not self.systemd():
            return {}
        text = _output(
            [
                "systemctl",
                "show",
                "-p",
                "Id,LoadState,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic",
                "--",
                *units,
            ]
        )
        found = {}
        for unit, block in zip(units, text.split("\n\n")):
            fields = dict(line.partition("=")[::2] for line in block.splitlines())
            found[unit] = {
                "exists": fields.get("LoadState") not in ("not-found", None),
                "active": fields.get("ActiveState") == "active",
                "active_s": time.monotonic() - int(fields.get("ActiveEnterTimestampMonotonic") or 0) / 1e6,
                "enabled": fields.get("UnitFileState", "").startswith("enabled"),
            }
        return found

    def listeners(self, ports: List[Any]) -> Dict[str, List[Dict[str, Any]]]:
        """Port (as text) -> list of `address`, `pid`, `process` that listen on it over TCP; free ports are left out."""
        return listeners_on(ports)

    def engine(self) -> Dict[str, Any]:
        """`version` and `architecture` of Docker Engine; empty where none answers."""
        version = _engine_get("/version") or {}
        return {"version": version["Version"], "architecture": version.get("Arch", "")} if version else {}

    def containers(self, project: str = COMPOSE_PROJECT) -> Dict[str, Any]:
        """Compose service -> `state`, `health`, `image`, `pid`, `restarts`, `labels` of the project's containers."""
        label = json.dumps({"label": [f"com.docker.compose.project={project}"]})
        found = {}
        for row in _engine_get(f"/containers/json?all=1&filters={_quoted(label)}") or []:
            detail = _engine_get(f"/containers/{row['Id']}/json") or {}
            state = detail.get("State", {})
            labels = (detail.get("Config") or {}).get("Labels") or {}
            found[labels.get("com.docker.compose.service", detail.get("Name", "").strip("/"))] = {
                "state": state.get("Status", ""),
                "health": (state.get("Health") or {}).get("Status", ""),
                "pid": state.get("Pid", 0),
                "restarts": detail.get("RestartCount", 0),
                "image": (detail.get("Config") or {}).get("Image", ""),
                "labels": labels,
            }
        return found

    def images(self) -> List[str]:
        """Every `name@sha256:…` by which an image on this machine can be referred to."""
        rows = _engine_get("/images/json") or []
        return sorted(digest for row in rows for digest in row.get("RepoDigests") or [])

    def compose_hashes(self, compose_file: str, env_file: str, project: str = COMPOSE_PROJECT) -> Dict[str, str]:
        """Service -> configuration hash that Compose computes now; empty if the files are absent or invalid."""
        if not (Path(compose_file).exists() and Path(env_file).exists()):
            return {}
        text = _output(
            ["docker", "compose", "-p", project, "-f", compose_file, "--env-file", env_file, "config", "--hash", "*"]
        )
        return dict(line.split() for line in text.splitlines() if len(line.split()) == 2)

    def release(self, path: str = RELEASE_FILE) -> Dict[str, str]:
        """The keys of the release file; empty where nothing was deployed."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError:
            return {}
        return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))


def _output(command: List[str]) -> str:
    """What a command prints; empty where it is not installed. Its exit code is not looked at."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


def _describe_file(path: str) -> Dict[str, Any]:
    name = Path(path).name
    try:
        with open_folder(Path(path).parent) as folder:
            info = folder.status(name) if name else folder.info
            if info is None:
                return {}
            target = os.readlink(name, dir_fd=folder.descriptor) if stat.S_ISLNK(info.st_mode) else ""
            checksum = _checksum(folder, name) if stat.S_ISREG(info.st_mode) else ""
    except (OSError, UnsafeError):
        return {}
    described: Dict[str, Any] = {"mode": f"{stat.S_IMODE(info.st_mode):04o}", "uid": info.st_uid, "gid": info.st_gid}
    described["age_s"] = time.time() - info.st_mtime
    if stat.S_ISLNK(info.st_mode):
        target = os.path.join(os.path.dirname(path), target)  # noqa: PTH118, PTH120 - one step only
        described.update(kind="link", target=os.path.normpath(target))
    elif stat.S_ISDIR(info.st_mode):
        described.update(kind="directory")
    elif stat.S_ISREG(info.st_mode):
        described.update(kind="file", sha256=checksum)
    else:
        described.update(kind="other")
    return described


def _checksum(folder: Folder, name: str) -> str:
    """Empty for a file that root does not read: it is like no wanted one."""
    try:
        return folder.sha256(name)
    except UnsafeError:
        return ""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over Docker's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _engine_get(path: str) -> Optional[Any]:
    connection = _UnixConnection(DOCKER_SOCKET)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return json.loads(body) if response.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())
