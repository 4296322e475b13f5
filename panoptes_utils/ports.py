"""Addresses and TCP ports of this machine: which are its own, and who holds one."""

import ipaddress
from contextlib import suppress
from pathlib import Path
from typing import Set, Tuple


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; of names only `localhost` is sure to be such."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def holder_of(port: int) -> str:
    """Name and number of the process that listens on the port, as far as this user may know.

    >>> holder_of(22)
    'sshd (process 612)'
    """
    inodes, owners = _listeners(port)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if _sockets(folder / "fd") & inodes:
                name = (folder / "cmdline").read_bytes().split(b"\0")
                words = [Path(word.decode(errors="replace")).name for word in name[:2] if word]
                return f"{' '.join(words)} (process {folder.name})"
        except OSError:
            continue
    if owners:
        return f"a process of user {', '.join(sorted(owners))}"
    return "another process"


def owners_of(port: int) -> Set[str]:
    """Numbers of the users whose processes listen on the port."""
    return _listeners(port)[1]


def _sockets(folder: Path) -> Set[str]:
    """Inodes of the sockets that a process has open; it may close some while we look."""
    links = set()
    for link in folder.iterdir():
        with suppress(FileNotFoundError):
            links.add(str(link.readlink()))
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def _listeners(port: int) -> Tuple[Set[str], Set[str]]:
    """Socket inodes and user numbers of those that listen on the port."""
    inodes, owners = set(), set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            field = line.split()
            if field[3] == "0A" and int(field[1].rpartition(":")[2], 16) == port:
                inodes.add(field[9])
                owners.add(field[7])
    return inodes, owners
