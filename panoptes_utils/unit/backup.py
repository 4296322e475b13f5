"""The small state that makes a machine this unit and no other: kept in one archive, verified, put back.

An archive is a gzipped tar: `manifest.json` first, then the files under `files/`. Nothing of it is trusted before every
checksum in the manifest has been checked. Standard library only, because an Ansible module carries this file to units.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import socket
import stat
import tarfile
import time
import zlib
from contextlib import suppress
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import UnitError
from .files import write_durably

FORMAT = 1
PATHS = ("/var/panoptes/conf_files", "/var/lib/panoptes-unit")
# Configuration and history are kilobytes; whoever names a folder of images here is told.
LIMIT_BYTES = 50_000_000
# Written on the unit once everything is back, so that a second run knows and a half-done one does not.
MARK = "var/lib/panoptes-unit/restored.json"
# An update that is under way concerns the disk that it is on.
_NOT_KEPT = {MARK, "var/lib/panoptes-unit/journal.jsonl"}
_MANIFEST = "manifest.json"


class BackupError(UnitError):
    """A backup cannot be made, used or put back; the unit is unchanged."""


def make(archive: str, paths: list, unit: str = "", root: str = "/") -> dict:
    """Write an archive of files and folders.

    Args:
        archive: where to write it; replaced in one step, readable by its owner only.
        paths: absolute paths or patterns; what is absent is left out.
        unit: name that the inventory has for this unit.
        root: where the machine's files are; another one than `/` only in tests.

    Returns:
        The manifest: `format`, `made` (seconds since 1970), `unit`, `hostname`, `folders` and `files` by path, each
        with `mode`, `uid`, `gid`, files with `size` and `sha256` too.

    Raises:
        BackupError: there is nothing to keep, or it is too much.
    """
    manifest: dict[str, Any] = {"format": FORMAT, "made": round(time.time()), "unit": unit, "hostname": _hostname(root)}
    folders, contents = _collect([path.lstrip("/") for path in paths], Path(root))
    if not contents:
        raise BackupError(f"none of {', '.join(paths)} is on this machine: it is not a unit yet")
    size = sum(len(content) for content, _ in contents.values())
    if size > LIMIT_BYTES:
        raise BackupError(f"{size / 1e6:.0f} MB are to be backed up and {LIMIT_BYTES / 1e6:.0f} MB is the most: "
                          "keep images and data elsewhere (backup_paths)")
    manifest["folders"] = {f"/{name}": _attributes(info) for name, info in folders.items()}
    manifest["files"] = {
        f"/{name}": {**_attributes(info), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, (content, info) in contents.items()
    }
    write_durably(Path(archive), _pack(manifest, contents), 0o600)
    return manifest


def make_dated(folder: str, paths: list, keep: int = 30, root: str = "/") -> tuple:
    """Write an archive named after this machine and the time into a folder that is there, such as a USB stick.

    Args:
        folder: where; each machine has a folder of its own in it.
        paths: as for `make`.
        keep: how many archives of this machine are left there; 0 for all.
        root: where the machine's files are; another one than `/` only in tests.

    Returns:
        The path of the archive, and its manifest; the archive was read back and verified.

    Raises:
        BackupError: the folder is not there, or cannot be written, or what was written cannot be read back.
    """
    if not Path(folder).is_dir():
        raise BackupError(f"there is no folder {folder}: plug the stick in, or set backup_nightly_dir to another one")
    own = Path(folder) / _hostname(root)
    target = own / time.strftime("%Y-%m-%dT%H%M%SZ.tar.gz", time.gmtime())
    try:
        own.mkdir(exist_ok=True)
        make(str(target), paths, _hostname(root), root)
        manifest, _ = read(str(target))
        for old in sorted(own.glob("*.tar.gz"))[:-keep] if keep else []:
            old.unlink()
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror}") from None
    return target, manifest


def read(archive: str) -> tuple:
    """Verify an archive: the manifest, and the content of each file by its path.

    Raises:
        BackupError: it cannot be read, or anything in it is not what the manifest says.
    """
    try:
        # Unpacked whole first: only then has gzip compared its own checksum.
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(Path(archive).read_bytes()))) as tar:
            members = {member.name: tar.extractfile(member).read()  # type: ignore[union-attr]
                       for member in tar if member.isfile() and member.size <= LIMIT_BYTES}
        manifest = json.loads(members.pop(_MANIFEST))
        known = manifest["format"] == FORMAT
        wanted = {path: entry["sha256"] for path, entry in manifest["files"].items()}
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{archive} is not a backup of a unit, or is damaged "
                          f"({type(error).__name__}): use another one") from None
    if not known:
        raise BackupError(f"{archive} has format {manifest['format']}, and this version reads {FORMAT}: "
                          "use the version of the playbooks that made it")
    contents = {f"/{name.partition('/')[2]}": content for name, content in members.items()}
    for path, digest in wanted.items():
        if ".." in PurePosixPath(path).parts or not path.startswith("/"):
            raise BackupError(f"{archive} names {path}, which is no place of a unit's file: do not use it")
        if hashlib.sha256(contents.get(path, b"")).hexdigest() != digest or path not in contents:
            raise BackupError(f"{archive} is damaged: {path} is missing in it or altered; use another one")
    return manifest, contents


def restore(archive: str, root: str = "/", overwrite: bool = False, dry_run: bool = False) -> tuple:
    """Put everything back, once.

    Args:
        archive: what `make` wrote.
        root: where the machine's files are; another one than `/` only in tests.
        overwrite: also on a machine that has other files in those places.
        dry_run: only say what would be written.

    Returns:
        The manifest, and the paths that were (or would be) written; none where this very archive was put back before.

    Raises:
        BackupError: the archive is no good, or the machine has a state of its own.
    """
    manifest, contents = read(archive)
    place, digest = Path(root), hashlib.sha256(Path(archive).read_bytes()).hexdigest()
    if _mark(place).get("sha256") == digest:
        return manifest, []
    wrong = [path for path, content in contents.items() if _content(place / path.lstrip("/")) != content]
    # What a machine has by itself, such as the keys of its ssh server, belongs to no unit yet.
    other = [path for path in wrong if not path.startswith("/etc/ssh/") and (place / path.lstrip("/")).exists()]
    if other and not overwrite:
        raise BackupError(f"this machine has a state of its own ({', '.join(sorted(other)[:3])}); it is kept. "
                          "Leave unit_restore out, or set backup_overwrite to true to lose it")
    if dry_run:
        return manifest, sorted(wrong)
    for path, entry in sorted(manifest.get("folders", {}).items()):
        folder = place / path.lstrip("/")
        if not folder.is_dir():
            folder.mkdir(parents=True)
            _own(folder, entry)
    for path in sorted(wrong):
        target = place / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, contents[path], int(manifest["files"][path]["mode"], 8))
        _own(target, manifest["files"][path])
    mark = {"sha256": digest, "made": manifest["made"], "at": round(time.time())}
    (place / MARK).parent.mkdir(parents=True, exist_ok=True)
    write_durably(place / MARK, json.dumps(mark).encode() + b"\n", 0o644)
    return manifest, sorted(wrong)


def _collect(patterns: list, root: Path) -> tuple:
    folders: dict = {}
    contents: dict = {}
    for pattern in patterns:
        for name in sorted(glob(str(root / pattern))) if has_magic(pattern) else [str(root / pattern)]:  # noqa: PTH207
            for path in [Path(name), *(sorted(Path(name).rglob("*")) if Path(name).is_dir() else [])]:
                with suppress(FileNotFoundError):  # what is absent, or went while we looked
                    info = path.lstat()
                    relative = str(path.relative_to(root))
                    if stat.S_ISDIR(info.st_mode):
                        folders[relative] = info
                    elif stat.S_ISREG(info.st_mode) and relative not in _NOT_KEPT:
                        contents[relative] = (path.read_bytes(), info)
    return folders, contents


def _pack(manifest: dict, contents: dict) -> bytes:
    buffer = io.BytesIO()
    # No time in gzip's header: the same state gives the same bytes but for the manifest's own time.
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        text = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
        for name, content in [(_MANIFEST, text), *((f"files/{name}", pair[0]) for name, pair in contents.items())]:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o600, manifest["made"]
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _own(path: Path, entry: dict) -> None:
    path.chmod(int(entry["mode"], 8))
    if os.geteuid() == 0:
        os.chown(path, entry["uid"], entry["gid"])


def _attributes(info: os.stat_result) -> dict:
    return {"mode": f"{stat.S_IMODE(info.st_mode):04o}", "uid": info.st_uid, "gid": info.st_gid}


def _content(path: Path) -> Any:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _mark(root: Path) -> dict:
    try:
        return json.loads((root / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _hostname(root: str) -> str:
    try:
        return (Path(root) / "etc/hostname").read_text(encoding="utf-8").strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()
