"""An image as the engine's driver overlay2 keeps it, read where it lies: nothing is written, the engine is not asked.

For each layer the engine keeps the tar that it came as, without the content of the files: `tar-split.json.gz`, with all
headers and a checksum of each file. With the files in it that is the layer again, byte for byte, and has its digest.
An export by the engine would say the same, but engines write all of it to their disk before they send the first byte.
Sources: https://github.com/moby/moby/tree/master/layer (folders), https://github.com/vbatts/tar-split (list of files),
https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
"""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import os
import stat
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ..documents import DocumentError, field, read_object
from .damage import Damage, mismatch
from .store_shape import DRIVER

_CHUNK = 1 << 16
_LINE_LIMIT = 1 << 24  # of the list of files: a header with all that may be appended to it
_DOCUMENT_LIMIT = 4 * 1024 * 1024
_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_GLOBAL_HEADER = "pax_global_header"  # stands in a tar and is no file
_REMOVED = ".wh."  # of a file that a layer takes away
PUZZLING = (DocumentError, EOFError, OSError, zlib.error, ValueError)
# These say something of this process, and nothing of the disk.
_OURS = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class LayerStore:
    """What the engine keeps below its folder.

    Args:
        root: the engine's folder.
    """

    def __init__(self, root: Path) -> None:
        self._images = root / "image" / DRIVER
        self._contents = root / DRIVER

    def is_there(self) -> bool:
        """Does this engine keep its images as this module expects it?"""
        return (self._images / "layerdb" / "sha256").is_dir() and self._contents.is_dir()

    def configuration(self, image_id: str) -> bytes:
        """The configuration of an image, as it stands.

        Raises:
            OSError: it is gone, or cannot be read.
        """
        path = self._images / "imagedb" / "content" / "sha256" / image_id.partition(":")[2]
        with path.open("rb") as file:
            return file.read(_DOCUMENT_LIMIT)

    def damages(self, layers: Sequence[str], read: Callable[[str, int], None]) -> Iterator[Damage]:
        """All that is wrong with the layers of an image.

        Args:
            layers: their digests, bottom first.
            read: told the layer and the number of each piece of bytes that was read.

        Raises:
            OSError: this process may not read it.
        """
        chain = ""
        for layer in layers:
            chain = "sha256:" + hashlib.sha256(f"{chain} {layer}".encode()).hexdigest() if chain else layer
            yield from self._damages_of(layer, chain, read)

    def _damages_of(self, layer: str, chain: str, read: Callable[[str, int], None]) -> Iterator[Damage]:
        folder = self._images / "layerdb" / "sha256" / chain.partition(":")[2]
        try:
            if (folder / "diff").read_text(encoding="ascii") != layer:
                yield Damage(layer, "", "the engine keeps another digest for it")
            place = self._contents / (folder / "cache-id").read_text(encoding="ascii") / "diff"
            files = _Files(place)
        except PUZZLING as error:
            problem = f"what the engine knows of it cannot be read: {_damage_told_by(error)}"
            yield Damage(layer, "", problem)
            return
        total = hashlib.sha256()
        named = False
        with files:
            try:
                for entry in entries(folder / "tar-split.json.gz"):
                    if isinstance(entry, bytes):
                        total.update(entry)
                        continue
                    name, size, checksum = entry
                    try:
                        problem = self._file(
                            files, name, size, checksum, total.update, lambda count: read(layer, count)
                        )
                    except OSError as error:
                        problem = f"it cannot be read: {_damage_told_by(error)}"
                    if problem:
                        named = True
                        yield Damage(layer, os.fsdecode(name), problem)
            except PUZZLING as error:
                yield Damage(layer, "", f"the engine's list of its files is damaged: {_damage_told_by(error)}")
                return
        digest = "sha256:" + total.hexdigest()
        if digest != layer and not named:
            yield Damage(layer, "", mismatch(digest))

    @staticmethod
    def _file(
        files: _Files,
        name: bytes,
        size: int,
        checksum: bytes,
        update: Callable[[bytes], None],
        read: Callable[[int], None],
    ) -> str:
        """Add a file to the layer; what is wrong with it, empty where nothing is."""
        if not size:
            return "" if files.has(name) else "it is gone"
        length, state = 0, _START
        with files.open(name) as file:
            _forget(file)
            while True:
                chunk = file.read(_CHUNK)
                if not chunk:
                    break
                update(chunk)
                state = _checksum(state, chunk)
                length += len(chunk)
                read(len(chunk))
            _forget(file)
        if length != size:
            return f"it has {length} bytes, not {size}"
        return "" if state ^ _START == int.from_bytes(checksum, "big") else "its content has changed"


