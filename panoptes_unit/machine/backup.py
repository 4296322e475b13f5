"""The small state that makes a machine this unit and no other: kept in one archive, verified, put back.

What an archive is, and what of it is believed, is in `archive.py`. Standard library only, because an Ansible module
carries this file to units.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import time
from contextlib import contextmanager, suppress
from glob import glob, has_magic
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..files import write_durably
from ..guarded import Entry, Folder, TooLargeError, UnsafeError, open_folder, walk
from . import age, archive
from .archive import LIMIT_BYTES, MARK, Archive, BackupError, Manifest
from .archive import NOT_KEPT as _NOT_KEPT

PATHS = ("/var/panoptes/conf_files", "/var/lib/panoptes-unit")
# Written by role backup, root's alone: what a unit needs to seal and to encrypt the backups that it makes by itself.
KEY_FILE = "etc/panoptes/backup.key"
RECIPIENTS_FILE = "etc/panoptes/backup.recipients"


class Restored(NamedTuple):
    """The manifest of what was put back, the paths that were (or would be) written, and whether its seal is right."""

    manifest: Manifest
    written: List[str]
    sealed: bool


def make(
    target: str, paths: Sequence[str], unit: str = "", root: str = "/", key: str = "", recipients: Sequence[str] = ()
) -> Manifest:
    """Write an archive of files and folders.

    Args:
        target: where to write it; replaced in one step, readable by its owner only.
        paths: absolute paths or patterns; what is absent is left out.
        unit: name that the inventory has for this unit.
        root: where the machine's files are; another one than `/` only in tests.
        key: of the seal; none where empty.
        recipients: of `age`, who can read it; everybody who has the file where there are none.

    Returns:
        The manifest: `format`, `made` (seconds since 1970), `unit`, `hostname`, `folders` and `files` by path, each
        with `mode`, `uid`, `gid`, files with `size` and `sha256` too.

    Raises:
        BackupError: there is nothing to keep, or it is too much, or could not be read again.
    """
    content, manifest = _made(paths, unit, root, key, recipients)
    write_durably(Path(target), content, 0o600)
    return manifest


def make_dated(folder: str, paths: Sequence[str], keep: int = 30, root: str = "/") -> Tuple[Path, Manifest]:
    """Write an archive named after this machine and the time into a folder that is there, such as a USB stick.

    It is sealed and encrypted where role backup has left a key and recipients on this machine.

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
    key, recipients = _text(Path(root) / KEY_FILE), _text(Path(root) / RECIPIENTS_FILE).splitlines()
    suffix = age.SUFFIX if recipients else ""
    target = own / (time.strftime("%Y-%m-%dT%H%M%SZ.tar.gz", time.gmtime()) + suffix)
    content, manifest = _made(paths, own.name, root, key, recipients)
    try:
        own.mkdir(exist_ok=True)
        write_durably(target, content, 0o600)
        if _packed(str(target)) != content:
            raise BackupError(f"{target} reads otherwise than it was written: use another stick")
        remove_oldest(own, keep)
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror}") from None
    return target, manifest


def read(
    name: str, paths: Sequence[str] = PATHS, key: str = "", require_key: bool = False, identity: str = ""
) -> Archive:
    """Verify an archive.

    Args:
        name: its path.
        paths: files, folders and patterns of which it may hold something; the keys of the ssh server besides.
        key: of its seal; none is looked at where empty.
        require_key: refuse it if it has no seal.
        identity: file with the identity of `age`, for an encrypted one.

    Raises:
        BackupError: it cannot be read, or anything in it is not what the manifest says, or it holds what it may not.
    """
    return archive.unpack(opened(name, identity), name, paths, key.encode(), require_key)


def remove_oldest(folder: Path, keep: int) -> None:
    """Leave the newest `keep` archives in a folder of one unit, all of them where it is 0."""
    made = sorted([*folder.glob("*.tar.gz"), *folder.glob(f"*.tar.gz{age.SUFFIX}")])
    for old in made[:-keep] if keep else []:
        old.unlink()


def is_encrypted(name: str) -> bool:
    """Whether nobody reads this archive without an identity.

    Raises:
        BackupError: it cannot be read.
    """
    return age.is_encrypted(_packed(name))


def opened(name: str, identity: str = "") -> bytes:
    """An archive, decrypted if it is encrypted; nothing of it is verified.

    Raises:
        BackupError: it cannot be read or decrypted.
    """
    packed = _packed(name)
    return age.decrypt(packed, identity, name) if age.is_encrypted(packed) else packed


