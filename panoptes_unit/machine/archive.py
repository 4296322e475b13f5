"""A backup as one archive: packed, and read again as if a stranger had made it.

An archive is a gzipped tar: `manifest.json`, the seal `manifest.hmac` where there is a key, then the files under
`files/`. The manifest names each file with its checksum, and the seal covers the manifest. What an archive may hold is
never taken from the archive: the caller names the places. Standard library only, because an Ansible module carries this
file to units.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
import os
import re
import tarfile
import zlib
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, Dict, Iterator, List, NamedTuple, NoReturn, Sequence, Set, Tuple

from ..documents import printable
from ..errors import UnitError

FORMAT = 2
# Without a seal, as it was before there was one.
_READABLE = (1, FORMAT)
# Configuration and history are kilobytes; whoever names a folder of images here is told.
LIMIT_BYTES = 50_000_000
LIMIT_FILES = 20_000
# The whole tar: contents, a header and padding for each, and the manifest.
_LIMIT_UNPACKED = LIMIT_BYTES + LIMIT_FILES * 1024 + 10_000_000
_LIMIT_MANIFEST = 8_000_000
KEY_LENGTH = 16

# The keys of the machine's ssh server: they come back whether or not new backups hold them.
HOST_KEYS = ("/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_*_key.pub")
# Written on the unit once everything is back, so that a second run knows and a half-done one does not.
MARK = "var/lib/panoptes-unit/restored.json"
# An update that is under way concerns the disk that it is on.
NOT_KEPT = {MARK, "var/lib/panoptes-unit/journal.jsonl"}

# Below these everything belongs to root, whatever an archive says; elsewhere to root or to the unit's account.
_OF_ROOT = ("boot", "etc", "root", "usr", "var/lib")
_ACCOUNT = 1000

_MANIFEST = "manifest.json"
_SEAL = "manifest.hmac"
# What gzip, tarfile and json raise where they are given something else.
_NOT_AN_ARCHIVE = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RecursionError, TypeError, ValueError,
    tarfile.TarError, zlib.error,
)  # fmt: skip

# What an archive says of itself: `format`, `unit`, `made`, `hostname`, `files`, `folders` (see `backup.make`).
Manifest = Dict[str, Any]


class BackupError(UnitError):
    """A backup cannot be made, used or put back; the unit is unchanged."""


class Archive(NamedTuple):
    """A verified archive: its manifest, the content of each file by its path, and whether its seal is right."""

    manifest: Manifest
    contents: Dict[str, bytes]
    sealed: bool


def pack(manifest: Manifest, contents: Dict[str, bytes], key: bytes = b"") -> bytes:
    """An archive of `contents` by path; with a seal where there is a key."""
    text = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
    members = [(_MANIFEST, text)]
    if key:
        members.append((_SEAL, seal(text, key)))
    members += [(f"files{path}", content) for path, content in contents.items()]
    buffer = io.BytesIO()
    # No time in gzip's header: the same state gives the same bytes but for the manifest's own time.
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o600, manifest["made"]
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def seal(manifest: bytes, key: bytes) -> bytes:
    """What only a holder of `key` can write beside this manifest.

    Raises:
        BackupError: the key is too short to be one.
    """
    if len(key) < KEY_LENGTH:
        raise BackupError(f"backup_key has {len(key)} characters and needs {KEY_LENGTH}: openssl rand -hex 32")
    return hmac.new(key, manifest, hashlib.sha256).hexdigest().encode() + b"\n"


def unpack(packed: bytes, name: str, paths: Sequence[str], key: bytes = b"", require_key: bool = False) -> Archive:
    """Verify an archive whole, with no more memory than an archive within the limits needs.

    Args:
        packed: the archive.
        name: what messages call it.
        paths: files, folders and patterns of which it may hold something; the keys of the ssh server besides.
        key: of its seal; none where empty.
        require_key: refuse it if it has no seal.

    Raises:
        BackupError: it is no archive, is damaged, is too large, has a wrong seal, or holds what it may not.
    """
    places = _Places(paths)
    if key:
        seal(b"", key)
    elif require_key:
        raise BackupError("backup_require_key is set, and there is no backup_key to check the seal of a backup with")
    try:
        members = _members(packed)
        text = _first(members)
        manifest, entry = _parse(text), next(members, None)
        sealed = entry is not None and entry[0] == _SEAL and _is_sealed(entry[2].read(200), text, key)
        if entry is not None and entry[0] == _SEAL:
            entry = next(members, None)
        if require_key and not sealed:
            raise BackupError(
                "has no seal, so that nobody knows who made it. Is it yours all the same, and from before there was a "
                "backup_key? Then set backup_require_key to false for this run"
            )
        _check(manifest, places)
        wanted, contents = manifest["files"], {}
        while entry is not None:
            path, size, file = "/" + entry[0].partition("/")[2], entry[1], entry[2]
            if not entry[0].startswith("files/") or path not in wanted or path in contents:
                raise BackupError(f"holds '{printable(entry[0], 120)}' besides what it lists; do not use it")
            if size != wanted[path]["size"]:
                raise BackupError(f"is damaged: {path} is altered in it; use another one")
            contents[path] = file.read(size)
            if hashlib.sha256(contents[path]).hexdigest() != wanted[path]["sha256"]:
                raise BackupError(f"is damaged: {path} is altered in it; use another one")
            entry = next(members, None)
        missing = sorted(set(wanted) - set(contents))
        if missing:
            raise BackupError(f"is damaged: {missing[0]} is missing in it; use another one")
    except BackupError as error:
        raise BackupError(f"{name} {error}") from None
    except _NOT_AN_ARCHIVE as error:
        raise BackupError(
            f"{name} is not a backup of a unit, or is damaged ({type(error).__name__}): use another one"
        ) from None
    return Archive(manifest, contents, sealed)


def attributes(path: str, mode: int, uid: int, gid: int) -> Dict[str, Any]:
    """`mode`, `uid` and `gid` that a path may have on a unit, nearest to these: nothing runs as somebody else."""
    relative = path.lstrip("/")
    of_root = any(relative == place or relative.startswith(f"{place}/") for place in _OF_ROOT)
    mode &= 0o755 if of_root else 0o777
    if fnmatchcase(path, HOST_KEYS[0]):
        mode &= 0o600
    uid, gid = (0 if of_root or number == 0 else _ACCOUNT for number in (uid, gid))
    return {"mode": f"{mode:04o}", "uid": uid, "gid": gid}


def check_places(paths: Sequence[str]) -> None:
    """Refuse what cannot be a place: relative, or with `..` in it.

    Raises:
        BackupError: one of `paths` is no place.
    """
    for path in paths:
        if not _is_plain(path.rstrip("/") or path):
            raise BackupError(f"{path!r} is no place for a backup: write an absolute path without '..' (backup_paths)")


class _Places:
    """Where a backup may hold something."""

    def __init__(self, paths: Sequence[str]) -> None:
        check_places(paths)
        self._patterns = [PurePosixPath(path).parts for path in paths]
        self._files = [PurePosixPath(path).parts for path in HOST_KEYS]

    def __contains__(self, path: str) -> bool:
        """Whether it is one of the places or in one of them; of ssh's keys only they themselves."""
        parts = PurePosixPath(path).parts
        return any(
            len(pattern) <= len(parts) and all(map(fnmatchcase, parts, pattern)) for pattern in self._patterns
        ) or any(len(pattern) == len(parts) and all(map(fnmatchcase, parts, pattern)) for pattern in self._files)


