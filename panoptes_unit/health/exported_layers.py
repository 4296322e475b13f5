"""An image as the engine exports it (`docker save`), read as it comes: nothing is written, little is kept.

Both forms are read: the older one, with a folder for each layer, and the OCI layout with blobs by digest, which engines
write since version 25. A layer that stands in it a second time may be a link to the first.
Sources: https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format
https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from pathlib import PurePosixPath
from typing import BinaryIO, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, cast

from ..documents import DocumentError, field, objects, read_json, read_object
from ..errors import UnitError
from ..sources.bundle import straight
from ..sources.manifests import LAYERS_LIMIT, MANIFESTS_LIMIT, config_digest, digest_in
from .damage import Damage, mismatch

_CHUNK = 1 << 16
_DOCUMENT_LIMIT = 1 << 20  # of one list of contents
_DOCUMENTS_LIMIT = 8 << 20  # of all that are kept
_MEMBERS = 10_000
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_FILE_NAMED = re.compile(r'checksum failed for "([^"]+)"')
# Errors of the engine that say nothing of the image: an export needs room, rights and time.
_OF_THE_ENGINE = re.compile(
    r"no space left|permission denied|timed out|too many open files|cannot allocate memory|context canceled", re.I
)
_LAYER_NAMED = re.compile(r"layer data for: (sha256:[0-9a-f]{64})")


class _Member(NamedTuple):
    """A file of the export: digests of its content as it stands, and unpacked where it is packed with gzip."""

    digest: str
    unpacked: str


class _Export:
    """What came so far.

    Attributes:
        members: name -> digests.
        links: name -> name of the same file elsewhere in the export.
        documents: name -> content, of what may be a list of contents.
        now: the name that is being read.
    """

    def __init__(self) -> None:
        self.members: Dict[str, _Member] = {}
        self.links: Dict[str, str] = {}
        self.documents: Dict[str, bytes] = {}
        self.now = ""
        self._left = _DOCUMENTS_LIMIT

    def take(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, read: Callable[[int], None]) -> None:
        """Read one entry of the tar."""
        self.now = name = straight(PurePosixPath(entry.name))
        if len(self.members) + len(self.links) >= _MEMBERS:
            raise DocumentError(f"more than {_MEMBERS} files")
        if entry.issym():
            self.links[name] = straight(PurePosixPath(name).parent / entry.linkname)
        elif entry.islnk():
            self.links[name] = straight(PurePosixPath(entry.linkname))
        elif entry.isreg():
            self._read(cast(BinaryIO, archive.extractfile(entry)), entry.size, read)

    def _read(self, file: BinaryIO, size: int, read: Callable[[int], None]) -> None:
        total = hashlib.sha256()
        kept: Optional[bytes] = None
        unpacked: Optional[_Unpacked] = None
        for number, chunk in enumerate(_chunks(file, size)):
            if number == 0 and chunk[:1] in (b"{", b"[") and size <= min(_DOCUMENT_LIMIT, self._left):
                kept = b""
                self._left -= size
            if number == 0 and chunk.startswith(b"\x1f\x8b"):
                unpacked = _Unpacked()
            total.update(chunk)
            if unpacked is not None:
                unpacked.update(chunk)
            if kept is not None:
                kept += chunk
            read(len(chunk))
        digest = "sha256:" + total.hexdigest()
        self.members[self.now] = _Member(digest, unpacked.digest() if unpacked else digest)
        if kept is not None:
            self.documents[self.now] = kept

    def member(self, name: str) -> Optional[_Member]:
        """A file by its name, through the link that may stand there."""
        return self.members.get(name) or self.members.get(self.links.get(name, ""))

    def document(self, digest: str) -> Optional[bytes]:
        """The content of what has this digest."""
        found = (name for name, member in self.members.items() if member.digest == digest)
        return next((self.documents[name] for name in found if name in self.documents), None)


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        chunk = file.read(min(_CHUNK, size))
        if not chunk:
            raise tarfile.ReadError("it ends within a file")
        size -= len(chunk)
        yield chunk


class _Unpacked:
    """The digest of what is packed with gzip, without ever holding much of it."""

    def __init__(self) -> None:
        self._total = hashlib.sha256()
        self._unpacker = zlib.decompressobj(wbits=31)
        self._damaged = False

    def update(self, chunk: bytes) -> None:
        try:
            while chunk and not self._damaged:
                self._total.update(self._unpacker.decompress(chunk, _CHUNK))
                chunk = self._unpacker.unconsumed_tail
                if self._unpacker.eof:  # a gzip file may have several parts
                    chunk = self._unpacker.unused_data
                    self._unpacker = zlib.decompressobj(wbits=31)
        except zlib.error:
            self._damaged = True

    def digest(self) -> str:
        """Empty where it cannot be unpacked."""
        return "" if self._damaged else "sha256:" + self._total.hexdigest()


def damages(
    stream: Iterator[bytes], image_id: str, layers: Sequence[str], read: Callable[[str, int], None]
) -> List[Damage]:
    """All that is wrong with an image.

    Args:
        stream: the export; the engine's own error may end it, as a UnitError.
        image_id: what the engine calls the image: digest of its configuration or of a manifest.
        layers: digests of its unpacked layers, bottom first.
        read: told the name and the number of each piece of bytes that was read.

    Raises:
        UnitError: the engine cannot export now, whatever the image is like.
    """
    export = _Export()
    pipe = _Pipe(stream)
    try:
        with tarfile.open(fileobj=cast(BinaryIO, pipe), mode="r|", bufsize=_CHUNK) as archive:
            while True:
                entry = archive.next()
                if entry is None:
                    break
                setattr(archive, "members", [])  # noqa: B010 - tarfile keeps them all, and its types hide it
                export.take(archive, entry, lambda count: read(export.now, count))
        pipe.drain()
        return _compare(export, image_id, layers)
    except UnitError as error:
        problem = str(error)
    # What tarfile makes of headers that are none differs from one version to the next.
    except (tarfile.TarError, DocumentError, ValueError, LookupError, ArithmeticError, TypeError, EOFError) as error:
        problem = pipe.last_words() or f"the export is damaged or ends too early: {error}"
    if _OF_THE_ENGINE.search(problem):
        raise UnitError(problem)
    return [_told(export, layers, problem)]


def _told(export: _Export, layers: Sequence[str], problem: str) -> Damage:
    """What ended the export, with the layer that was read then and the file, where the engine names one."""
    file, layer = _FILE_NAMED.search(problem), _LAYER_NAMED.search(problem)
    if layer:
        return Damage(layer[1], file[1] if file else "", problem)
    blob = _BLOB.fullmatch(export.now)
    if blob and f"sha256:{blob[1]}" in layers:
        named = f"sha256:{blob[1]}"
    else:
        seen = {digest for member in export.members.values() for digest in member}
        left = [digest for digest in layers if digest not in seen]
        named = left[0] if len(left) == 1 else ""
        if export.now and left and not named:
            problem = f"{problem} (at {export.now})"
    return Damage(named, file[1] if file else "", problem)


def _compare(export: _Export, image_id: str, layers: Sequence[str]) -> List[Damage]:
    if "manifest.json" not in export.documents:
        raise DocumentError("it has no list of contents")
    images = read_json(export.documents["manifest.json"], _DOCUMENT_LIMIT)
    if not isinstance(images, list) or len(images) != 1 or not isinstance(images[0], dict):
        raise DocumentError("manifest.json must be a list of one image")
    names = field(images[0], "Layers", list)
    configuration = export.member(field(images[0], "Config", str))
    found = []
    if configuration is None:
        found.append(Damage("", "", "the image's configuration is missing"))
    elif not _leads_to(export, image_id, configuration.digest):
        found.append(Damage("", "", f"the image's configuration: {mismatch(configuration.digest)}"))
    else:
        content = read_object(export.document(configuration.digest) or b"", _DOCUMENT_LIMIT)
        if field(field(content, "rootfs", dict), "diff_ids", list) != list(layers):
            found.append(Damage("", "", "the engine keeps other layers than the image's configuration names"))
    if len(names) != len(layers):
        found.append(Damage("", "", f"it has {len(names)} layers, not {len(layers)}"))
    packed = _packed_layers(export, image_id, len(names))
    for number, layer in enumerate(layers[: len(names)]):
        member = export.member(str(names[number]))
        if member is None:
            found.append(Damage(layer, "", "it is missing"))
        elif member.unpacked != layer and member.digest not in packed[number]:
            found.append(Damage(layer, "", mismatch(member.unpacked or member.digest)))
    return found


def _manifests(export: _Export, top: str) -> Iterator[Dict[str, object]]:
    """The manifests that an index or a manifest with this digest leads to."""
    wanted = [top]
    seen: Set[str] = set()
    while wanted and len(seen) < MANIFESTS_LIMIT:
        digest = wanted.pop()
        content = export.document(digest)
        if content is None or digest in seen:
            continue
        seen.add(digest)
        document = read_object(content, _DOCUMENT_LIMIT)
        if "manifests" in document:
            wanted += [digest_in(entry) for entry in objects(document, "manifests", MANIFESTS_LIMIT)]
        elif "layers" in document:
            yield document


def _leads_to(export: _Export, image_id: str, configuration: str) -> bool:
    if image_id == configuration:
        return True
    return any(config_digest(document) == configuration for document in _manifests(export, image_id))


def _packed_layers(export: _Export, image_id: str, count: int) -> List[Set[str]]:
    """Layers as the manifests of the image name them, bottom first: packed, in a way that may be unknown here."""
    packed: List[Set[str]] = [set() for _ in range(count)]
    for document in _manifests(export, image_id):
        layers = objects(document, "layers", LAYERS_LIMIT)
        if len(layers) == count:
            for digests, layer in zip(packed, layers):
                digests.add(digest_in(layer))
    return packed


class _Pipe:
    """An iterator over bytes, as a file that is read once from front to back.

    An error ends it like an end too early, so that what came before is read first: then it is known what was cut off.
    """

    _END = 4096

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream = stream
        self._left = b""
        self._end = b""
        self._error = ""

    def _next(self) -> bytes:
        try:
            chunk = next(self._stream, b"")
        except UnitError as error:
            self._error, chunk = str(error), b""
        self._end = (self._end + chunk)[-self._END :]
        return chunk

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        while len(self._left) < size:
            chunk = self._next()
            if not chunk:
                break
            self._left += chunk
        part, self._left = self._left[:size], self._left[size:]
        return part

    def drain(self) -> None:
        """Read what comes after the end of the tar: an engine may add an error there.

        Raises:
            UnitError: it does.
        """
        while self._next():
            pass
        if self.last_words():
            raise UnitError(self.last_words())

    def last_words(self) -> str:
        """The error of the engine, also where it has written it behind what it sent; empty where there is none."""
        _, brace, rest = self._end.rpartition(b'{"errorDetail"')
        if self._error or not brace:
            return self._error
        try:
            return str(field(read_object((brace + rest).strip(), self._END), "error", str))
        except DocumentError:
            return ""