def restore(
    name: str,
    root: str = "/",
    overwrite: bool = False,
    dry_run: bool = False,
    paths: Sequence[str] = PATHS,
    key: str = "",
    require_key: bool = False,
    again: bool = False,
) -> Restored:
    """Put everything back, once. All of it is verified before the first byte is written.

    Args:
        name: path of what `make` wrote.
        root: where the machine's files are; another one than `/` only in tests.
        overwrite: also on a machine that has other files in those places.
        dry_run: only say what would be written.
        paths: as for `read`.
        key: as for `read`.
        require_key: as for `read`.
        again: also where this very archive was put back before.

    Returns:
        What was written; nothing where this very archive was put back before, unless it is to be `again`.

    Raises:
        BackupError: the archive is no good, or the machine has a state of its own.
    """
    packed = opened(name)
    manifest, contents, sealed = archive.unpack(packed, name, paths, key.encode(), require_key)
    place, digest = Path(root), hashlib.sha256(packed).hexdigest()
    if _mark(place).get("sha256") == digest and not again:
        return Restored(manifest, [], sealed)
    wrong = sorted(path for path, content in contents.items() if _content(place, path) != content)
    # What a machine has by itself, such as the keys of its ssh server, belongs to no unit yet.
    other = [path for path in wrong if not path.startswith("/etc/ssh/") and os.path.lexists(_on(place, path))]
    if other and not overwrite:
        raise BackupError(
            f"this machine has a state of its own ({', '.join(other[:3])}); it is kept. "
            "Leave unit_restore out, or set backup_overwrite to true to lose it"
        )
    for path in sorted(manifest["folders"]):
        _look(place, path, folder=True)
    for path in wrong:
        _look(place, path)
    if dry_run:
        return Restored(manifest, wrong, sealed)
    for path, entry in sorted(manifest["folders"].items()):
        _make_folder(place, path, entry)
    for path in wrong:
        _write(place, path, contents[path], manifest["files"][path])
    mark = {"sha256": digest, "made": manifest["made"], "at": round(time.time())}
    _write(place, f"/{MARK}", json.dumps(mark).encode() + b"\n", {"mode": "0644", "uid": 0, "gid": 0})
    return Restored(manifest, wrong, sealed)


def _made(paths: Sequence[str], unit: str, root: str, key: str, recipients: Sequence[str]) -> Tuple[bytes, Manifest]:
    archive.check_places(paths)
    folders, found = _collect([path.lstrip("/") for path in paths], Path(root))
    if not found:
        raise BackupError(f"none of {', '.join(paths)} is on this machine: it is not a unit yet")
    if len(found) + len(folders) > archive.LIMIT_FILES:
        raise BackupError(
            f"{len(found)} files are to be backed up, and {archive.LIMIT_FILES} is the limit: "
            "keep images and data elsewhere (backup_paths)"
        )
    manifest: Manifest = {
        "format": archive.FORMAT, "made": round(time.time()), "unit": unit, "hostname": _hostname(root),
        "folders": {f"/{name}": _attributes(name, info) for name, info in folders.items()},
        "files": {
            f"/{name}": {
                **_attributes(name, info), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()
            }
            for name, (content, info) in found.items()
        },
    }  # fmt: skip
    packed = archive.pack(manifest, {f"/{name}": content for name, (content, _) in found.items()}, key.encode())
    # Whoever needs it finds out too late that it is of no use: as the machine that takes it, with the same places.
    archive.unpack(packed, "the backup of this machine", paths, key.encode(), require_key=bool(key))
    return (age.encrypt(packed, recipients) if recipients else packed), manifest


def _collect(
    patterns: List[str], root: Path
) -> Tuple[Dict[str, os.stat_result], Dict[str, Tuple[bytes, os.stat_result]]]:
    """Folders and files by their paths below `root`; what is absent, or no file that root reads, is left out.

    Raises:
        BackupError: it is too much, or others have put a link on the way to it.
    """
    folders: Dict[str, os.stat_result] = {}
    contents: Dict[str, Tuple[bytes, os.stat_result]] = {}
    left = LIMIT_BYTES
    for pattern in patterns:
        for name in sorted(glob(str(root / pattern))) if has_magic(pattern) else [str(root / pattern)]:  # noqa: PTH207
            for relative, entry in _below(Path(name), root):
                if entry.is_folder:
                    folders[relative] = entry.info
                elif relative not in _NOT_KEPT and relative not in contents:
                    kept = _content_of(entry, left)
                    if kept is not None:
                        contents[relative] = kept
                        left -= len(kept[0])
    return folders, contents