class _Counted:
    """A file that ends with an error where it is longer than a limit, so that no archive unpacks without end."""

    def __init__(self, file: Any, limit: int) -> None:
        self._file, self._left = file, limit

    def read(self, size: int) -> bytes:
        content: bytes = self._file.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise BackupError(f"unpacks to more than {LIMIT_BYTES / 1e6:.0f} MB, the limit of a backup; do not use it")
        return content


def _unpacked(packed: bytes) -> _Counted:
    return _Counted(gzip.GzipFile(fileobj=io.BytesIO(packed)), _LIMIT_UNPACKED)


def _members(packed: bytes) -> Iterator[Tuple[str, int, Any]]:
    """Name, size and file of each member."""
    # Once through, and kept nowhere: only then has gzip compared its own checksum, and damage is called damage.
    unpacked = _unpacked(packed)
    while unpacked.read(65536):
        pass
    unpacked, size = _unpacked(packed), 0
    with tarfile.open(fileobj=unpacked, mode="r|") as tar:  # type: ignore[call-overload]
        for count, member in enumerate(tar):
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
                raise BackupError(f"holds '{printable(member.name, 120)}', which is no plain file; do not use it")
            size += member.size
            if member.size < 0 or size > LIMIT_BYTES + _LIMIT_MANIFEST or count > LIMIT_FILES + 1:
                raise BackupError(f"holds more than {LIMIT_BYTES / 1e6:.0f} MB, the limit of a backup; do not use it")
            yield member.name, member.size, tar.extractfile(member)
    while True:
        rest = unpacked.read(65536)
        if rest.strip(b"\0"):
            raise BackupError("holds something behind its end; do not use it")
        if not rest:
            return