class _Files:
    """The files of one layer. No link leads out of it, for what is in it came from elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._root = os.open(folder, _FOLDER)
        self._last: Optional[Tuple[Tuple[bytes, ...], int]] = None  # files of one folder come in a row

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        os.close(self._root)

    def open(self, name: bytes) -> BinaryIO:
        """A regular file, for reading.

        Raises:
            OSError: it is not there, is none, or cannot be read.
        """
        parts = _parts(name)
        descriptor = os.open(parts[-1], _FILE, dir_fd=self._folder(parts[:-1]))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is no regular file")
        return os.fdopen(descriptor, "rb", buffering=0)

    def has(self, name: bytes) -> bool:
        """Is there anything of that name? A name that stands for a file taken away counts as that file."""
        parts = _parts(name)
        if not parts:
            return True
        last = os.fsdecode(parts[-1])
        if last.startswith(_REMOVED * 2) or last == _GLOBAL_HEADER:
            return True
        if last.startswith(_REMOVED):
            parts = (*parts[:-1], parts[-1][len(_REMOVED) :])
        try:
            os.stat(parts[-1], dir_fd=self._folder(parts[:-1]), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _leave(self) -> None:
        if self._last is not None:
            os.close(self._last[1])
            self._last = None

    def _folder(self, parts: Tuple[bytes, ...]) -> int:
        if self._last is None or self._last[0] != parts:
            self._leave()
            self._last = (parts, self._enter(parts))
        return self._last[1]

    def _enter(self, parts: Tuple[bytes, ...]) -> int:
        """A folder of the layer, where a link stands for what it would lead to with the layer as the root."""
        links = 0
        way: List[bytes] = []
        todo = list(parts)
        descriptor = os.dup(self._root)
        try:
            while todo:
                part = todo.pop(0)
                try:
                    below = os.open(part, _FOLDER, dir_fd=descriptor)
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    target = os.readlink(part, dir_fd=descriptor)  # raises where it is no link
                    links += 1
                    if links > _LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
                    todo = _straight(way, target) + todo
                    way = []
                    below = os.dup(self._root)
                else:
                    way.append(part)
                os.close(descriptor)
                descriptor = below
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _parts(name: bytes) -> Tuple[bytes, ...]:
    return tuple(_straight([], name))


def _straight(start: List[bytes], path: bytes) -> List[bytes]:
    """The parts of a path from the root, without `.` and `..`, which leads no higher than the root."""
    parts = [] if path.startswith(b"/") else list(start)
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def entries(path: Path) -> Iterator[Any]:
    """The list of files of a layer: bytes as they stand in its tar, and (name, size, checksum) of each file.

    Raises:
        DocumentError, EOFError, OSError, ValueError, zlib.error: it is damaged.
    """
    with path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as lines:
        while True:
            line = lines.readline(_LINE_LIMIT)
            if not line:
                return
            entry = read_object(line, _LINE_LIMIT)
            kind = field(entry, "type", int)
            if kind == 2:
                yield _decoded(entry, "payload")
            elif kind == 1:
                name = _decoded(entry, "name_raw") or field(entry, "name", str, "").encode()
                yield name, field(entry, "size", int, 0), _decoded(entry, "payload")
            else:
                raise DocumentError(f"an entry of type {kind}")


def _decoded(entry: Dict[str, Any], name: str) -> bytes:
    return base64.b64decode(field(entry, name, str, ""), validate=True)


def _forget(file: BinaryIO) -> None:
    """What is read is to come from the disk and not from memory, and to push nothing else out of memory."""
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


_START = (1 << 64) - 1


def _checksum(state: int, chunk: bytes) -> int:
    """CRC-64 of ISO 3309, bits in reverse, as Go's hash/crc64 computes it; begins and ends with `_START`.

    Its polynomial is x⁶⁴ + x⁴ + x³ + x + 1, and there the square of a sum is the sum of the squares: so x to the power
    of 64·2ⁿ is the sum of x to the 4·2ⁿ, to the 3·2ⁿ, to the 2ⁿ, and 1. With that, a chunk as one whole number is
    halved by a few shifts until it has 64 bits, some ten times as fast here as one byte after the other with a table.
    The lowest bit is the highest power.
    """
    bits = 8 * len(chunk) + 64
    value = int.from_bytes(chunk, "little") ^ state
    while bits > 64:
        power = 1
        while 128 * power < bits:
            power *= 2
        high = bits - 64 * power
        left = max(64 * power, high + 4 * power)
        top = value & ((1 << high) - 1)
        value = (value >> high) << (left - 64 * power)
        for step in (0, 1, 3, 4):
            value ^= top << (left - high - step * power)
        bits = left
    return value


def _damage_told_by(error: BaseException) -> str:
    """In words.

    Raises:
        OSError: the same, where it tells of no damage.
    """
    if isinstance(error, OSError) and error.errno in _OURS:
        raise error
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
