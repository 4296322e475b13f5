"""Where the lab keeps its things, what they are called, and what it has already made."""

import fcntl
import ipaddress
import json
import os
import platform
import shutil
from contextlib import contextmanager
from pathlib import Path

from console import LabError

TOP = Path(__file__).resolve().parents[2]
# Every container, volume, network and image of the lab carries LABEL=NETWORK: that is what `clean` removes.
LABEL = "org.projectpanoptes.lab"
NETWORK = os.environ.get("PANOPTES_LAB_NETWORK", "panoptes-lab")
SUBNET = os.environ.get("PANOPTES_LAB_SUBNET", "172.30.63.0/24")
SUITE = "trixie"
DOCKER_HOST = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64v8", "arm64": "arm64v8", "armv7l": "arm32v7"}
PLATFORMS = {"amd64": "linux/amd64", "arm32v7": "linux/arm/v7", "arm64v8": "linux/arm64/v8"}
DEBIAN = {"amd64": "amd64", "arm32v7": "armhf", "arm64v8": "arm64"}
# What is emulated; docker/build-image.sh says what a processor with more to it costs.
PROCESSORS = {"arm32v7": "cortex-a15", "arm64v8": "cortex-a72"}


def architecture() -> str:
    """This machine's flavour (amd64, arm32v7 or arm64v8)."""
    machine = platform.machine()
    try:
        return _MACHINES[machine]
    except KeyError:
        raise LabError(
            f"no flavour of the images runs on machine type {machine!r}; use an amd64, ARMv7 or ARM64 machine"
        ) from None


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
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(os.environ.get("PANOPTES_LAB_CACHE") or Path(home) / "panoptes-lab")
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_json(path: Path, content: dict) -> None:
    """Write a file that is always either the old or the new one."""
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class State:
    """What the lab made on this machine, kept so that `clean` removes that and nothing else."""

    def __init__(self) -> None:
        self._path = cache() / "state.json"
        try:
            self._content = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            self._content = {}

    def get(self, key: str, default=None):
        return self._content.get(key, default)

    def set(self, key: str, value) -> None:
        if self._content.get(key) != value:
            self._content[key] = value
            write_json(self._path, self._content)

    def add(self, key: str, value: str) -> None:
        """Add a value to a list that holds each value once."""
        known = self.get(key, [])
        if value not in known:
            self.set(key, [*known, value])


def _lock_file() -> Path:
    return cache().parent / f".{cache().name}.lock"


@contextmanager
def lock():
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
