"""A small client of the OCI distribution (Docker registry, version 2) protocol.

Only what a unit asks before it pulls: what a tag points to, for which platforms, and how many bytes that is.
Standard library only, because Ansible modules carry this file to units.
Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple

from .. import web
from ..documents import DocumentError, http_date, printable, read_object
from ..errors import ConfigurationError, NotFoundError, RegistryError
from .manifests import IMAGE_TYPES, INDEX_TYPES, Image, Index, config_digest, image_of, index_of, platform_of_config
from .reference import DIGEST, Credentials

_ACCEPT = ", ".join(INDEX_TYPES + IMAGE_TYPES)
_MANIFEST_LIMIT = 4 * 1024 * 1024
_WORTH_ANOTHER_TRY = (429, 500, 502, 503, 504)
LONGEST_WAIT_S = 120.0
# A whole request may take so many times as long as one wait in it: links are slow out there, but none takes for ever.
_WAITS_A_REQUEST = 4
_CHALLENGE_LIMIT = 4096
# Of a blob that is not small: so much has to come in so many waits, or the line counts as dead.
_PIECE = 1 << 14
# Over the wire beside a blob: headers, and the sizes of chunks.
_BESIDES = 1 << 20
_RANGE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)")
_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")


class RangeError(RegistryError):
    """The registry does not go on in the middle of a blob as it was asked to."""


class Registry:
    """One registry, asked over HTTPS (plain HTTP only on loopback, as Docker Engine does).

    Args:
        host: `name[:port]` as it stands in image names.
        ca: path of a CA file, or the PEM text itself; the system's own trust otherwise.
        credentials: for registries that want them; anonymous tokens are fetched without.
        timeout: seconds for each connection and read; a whole request may take four times as long.
        waits: seconds before each further try, where the registry is busy or says that it has a fault; none by default.
            Where it says itself how long to wait, that counts, up to `LONGEST_WAIT_S`.
    """

    def __init__(
        self,
        host: str,
        ca: Optional[str] = None,
        credentials: Optional[Credentials] = None,
        timeout: float = 15.0,
        waits: Sequence[float] = (),
    ) -> None:
        self.host = host
        self.timeout = timeout
        self.waits = tuple(waits)
        self.requests = 0
        self.bytes_received = 0
        self._credentials = credentials
        self._authorization: Dict[str, str] = {}  # repository -> header
        # Docker Hub answers the protocol under another name than the one in its images.
        server = "registry-1.docker.io" if host in ("docker.io", "index.docker.io") else host
        plain = web.is_loopback(urllib.parse.urlsplit(f"//{host}").hostname or "") and not ca
        self._base = f"{'http' if plain else 'https'}://{server}"
        # On this machine a proxy for the outside has no say.
        self._opener = web.opener(None if plain else _tls_context(ca), direct=plain)

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
        return digest if DIGEST.match(digest) else self.index(repository, tag).digest

    def index(self, repository: str, tag_or_digest: str = "latest") -> Index:
        """What a tag or digest points to, with the platforms it is made for.

        Raises:
            NotFoundError: no such repository, tag or digest.
            RegistryError: anything else that keeps the registry from answering.
        """
        digest, media_type, document = self._manifest(repository, tag_or_digest)
        try:
            if media_type in INDEX_TYPES or "manifests" in document:
                return index_of(digest, media_type, document)
            config = self._json_blob(repository, config_digest(document))
            return Index(digest, media_type, (platform_of_config(digest, config),))
        except DocumentError as error:
            raise RegistryError(f"{self.host}/{repository}: its manifest {digest} is damaged: {error}") from None

    def image(self, repository: str, digest: str) -> Image:
        """Configuration and layers, with sizes, of one platform's manifest."""
        found, _, document = self._manifest(repository, digest)
        try:
            return image_of(found, document)
        except DocumentError as error:
            raise RegistryError(f"{self.host}/{repository}@{digest} is not the manifest of an image: {error}") from None

    def manifest_text(self, repository: str, digest: str) -> Tuple[str, bytes]:
        """The manifest of one platform: its media type, and the bytes that have this digest."""
        body, media_type, _ = self._manifest_text(repository, digest)
        return (media_type if media_type in IMAGE_TYPES else IMAGE_TYPES[0]), body

    def _manifest(self, repository: str, reference: str) -> Tuple[str, str, Dict[str, Any]]:
        body, media_type, document = self._manifest_text(repository, reference)
        return "sha256:" + hashlib.sha256(body).hexdigest(), media_type, document

    def _manifest_text(self, repository: str, reference: str) -> Tuple[bytes, str, Dict[str, Any]]:
        by_digest = bool(DIGEST.match(reference))
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
        if document.get("schemaVersion") != 2:
            raise RegistryError(f"{self.host}/{repository}: manifest of unknown schema; push the image again")
        media_type = document.get("mediaType") or headers.get("Content-Type", "").split(";")[0]
        if "mediaType" in document and media_type not in INDEX_TYPES + IMAGE_TYPES:
            raise RegistryError(f"{self.host}/{repository}: {media_type!r} is the type of neither image nor index")
        return body, media_type, document

    def manifest(self, repository: str, tag: str) -> Dict[str, Any]:
        """The manifest under a tag, as it stands."""
        return self._manifest(repository, tag)[2]

    def blob(self, repository: str, digest: str, limit: int = _MANIFEST_LIMIT) -> bytes:
        """A small blob, whole.

        Raises:
            NotFoundError: there is none of that digest.
            RegistryError: it is larger than `limit` bytes, or its content is not of that digest.
        """
        if not DIGEST.match(digest):
            raise RegistryError(f"{self.host}/{repository} names a blob {digest!r}, which is not a digest")
        _, response = self._open("GET", f"/v2/{repository}/blobs/{digest}", repository, what=f"blob {digest}")
        body = self._read(response, limit)
        found = "sha256:" + hashlib.sha256(body).hexdigest()
        if found != digest:
            raise RegistryError(f"{self.host}/{repository}: a blob is damaged: its digest is {found}, not {digest}")
        return body

    def stream(self, repository: str, digest: str, size: int, offset: int = 0) -> Tuple[int, Iterator[bytes]]:
        """A blob of any size, piece by piece, from `offset` on; whoever takes it checks the digest.

        Returns:
            Where in the blob the pieces begin, which is 0 with a registry that knows no ranges, and the pieces. They
            may end early, and raise RegistryError where the line breaks.

        Raises:
            NotFoundError: there is none of that digest.
            RangeError: what comes is not what was asked for; asking for the whole blob may help.
            RegistryError: anything else.
        """
        path = f"/v2/{repository}/blobs/{digest}"
        headers, response = self._open(
            "GET", path, repository, what=f"blob {digest}", asks={"Range": f"bytes={offset}-"} if offset else {},
            limit=size + _BESIDES,
        )  # fmt: skip
        begins, problem = _place_in(headers, response.status, size, offset)
        if problem:
            response.close()
            raise RangeError(f"{self.host}/{repository}: {problem} for blob {digest}")
        return begins, self._pieces(response)

    def _pieces(self, response: Any) -> Iterator[bytes]:
        try:
            for piece in web.pieces(response, _PIECE):
                self.bytes_received += len(piece)
                yield piece
        except (OSError, DocumentError) as error:
            raise RegistryError(f"{self.host}: connection lost while reading: {error}") from None

    def _json_blob(self, repository: str, digest: str) -> Dict[str, Any]:
        return self._parse(self.blob(repository, digest), repository)

    def _parse(self, body: bytes, repository: str) -> Dict[str, Any]:
        try:
            return read_object(body, _MANIFEST_LIMIT)
        except DocumentError as error:
            raise RegistryError(f"{self.host}/{repository}: {error}; is {self.host} a registry?") from None

    def _read(self, response: Any, limit: int = _MANIFEST_LIMIT) -> bytes:
        try:
            body = web.read(response, limit)
        except DocumentError as error:
            raise RegistryError(f"{self.host}: {error}") from None
        except OSError as error:
            raise RegistryError(f"{self.host}: connection lost while reading: {error}") from None
        self.bytes_received += len(body)
        return body

    def _open(
        self,
        method: str,
        path: str,
        repository: str,
        accept: str = "",
        what: str = "",
        asks: Optional[Dict[str, str]] = None,
        limit: int = web.WIRE_LIMIT,
    ) -> Tuple[Message, Any]:
        """One request, logging in when asked to. Returns (headers, response)."""
        asks = {**({"Accept": accept} if accept else {}), **(asks or {})}
        try:
            return self._send(method, path, repository, asks, limit)
        except urllib.error.HTTPError as error:
            self.bytes_received += _header_bytes(error.headers)
            challenge = error.headers.get("WWW-Authenticate", "")
            if error.code != 401 or not repository:
                if error.code == 401:
                    return error.headers, error
                raise self._refused(error, repository, what) from None
        # Also where we have logged in before: what a registry gives for it lasts minutes, and a download hours.
        self._authorization[repository] = self._log_in(challenge, repository)
        try:
            return self._send(method, path, repository, asks, limit)
        except urllib.error.HTTPError as error:
            raise self._refused(error, repository, what) from None

    def _send(self, method: str, path: str, repository: str, asks: Dict[str, str], limit: int) -> Tuple[Message, Any]:
        request = self._request(self._base + path, method=method, limit=limit)
        for name, value in {"User-Agent": "panoptes-unit", **asks}.items():
            request.add_header(name, value)
        if repository in self._authorization:
            # Unredirected: a registry sends us elsewhere for blobs, and our login is none of their business.
            request.add_unredirected_header("Authorization", self._authorization[repository])
        return self._answer(request)

    def _request(self, url: str, method: str = "GET", limit: int = web.WIRE_LIMIT) -> web.Request:
        try:
            return web.Request(url, self.timeout, _WAITS_A_REQUEST * self.timeout, limit=limit, method=method)
        except ValueError:
            raise RegistryError(f"{self.host} sends us to {url!r}, which is no address") from None

    def _answer(self, request: web.Request) -> Tuple[Message, Any]:
        waits = iter(self.waits)
        while True:
            self.requests += 1
            try:
                return self._answer_once(request)
            except urllib.error.HTTPError as error:
                wait = next(waits, None) if error.code in _WORTH_ANOTHER_TRY else None
                if wait is None:
                    raise
                time.sleep(_asked_to_wait(error.headers, wait))
                request.renew()

    def _answer_once(self, request: web.Request) -> Tuple[Message, Any]:
        try:
            response = web.open_plainly(self._opener, request)
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            raise RegistryError(self._unreachable(getattr(error, "reason", error))) from None
        except DocumentError as error:
            raise RegistryError(f"{self.host} does not speak HTTP as a registry does: {error}") from None
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
        # So much and no more: what the search costs grows with the square of it.
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest[:_CHALLENGE_LIMIT]))
        realm = fields.get("realm", "")
        if scheme.lower() != "bearer" or not self._may_log_in_at(realm):
            raise RegistryError(f"{self.host} asks for an unknown kind of login: {challenge!r}")
        query = {"scope": fields.get("scope") or f"repository:{repository}:pull"}
        if "service" in fields:
            query["service"] = fields["service"]
        request = self._request(f"{realm}?{urllib.parse.urlencode(query)}")
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
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise RegistryError(f"{self.host}: the login for {repository} gave no token")
        return f"Bearer {token}"

    def _may_log_in_at(self, realm: str) -> bool:
        """Over https, as Docker Engine does, wherever the registry says; otherwise with itself alone."""
        try:
            there, here = urllib.parse.urlsplit(realm), urllib.parse.urlsplit(self._base)
            plain = (there.scheme, there.hostname, there.port) == (here.scheme, here.hostname, here.port)
        except ValueError:
            return False
        return "@" not in there.netloc and bool(there.hostname) and (there.scheme == "https" or plain)

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
        if error.code == 416:
            return RangeError(f"{self.host} has no such range (416) of {what} in {repository}")
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


