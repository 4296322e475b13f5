"""A release on a USB stick: `skopeo copy … dir:`, an OCI layout or the output of `docker save`, folder or tar.

The bundle is served to the engine as a registry on loopback for as long as it takes to pull from it, so that
a bundle and a registry share every line of code from there on, and every digest is checked.
Sources: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
https://github.com/containers/image/blob/main/docs/containers-transports.5.md
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator

from .errors import UnitError
from .registry import IMAGE_TYPES, INDEX_TYPES
from .signature import TAG as SIGNATURE_TAG

REPOSITORY = "panoptes-utils"
_CHUNK = 1 << 20
_REF_NAME = "org.opencontainers.image.ref.name"
# Blobs in an OCI layout, and blobs and manifests in skopeo's own, where signatures have a folder with their tag's name.
_BLOB = re.compile(r"^(?:blobs/sha256/|sha256-[0-9a-f]{64}\.sig/)?([0-9a-f]{64})(?:\.manifest\.json)?$")


class Bundle:
    """Blobs by digest, and the manifest that stands for the whole bundle.

    Raises:
        UnitError: the path is none of those.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._files: dict = {}  # name in the bundle -> (file, offset, size)
        self._made: dict = {}  # digest -> bytes that are in no file
        self._blobs: dict = {}  # digest -> (file, offset, size)
        self._signatures: dict = {}  # tag of a signature -> digest of its manifest
        self._list_files()
        for name, place in self._files.items():
            blob = _BLOB.match(name)
            if blob:
                self._blobs["sha256:" + blob[1]] = place
        try:
            if "index.json" in self._files:
                self.top = self._from_layout()
            elif "version" in self._files and "manifest.json" in self._files:
                self.top = self._from_skopeo()
            elif "manifest.json" in self._files:
                self.top = self._from_docker_save()
            else:
                raise UnitError(f"{path} is no release bundle: it has neither index.json nor manifest.json")
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise UnitError(f"{path} is damaged: its list of contents cannot be read") from None

    def tagged(self, tag: str) -> str:
        """The digest under a tag: `latest` is the release, `sha256-….sig` its signatures; empty where there is none."""
        return self.top if tag == "latest" else self._signatures.get(tag, "")

    def find(self, digest: str) -> Any:
        """(file, offset, size) of a blob, or bytes, or None."""
        return self._made.get(digest) or self._blobs.get(digest)

    def read(self, digest: str) -> bytes:
        """A small blob, whole."""
        found = self.find(digest)
        if found is None:
            raise UnitError(f"{self.path} is incomplete: {digest} is missing")
        return found if isinstance(found, bytes) else _bytes_at(found)

    def kind(self, digest: str) -> str:
        """The media type of a manifest."""
        document = json.loads(self.read(digest))
        fallback = INDEX_TYPES[0] if "manifests" in document else IMAGE_TYPES[0]
        return document.get("mediaType") or fallback

    def _list_files(self) -> None:
        if self.path.is_dir():
            for file in self.path.rglob("*"):
                if file.is_file():
                    self._files[file.relative_to(self.path).as_posix()] = (file, 0, file.stat().st_size)
            return
        try:
            # Uncompressed only: blobs are read where they lie, for a Pi has no room for a second copy.
            with tarfile.open(self.path, "r:") as archive:
                for member in archive:
                    name = member.name[2:] if member.name.startswith("./") else member.name
                    if member.isreg():
                        self._files[name] = (self.path, member.offset_data, member.size)
                    elif (member.issym() or member.islnk()) and name.endswith("layer.tar"):
                        target = Path(name).parent / member.linkname if member.issym() else Path(member.linkname)
                        self._files[name] = self._files.get(_straight(target), (self.path, 0, 0))
        except FileNotFoundError:
            raise UnitError(f"there is no bundle at {self.path}: is the stick mounted?") from None
        except tarfile.ReadError:
            raise UnitError(f"{self.path} is not an uncompressed tar: unpack it first (gunzip, zstd -d)") from None
        except OSError as error:
            raise UnitError(f"cannot read the bundle at {self.path}: {error.strerror}") from None

    def _from_layout(self) -> str:
        index = json.loads(_bytes_at(self._files["index.json"]))
        entries = []
        for entry in index["manifests"]:
            name = (entry.get("annotations") or {}).get(_REF_NAME, "").rpartition(":")[2]
            if SIGNATURE_TAG.match(name):
                self._signatures[name] = entry["digest"]
            else:
                entries.append(entry)
        if len(entries) == 1:
            return entries[0]["digest"]
        for entry in entries:  # a list of images without a platform each: complete it from their configurations
            if not entry.get("platform"):
                manifest = json.loads(self.read(entry["digest"]))
                config = json.loads(self.read(manifest["config"]["digest"]))
                entry["platform"] = {key: config[key] for key in ("os", "architecture", "variant") if config.get(key)}
        return self._make({**index, "manifests": entries, "mediaType": INDEX_TYPES[0]})

    def _from_skopeo(self) -> str:
        """What `skopeo copy --all docker://… dir:FOLDER` writes: the manifests byte for byte, unlike in a layout."""
        for name in self._files:
            folder, _, file = name.rpartition("/")
            if file == "manifest.json" and SIGNATURE_TAG.match(folder):
                self._signatures[folder] = self._keep(name)
        return self._keep("manifest.json")

    def _keep(self, name: str) -> str:
        digest = _digest_at(self._files[name])
        self._blobs[digest] = self._files[name]
        return digest

    def _from_docker_save(self) -> str:
        """Docker before 25 saves layers without a manifest: make the one that describes them."""
        saved = json.loads(_bytes_at(self._files["manifest.json"]))[0]
        config = _bytes_at(self._files[saved["Config"]])
        self._made[_digest(config)] = config
        layers = []
        for name in saved["Layers"]:
            digest = _digest_at(self._files[name])
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

    def _make(self, document: dict) -> str:
        body = json.dumps(document, sort_keys=True).encode()
        self._made[_digest(body)] = body
        return _digest(body)


