"""What must be true of a machine before anything on it is changed: every problem, each with its remedy.

Works on what `probe` read. Standard library only, because an Ansible module carries this file to units.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, NamedTuple, Optional

from ..errors import PlatformError, UnitError
from ..settings import Limits
from ..sources.platforms import platform_of
from ..sources.reference import Credentials, Reference
from ..sources.registry import Registry
from .clock import is_plausible


class Requirements(NamedTuple):
    """What a machine has to offer. Field by field as in the defaults of role preflight."""

    distributions: Dict[str, List[str]]  # id -> list of versions
    free_mb: Dict[str, float]  # path -> MB
    ports: Dict[str, str]  # port as text -> what wants it
    clock: float = 0.0  # another machine's clock at the time of asking, seconds since 1970; 0 for none
    clock_tolerance_s: float = 300.0
    image_dir: str = "/var/lib/docker"
    user: str = ""
    uid: int = 1000


def ask_registry(image: str, ca: str, platform: str, credentials: str = "", timeout: float = 15.0) -> Dict[str, Any]:
    """What the registry says of an image: `index` digest, `platforms` with their digests, `size` in bytes, `problem`.

    Args:
        image: `registry/repository:tag`.
        ca: PEM text of the registry's CA, or nothing for the system's own trust.
        credentials: path of a file with `username:password`; anonymous without.
        platform: the one whose size is wanted, such as `linux/arm/v7`.
    """
    answer: dict[str, Any] = {"image": image, "index": "", "platforms": {}, "size": 0, "problem": ""}
    try:
        reference = Reference.parse(image)
        login = Credentials.from_file(credentials) if credentials else None
        registry = Registry(reference.registry, ca=ca or None, credentials=login, timeout=timeout)
        index = registry.index(reference.repository, reference.digest or reference.tag)
        answer["index"] = index.digest
        answer["platforms"] = {entry.platform: entry.digest for entry in index.manifests}
        if platform:
            answer["size"] = registry.image(reference.repository, index.for_platform(platform).digest).size
    except PlatformError as error:
        answer["problem"] = (
            f"{image}: {error}. Push this platform as well (docker/build-image.sh), or set panoptes_release "
            "to a tag that has it."
        )
    except UnitError as error:
        answer["problem"] = (
            f"{image}: {error}. The settings are panoptes_registry, panoptes_registry_ca, panoptes_release."
        )
    return answer


def platform_for(state: Dict[str, Any]) -> str:
    """The image platform of the probed machine, or nothing where no image runs on it."""
    architecture = state["architecture"]
    try:
        return "" if architecture["machine"] == "armv6l" else platform_of(architecture["dpkg"])
    except PlatformError:
        return ""


def problems(state: Dict[str, Any], wanted: Requirements, registry: Optional[Dict[str, Any]] = None) -> List[str]:
    """Every reason not to start, one plain line each, with its remedy; empty where the machine is fit.

    Args:
        state: the fact `unit`, as the module `unit_probe` returns it.
        wanted: what the machine has to offer.
        registry: the answer of `ask_registry`, if it was asked.
    """
    found = [
        *_distribution(state, wanted),
        *_architecture(state),
        *_systemd(state),
        *_clock(state, wanted),
        *_ports(state, wanted),
        *_account(state, wanted),
    ]
    if registry and registry["problem"]:
        found.append(registry["problem"])
    return found + _disks(state, wanted, registry)


def _distribution(state: Dict[str, Any], wanted: Requirements) -> List[str]:
    here = state["distribution"]
    if not wanted.distributions or here["version"] in wanted.distributions.get(here["id"], []):
        return []
    supported = "; ".join(f"{name} {', '.join(versions)}" for name, versions in wanted.distributions.items())
    name = here["name"] or f"{here['id'] or 'a distribution without os-release'} {here['version']}".strip()
    return [f"{name} is not supported: install one of {supported}."]


def _architecture(state: Dict[str, Any]) -> List[str]:
    architecture = state["architecture"]
    if architecture["machine"] == "armv6l":
        board = architecture["board"] or "this board"
        return [f"{board} is ARMv6 and the images need ARMv7: use a Raspberry Pi 2 or later."]
    try:
        platform_of(architecture["dpkg"])
    except PlatformError as error:
        return [f"{error}: install a system of one of these architectures."]
    return []


def _systemd(state: Dict[str, Any]) -> List[str]:
    if state["systemd"]:
        return []
    return [
        "systemd does not run here as PID 1, and services and timers need it: use a system that boots with systemd."
    ]


def _clock(state: Dict[str, Any], wanted: Requirements) -> List[str]:
    now = state["now"]
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    remedy = "set it (sudo timedatectl set-ntp true, or sudo date -u -s 'YYYY-MM-DD HH:MM')."
    if not is_plausible(now):
        return [f"The clock says {shown}, which is in the past, and TLS fails with it: {remedy}"]
    apart = now - wanted.clock if wanted.clock else 0.0
    if abs(apart) > wanted.clock_tolerance_s:
        direction = "ahead of" if apart > 0 else "behind"
        return [f"The clock says {shown}, {abs(apart):.0f} s {direction} the controller's: {remedy}"]
    return []


def _ports(state: Dict[str, Any], wanted: Requirements) -> List[str]:
    ours = {container["pid"] for container in state["containers"].values() if container["pid"]}
    found = []
    for port, listeners in sorted(state["ports"].items(), key=lambda item: int(item[0])):
        purpose = wanted.ports.get(str(port))
        strangers = [entry for entry in listeners if not ours.intersection(entry["ancestors"])]
        if not state["engine"]:
            # Services outlive an engine that is stopped, and only it knows whose they are. Role docker starts it; who
            # is a stranger after that is in the way of the services.
            strangers = [entry for entry in strangers if not entry["container"]]
        if purpose and strangers:
            holder = strangers[0]
            found.append(
                f"Port {port} ({purpose}) is taken by {holder['process'] or 'a process of another container'} "
                f"(pid {holder['pid'] or 'unknown'}) on {holder['address']}: stop that program, then run this again."
            )
    return found


def _account(state: Dict[str, Any], wanted: Requirements) -> List[str]:
    by_name = state["users"].get(wanted.user)
    if not wanted.user or str(wanted.uid) in state["users"] or by_name is None:
        return []
    return [
        f"The account {wanted.user} has uid {by_name['uid']}, but the services run as uid {wanted.uid}: "
        f"give it that number (sudo usermod -u {wanted.uid} {wanted.user}) or set system_user to another name."
    ]


def _disks(state: Dict[str, Any], wanted: Requirements, registry: Optional[Dict[str, Any]]) -> List[str]:
    needed: Dict[str, List[Any]] = {}  # device -> [bytes, path to name]
    for path, megabytes in wanted.free_mb.items():
        _add(needed, state["disks"].get(path), path, megabytes * 1e6)
    image_disk = state["disks"].get(wanted.image_dir)
    if registry and image_disk and not _present(state, registry):
        _add(needed, image_disk, wanted.image_dir, registry["size"] * Limits.expansion)
    found = []
    for amount, path in needed.values():
        free = state["disks"][path]["free"]
        if free < amount:
            found.append(
                f"{path} has {free / 1e6:.0f} MB free, and {amount / 1e6:.0f} MB are needed for this release: "
                "make room (sudo apt-get clean; sudo docker image prune) or use a larger disk."
            )
    return found


def _add(needed: Dict[str, List[Any]], disk: Optional[Dict[str, Any]], path: str, amount: float) -> None:
    """Several paths on one file system need the sum."""
    if disk is None or amount <= 0:
        return
    entry = needed.setdefault(disk["device"], [0.0, path])
    entry[0] += amount


def _present(state: Dict[str, Any], registry: Dict[str, Any]) -> bool:
    digest = registry["platforms"].get(platform_for(state), "")
    return bool(digest) and any(name.endswith(f"@{digest}") for name in state["images"])
