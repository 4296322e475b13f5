"""What is particular to a Raspberry Pi: its board, its boot partition, its kernel's memory cgroup, its power supply.

Only reads. Runs on Python 3.9 with the standard library only, because an Ansible module carries this file to units.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Optional

# Older systems mount the boot partition at /boot; newer ones leave a note there and mount it at /boot/firmware.
BOOT_FOLDERS = ("boot/firmware", "boot")

# Bits of the firmware's answer. Source: documentation of `vcgencmd get_throttled` by Raspberry Pi Ltd.
NOW = {
    0: "the supply voltage is too low",
    1: "the processor runs slower than it could",
    2: "the processor is throttled",
    3: "the processor is near its temperature limit",
}
SINCE_BOOT = 16  # bit N + 16: the same has happened since the machine was switched on
_SUPPLY = "use the power supply made for this board, a short cable, and a powered hub for cameras"
_COOLING = "give the board more air or a heat sink"


def model(root: str = "/") -> str:
    """The board's name, such as «Raspberry Pi 4 Model B Rev 1.4»; empty on anything that is no Raspberry Pi."""
    name = _text(Path(root) / "proc/device-tree/model").rstrip("\0\n")
    return name if name.startswith("Raspberry Pi") else ""


def state(root: str = "/") -> Dict[str, Any]:
    """Everything that role raspberry_pi decides by; empty on anything that is no Raspberry Pi.

    Args:
        root: where the machine's files are; another one than `/` only in tests.

    Returns:
        `model`; `cmdline_path` and `cmdline`, the kernel's arguments for the next boot (empty where there is no boot
        partition); `memory_cgroup`, whether the running kernel has it; `watchdog`, whether there is one; `mounts`,
        fstab's entries by their place, each with `source`, `type`, `options` (a list) and `pass` of fsck (text).
    """
    board = model(root)
    if not board:
        return {}
    place = Path(root)
    candidates = (place / folder / "cmdline.txt" for folder in BOOT_FOLDERS)
    path = next((file for file in candidates if file.exists()), None)
    return {
        "model": board,
        "cmdline_path": str(path or ""),
        "cmdline": _text(path).strip() if path else "",
        "memory_cgroup": _memory_cgroup(place),
        "watchdog": (place / "dev/watchdog").exists(),
        "mounts": _mounts(_text(place / "etc/fstab")),
    }


def throttled(root: str = "/") -> Optional[int]:
    """The firmware's word on power and temperature, bits as in `NOW`; None where it has none."""
    for path in sorted(Path(root).glob("sys/devices/platform/*/*firmware/get_throttled")):
        return int(_text(path).strip() or "0", 16)
    try:
        done = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)", done.stdout.strip())
    return int(match.group(1), 16) if match else None


def power_problems(root: str = "/") -> List[str]:
    """One sentence with its remedy for each thing that is wrong with power or cooling; empty elsewhere than on a Pi."""
    bits = throttled(root) if model(root) else None
    found = []
    for bit, what in NOW.items():
        remedy = _SUPPLY if bit == 0 else _COOLING
        if bits and bits >> bit & 1:
            found.append(f"{what} now: {remedy}")
        elif bits and bits >> (bit + SINCE_BOOT) & 1:
            found.append(f"{what.replace(' is ', ' was ').replace(' runs ', ' ran ')} since the last boot: {remedy}")
    return found


def _memory_cgroup(place: Path) -> bool:
    if "memory" in _text(place / "sys/fs/cgroup/cgroup.controllers").split():
        return True
    # Of the first version of cgroups: name, hierarchy, groups, enabled.
    return any(
        row.split()[0] == "memory" and row.split()[3] == "1"
        for row in _text(place / "proc/cgroups").splitlines()
        if len(row.split()) == 4
    )


def _mounts(fstab: str) -> Dict[str, Any]:
    found: dict[str, Any] = {}
    for line in fstab.splitlines():
        fields = line.split("#")[0].split()
        if len(fields) >= 4:
            found[fields[1]] = {
                "source": fields[0],
                "type": fields[2],
                "options": fields[3].split(","),
                "pass": fields[5] if len(fields) > 5 else "0",
            }
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