@contextmanager
def served(path: Path, port: int) -> Iterator[str]:
    """Serve the bundle at `path` on loopback; gives the image name to resolve.

    Raises:
        UnitError: the bundle cannot be used, or the port is taken.
    """
    bundle = Bundle(path)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            _answer(self, bundle)

        def do_GET(self) -> None:
            _answer(self, bundle)

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise UnitError(
            f"port {port} on loopback, for the bundle, is taken ({error.strerror}): set bundle_port"
        ) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}/{REPOSITORY}:latest"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: BaseHTTPRequestHandler, bundle: Bundle) -> None:
    kind, _, reference = request.path.rpartition("/")
    if request.path == "/v2/":
        return _send(request, b"{}", "application/json", "")
    manifest = kind.endswith("/manifests")
    digest = reference if reference.startswith("sha256:") or not manifest else bundle.tagged(reference)
    found = bundle.find(digest)
    if found is None:
        return _send(request, b'{"errors":[{"code":"NOT_FOUND"}]}', "application/json", "", 404)
    return _send(request, found, bundle.kind(digest) if manifest else "application/octet-stream", digest)


def _send(request: BaseHTTPRequestHandler, found: Any, kind: str, digest: str, code: int = 200) -> None:
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
    for chunk in [found] if isinstance(found, bytes) else _chunks(found):
        request.wfile.write(chunk)


def _chunks(place: tuple) -> Iterator[bytes]:
    path, offset, size = place
    with path.open("rb") as file:
        file.seek(offset)
        while size > 0:
            chunk = file.read(min(_CHUNK, size))
            if not chunk:
                return  # the stick was pulled: the engine sees a short answer and refuses it
            size -= len(chunk)
            yield chunk


def _bytes_at(place: tuple) -> bytes:
    return b"".join(_chunks(place))


def _digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def _digest_at(place: tuple) -> str:
    total = hashlib.sha256()
    for chunk in _chunks(place):
        total.update(chunk)
    return "sha256:" + total.hexdigest()


def _straight(path: Path) -> str:
    parts: list = []
    for part in path.parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
