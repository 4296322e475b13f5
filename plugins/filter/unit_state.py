"""Filters that compare what is wanted with what the probe found, so that only what differs is touched."""

from __future__ import annotations

import hashlib
from typing import Any


def unit_files_to_write(wanted: list, found: dict) -> list:
    """The entries of `wanted` that differ from the unit.

    Args:
        wanted: dictionaries with `path`, `content`, `mode` and optionally `uid` and `gid` (numbers).
        found: path -> what the probe says of it (`kind`, `sha256`, `mode`, `uid`, `gid`).
    """
    return [entry for entry in wanted if _differs(entry, found.get(entry["path"], {}))]


def unit_directories_to_make(wanted: list, found: dict) -> list:
    """The entries of `wanted` (`path`, `mode`, optionally `uid`, `gid`) that are absent or have other attributes."""
    return [entry for entry in wanted if _attributes_differ(entry, found.get(entry["path"], {}), "directory")]


def unit_services_to_start(names: list, state: dict) -> list:
    """The Compose services that do not run as their Compose file and the release file say, or are not healthy."""
    image = state["release"].get("PANOPTES_UTILS_IMAGE", "")
    return [name for name in names if not _runs_as_written(name, state, image)]


def _runs_as_written(name: str, state: dict, image: str) -> bool:
    container = state["containers"].get(name, {})
    return (
        container.get("state") == "running"
        and container["health"] == "healthy"
        and container["image"] == image
        and container["labels"].get("com.docker.compose.config-hash") == state["compose_hashes"].get(name)
    )


def unit_registry_ca(item: dict) -> dict:
    """The file in which Docker looks for the CA of a registry, from `key` (host[:port]) and `value` (PEM)."""
    return {
        "path": f"/etc/docker/certs.d/{item['key']}/panoptes.crt",
        "content": item["value"].strip() + "\n",
        "mode": "0644",
    }


def unit_owned_directory(path: str, mode: str = "0755") -> dict:
    """A directory of the unit's account, by the number under which the containers know it."""
    return {"path": path, "mode": mode, "uid": 1000, "gid": 1000}


def _differs(entry: dict, found: dict) -> bool:
    checksum = hashlib.sha256(entry["content"].encode()).hexdigest()
    return _attributes_differ(entry, found, "file") or found.get("sha256") != checksum


def _attributes_differ(entry: dict, found: dict, kind: str) -> bool:
    wanted: dict[str, Any] = {"kind": kind, "uid": 0, "gid": 0, **entry}
    return any(found.get(name) != wanted[name] for name in ("kind", "mode", "uid", "gid"))


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict:
        """Name -> function."""
        return {
            "unit_files_to_write": unit_files_to_write,
            "unit_directories_to_make": unit_directories_to_make,
            "unit_owned_directory": unit_owned_directory,
            "unit_registry_ca": unit_registry_ca,
            "unit_services_to_start": unit_services_to_start,
        }
