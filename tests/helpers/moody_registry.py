"""A registry on loopback whose line breaks, and which answers as servers do that know no better."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from panoptes_unit.sources.manifests import IMAGE_TYPES, INDEX_TYPES, Image, Layer


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


class MoodyRegistry:
    """Use it as a context.

    Attributes:
        moods: digest of a blob -> what happens to the next requests for it: a number (the line breaks after so many
            bytes of the answer), `wrong range`, `longer`, `shorter`, `other`, `packed`, `no range`, a status such as
            `503`, or `expired` (the login is).
        knows_ranges: does it?
        asked: path and range of each request.
        sent: bytes of blobs that went out.
        is_up: answers at all.
    """

    def __init__(self) -> None:
        self.moods: dict[str, list] = {}
        self.knows_ranges, self.is_up, self.wants_login = True, True, False
        self.asked: list[tuple[str, str]] = []
        self.sent = 0
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.tokens = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> MoodyRegistry:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def offer(self, name: str, layers: list[bytes], tag: str = "latest") -> Image:
        """Make a tag name an image of these layers."""
        config = json.dumps({"os": "linux", "architecture": "amd64", "name": name}).encode()
        parts = [Layer(digest_of(part), len(part)) for part in (config, *layers)]
        self.blobs.update({digest_of(part): part for part in (config, *layers)})
        entries = [{"digest": part.digest, "size": part.size} for part in parts]
        manifest = {"schemaVersion": 2, "mediaType": IMAGE_TYPES[0], "config": entries[0], "layers": entries[1:]}
        digest = self._keep(IMAGE_TYPES[0], manifest)
        entry = {"digest": digest, "platform": {"os": "linux", "architecture": "amd64"}}
        index = self._keep(INDEX_TYPES[0], {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": [entry]})
        self.manifests[tag] = self.manifests[index]
        return Image(digest, parts[0], tuple(parts[1:]))

    def _keep(self, kind: str, document: dict) -> str:
        body = json.dumps(document).encode()
        self.manifests[digest_of(body)] = (kind, body)
        return digest_of(body)


def noise(seed: int, size: int) -> bytes:
    """What a compressed layer looks like."""
    return random.Random(seed).randbytes(size)


def _handler(outer: MoodyRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """The tests print what they need."""

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            outer.asked.append((self.path, asked))
            if not outer.is_up:
                self.close_connection = True
                return
            kind, _, reference = self.path.rpartition("/")
            if self.path.startswith("/token"):
                outer.tokens += 1
                self._answer(200, json.dumps({"token": f"t{outer.tokens}"}).encode())
            elif outer.wants_login and self.headers.get("Authorization") != f"Bearer t{outer.tokens}":
                self._challenge()
            elif self.path == "/v2/":
                self._answer(200, b"{}")
            elif kind.endswith("/manifests") and reference in outer.manifests:
                media_type, body = outer.manifests[reference]
                self._answer(200, body, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(body)})
            elif kind.endswith("/blobs") and reference in outer.blobs:
                self._blob(reference, asked)
            else:
                self._answer(404, b'{"errors": []}')

        def _challenge(self) -> None:
            told = f'Bearer realm="http://{outer.host}/token",service="s"'
            self._answer(401, b"{}", {"WWW-Authenticate": told})

        def _blob(self, digest: str, asked: str) -> None:
            whole = outer.blobs[digest]
            moods = outer.moods.get(digest, [])
            mood = moods.pop(0) if moods else None
            if mood == "expired":
                outer.tokens += 1
                return self._challenge()
            if isinstance(mood, str) and mood.isdigit():
                return self._answer(int(mood), b"not today", {"Retry-After": "0"})
            said = re.fullmatch(r"bytes=(\d+)-", asked)
            begin = int(said[1]) if said and outer.knows_ranges and mood != "no range" else 0
            status, headers, body = (206 if begin else 200), {}, whole[begin:]
            if begin:
                told = begin - 1 if mood == "wrong range" else begin
                headers["Content-Range"] = f"bytes {told}-{len(whole) - 1}/{len(whole)}"
            if mood == "other":
                body = bytes(len(body))
            elif mood == "longer":
                body += b"more"
            elif mood == "shorter":
                body = body[:-1]
            elif mood == "packed":
                headers["Content-Encoding"] = "gzip"
            end = mood if isinstance(mood, int) else len(body)
            with contextlib.suppress(OSError):  # whoever asked has gone
                self._answer(status, body, headers, end)
                outer.sent += min(end, len(body))

        def _answer(self, status: int, body: bytes, headers: dict | None = None, end: int | None = None) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body if end is None else body[:end])

    return Handler