def _asked_to_wait(headers: Message, otherwise: float) -> float:
    """Seconds, from Retry-After as a number or as a date."""
    said = headers.get("Retry-After", "")
    if said.isascii() and said.isdigit():
        return min(float(said[:10]), LONGEST_WAIT_S)
    try:
        date = http_date(said)
    except DocumentError:
        date = None
    return otherwise if date is None else min(max(date - time.time(), otherwise), LONGEST_WAIT_S)


def _place_in(headers: Message, status: int, size: int, offset: int) -> Tuple[int, str]:
    """Where in a blob of `size` bytes an answer begins, and what is wrong with it: empty where nothing is."""
    coded = headers.get("Content-Encoding", "identity")
    if coded != "identity":
        return 0, f"something on the way packs what comes ({printable(repr(coded), 40)})"
    begins = 0
    if status == 206:
        told = _RANGE.fullmatch(headers.get("Content-Range", ""))
        if told is None or int(told[1]) != offset or told[2] not in (str(size), "*"):
            return 0, f"another range ({printable(repr(headers.get('Content-Range')), 60)})"
        begins = offset
    length = headers.get("Content-Length")
    if length is not None and length != str(size - begins):
        return 0, f"{printable(repr(length), 40)} bytes instead of {size - begins}"
    return begins, ""


def _header_bytes(headers: Any) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items()) + 17


def _tls_context(ca: Optional[str]) -> ssl.SSLContext:
    try:
        if ca and "-----BEGIN" in ca:
            return ssl.create_default_context(cadata=ca)
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the registry's CA certificate {ca!r} cannot be read: {error}") from None
