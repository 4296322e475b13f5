"""A release on a USB stick: `skopeo copy … dir:`, an OCI layout or the output of `docker save`, folder or tar.

The bundle is served to the engine as a registry on loopback for as long as it takes to pull from it, so that
a bundle and a registry share every line of code from there on, and every digest is checked.
Anybody may have written the stick, and any local user may ask the loopback port. So no link is followed on the way to a
file, and nothing is served but what the bundle's own manifests name by digest.
Sources: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
https://github.com/containers/image/blob/main/docs/containers-transports.5.md
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import tarfile
import threading
import weakref
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple, Union

from ..documents import DocumentError, field, objects, read_json, read_object
from ..errors import UnitError
from .manifests import IMAGE_TYPES, INDEX_TYPES, LAYERS_LIMIT, MANIFESTS_LIMIT, config_digest, digest_in
from .reference import BUNDLE_REPOSITORY, DIGEST
from .signature import TAG as SIGNATURE_TAG

_CHUNK = 1 << 20
_DOCUMENT_LIMIT = 4 * 1024 * 1024
_FILES_LIMIT = 10_000
_FOLDERS_LIMIT = 8  # inside each other; the deepest bundle has three
_HEADER_LIMIT = 1 << 16  # bytes of one header in a tar; a long name has a few hundred
_IDLE_S = 60.0  # a client that says nothing for so long is left
_REF_NAME = "org.opencontainers.image.ref.name"
# Blobs in an OCI layout, and blobs and manifests in skopeo's own, where signatures have a folder with their tag's name.
_BLOB = re.compile(r"(?:blobs/sha256/|sha256-[0-9a-f]{64}\.sig/)?([0-9a-f]{64})(?:\.manifest\.json)?")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# Name of a file within the folder (empty: the tar itself), offset and size in bytes.
_Place = Tuple[str, int, int]


class Bundle:
    """Blobs by digest, and the manifest that stands for the whole bundle.

    Raises:
        UnitError: the path is none of those.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._files: Dict[str, _Place] = {}  # name in the bundle -> its place
        self._links: Dict[str, str] = {}  # name of a layer -> name of the same layer elsewhere in the bundle
        self._made: Dict[str, bytes] = {}  # digest -> bytes that are in no file
        self._blobs: Dict[str, _Place] = {}  # digest -> its place
        self._signatures: Dict[str, str] = {}  # tag of a signature -> digest of its manifest
        self._kinds: Dict[str, str] = {}  # digest of a manifest -> its media type
        self._named: Set[str] = set()  # digests of configurations and layers
        self._root = self._open()
        weakref.finalize(self, os.close, self._root)
        try:
            self._list_files()
            for name, place in self._files.items():
                blob = _BLOB.fullmatch(name)
                if blob:
                    self._blobs["sha256:" + blob[1]] = place
            self.top = self._top()
            if self.top not in self._made and self.top not in self._blobs:
                raise UnitError(f"{path} is incomplete: {self.top} is missing")
            for digest in (self.top, *self._signatures.values()):
                self._follow(digest)
        except DocumentError as error:
            raise UnitError(f"{path} is damaged: its list of contents cannot be read: {error}") from None
        except OSError as error:
            raise UnitError(f"cannot read the bundle at {self.path}: {error.strerror or error}") from None

    def tagged(self, tag: str) -> str:
        """The digest under a tag: `latest` is the release, `sha256-….sig` its signatures; empty where there is none."""
        return self.top if tag == "latest" else self._signatures.get(tag, "")

    def find(self, digest: str) -> Union[bytes, _Place, None]:
        """The place of what a manifest of the bundle names, or bytes, or None."""
        if digest not in self._kinds and digest not in self._named:
            return None
        return self._made.get(digest) or self._blobs.get(digest)

    def kind(self, digest: str) -> str:
        """The media type of a manifest; empty where it is none of the bundle's."""
        return self._kinds.get(digest, "")

    def chunks(self, place: _Place) -> Iterator[bytes]:
        """What is there, in pieces.

        Raises:
            OSError: it is no regular file any more, or cannot be read.
        """
        name, offset, size = place
        with self._reading(name) as opened:
            while size > 0:
                # By position: several clients read the same tar through one descriptor.
                chunk = os.pread(opened, min(_CHUNK, size), offset)
                if not chunk:
                    return  # the stick was pulled: the engine sees a short answer and refuses it
                offset += len(chunk)
                size -= len(chunk)
                yield chunk

    def _open(self) -> int:
        """The folder or the tar, which is neither a pipe nor a device that would hold us up."""
        try:
            mode = self.path.stat().st_mode
            if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                opened = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._is_folder = stat.S_ISDIR(os.fstat(opened).st_mode)
                return opened
        except (FileNotFoundError, NotADirectoryError):
            raise UnitError(f"there is no bundle at {self.path}: is the stick mounted?") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UnitError(f"cannot read the bundle at {self.path}: {reason}") from None
        raise UnitError(f"{self.path} is not a release bundle: it is neither a folder nor a file")

    @contextmanager
    def _reading(self, name: str) -> Iterator[int]:
        """A file of the bundle, reached from its folder without any link; the tar itself where `name` is empty."""
        opened = os.dup(self._root)
        try:
            *folders, last = name.split("/")
            for part, flags in [(folder, _FOLDER) for folder in folders] + [(last, _FILE)] if name else []:
                below = os.open(part, flags, dir_fd=opened)
                os.close(opened)
                opened = below
            if name and not stat.S_ISREG(os.fstat(opened).st_mode):
                raise OSError(f"{name} is no regular file")
            yield opened
        finally:
            os.close(opened)

    def _list_files(self) -> None:
        if self._is_folder:
            self._list_folder(self._root, "", 1)
        else:
            self._list_tar()
        for name, target in self._links.items():
            if target in self._files:
                self._files[name] = self._files[target]

    def _list_folder(self, folder: int, prefix: str, depth: int) -> None:
        if depth > _FOLDERS_LIMIT:
            raise DocumentError(f"{prefix} is more than {_FOLDERS_LIMIT} folders deep")
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_symlink():
                    self._link(name, prefix + os.readlink(entry.name, dir_fd=folder))
                elif entry.is_dir(follow_symlinks=False):
                    below = os.open(entry.name, _FOLDER, dir_fd=folder)
                    try:
                        self._list_folder(below, f"{name}/", depth + 1)
                    finally:
                        os.close(below)
                elif entry.is_file(follow_symlinks=False):
                    self._add(name, (name, 0, entry.stat(follow_symlinks=False).st_size))

    def _list_tar(self) -> None:
        end = os.fstat(self._root).st_size
        try:
            # Uncompressed only: blobs are read where they lie, for a Pi has no room for a second copy.
            with (
                os.fdopen(os.dup(self._root), "rb") as file,
                tarfile.open(fileobj=_Headers(file), mode="r:") as archive,
            ):
                for count, member in enumerate(archive):
                    if count >= _FILES_LIMIT:
                        raise DocumentError(f"more than {_FILES_LIMIT} files")
                    self._list_member(member, end)
        except tarfile.ReadError:
            raise UnitError(f"{self.path} is not an uncompressed tar: unpack it first (gunzip, zstd -d)") from None
        except DocumentError:
            raise
        # What tarfile makes of headers that are none differs from one version to the next.
        except (tarfile.TarError, ValueError, LookupError, ArithmeticError, RecursionError, TypeError) as error:
            raise DocumentError(f"its headers: {error}") from None

    def _list_member(self, member: tarfile.TarInfo, end: int) -> None:
        name = member.name[2:] if member.name.startswith("./") else member.name
        if member.isreg() and not member.issparse():
            if not 0 <= member.size <= end - member.offset_data:
                raise DocumentError(f"{name!r} of {member.size} bytes is more than there is: was the copy cut short?")
            self._add(name, ("", member.offset_data, member.size))
        elif member.issym():
            self._link(name, str(PurePosixPath(name).parent / member.linkname))
        elif member.islnk():
            self._link(name, member.linkname)

    def _add(self, name: str, place: _Place) -> None:
        parts = name.split("/")
        if "" in parts or ".." in parts or "." in parts:
            raise DocumentError(f"{name!r} leads out of it")
        self._files[name] = place
        if len(self._files) > _FILES_LIMIT:
            raise DocumentError(f"more than {_FILES_LIMIT} files")

    def _link(self, name: str, target: str) -> None:
        """Docker saves a layer that it has saved already as a link; no other link means anything."""
        if name.endswith("layer.tar") and len(self._links) < _FILES_LIMIT:
            self._links[name] = straight(PurePosixPath(target))

    def _top(self) -> str:
        if "index.json" in self._files:
            return self._from_layout()
        if "version" in self._files and "manifest.json" in self._files:
            return self._from_skopeo()
        if "manifest.json" in self._files:
            return self._from_docker_save()
        raise UnitError(f"{self.path} is not a release bundle: it has neither index.json nor manifest.json")

    def _small(self, place: Union[bytes, _Place]) -> bytes:
        """A document, whole."""
        if isinstance(place, bytes):
            return place
        if place[2] > _DOCUMENT_LIMIT:
            raise DocumentError(f"a document of {place[2]} bytes, more than {_DOCUMENT_LIMIT}")
        return b"".join(self.chunks(place))

    def _place(self, name: str) -> _Place:
        if name not in self._files:
            raise DocumentError(f"{name!r} is missing")
        return self._files[name]

    def _document(self, digest: str) -> Dict[str, Any]:
        """A manifest or a configuration, by its digest, which it has."""
        place = self._made.get(digest) or self._blobs.get(digest)
        if place is None:
            raise UnitError(f"{self.path} is incomplete: {digest} is missing")
        content = self._small(place)
        if _digest(content) != digest:
            raise DocumentError(f"{digest} has the content of {_digest(content)}")
        return read_object(content, _DOCUMENT_LIMIT)

    def _follow(self, top: str) -> None:
        """Note all that a manifest names, and the manifests below it."""
        wanted = [top]
        while wanted:
            digest = wanted.pop()
            if digest in self._kinds or (digest not in self._made and digest not in self._blobs):
                continue  # a bundle may lack the platforms of others
            if len(self._kinds) >= MANIFESTS_LIMIT:
                raise DocumentError(f"more than {MANIFESTS_LIMIT} manifests")
            document = self._document(digest)
            is_index = "manifests" in document
            kind = field(document, "mediaType", str, (INDEX_TYPES if is_index else IMAGE_TYPES)[0])
            if kind not in (INDEX_TYPES if is_index else IMAGE_TYPES):
                raise DocumentError(f"{kind!r} is the type of neither image nor index")
            self._kinds[digest] = kind
            if is_index:
                wanted += [digest_in(entry) for entry in objects(document, "manifests", MANIFESTS_LIMIT)]
            else:
                self._named.add(config_digest(document))
                self._named |= {digest_in(layer) for layer in objects(document, "layers", LAYERS_LIMIT)}

    def _from_layout(self) -> str:
        index = read_object(self._small(self._files["index.json"]), _DOCUMENT_LIMIT)
        entries = []
        for entry in objects(index, "manifests", MANIFESTS_LIMIT):
            digest = digest_in(entry)
            name = field(field(entry, "annotations", dict, {}), _REF_NAME, str, "").rpartition(":")[2]
            if SIGNATURE_TAG.match(name):
                self._signatures[name] = digest
            else:
                entries.append(entry)
        if len(entries) == 1:
            return digest_in(entries[0])
        for entry in entries:  # a list of images without a platform each: complete it from their configurations
            if not entry.get("platform"):
                config = self._document(config_digest(self._document(digest_in(entry))))
                entry["platform"] = {
                    key: field(config, key, str) for key in ("os", "architecture", "variant") if config.get(key)
                }
        return self._make({**index, "manifests": entries, "mediaType": INDEX_TYPES[0]})

    def _from_skopeo(self) -> str:
        """What `skopeo copy --all docker://… dir:FOLDER` writes: the manifests byte for byte, unlike in a layout."""
        for name in self._files:
            folder, _, file = name.rpartition("/")
            if file == "manifest.json" and SIGNATURE_TAG.match(folder):
                self._signatures[folder] = self._keep(name)
        return self._keep("manifest.json")

    def _keep(self, name: str) -> str:
        digest = _digest(self._small(self._files[name]))
        self._blobs[digest] = self._files[name]
        return digest

    def _from_docker_save(self) -> str:
        """Docker before 25 saves layers without a manifest: make the one that describes them."""
        images = read_json(self._small(self._files["manifest.json"]))
        if not isinstance(images, list) or not images or not isinstance(images[0], dict):
            raise DocumentError("manifest.json must be a list of images")
        saved = images[0]
        config = self._small(self._place(field(saved, "Config", str)))
        self._made[_digest(config)] = config
        layers = []
        names = field(saved, "Layers", list)
        if len(names) > LAYERS_LIMIT or not all(isinstance(name, str) for name in names):
            raise DocumentError(f"field Layers must be a list of at most {LAYERS_LIMIT} names")
        for name in names:
            digest = self._digest_at(self._place(name))
            self._blobs[digest] = self._files[name]
            layers.append(
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                    "digest": digest,
                    "size": self._files[name][2],
                }
            )
        return self._make(
            {
                "schemaVersion": 2,
                "mediaType": IMAGE_TYPES[1],
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    "digest": _digest(config),
                    "size": len(config),
                },
                "layers": layers,
            }
        )

    def _digest_at(self, place: _Place) -> str:
        total = hashlib.sha256()
        for chunk in self.chunks(place):
            total.update(chunk)
        return "sha256:" + total.hexdigest()

    def _make(self, document: Dict[str, Any]) -> str:
        body = json.dumps(document, sort_keys=True).encode()
        self._made[_digest(body)] = body
        return _digest(body)