def _first(members: Iterator[Tuple[str, int, Any]]) -> bytes:
    found = next(members, None)
    if found is None or found[0] != _MANIFEST:
        raise ValueError("no manifest")
    _, size, file = found
    if size > _LIMIT_MANIFEST:
        raise BackupError(f"has a manifest of {size / 1e6:.0f} MB; do not use it")
    text: bytes = file.read(size)
    return text


def _is_sealed(found: bytes, manifest: bytes, key: bytes) -> bool:
    if not key:
        return False
    if not hmac.compare_digest(found, seal(manifest, key)):
        raise BackupError("has a seal of another key than backup_key: it was altered, or is not yours; do not use it")
    return True


def _parse(text: bytes) -> Manifest:
    def refuse(word: str) -> NoReturn:
        raise ValueError(word)

    def once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name twice")
        return found

    def number(digits: str) -> int:
        return int(digits) if len(digits) <= 20 else refuse("number")

    manifest = json.loads(text.decode(), parse_constant=refuse, parse_int=number, object_pairs_hook=once)
    if not isinstance(manifest, dict) or not _is_number(manifest["format"]):
        raise ValueError("no manifest")
    if manifest["format"] not in _READABLE:
        raise BackupError(
            f"has format {manifest['format']}, and this version reads {FORMAT}: "
            "use the version of the playbooks that made it"
        )
    return manifest


def _check(manifest: Manifest, places: _Places) -> None:
    """Refuse a manifest that is not one, or that names what a backup may not hold."""
    files, folders = manifest["files"], manifest.setdefault("folders", {})
    if not (isinstance(files, dict) and isinstance(folders, dict) and len(files) + len(folders) <= LIMIT_FILES):
        raise ValueError("files")
    if not _is_number(manifest["made"]) or not isinstance(manifest["unit"], str):
        raise ValueError("made")
    # It becomes the name of the machine, and a word in /etc/hosts.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", manifest["hostname"]):
        raise BackupError(f"gives the machine the name {manifest['hostname'][:80]!r}; do not use it")
    for path, entry in [*files.items(), *folders.items()]:
        if not _is_plain(path) or path.lstrip("/") in NOT_KEPT:
            raise BackupError(f"names '{printable(path, 120)}', where no file of a unit belongs: do not use it")
        if path not in places:
            raise BackupError(
                f"names '{printable(path, 120)}', which no backup of this unit may hold: do not use it, or add the "
                "path to backup_paths if you know that it is yours"
            )
        if not re.fullmatch("[0-7]{3,4}", entry["mode"]) or not (_is_number(entry["uid"]) and _is_number(entry["gid"])):
            raise ValueError("attributes")
        entry.update(attributes(path, int(entry["mode"], 8), entry["uid"], entry["gid"]))
    for entry in files.values():
        if not _is_number(entry["size"]) or not re.fullmatch("[0-9a-f]{64}", entry["sha256"]):
            raise ValueError("size")
    parents: Set[str] = {str(parent) for path in [*files, *folders] for parent in PurePosixPath(path).parents}
    both = sorted(path for path in files if path in folders or path in parents)
    if both:
        raise BackupError(f"names '{printable(both[0], 120)}' as a file and as a folder; do not use it")


def _is_plain(path: str) -> bool:
    """Whether it is absolute, the one way to write its place, and can be a name on a disk."""
    encoded = os.fsencode(path)
    return (
        re.fullmatch(r"(/[^/\0]+)+", path) is not None
        and not {".", ".."} & set(path.split("/"))
        and len(encoded) < 4096
        and max(map(len, encoded.split(b"/"))) <= 255
    )


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**33
