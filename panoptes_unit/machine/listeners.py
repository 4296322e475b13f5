"""Who listens on a TCP port of this machine, as the kernel's own tables say."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any, Dict, List, Set


def listeners_on(ports: List[Any]) -> Dict[str, List[Dict[str, Any]]]:
    """Port (as text) -> list of `address`, `pid`, `process`, `ancestors` (pids), `container` (its id, where it runs in
    one of Docker's); free ports are left out.
    """
    wanted = {int(port) for port in ports}
    sockets = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == "0A" and int(port, 16) in wanted:
                sockets[fields[9]] = (int(port, 16), _address(address))
    found: Dict[str, List[Dict[str, Any]]] = {}
    owners = _socket_owners(set(sockets)) if sockets else {}
    for inode, (number, address) in sorted(sockets.items(), key=lambda item: item[1]):
        pid = owners.get(inode, 0)
        found.setdefault(str(number), []).append(
            {
                "address": address,
                "pid": pid,
                "process": _process_name(pid),
                "ancestors": _ancestors(pid),
                "container": container_of(pid),
            }
        )
    return found


def _address(raw: str) -> str:
    """An address of /proc/net/tcp as people write it. Each 32-bit word there is in host byte order."""
    words = [bytes.fromhex(raw[start : start + 8])[::-1] for start in range(0, len(raw), 8)]
    data = b"".join(words)
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def _socket_owners(inodes: Set[str]) -> Dict[str, int]:
    """Socket inode -> pid of a process that holds it (the first, which is the parent of a forking server)."""
    owners: Dict[str, int] = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):  # noqa: PTH208 - names only
        try:
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor.path))  # noqa: PTH115
                if match and match.group(1) in inodes:
                    owners.setdefault(match.group(1), pid)
        except OSError:
            continue
    return owners


def _process_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() if pid else ""
    except OSError:
        return ""


def container_of(pid: int, proc: Path = Path("/proc")) -> str:
    """The id of its container, which the kernel knows also while Docker Engine is silent; empty where it is in none."""
    # `docker-ID.scope` where systemd makes the group, `docker/ID` where the engine does. A machine may be a container
    # itself, as the first process and all others of it are then.
    machine, process = (_groups(number, proc) for number in (1, pid))
    return next((one for one in process if one not in machine), "")


def _groups(pid: int, proc: Path) -> List[str]:
    try:
        return re.findall(r"docker[-/]([0-9a-f]{64})", (proc / str(pid) / "cgroup").read_text()) if pid else []
    except OSError:
        return []


def _ancestors(pid: int) -> List[int]:
    """The process and its parents, so that a listener inside a container is known by the container's first process."""
    chain = []
    while pid > 1 and pid not in chain:
        chain.append(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            break
    return chain