class _Headers(io.BufferedReader):
    """A tar as tarfile reads it when it lists: small pieces, whatever sizes its headers claim."""

    def read(self, size: Optional[int] = -1) -> bytes:
        if size is None or not 0 <= size <= _HEADER_LIMIT:
            raise DocumentError(f"a header of {size} bytes")
        return super().read(size)


@contextmanager
def served(path: Path, port: int) -> Iterator[str]:
    """Serve the bundle at `path` on loopback; gives the image name to resolve.

    Raises:
        UnitError: the bundle cannot be used, or the port is taken.
    """
    bundle = Bundle(path)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _IDLE_S

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            _answer(self, bundle)

        def do_GET(self) -> None:
            _answer(self, bundle)

    try:
        server = _Server(("127.0.0.1", port), Handler)
    except OSError as error:
        raise UnitError(
            f"port {port} on loopback, for the bundle, is taken ({error.strerror}): set bundle_port"
        ) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}/{BUNDLE_REPOSITORY}:latest"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client went away, or the stick was pulled: the engine tells of it in its own words."""


def _answer(request: BaseHTTPRequestHandler, bundle: Bundle) -> None:
    kind, _, reference = request.path.rpartition("/")
    if request.path == "/v2/":
        return _send(request, bundle, b"{}", "application/json", "")
    if kind.endswith("/manifests"):
        digest = reference if DIGEST.match(reference) else bundle.tagged(reference)
        media_type = bundle.kind(digest)
    else:
        digest, media_type = reference, "application/octet-stream"
    found = bundle.find(digest) if media_type else None
    if found is None:
        return _send(request, bundle, b'{"errors":[{"code":"NOT_FOUND"}]}', "application/json", "", 404)
    return _send(request, bundle, found, media_type, digest)


def _send(
    request: BaseHTTPRequestHandler,
    bundle: Bundle,
    found: Union[bytes, _Place],
    kind: str,
    digest: str,
    code: int = 200,
) -> None:
    size = len(found) if isinstance(found, bytes) else found[2]
    request.send_response(code)
    request.send_header("Docker-Distribution-Api-Version", "registry/2.0")
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(size))
    if digest:
        request.send_header("Docker-Content-Digest", digest)
    request.end_headers()
    if request.command == "HEAD":
        return
    for chunk in [found] if isinstance(found, bytes) else bundle.chunks(found):
        request.wfile.write(chunk)


def _digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def straight(path: PurePosixPath) -> str:
    """A path in a tar without its `..`; one that leads out of the tar names nothing in it."""
    parts: List[str] = []
    for part in path.parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            return ""
    return "/".join(parts)
