"""A small client of the OCI distribution (Docker registry, version 2) protocol.

Only what a unit asks before it pulls: what a tag points to, for which platforms, and how many bytes that is.
Standard library only, because Ansible modules carry this file to units.
Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import ssl
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple, Optional

from .errors import ConfigurationError, NotFoundError, PlatformError, RegistryError
from .platforms import normalized

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
IMAGE_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT = ", ".join(INDEX_TYPES + IMAGE_TYPES)
_MANIFEST_LIMIT = 4 * 1024 * 1024
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_NAME = re.compile(r"^[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*$")
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")


class Reference(NamedTuple):
    """An image name taken apart: `registry/repository:tag` or `registry/repository@sha256:…`."""

    registry: str
    repository: str
    tag: str = "latest"
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read an image name as Docker does (no registry means Docker Hub, no tag means `latest`).

        Raises:
            ConfigurationError: the name is not a valid image name.
        """
        name, _, digest = text.partition("@")
        head, slash, rest = name.partition("/")
        if slash and ("." in head or ":" in head or head == "localhost"):
            registry, name = head, rest
        else:
            registry = "docker.io"
        repository, colon, tag = name.partition(":")
        if registry == "docker.io" and "/" not in repository:
            repository = f"library/{repository}"
        if colon and not _TAG.match(tag):
            raise ConfigurationError(f"{text!r} is not an image name: its tag {tag!r} is not valid")
        if not _NAME.match(repository) or (digest and not _DIGEST.match(digest)):
            raise ConfigurationError(f"{text!r} is not an image name; write REGISTRY/REPOSITORY[:TAG]")
        return cls(registry, repository, tag or "latest", digest)

    @property
    def name(self) -> str:
        """`registry/repository`, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


class PlatformManifest(NamedTuple):
    """One entry of an index: the manifest of one platform."""

    platform: str  # os/architecture/variant, variants written out
    digest: str
    architecture: str
    variant: str


class Index(NamedTuple):
    """What a tag points to. For a single image `digest` is that image's own digest."""

    digest: str
    media_type: str
    manifests: tuple  # of PlatformManifest

    @property
    def platforms(self) -> list:
        """The platforms in it, such as `["linux/amd64", "linux/arm/v7"]`."""
        return [entry.platform for entry in self.manifests]

    def for_platform(self, platform: str) -> PlatformManifest:
        """The manifest for `platform`.

        Raises:
            PlatformError: there is none; the message lists those there are.
        """
        for entry in self.manifests:
            if entry.platform == platform:
                return entry
        has = ", ".join(self.platforms) or "no platform at all"
        raise PlatformError(f"no manifest for platform {platform} in {self.digest}: it has {has}")


class Layer(NamedTuple):
    """A blob of an image: digest and size in bytes as transferred (compressed)."""

    digest: str
    size: int


class Image(NamedTuple):
    """The manifest of one platform: its configuration and its layers, bottom first."""

    digest: str
    config: Layer
    layers: tuple  # of Layer

    @property
    def size(self) -> int:
        """Bytes to transfer for the whole image."""
        return self.config.size + sum(layer.size for layer in self.layers)


class Credentials(NamedTuple):
    """User name and password (or token) for one registry."""

    username: str
    password: str

    def __repr__(self) -> str:  # never into a log
        return f"Credentials(username={self.username!r}, password='***')"

    @classmethod
    def from_file(cls, path: str) -> Credentials:
        """Read `username:password` from a file that only its owner can read.

        Raises:
            ConfigurationError: the file is absent, readable by others, or not of that form.
        """
        file = Path(path)
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"cannot read the registry credentials in {path}: {error}") from None
        if mode & 0o077:
            raise ConfigurationError(f"{path} has mode {mode:04o} and others can read it: chmod 0600 {path}")
        username, colon, password = text.partition(":")
        if not (username and colon and password) or "\n" in text:
            raise ConfigurationError(f"{path} must hold one line, username:password")
        return cls(username, password)


