"""HTTP for a root tool that trusts no server: each request ends in time, each answer is bounded.

A timeout of a socket holds for one read, and a server that sends a byte a second passes it for ever. Here the time left
and the bytes left hold for a whole request with its redirects, headers and chunks.
Standard library only, because Ansible modules carry this file to units.
"""

from __future__ import annotations

import functools
import http.client
import io
import ipaddress
import socket
import ssl
import time
import urllib.parse
import urllib.request
from typing import Any, Iterator, Optional

from .documents import SIZE_LIMIT, DocumentError, printable

# What comes over the wire for one answer, headers and chunk sizes included.
WIRE_LIMIT = 16 * 1024 * 1024

# What urllib and http.client make of addresses, headers and lengths that are none.
_MISREAD = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


class Request(urllib.request.Request):
    """A request that ends `seconds` after it was made, whatever the server does.

    Args:
        wait: seconds for the connection, and for each wait for the next bytes.
        seconds: for all of it, redirects included.
        redirects: may the server send us elsewhere? To https only, and from this machine to this machine.
        limit: bytes over the wire for its answer, headers and chunk sizes included; WIRE_LIMIT where 0.
    """

    def __init__(
        self, url: str, wait: float, seconds: float, redirects: bool = True, limit: int = 0, **more: Any
    ) -> None:
        super().__init__(url, **more)
        self.wait = wait
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        self.redirects = redirects
        self.limit = limit or WIRE_LIMIT

    def renew(self) -> None:
        """It has all its seconds again, for it goes on."""
        self.end = time.monotonic() + self.seconds

    def left(self) -> float:
        """Seconds for the next wait.

        Raises:
            OSError: the time is over.
        """
        left = self.end - time.monotonic()
        if left <= 0:
            raise socket.timeout(f"its answer took longer than {self.seconds:g} s")
        return min(left, self.wait)


def opener(context: Optional[ssl.SSLContext] = None, direct: bool = False) -> urllib.request.OpenerDirector:
    """Opens `Request`s.

    Args:
        context: for https; the system's own trust where there is none.
        direct: no proxy of the environment has a say.
    """
    made = urllib.request.OpenerDirector()  # and not build_opener, which adds what reads files and FTP
    for handler in (
        urllib.request.ProxyHandler({} if direct else None),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Plain(),
        _Encrypted(context),
        _Redirects(),
    ):
        made.add_handler(handler)
    return made


def open_plainly(by: urllib.request.OpenerDirector, request: Request) -> Any:
    """The answer to a request.

    Raises:
        OSError: there is none; `urllib.error.HTTPError` where it says so itself.
        DocumentError: it is no HTTP, or the address is none.
    """
    try:
        return by.open(request)
    except (http.client.HTTPException, *_MISREAD) as error:
        raise DocumentError(f"no HTTP comes back: {error!r}") from None


def read(response: Any, limit: int) -> bytes:
    """The whole body of an answer.

    Raises:
        OSError: the connection was lost, or the time is over.
        DocumentError: it is longer than `limit` bytes, shorter than it says, or no HTTP.
    """
    said = response.headers.get("Content-Length")
    length = None if said is None else _length(said)
    if length is not None and length > limit:
        raise DocumentError(f"refused an answer of more than {limit} bytes")
    try:
        with response:
            body: bytes = response.read(limit + 1)
    except http.client.IncompleteRead as error:
        raise DocumentError(f"answer cut short after {len(error.partial)} bytes: try again") from None
    except (http.client.HTTPException, *_MISREAD) as error:
        raise DocumentError(f"an answer that is no HTTP: {error!r}") from None
    if len(body) > limit:
        raise DocumentError(f"refused an answer of more than {limit} bytes")
    # read(limit) does not complain about an early end by itself.
    if length is not None and len(body) < length and not response.headers.get("Transfer-Encoding"):
        raise DocumentError(f"answer cut short after {len(body)} bytes: try again")
    return body


def pieces(response: Any, size: int) -> Iterator[bytes]:
    """The body of an answer, as it comes; it may end early.

    Args:
        size: bytes of the largest piece. After so many, the request has all its seconds again.

    Raises:
        OSError: the connection was lost, or the time is over.
        DocumentError: it is no HTTP.
    """
    come = 0
    try:
        with response:
            while piece := response.read1(size):
                come += len(piece)
                if come >= size:
                    response.request.renew()
                    come = 0
                yield piece
    except (http.client.HTTPException, *_MISREAD) as error:
        raise DocumentError(f"an answer that is no HTTP: {error!r}") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; of names only `localhost` is sure to be such."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _length(said: str) -> int:
    if not (said.isascii() and said.isdigit() and len(said) < 20 and int(said) <= SIZE_LIMIT):
        raise DocumentError(f"refused an answer whose length is {printable(repr(said), 40)}")
    return int(said)


class _Guarded(io.RawIOBase):
    """What a socket receives, until the time is over or the bytes are used up."""

    def __init__(self, sock: socket.socket, request: Request) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._request = request
        self._left = request.limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise OSError(f"an answer of more than {self._request.limit} bytes")
        self._sock.settimeout(self._request.left())
        count = self._raw.readinto(buffer) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, request: Request, **more: Any) -> None:
        super().__init__(sock, *arguments, **more)
        self.request = request
        self.fp.close()
        self.fp = io.BufferedReader(_Guarded(sock, request))


def _guarded(connection: Any, request: Any) -> Any:
    connection.timeout = request.left()
    connection.response_class = functools.partial(_Response, request=request)
    return connection


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        def made(host: str, **more: Any) -> Any:
            return _guarded(http.client.HTTPConnection(host, **more), req)

        return self.do_open(made, req)


class _Encrypted(urllib.request.HTTPSHandler):
    def __init__(self, context: Optional[ssl.SSLContext]) -> None:
        super().__init__(context=context)
        self._trust = context

    def https_open(self, req: urllib.request.Request) -> Any:
        def made(host: str, **more: Any) -> Any:
            return _guarded(http.client.HTTPSConnection(host, context=self._trust, **more), req)

        return self.do_open(made, req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5
    max_repeats = 2

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        there = urllib.parse.urlsplit(newurl)
        here = urllib.parse.urlsplit(req.full_url)
        inside = here.scheme == "http" and is_loopback(here.hostname or "") and is_loopback(there.hostname or "")
        if not req.redirects:
            raise OSError(f"it sends us on to {printable(newurl, 200)}, which it has no reason to")
        if there.scheme != "https" and not (there.scheme == "http" and inside):
            raise OSError(f"it sends us on to {printable(newurl, 200)}, which is not https")
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is None:
            return None
        # Nobody wants the page that comes with it, and urllib would read all of it, as long as it says that it is.
        fp.close()
        further = Request(
            made.full_url, req.wait, req.seconds, limit=req.limit, headers=made.headers, method=made.get_method()
        )
        further.end = req.end
        return further
