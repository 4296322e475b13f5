"""Who may ask the config server for what."""

import ipaddress
import os
import socket
import stat
import time
from pathlib import Path
from typing import Dict, FrozenSet, Iterable, Optional, Tuple

from panoptes_utils.error import InvalidConfig

TOKEN_FILE = ".config-server.token"  # noqa: S105 - a file name
MAX_BODY = 256 * 1024


class Denied(Exception):
    """A request that is not served: HTTP status, text for a person, further headers."""

    def __init__(self, status: int, msg: str, headers: Tuple[Tuple[bytes, bytes], ...] = ()):
        super().__init__(msg)
        self.status, self.msg, self.headers = status, msg, headers


class Access:
    """The rules of one server.

    Args:
        token: what a writer has to show; None lets every local program write.
        hosts: further names by which the server may be addressed.
        reads: requests a second for each address that is not loopback, twice that in a burst.
        writes: the same for changes, loopback included: they cost the SD card a write.
        token_file: where the token is; programs of this machine are told when they come without it.
    """

    def __init__(
        self,
        token: Optional[str] = None,
        hosts: Iterable[str] = (),
        reads: float = 200,
        writes: float = 100,
        token_file: Optional[Path] = None,
    ):
        self.token, self.token_file = token, token_file
        self.hosts: FrozenSet[str] = frozenset({"localhost", *_own_names(), *(name.lower() for name in hosts)})
        self._known_hosts: Dict[bytes, bool] = {}
        self._reads, self._writes = _Buckets(reads), _Buckets(writes)

    def check_host(self, header: Optional[bytes]) -> None:
        """Refuse a request that was sent to a name that is not this machine's.

        A web page whose name was made to point here (DNS rebinding) is same-origin for the browser; the name in the
        Host header gives it away.

        Raises:
            Denied: 400 without a usable Host header, 421 for a foreign name.
        """
        known = self._known_hosts.get(header or b"")
        if known is None:
            known = self._is_ours(_name(header))
            if len(self._known_hosts) < 256:
                self._known_hosts[header or b""] = known
        if not known:
            if not header:
                raise Denied(400, "the request has no Host header")
            raise Denied(421, f"this server is not called {_name(header)!r}; start it with --allow-host to change that")

    def check_rate(self, client: str, write: bool, joins: bool = False) -> None:
        """Refuse a client that asks too often.

        Args:
            client: its address.
            write: whether it wants to change something.
            joins: the change would be written together with others that wait. All programs of this machine have one
                address, and are counted by what they cost the SD card.

        Raises:
            Denied: 429 with Retry-After.
        """
        here = client.startswith("127.") or client == "::1"
        if write and not (here and joins):
            self._writes.take(client)
        elif not write and not here:
            self._reads.take(client)

    def check_write(self, headers: Dict[bytes, bytes]) -> None:
        """Refuse a change that a foreign web page makes or that lacks the token.

        Raises:
            Denied: 403 for a foreign page, 415 for a body that a page could send unasked, 401 without the token.
        """
        origin = headers.get(b"origin")
        if origin is not None and origin.partition(b"://")[2] != headers.get(b"host"):
            raise Denied(403, "a page of another origin may not change the configuration")
        if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
            raise Denied(403, "a page of another origin may not change the configuration")
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            raise Denied(415, "send the change as JSON with the header Content-Type: application/json")
        if not self.shows_token(headers):
            raise self.without_token("changes need")

    def shows_token(self, headers: Dict[bytes, bytes]) -> bool:
        """Whether a request shows the token, or needs none."""
        if self.token is None:
            return True
        if b"authorization" not in headers:
            return False
        # Here, since it loads OpenSSL's digests: 2 MB that a server on loopback has no use for.
        import hmac

        scheme, _, shown = headers[b"authorization"].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(shown.strip(), self.token.encode())

    def without_token(self, what: str) -> Denied:
        """The refusal of a request that does not show the token; `what` begins its sentence."""
        return Denied(
            401,
            f"{what} the header 'Authorization: Bearer TOKEN' with the token of this unit",
            ((b"www-authenticate", b'Bearer realm="panoptes-config"'),),
        )

    def _is_ours(self, name: str) -> bool:
        if name in self.hosts or name.endswith(".localhost"):
            return True
        try:
            # An address cannot be rebound.
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class _Buckets:
    """A token bucket for each client; the oldest are forgotten beyond 1,024 clients."""

    def __init__(self, rate: float):
        self.rate, self.burst = rate, 2 * rate
        self._levels: Dict[str, Tuple[float, float]] = {}

    def take(self, client: str) -> None:
        now = time.monotonic()
        level, then = self._levels.pop(client, (self.burst, now))
        level = min(self.burst, level + (now - then) * self.rate)
        if len(self._levels) >= 1024:
            self._levels.pop(next(iter(self._levels)))
        self._levels[client] = (level - 1 if level >= 1 else level, now)
        if level < 1:
            raise Denied(429, f"more than {self.rate:g} requests a second", ((b"retry-after", b"1"),))


def read_token(path: Path, make: bool = False) -> str:
    """The token in a file that nobody but its owner can read.

    Args:
        path: the file.
        make: write one with a new random token where there is none.

    Raises:
        InvalidConfig: the file is missing, empty, or others may read it.
    """
    if make:
        import secrets

        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            pass
        except OSError as error:
            raise InvalidConfig(f"cannot make the token file {path}: {error.strerror}") from error
        else:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(secrets.token_urlsafe(32) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise InvalidConfig(f"token file {path} has mode {mode:04o}, others can read it: chmod 600 {path}")
            token = stream.read(4096).decode("ascii", "replace").strip()
    except OSError as error:
        raise InvalidConfig(f"cannot read the token file {path}: {error.strerror}") from error
    if len(token) < 16 or not token.isprintable() or " " in token:
        raise InvalidConfig(f"token file {path} holds no token: one line of 16 or more printable characters")
    return token


def _own_names() -> FrozenSet[str]:
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return frozenset({name, short, f"{short}.local"})


def _name(header: Optional[bytes]) -> str:
    """The host name or address in a Host header, without the port."""
    text = (header or b"").decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if text.rpartition(":")[2].isdigit() and ":" in text else text
