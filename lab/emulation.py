"""Emulators for the flavours that this machine's processor does not run: qemu-user, registered with the kernel."""

from collections.abc import Sequence
from pathlib import Path

from .console import LabError, as_root, run, step
from .flavours import FLAVOURS
from .settings import State, cache

_BINFMT = Path("/proc/sys/fs/binfmt_misc")


def registered(flavour: str) -> bool:
    """Whether the kernel hands this flavour's programs to an emulator."""
    try:
        return "enabled" in _registration(flavour).read_text(encoding="utf-8")
    except OSError:
        return False


def up(state: State, own: str, flavours: Sequence) -> None:
    """Register an emulator for each flavour but this machine's own; nothing happens where there is one."""
    missing = [flavour for flavour in flavours if flavour != own and not registered(flavour)]
    if not missing:
        return
    with step(f"emulators for {', '.join(missing)}"):
        if not all(_description(flavour).exists() for flavour in missing):
            install = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", "qemu-user-static"]
            run(as_root(["env", "DEBIAN_FRONTEND=noninteractive", *install]), cache() / "logs" / "emulation.log")
            state.add("tools", "qemu-user-static")
        if not (_BINFMT / "register").exists():
            run(as_root(["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT]))
            state.set("binfmt_mounted", True)
        for flavour in missing:
            if not registered(flavour):
                line = _description(flavour).read_text(encoding="utf-8").strip()
                run(as_root(["tee", _BINFMT / "register"]), stdin=line.encode())
                state.add("emulators", flavour)
            if not registered(flavour):
                raise LabError(f"this kernel does not accept the emulator for {flavour}; build it on such a machine")


def down(state: State) -> None:
    """Take away what `up` registered and mounted."""
    for flavour in state.get("emulators", []):
        if registered(flavour):
            run(as_root(["tee", _registration(flavour)]), stdin=b"-1")
    if state.get("binfmt_mounted"):
        run(as_root(["umount", _BINFMT]))
    state.set("emulators", [])
    state.set("binfmt_mounted", False)


def _registration(flavour: str) -> Path:
    """What the kernel says of the emulator, and where it is told to forget it."""
    return _BINFMT / FLAVOURS[flavour].emulator


def _description(flavour: str) -> Path:
    """What qemu-user-static tells the kernel; its flag F opens the emulator once, so containers need no copy of it."""
    return Path("/usr/lib/binfmt.d") / f"{FLAVOURS[flavour].emulator}.conf"
