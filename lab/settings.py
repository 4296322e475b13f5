"""Where the lab keeps its things, what they are called, and what it has already made."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from panoptes_unit.files import read_json, write_durably

from .console import LabError
from .flavours import FLAVOURS

TOP = Path(__file__).resolve().parents[1]
# Every container, volume, network and image of the lab carries LABEL=NETWORK: that is what `clean` removes.
LABEL = "org.projectpanoptes.lab"
NETWORK = os.environ.get("PANOPTES_LAB_NETWORK", "panoptes-lab")
SUBNET = os.environ.get("PANOPTES_LAB_SUBNET", "172.30.63.0/24")
SUITE = "trixie"
LAB_FILE = "lab.json"
DOCKER_HOST = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


def architecture() -> str:
    """This machine's flavour (amd64, arm32v7 or arm64v8)."""
    machine = platform.machine()
    for name, flavour in FLAVOURS.items():
        if machine in flavour.machines:
            return name
    raise LabError(f"no flavour of the images runs on machine type {machine!r}; use an amd64, ARMv7 or ARM64 machine")


def subnet() -> ipaddress.IPv4Network:
    """The lab's own network."""
    try:
        network = ipaddress.IPv4Network(SUBNET)
    except ValueError as error:
        raise LabError(f"PANOPTES_LAB_SUBNET is not a network ({error}); give one such as 172.30.63.0/24") from None
    if network.num_addresses < 16:
        raise LabError(f"PANOPTES_LAB_SUBNET={SUBNET} is too small; give at least a /28")
    return network


def registry_address() -> str:
    """ADDRESS:PORT of the registry, the same for this machine, containers and virtual machines."""
    return f"{subnet()[2]}:5000"


def cache() -> Path:
    """The lab's folder outside the checkout."""
    path = _place()
    path.mkdir(parents=True, exist_ok=True)
    return path


def _place() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PANOPTES_LAB_CACHE") or Path(home) / "panoptes-lab")


def write_lab(content: dict) -> None:
    """Write down what stands, for everybody who uses the lab: `lab.json`."""
    _write_json(cache() / LAB_FILE, content)


def read_lab() -> dict:
    """What `python -m lab up` wrote down.

    Raises:
        LabError: there is no lab on this machine.
    """
    content = read_json(_place() / LAB_FILE)
    if content is None:
        raise LabError(f"there is no lab in {_place()}; `make lab` brings it up")
    return content


def _write_json(path: Path, content: dict) -> None:
    write_durably(path, json.dumps(content, indent=2) + "\n")


class State:
    """What the lab made on this machine, kept so that `clean` removes that and nothing else."""

    def __init__(self) -> None:
        self._path = cache() / "state.json"
        self._content = read_json(self._path) or {}

    def get(self, key: str, default: Any = None) -> Any:
        return self._content.get(key, default)

    def set(self, key: str, value: Any) -> None:
        if self._content.get(key) != value:
            self._content[key] = value
            _write_json(self._path, self._content)

    def add(self, key: str, value: str) -> None:
        """Add a value to a list that holds each value once."""
        known = self.get(key, [])
        if value not in known:
            self.set(key, [*known, value])


def _lock_file() -> Path:
    return cache().parent / f".{cache().name}.lock"


@contextmanager
def lock() -> Iterator[None]:
    """One `up` or `clean` at a time; a second one waits."""
    while True:
        with _lock_file().open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("lab: another run is at work; waiting for it", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            # A `clean` that we waited for has removed the file: then this lock excludes nobody.
            if _lock_file().exists() and _lock_file().stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield
                return


def remove_files() -> None:
    """Remove the lab's folder and, last, the lock that the caller holds."""
    lock_file = _lock_file()
    shutil.rmtree(cache())
    lock_file.unlink()
