"""Runs on the unit, fed to its Python: damages one file of the engine's store or of the tool, and says which.

Arguments: a kind of file, and how. `unlisted` prints the kinds of files of the engine's store that have no name
here.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path("/var/lib/docker")
DRIVER = ROOT / "overlay2"
IMAGES = ROOT / "image" / "overlay2"
OWN = {
    "release file": "/etc/panoptes/release.env",
    "Compose file": "/etc/panoptes/compose.yaml",
    "settings": "/etc/panoptes/unit-under-test.yaml",
    "state": "/var/lib/panoptes-unit/state.json",
    "copy of the state": "/var/lib/panoptes-unit/state.copy.json",
    "history": "/var/lib/panoptes-unit/history.jsonl",
    "record of verify": "/var/lib/panoptes-unit/verified.json",
    "options of the engine": "/etc/docker/daemon.json",
    "service of the engine": "/lib/systemd/system/docker.service",
}


def inspect(*words: str) -> dict[str, Any]:
    answer = subprocess.run(["docker", *words], capture_output=True, check=True, text=True).stdout
    found: dict[str, Any] = json.loads(answer)[0]
    return found


def chains(layers: list[str]) -> list[str]:
    """The engine's name for each layer upon those below it."""
    found: list[str] = []
    for layer in layers:
        found.append("sha256:" + hashlib.sha256(f"{found[-1]} {layer}".encode()).hexdigest() if found else layer)
    return found


def ours() -> dict[str, str]:
    """kind -> the file of that kind that the running release needs."""
    container = inspect("inspect", "config-server")
    image = inspect("image", "inspect", container["Image"])
    chain = chains(image["RootFS"]["Layers"])
    layer = IMAGES / "layerdb" / "sha256" / chain[-1][7:]
    folder = DRIVER / (layer / "cache-id").read_text()
    layers = [DRIVER / (IMAGES / "layerdb" / "sha256" / one[7:] / "cache-id").read_text() / "diff" for one in chain]

    def uppermost(pattern: str) -> Path:
        return next(path for one in reversed(layers) for path in sorted(one.glob(pattern)) if not path.is_symlink())

    files = {
        "content of the module's layer": uppermost("opt/panoptes-utils/panoptes_utils/config/server.py"),
        "content of the lowest layer": uppermost("usr/bin/python3.[0-9]*"),
        "link of a layer": folder / "link",
        "short name of a layer": DRIVER / "l" / (folder / "link").read_text(),
        "layers below a layer": folder / "lower",
        "image configuration": IMAGES / "imagedb" / "content" / "sha256" / container["Image"][7:],
        "names of images": IMAGES / "repositories.json",
        "container configuration": ROOT / "containers" / container["Id"] / "config.v2.json",
        "container's host configuration": ROOT / "containers" / container["Id"] / "hostconfig.json",
        "network database": ROOT / "network" / "files" / "local-kv.db",
        "volume database": ROOT / "volumes" / "metadata.db",
    }
    for name in ("cache-id", "diff", "parent", "size", "tar-split.json.gz"):
        files[f"layer metadata {name}"] = layer / name
    for name in ("init-id", "mount-id", "parent"):
        files[f"container's {name}"] = IMAGES / "layerdb" / "mounts" / container["Id"] / name
    for name in ("hostname", "hosts", "resolv.conf", "resolv.conf.hash", "local-logs/container.log"):
        files[f"container's {name}"] = ROOT / "containers" / container["Id"] / name
    for name in ("diffid-by-digest", "v2metadata-by-diffid"):
        files[f"origin of a layer, {name}"] = next((IMAGES / "distribution" / name / "sha256").iterdir())
    for name in ("cache", "containerdmeta", "history", "metadata_v2", "snapshots"):
        files[f"builder's {name}.db"] = ROOT / "buildkit" / f"{name}.db"
    # Only what was tagged here has one; the unit's own image came by its digest.
    for path in (IMAGES / "imagedb" / "metadata" / "sha256").glob("*/lastUpdated"):
        files["image's last update"] = path
    files["committed mark of a layer"] = folder / "committed"
    files["engine's id"] = ROOT / "engine-id"
    files["device of the volumes"] = ROOT / "volumes" / "backingFsBlockDev"
    return {name: str(path) for name, path in files.items()}


def unlisted() -> list[str]:
    """What the store has and `ours` does not name, with all ids left out."""
    return sorted(set(kinds()) - {_kind(Path(path).relative_to(ROOT)) for path in ours().values()})


def kinds() -> list[str]:
    """What the store has, with all ids left out."""
    found = set()
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [one for one in folders if one not in ("diff", "merged", "work", "_data", "set-aside")]
        for name in files:
            found.add(_kind((Path(folder) / name).relative_to(ROOT)))
    return sorted(found)


def _kind(path: Path) -> str:
    return re.sub(r"[0-9a-f]{24,}(-init)?", "*", re.sub(r"/l/[A-Z0-9]{26}$", "/l/*", str(path)))


def damage(name: str, how: str) -> None:
    path = Path(name)
    if how == "removed" or path.is_symlink():
        path.unlink()
        return
    if not path.is_file():  # `backingFsBlockDev` is this machine's own disk
        sys.exit(f"{name} is no file: only removed")
    content = path.read_bytes()
    middle = len(content) // 2
    spoiled = {
        "emptied": b"",
        "cut in half": content[:middle],
        "zero bytes": bytes(len(content)),
        "one bit flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if content else b"",
    }[how]
    path.write_bytes(spoiled)


if sys.argv[1] == "unlisted":
    print(json.dumps(unlisted()))
else:
    _, kind, how = sys.argv
    files = OWN if kind in OWN else ours()
    if kind not in OWN:  # as a power cut leaves it: nothing runs, and the engine has to read it again
        subprocess.run("docker kill config-server messaging-hub", shell=True, capture_output=True)
        subprocess.run(["systemctl", "stop", "docker.socket", "docker.service"], check=True, capture_output=True)
    damage(files[kind], how)
    if kind not in OWN:
        subprocess.run(["systemctl", "reset-failed", "docker.socket", "docker.service"], capture_output=True)
        subprocess.run(["systemctl", "start", "docker.service"], capture_output=True)
    print(files[kind])
