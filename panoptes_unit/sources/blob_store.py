"""A folder of compressed blobs by digest, in the shape of an OCI layout, so that it is served as a bundle is.

What arrives is written beside its place and takes it when its digest is right: whatever ends a run, a power cut too,
leaves whole blobs, and beginnings of blobs that the next run goes on with.
Source: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Dict, Iterable, Iterator, List, Tuple

from ..documents import DocumentError, field, objects, printable, read_object
from ..errors import UnitError
from ..guarded import Folder, UnsafeError, open_folder
from .manifests import IMAGE_TYPES, MANIFESTS_LIMIT, Image, Layer, digest_in, image_of

# Within the path that a person names: what else is there is theirs, and not looked at.
NAME = "release-copy"
_DOCUMENT_LIMIT = 4 * 1024 * 1024
_LAYOUT = b'{"imageLayoutVersion": "1.0.0"}\n'
_OURS = re.compile(r"[0-9a-f]{64}(\.partial)?|\.[0-9a-f]{24}\.new")
_PARTIAL = ".partial"
_BLOCK = 1 << 16
# So much is lost in a power cut, at most.
_SYNC_EACH = 1 << 20


class StoreError(UnitError):
    """The folder cannot be used, as it is; no lack of room."""


class Arriving:
    """A blob on its way in; use `BlobStore.arriving`.

    Attributes:
        offset: bytes that are there.
        size: bytes of the whole.
    """

    def __init__(self, file: BinaryIO, digest: str, size: int) -> None:
        self.size, self.offset = size, 0
        self._file, self._digest = file, digest
        self._sum = hashlib.sha256()
        self._unsynced = 0
        self._take_up()

    def _take_up(self) -> None:
        """What an earlier run left, without the zeros that a power cut leaves at the end of a file."""
        end = os.fstat(self._file.fileno()).st_size
        end = 0 if end > self.size else end
        while end:
            begin = (end - 1) // _BLOCK * _BLOCK
            self._file.seek(begin)
            kept = len(self._file.read(end - begin).rstrip(b"\0"))
            end = begin + kept
            if kept:
                break
        self._file.truncate(end)
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            self._sum.update(block)
            self.offset += len(block)

    def begin_anew(self) -> None:
        """Nothing of it is any good."""
        self._file.seek(0)
        self._file.truncate(0)
        self._sum, self.offset = hashlib.sha256(), 0

    def add(self, piece: bytes) -> None:
        """The next bytes; what is more than the whole is dropped."""
        piece = piece[: self.size - self.offset]
        self._file.write(piece)
        self._sum.update(piece)
        self.offset += len(piece)
        self._unsynced += len(piece)
        if self._unsynced >= _SYNC_EACH:
            self.sync()

    def sync(self) -> None:
        """On the disk, whatever comes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._unsynced = 0

    @property
    def is_whole(self) -> bool:
        """Are all its bytes there?"""
        return self.offset == self.size

    @property
    def is_right(self) -> bool:
        """Are they those of its digest?"""
        return self.is_whole and self._digest == f"sha256:{self._sum.hexdigest()}"


