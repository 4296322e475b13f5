"""Filter that compares fstab with what spares an SD card."""

from __future__ import annotations


def unit_mounts_to_change(mounts: dict, noatime: bool, tmpfs_mb: dict) -> list:
    """The entries of fstab to write: `path`, `source`, `type`, `options`, `pass`.

    Args:
        mounts: path -> `source`, `type`, `options`, `pass` of the entries that are there.
        noatime: whether reading a file on the root file system must not write to it.
        tmpfs_mb: path -> size in MB of directories to keep in memory.
    """
    wanted = []
    root = mounts.get("/")
    if root and noatime and "noatime" not in root["options"]:
        kept = [option for option in root["options"] if option not in ("atime", "relatime")]
        wanted.append({"path": "/", **root, "options": [*kept, "noatime"]})
    for path, size in tmpfs_mb.items():
        options = ["mode=1777", "nosuid", "nodev", f"size={size}m"]
        entry = {"source": "tmpfs", "type": "tmpfs", "options": options, "pass": "0"}
        if mounts.get(path) != entry:
            wanted.append({"path": path, **entry})
    return wanted


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict:
        """Name -> function."""
        return {"unit_mounts_to_change": unit_mounts_to_change}
