"""The config server's HTTP interface, as an ASGI application.

Small on purpose: a table of paths, no framework. docs/decisions/http-stack.md says why.
"""

import errno
import json
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, List, Optional, Tuple
from urllib.parse import parse_qs

from panoptes_utils.config import status
from panoptes_utils.config.access import MAX_BODY, Access, Denied
from panoptes_utils.config.gather import Gatherer
from panoptes_utils.config.store import RUNNING, ConfigStore, Conflict, Refused, to_bytes
from panoptes_utils.error import InvalidConfig
from panoptes_utils.logging import logger
from panoptes_utils.ports import is_loopback

Handler = Callable[["_Request"], Awaitable[None]]
_PAGE = Path(__file__).parent / "page"
_JSON = (b"content-type", b"application/json")
# Keys of one change that its line in the log names.
_LOGGED_KEYS = 8
_GUARDS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_PAGE_GUARDS = [
    *_GUARDS,
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
     b"img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]  # fmt: skip


class ConfigApp:
    """Serves one store.

    Args:
        store: the configuration.
        access: who may do what.
        stop: called once `config_server.running` has been set to false.
        hub_port: the in port of the first pair of the messaging hub whose state the page shows.
    """

    def __init__(self, store: ConfigStore, access: Access, stop: Callable[[], None], hub_port: int = 6500):
        self.store, self.access, self.stop, self.hub_port = store, access, stop, hub_port
        self._gatherer = Gatherer(store)
        self._paths: Dict[str, Tuple[Tuple[str, ...], Handler]] = {
            "/get-config": (("GET", "POST"), self._get_config),
            "/set-config": (("GET", "POST"), self._set_config),
            "/reset-config": (("POST",), self._reset_config),
            "/heartbeat": (("GET", "POST"), self._heartbeat),
            "/status": (("GET",), self._status),
            "/openapi.json": (("GET",), self._openapi),
            "/": (("GET",), self._file("index.html", b"text/html; charset=utf-8")),
            "/page.css": (("GET",), self._file("page.css", b"text/css; charset=utf-8")),
            "/icon.svg": (("GET",), self._file("icon.svg", b"image/svg+xml")),
            "/page.js": (("GET",), self._file("page.js", b"text/javascript; charset=utf-8")),
        }

    async def __call__(self, scope: Dict[str, Any], receive: Any, send: Any) -> None:
        """One request of the ASGI server."""
        if scope["type"] != "http":
            return
        request = _Request(scope, receive, send)
        try:
            self.access.check_host(request.headers.get(b"host"))
            methods, handler = self._paths.get(scope["path"], ((), None))
            if handler is None:
                raise Denied(404, f"there is no {scope['path'][:80]!r} here; /openapi.json lists what there is")
            if request.method not in methods:
                allowed = ", ".join(methods)
                raise Denied(405, f"{request.method[:20]} is not possible here, {allowed} is",
                             ((b"allow", allowed.encode()),))  # fmt: skip
            await handler(request)
        except Denied as error:
            if error.status in (401, 403):
                logger.warning(f"refused {scope['path']} to {request.who}: {error.msg}")
            await request.problem(error.status, error.msg, error.headers, self._hint(request, error))
        except _Gone:
            pass
        except Exception:
            logger.exception(f"{request.method} {scope['path']}")
            await request.problem(500, "the server failed; its log says how")

    async def _get_config(self, request: "_Request") -> None:
        self.access.check_rate(request.client, write=False)
        key = await self._key(request)
        await request.answer(self.store.get_json(key, self._may_see_secrets(request, key)))

    async def _heartbeat(self, request: "_Request") -> None:
        self.access.check_rate(request.client, write=False)
        key = await self._key(request, needed=False)
        value = self.store.get(RUNNING if key is None else key, self._may_see_secrets(request, key))
        await request.answer(b"true" if value else b"false")

    def _may_see_secrets(self, request: "_Request", key: Optional[str]) -> bool:
        """Whether the answer may hold what is marked as secret.

        Raises:
            Denied: 401 where the key itself is secret and the token is not shown.
        """
        if self.access.shows_token(request.headers):
            return True
        if self.store.is_secret(key):
            raise self.access.without_token("this key is secret: reading it needs")
        return False

    def _hint(self, request: "_Request", error: Denied) -> Dict[str, str]:
        """Where programs of this machine find the token; nobody else is told."""
        if error.status == 401 and self.access.token_file is not None and request.is_local:
            return {"token_file": str(self.access.token_file)}
        return {}

    async def _key(self, request: "_Request", needed: bool = True) -> Optional[str]:
        """The dotted key that is asked for, in the body (which must name one, if needed) or, of a GET, in the query."""
        body = await request.body()
        if not body:
            if request.scope["query_string"]:
                try:
                    values = parse_qs(request.scope["query_string"].decode("latin-1"), max_num_fields=8).get("key")
                except ValueError as error:
                    raise Denied(400, f"the query cannot be read: {error}") from error
                return values[0] if values else None
            return None
        asked = request.json(body)
        if not isinstance(asked, dict) or (needed and "key" not in asked):
            raise Denied(400, 'the body needs a "key": {"key": "location.latitude"}, or null for everything')
        key = asked.get("key")
        if key is not None and not isinstance(key, str):
            raise Denied(400, f'"key" is text such as "location.latitude" or null, not {type(key).__name__}')
        return key

    async def _set_config(self, request: "_Request") -> None:
        # Whether others wait is asked when this change is there: while its body was on the way, they may have gone.
        body = await request.body()
        self.access.check_rate(request.client, write=True, joins=self._gatherer.gathers)
        self.access.check_write(request.headers)
        changes = request.json(body)
        if not isinstance(changes, dict):
            raise Denied(400, 'the body is an object of keys and values: {"location.elevation": "3400 m"}')
        await self._change(self._gatherer.set(changes))
        keys = ", ".join(_shown(key) for key in list(changes)[:_LOGGED_KEYS])
        more = f" and {len(changes) - _LOGGED_KEYS} more" if len(changes) > _LOGGED_KEYS else ""
        logger.info(f"{request.who} set {keys or 'nothing'}{more}")
        await request.answer(to_bytes(changes))
        if not self.store.running:
            self.stop()

    async def _reset_config(self, request: "_Request") -> None:
        self.access.check_rate(request.client, write=True)
        self.access.check_write(request.headers)
        asked = request.json(await request.body())
        if not isinstance(asked, dict) or asked.get("reset") is not True:
            raise Denied(400, 'the body needs {"reset": true}')
        await self._change(self._gatherer.run(self.store.reload))
        logger.info(f"{request.who} had the files read again")
        await request.answer(to_bytes({"success": True, "msg": f"read {self.store.path} again"}))

    async def _change(self, change: Awaitable[None]) -> None:
        try:
            await change
        except Conflict as error:
            raise Denied(409, str(error)) from error
        except Refused as error:
            raise Denied(422, str(error)) from error
        except InvalidConfig as error:
            raise Denied(409, f"{error.msg}; the old configuration stays in use") from error
        except OSError as error:
            logger.error(f"cannot write {self.store.local}: {error.strerror}")
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise Denied(507 if full else 500, f"not saved and not changed: {error.strerror}") from error

    async def _status(self, request: "_Request") -> None:
        self.access.check_rate(request.client, write=False)
        await request.answer(to_bytes(await status.report(self.store, self.hub_port, self.access.token is not None)))

    async def _openapi(self, request: "_Request") -> None:
        from panoptes_utils.config.openapi import description

        self.access.check_rate(request.client, write=False)
        await request.answer(to_bytes(description(token=self.access.token is not None)))

    def _file(self, name: str, kind: bytes) -> Handler:
        async def serve(request: "_Request") -> None:
            self.access.check_rate(request.client, write=False)
            await request.answer((_PAGE / name).read_bytes(), headers=[(b"content-type", kind), *_PAGE_GUARDS])

        return serve


class _Gone(Exception):
    """The client left."""


class _Request:
    """One request and the way to answer it."""

    __slots__ = ("_receive", "_send", "headers", "method", "scope")

    def __init__(self, scope: Dict[str, Any], receive: Any, send: Any):
        self.scope, self._receive, self._send = scope, receive, send
        self.method: str = scope["method"]
        self.headers: Dict[bytes, bytes] = dict(scope["headers"])

    @property
    def client(self) -> str:
        """The address of who asks."""
        return (self.scope.get("client") or ("127.0.0.1",))[0]

    @property
    def is_local(self) -> bool:
        """Whether who asks is a program of this machine."""
        return is_loopback(self.client) or self.client == (self.scope.get("server") or ("",))[0]

    @property
    def who(self) -> str:
        """Address and name of who asks, for a line of the log; the name is what the client says of itself."""
        name = self.headers.get(b"user-agent", b"").decode("latin-1")
        return f"{self.client} ({_shown(name) or 'no name'})"

    async def body(self) -> bytes:
        """The whole body, if it is not too long; the server ends a connection that is too slow."""
        length = self.headers.get(b"content-length", b"0")
        if length == b"0" and b"transfer-encoding" not in self.headers:
            return b""
        if length.isdigit() and int(length[:12]) > MAX_BODY:
            raise _too_long()
        return await self._collect()

    async def _collect(self) -> bytes:
        body, more = b"", True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                raise _too_long()
            more = message.get("more_body", False)
        return body

    def json(self, body: bytes) -> Any:
        """The body read as JSON; numbers that JSON does not have are refused."""
        try:
            return json.loads(body.decode("utf-8"), parse_constant=_no_such_number, parse_float=_finite)
        except UnicodeDecodeError as error:
            raise Denied(400, f"the body is not UTF-8 text (byte {error.start})") from error
        except RecursionError as error:
            raise Denied(400, "the body is nested too deeply") from error
        except ValueError as error:
            raise Denied(400, f"the body is not JSON: {error}") from error

    async def answer(self, body: bytes, code: int = 200, headers: Optional[List[Tuple[bytes, bytes]]] = None) -> None:
        """Send the answer."""
        fields = [(b"content-length", b"%d" % len(body)), *(headers or (_JSON, *_GUARDS))]
        await self._send({"type": "http.response.start", "status": code, "headers": fields})
        await self._send({"type": "http.response.body", "body": body})

    async def problem(
        self,
        code: int,
        msg: str,
        headers: Tuple[Tuple[bytes, bytes], ...] = (),
        further: Optional[Dict[str, str]] = None,
    ) -> None:
        """Send what is wrong, in the shape that clients know."""
        body = json.dumps({"success": False, "msg": msg, **(further or {})}).encode("ascii")
        await self.answer(body, code, [_JSON, *_GUARDS, *headers])


def _shown(text: str) -> str:
    """What a client sent, fit for a line of the log: printable ASCII, not long."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:80])


def _too_long() -> Denied:
    return Denied(413, f"the body is longer than {MAX_BODY} bytes", ((b"connection", b"close"),))


def _no_such_number(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
