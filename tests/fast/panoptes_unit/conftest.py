"""A stand-in for a container registry: an in-process HTTP server with a handful of manifests.

It stands where the real one cannot produce the answer wanted: tokens, wrong digests, cut answers.
The lab's real registry is used by the tests marked `lab`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


class StandInRegistry:
    """Holds blobs and manifests; `login` is None, "basic" or "bearer"."""

    def __init__(self, login=None, tls=None):
        self.login = login
        self.user = "anna:secret"  # accepted by basic, and by the token endpoint where `private`
        self.private = False
        self.manifests = {}  # (repository, tag or digest) -> (type, body)
        self.blobs = {}
        self.log = []
        self.lie_about_digest = False
        self.cut = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_HEAD(self):
                outer.answer(self)

            def do_GET(self):
                outer.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def put(self, repository, tag, document, kind):
        body = json.dumps(document).encode()
        digest = digest_of(body)
        self.manifests[repository, digest] = (kind, body)
        if tag:
            self.manifests[repository, tag] = (kind, body)
        return digest

    def put_image(self, repository, platform, tag=None, size=1000):
        os, architecture, variant = [*platform.split("/"), ""][:3]
        config = json.dumps(
            {"os": os, "architecture": architecture, **({"variant": variant} if variant else {})}
        ).encode()
        self.blobs[digest_of(config)] = config
        layer = platform.encode()
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"digest": digest_of(config), "size": len(config)},
            "layers": [{"digest": digest_of(layer), "size": size}],
        }
        return self.put(repository, tag, document, MANIFEST)

    def put_index(self, repository, tag, platforms):
        entries = []
        for platform in platforms:
            os, architecture, variant = [*platform.split("/"), ""][:3]
            entry = {"os": os, "architecture": architecture}
            if variant:
                entry["variant"] = variant
            entries.append({"digest": self.put_image(repository, platform), "platform": entry})
        entries.append(  # what BuildKit adds
            {"digest": digest_of(b"x"), "platform": {"os": "unknown", "architecture": "unknown"}}
        )
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        return self.put(repository, tag, document, INDEX)

    def answer(self, request):
        self.log.append((request.command, request.path))
        authorization = request.headers.get("Authorization", "")
        basic = "Basic " + base64.b64encode(self.user.encode()).decode()
        path = request.path
        if path.startswith("/token"):
            if self.private and authorization != basic:
                return self.send(request, 401, b"{}")
            return self.send(request, 200, b'{"token": "t0ken"}')
        wanted = {"basic": basic, "bearer": "Bearer t0ken"}.get(self.login, authorization)
        if authorization != wanted:
            challenge = 'Basic realm="r"'
            if self.login == "bearer":
                realm = f"http://{self.host}/token"
                challenge = f'Bearer realm="{realm}",service="s",scope="repository:a/b:pull"'
            return self.send(request, 401, b"{}", {"WWW-Authenticate": challenge})
        if path == "/v2/":
            return self.send(request, 200, b"{}")
        repository, _, reference = path[len("/v2/") :].partition("/manifests/")
        if (repository, reference) in self.manifests:
            kind, body = self.manifests[repository, reference]
            digest = digest_of(b"other") if self.lie_about_digest else digest_of(body)
            return self.send(request, 200, body, {"Content-Type": kind, "Docker-Content-Digest": digest})
        blob = self.blobs.get(path.rpartition("/")[2])
        if blob is not None:
            return self.send(request, 200, blob)
        return self.send(request, 404, b'{"errors": []}')

    def send(self, request, code, body, headers=None):
        request.send_response(code)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body[: len(body) // 2] if self.cut else body)
        if self.cut:
            request.close_connection = True


@pytest.fixture(scope="session")
def stand_in():
    """The class, because tests of the importlib mode cannot import a neighbour."""
    return StandInRegistry