def _below(path: Path, root: Path) -> Iterator[Tuple[str, Entry]]:
    try:
        with suppress(FileNotFoundError, NotADirectoryError), open_folder(path.parent) as parent:
            for entry in walk(parent, path.name):
                yield str((path.parent / entry.relative).relative_to(root)), entry
    except UnsafeError as error:
        raise BackupError(f"{error} (backup_paths)") from None


def _content_of(entry: Entry, limit: int) -> Optional[Tuple[bytes, os.stat_result]]:
    """None where it went, or is no file that root reads."""
    try:
        return entry.folder.read(entry.name, limit)
    except TooLargeError:
        raise BackupError(_too_much(LIMIT_BYTES - limit + entry.info.st_size)) from None
    except (FileNotFoundError, UnsafeError):
        return None


def _too_much(size: int) -> str:
    return (
        f"{size / 1e6:.0f} MB are to be backed up, and {LIMIT_BYTES / 1e6:.0f} MB is the limit: "
        "keep images and data elsewhere (backup_paths)"
    )


def _attributes(name: str, info: os.stat_result) -> Dict[str, Any]:
    return archive.attributes(f"/{name}", stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)


def _packed(name: str) -> bytes:
    """The bytes of an archive; a pipe, a device or a file that is too large is none."""
    limit = LIMIT_BYTES + 20_000_000
    try:
        with open(os.open(name, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a pipe must not block
            content = file.read(limit + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError as error:
        raise BackupError(f"{name} is not a backup of a unit: {error.strerror}") from None
    if len(content) > limit:
        raise BackupError(f"{name} is larger than {LIMIT_BYTES / 1e6:.0f} MB, the limit of a backup: use another one")
    return content


def _text(path: Path) -> str:
    """What is in a file of root's; nothing where there is none."""
    with suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8").strip()
    return ""


def _on(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _look(root: Path, path: str, folder: bool = False) -> None:
    """Refuse a path that cannot be written because of what is there: a link on the way, a folder in its place."""
    target, here = _on(root, path), root
    for part in target.relative_to(root).parts:
        here /= part
        if not os.path.lexists(here):
            return
        if here.is_symlink() or here.is_dir() != (folder or here != target):
            raise BackupError(f"{here} is in the way of the backup on this machine: move it away and run this again")


@contextmanager
def _folder_of(root: Path, path: str) -> Iterator[Folder]:
    """The folder that `path` is put back in, made where it is missing; no link that others put there leads to it.

    Raises:
        BackupError: something is in its way, or in the way of what is done there.
    """
    try:
        with open_folder(_on(root, path).parent, make=(os.geteuid(), os.getegid())) as folder:
            yield folder
    except (UnsafeError, OSError) as error:
        raise BackupError(f"{path} cannot be put back: {error}") from None


def _make_folder(root: Path, path: str, entry: Dict[str, Any]) -> None:
    with _folder_of(root, path) as parent:
        try:
            made = parent.make_folder(Path(path).name, int(entry["mode"], 8), _owner(entry))
        except FileExistsError:
            made = parent.folder(Path(path).name)
        with made:
            pass


def _write(root: Path, path: str, content: bytes, entry: Dict[str, Any]) -> None:
    name, mode = Path(path).name, int(entry["mode"], 8)
    with _folder_of(root, path) as folder, folder.replacing(name, mode, _owner(entry)) as file:
        file.write(content)


def _owner(entry: Dict[str, Any]) -> Optional[Tuple[int, int]]:
    return (entry["uid"], entry["gid"]) if os.geteuid() == 0 else None


def _content(root: Path, path: str) -> Optional[bytes]:
    """What is there now, None where it is nothing that could be the same."""
    target = _on(root, path)
    with suppress(OSError, UnsafeError), open_folder(target.parent) as folder:
        return folder.read(target.name)[0]
    return None


def _mark(root: Path) -> Dict[str, Any]:
    try:
        mark: Dict[str, Any] = json.loads((root / MARK).read_text(encoding="utf-8"))
        return mark
    except (OSError, ValueError):
        return {}


def _hostname(root: str) -> str:
    try:
        return (Path(root) / "etc/hostname").read_text(encoding="utf-8").strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()