class BlobStore:
    """The open folder; use `opened`.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path, top: Folder, blobs: Folder) -> None:
        self.path = path
        self._top, self._blobs = top, blobs

    # -- reading ---------------------------------------------------------------------------------------------------

    def has(self, blob: Layer) -> bool:
        """Is a file of its name and size there? `is_sound` looks at what is in it."""
        info = self._blobs.status(_hex(blob.digest))
        return info is not None and stat.S_ISREG(info.st_mode) and info.st_size == blob.size

    def lacking(self, blobs: Iterable[Layer]) -> int:
        """Bytes that are still to come, without what has arrived of them."""
        return sum(blob.size - self._arrived(blob) for blob in blobs if not self.has(blob))

    def _arrived(self, blob: Layer) -> int:
        info = self._blobs.status(_hex(blob.digest) + _PARTIAL)
        return info.st_size if info is not None and stat.S_ISREG(info.st_mode) and info.st_size <= blob.size else 0

    def is_sound(self, blob: Layer) -> bool:
        """Has it the content of its digest? Where it has not, it is removed."""
        if not self.has(blob):
            return False
        with suppress(OSError, UnsafeError):
            if self._blobs.sha256(_hex(blob.digest), blob.size) == _hex(blob.digest):
                return True
        self._drop(_hex(blob.digest))
        return False

    def image(self, digest: str) -> Image:
        """The image whose manifest is here.

        Raises:
            UnitError: there is none that is whole.
        """
        try:
            body, _ = self._blobs.read(_hex(digest), _DOCUMENT_LIMIT)
            if hashlib.sha256(body).hexdigest() != _hex(digest):
                raise DocumentError("it is damaged")
            return image_of(digest, read_object(body, _DOCUMENT_LIMIT))
        except (OSError, DocumentError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UnitError(f"{self.path}: no manifest {digest[7:19]}: {reason}") from None

    # -- writing ---------------------------------------------------------------------------------------------------

    def put(self, digest: str, content: bytes) -> None:
        """A small blob, whole; nothing is written where it is there."""
        if not self.is_sound(Layer(digest, len(content))):
            with self._blobs.replacing(_hex(digest), 0o644) as file:
                file.write(content)

    @contextmanager
    def arriving(self, blob: Layer) -> Iterator[Arriving]:
        """A blob that comes in pieces, from where an earlier run ended; right at the end, it takes its place.

        Raises:
            UnitError: it cannot be written.
        """
        name = _hex(blob.digest) + _PARTIAL
        try:
            with self._open_partial(name) as file:
                made = Arriving(file, blob.digest, blob.size)
                try:
                    yield made
                finally:
                    made.sync()
                if made.is_right:
                    os.fchmod(file.fileno(), 0o644)
            if made.is_right:
                self._blobs.rename(name, _hex(blob.digest))
                self._blobs.sync()
        except OSError as error:
            raise _told(self.path, error) from None

    def _open_partial(self, name: str) -> BinaryIO:
        try:
            return self._blobs.open_to_go_on(name)
        except UnsafeError:  # nobody of ours has put it there
            self._drop(name)
            return self._blobs.open_to_go_on(name)

    def list_images(self, images: Dict[str, str]) -> None:
        """What the layout offers: digests of manifests that are here, with their media types."""
        entries = []
        for digest, kind in sorted(images.items()):
            info = self._blobs.status(_hex(digest))
            if info is not None:
                entries.append({"mediaType": kind, "digest": digest, "size": info.st_size})
        index = {"schemaVersion": 2, "manifests": entries}
        for name, content in (("oci-layout", _LAYOUT), ("index.json", json.dumps(index).encode() + b"\n")):
            if self._content(name) != content:
                with self._top.replacing(name, 0o644) as file:
                    file.write(content)

    def listed(self) -> Dict[str, str]:
        """What `list_images` was told; nothing where that cannot be read."""
        with suppress(DocumentError):
            index = read_object(self._content("index.json"), _DOCUMENT_LIMIT)
            entries = objects(index, "manifests", MANIFESTS_LIMIT)
            return {digest_in(one): field(one, "mediaType", str, IMAGE_TYPES[0]) for one in entries}
        return {}

    def _content(self, name: str) -> bytes:
        try:
            return self._top.read(name, _DOCUMENT_LIMIT)[0]
        except (OSError, UnsafeError):
            return b""

    def thin(self, keep: Iterable[str]) -> int:
        """Remove all blobs, and beginnings of blobs, but these; the bytes that this gave."""
        wanted, gone = {_hex(digest) for digest in keep}, 0
        for name in self._blobs.names():
            info = self._blobs.status(name)
            if info is not None and _OURS.fullmatch(name) and name.partition(".")[0] not in wanted:
                gone += info.st_size
                self._drop(name)
        listed = self.listed()
        if not set(listed) <= set(keep):
            self.list_images({digest: kind for digest, kind in listed.items() if digest in keep})
        return gone

    def _drop(self, name: str) -> None:
        try:
            self._blobs.remove(name)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreError(f"{self.path}/blobs/sha256/{name} cannot be removed: {error.strerror}") from None


@contextmanager
def opened(path: Path, make: bool = True) -> Iterator[BlobStore]:
    """The store at a path.

    Args:
        make: it is made where it is missing.

    Raises:
        StoreError: it cannot be had, or others may write to it.
        UnitError: its disk is full.
    """
    folders: List[Folder] = []
    try:
        owner = (os.geteuid(), os.getegid()) if make else None
        for place in (path, path / "blobs" / "sha256"):
            folders.append(open_folder(place, make=owner))
            _require_own(folders[-1])
        yield BlobStore(path, *folders)
    except OSError as error:
        raise _told(path, error) from None
    except UnsafeError as error:
        raise StoreError(str(error)) from None
    finally:
        for folder in folders:
            os.close(folder.descriptor)


def _told(path: Path, error: OSError) -> UnitError:
    text = f"{printable(error.filename or path)}: {error.strerror or error}"
    return UnitError(text) if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError(text)


def _require_own(folder: Folder) -> None:
    info = folder.info
    if info.st_uid not in (0, os.geteuid()) or info.st_mode & 0o022:
        raise UnsafeError(f"{folder!r} can be written by others: remove it, or give it to root with mode 0755")


def blobs_of(image: Image) -> Tuple[Layer, ...]:
    """Configuration and layers, each once."""
    return tuple(dict.fromkeys((image.config, *image.layers)))


def names_of(image: Image) -> List[str]:
    """Digests of all that belongs to an image."""
    return [image.digest, *(blob.digest for blob in blobs_of(image))]


def _hex(digest: str) -> str:
    return digest[7:]