class Registry:
    """One registry, asked over HTTPS (plain HTTP only on loopback, as Docker Engine does).

    Args:
        host: `name[:port]` as it stands in image names.
        ca: path of a CA file, or the PEM text itself; the system's own trust otherwise.
        credentials: for registries that want them; anonymous tokens are fetched without.
        timeout: seconds for each connection and read.
    """

    def __init__(
        self,
        host: str,
        ca: Optional[str] = None,
        credentials: Optional[Credentials] = None,
        timeout: float = 15.0,
    ) -> None:
        self.host = host
        self.timeout = timeout
        self.requests = 0
        self.bytes_received = 0
        self._credentials = credentials
        self._authorization: dict = {}  # repository -> header
        # Docker Hub answers the protocol under another name than the one in its images.
        server = "registry-1.docker.io" if host in ("docker.io", "index.docker.io") else host
        plain = _is_loopback(host) and not ca
        self._base = f"{'http' if plain else 'https'}://{server}"
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=None if plain else _tls_context(ca))
        )

    def ping(self) -> None:
        """Check that a registry answers at all (with or without asking for a login).

        Raises:
            RegistryError: it does not, or is not trusted.
        """
        try:
            self._open("GET", "/v2/", "")[1].close()
        except NotFoundError:
            raise RegistryError(f"{self.host} answers, but is not a container registry") from None

    def digest_of(self, repository: str, tag: str = "latest") -> str:
        """The digest a tag points to, by one HEAD request (no body)."""
        headers, response = self._open(
            "HEAD", f"/v2/{repository}/manifests/{tag}", repository, accept=_ACCEPT, what=f"tag {tag!r}"
        )
        response.close()
        digest = headers.get("Docker-Content-Digest", "")
        return digest if _DIGEST.match(digest) else self.index(repository, tag).digest

    def index(self, repository: str, tag_or_digest: str = "latest") -> Index:
        """What a tag or digest points to, with the platforms it is made for.

        Raises:
            NotFoundError: no such repository, tag or digest.
            RegistryError: anything else that keeps the registry from answering.
        """
        digest, media_type, document = self._manifest(repository, tag_or_digest)
        if media_type in INDEX_TYPES or "manifests" in document:
            return Index(digest, media_type, tuple(_entries(document)))
        config = self._json_blob(repository, document["config"]["digest"])
        entry = PlatformManifest(
            normalized(config.get("os", "linux"), config.get("architecture", ""), config.get("variant", "")),
            digest,
            config.get("architecture", ""),
            config.get("variant", ""),
        )
        return Index(digest, media_type, (entry,))

    def image(self, repository: str, digest: str) -> Image:
        """Configuration and layers, with sizes, of one platform's manifest."""
        found, _, document = self._manifest(repository, digest)
        try:
            config = Layer(document["config"]["digest"], int(document["config"]["size"]))
            layers = tuple(Layer(item["digest"], int(item["size"])) for item in document["layers"])
        except (KeyError, TypeError, ValueError):
            raise RegistryError(f"{self.host}/{repository}@{digest} is not the manifest of an image") from None
        return Image(found, config, layers)

    def _manifest(self, repository: str, reference: str) -> tuple:
        by_digest = bool(_DIGEST.match(reference))
        what = f"digest {reference}" if by_digest else f"tag {reference!r}"
        headers, response = self._open(
            "GET", f"/v2/{repository}/manifests/{reference}", repository, accept=_ACCEPT, what=what
        )
        body = self._read(response)
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        claimed = reference if by_digest else headers.get("Docker-Content-Digest", digest)
        if claimed != digest:
            raise RegistryError(
                f"{self.host}/{repository}: the manifest is damaged: its digest is {digest}, not {claimed}"
            )
        document = self._parse(body, repository)
        media_type = document.get("mediaType") or headers.get("Content-Type", "").split(";")[0]
        if document.get("schemaVersion") != 2:
            raise RegistryError(f"{self.host}/{repository}: manifest of unknown schema; push the image again")
        return digest, media_type, document

    def manifest(self, repository: str, tag: str) -> dict:
        """The manifest under a tag, as it stands."""
        return self._manifest(repository, tag)[2]

    def blob(self, repository: str, digest: str, limit: int = _MANIFEST_LIMIT) -> bytes:
        """A small blob, whole.

        Raises:
            NotFoundError: there is none of that digest.
            RegistryError: it is larger than `limit` bytes, or its content is not of that digest.
        """
        if not _DIGEST.match(digest):
            raise RegistryError(f"{self.host}/{repository} names a blob {digest!r}, which is no digest")
        _, response = self._open("GET", f"/v2/{repository}/blobs/{digest}", repository, what=f"blob {digest}")
        body = self._read(response, limit)
        found = "sha256:" + hashlib.sha256(body).hexdigest()
        if found != digest:
            raise RegistryError(f"{self.host}/{repository}: a blob is damaged: its digest is {found}, not {digest}")
        return body

    def _json_blob(self, repository: str, digest: str) -> dict:
        return self._parse(self.blob(repository, digest), repository)

    def _parse(self, body: bytes, repository: str) -> dict:
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise RegistryError(f"{self.host}/{repository}: answer is not JSON; is {self.host} a registry?")
        return document

    def _read(self, response: Any, limit: int = _MANIFEST_LIMIT) -> bytes:
        try:
            with response:
                body = response.read(limit + 1)
        except (OSError, ValueError) as error:
            raise RegistryError(f"{self.host}: connection lost while reading: {error}") from None
        if len(body) > limit:
            raise RegistryError(f"{self.host}: an answer of over {limit} bytes refused")
        # read(limit) does not complain about an early end by itself.
        if len(body) < int(response.headers.get("Content-Length") or 0):
            raise RegistryError(f"{self.host}: answer cut short after {len(body)} bytes: try again")
        self.bytes_received += len(body)
        return body

    def _open(self, method: str, path: str, repository: str, accept: str = "", what: str = "") -> tuple:
        """One request, logging in when asked to. Returns (headers, response)."""
        try:
            return self._send(method, path, repository, accept)
        except urllib.error.HTTPError as error:
            self.bytes_received += _header_bytes(error.headers)
            challenge = error.headers.get("WWW-Authenticate", "")
            if error.code != 401 or not repository or repository in self._authorization:
                if error.code == 401 and not repository:
                    return error.headers, error
                raise self._refused(error, repository, what) from None
        self._authorization[repository] = self._log_in(challenge, repository)
        try:
            return self._send(method, path, repository, accept)
        except urllib.error.HTTPError as error:
            raise self._refused(error, repository, what) from None

    def _send(self, method: str, path: str, repository: str, accept: str) -> tuple:
        request = urllib.request.Request(self._base + path, method=method)  # noqa: S310 - scheme is ours
        request.add_header("User-Agent", "panoptes-unit")
        if accept:
            request.add_header("Accept", accept)
        if repository in self._authorization:
            # Unredirected: a registry sends us elsewhere for blobs, and our login is none of their business.
            request.add_unredirected_header("Authorization", self._authorization[repository])
        return self._answer(request)

    def _answer(self, request: urllib.request.Request) -> tuple:
        self.requests += 1
        try:
            response = self._opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError:
            raise
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise RegistryError(self._unreachable(getattr(error, "reason", error))) from None
        except Exception as error:  # http.client.HTTPException: garbage instead of HTTP
            raise RegistryError(f"{self.host} does not speak HTTP as a registry does: {error!r}") from None
        self.bytes_received += _header_bytes(response.headers)
        return response.headers, response

    def _log_in(self, challenge: str, repository: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        basic = ""
        if self._credentials:
            pair = f"{self._credentials.username}:{self._credentials.password}"
            basic = "Basic " + base64.b64encode(pair.encode()).decode()
        if scheme.lower() == "basic":
            if not basic:
                raise RegistryError(f"{self.host} wants a login: set the file with the registry credentials")
            return basic
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = fields.get("realm", "")
        if scheme.lower() != "bearer" or not realm.startswith(("https://", self._base)):
            raise RegistryError(f"{self.host} asks for a login of a kind not known here: {challenge!r}")
        query = {"scope": fields.get("scope") or f"repository:{repository}:pull"}
        if "service" in fields:
            query["service"] = fields["service"]
        request = urllib.request.Request(f"{realm}?{urllib.parse.urlencode(query)}")  # noqa: S310 - checked above
        if basic:
            request.add_unredirected_header("Authorization", basic)
        try:
            _, response = self._answer(request)
        except urllib.error.HTTPError as error:
            raise RegistryError(
                f"{self.host} refuses the login for {repository} ({error.code}): check the credentials file"
            ) from None
        document = self._parse(self._read(response), repository)
        token = document.get("token") or document.get("access_token")
        if not token:
            raise RegistryError(f"{self.host}: the login for {repository} gave no token")
        return f"Bearer {token}"

    def _refused(self, error: urllib.error.HTTPError, repository: str, what: str) -> RegistryError:
        if error.code == 404 and what:
            return NotFoundError(
                f"{self.host} has no repository {repository!r} or no {what} in it: check the name and the tag"
            )
        if error.code == 404:
            return NotFoundError(f"{self.host}: not found: {error.url}")
        if error.code in (401, 403):
            return RegistryError(
                f"{self.host} refuses access to {repository} ({error.code}): "
                "the repository is private or absent; check the name and the credentials file"
            )
        if error.code == 429:
            return RegistryError(f"{self.host} limits the number of requests (429): try again later")
        return RegistryError(f"{self.host} answers {error.code} {error.reason} for {repository}: try later")

    def _unreachable(self, reason: Any) -> str:
        if isinstance(reason, ssl.SSLCertVerificationError):
            detail = reason.verify_message
            if reason.verify_code in (9, 10):  # not yet valid, expired
                now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
                return f"TLS certificate of {self.host}: {detail}; is this machine's clock right? It says {now}"
            return f"TLS certificate of {self.host} is not trusted: {detail}; give the registry's CA file"
        if isinstance(reason, ssl.SSLError):
            return f"no TLS at {self.host}: {reason.reason or reason}; is this the registry's port?"
        if isinstance(reason, socket.timeout):
            return f"registry {self.host} did not answer within {self.timeout:g} s: is the network up?"
        if isinstance(reason, socket.gaierror):
            return f"no address for registry {self.host}: {reason.strerror}; check the name and the network"
        return f"registry {self.host} is not reachable: {getattr(reason, 'strerror', None) or reason}"


def _entries(document: dict) -> list:
    entries = []
    for item in document.get("manifests") or ():
        platform = item.get("platform") or {}
        architecture = platform.get("architecture", "")
        # BuildKit adds attestations as entries for the platform "unknown/unknown".
        if architecture in ("", "unknown"):
            continue
        variant = platform.get("variant", "")
        entries.append(
            PlatformManifest(
                normalized(platform.get("os", "linux"), architecture, variant),
                item["digest"],
                architecture,
                variant,
            )
        )
    return entries


def _is_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0].strip("[]")
    return name in ("localhost", "::1") or name.startswith("127.")


def _header_bytes(headers: Any) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items()) + 17


def _tls_context(ca: Optional[str]) -> ssl.SSLContext:
    try:
        if ca and "-----BEGIN" in ca:
            return ssl.create_default_context(cadata=ca)
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the registry's CA certificate {ca!r} cannot be read: {error}") from None
