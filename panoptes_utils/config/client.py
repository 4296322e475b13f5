"""Asking the config server.

Nothing here raises for a server that is down, slow or wrong: a unit at night goes on with its defaults.
"""

import http.client
import json
import os
import socket
import stat
import sys
import threading
from pathlib import Path
from typing import Any, Dict, Optional, Tuple, Union

from panoptes_utils.logging import logger
from panoptes_utils.serializers import deserialize_all_objects, from_json, to_json

TIMEOUT = 5.0
_TOKEN_FILE = ".config-server.token"  # noqa: S105 - a file name
_connections = threading.local()


def get_config(
    key: Optional[str] = None,
    default: Any = None,
    host: Optional[str] = None,
    port: Optional[Union[int, str]] = None,
    endpoint: str = "get-config",
    parse: bool = True,
    verbose: bool = False,
) -> Any:
    """A value of the unit's configuration.

    Args:
        key: dotted key such as `location.latitude` or `devices[1].model` (`devices[-1]` is the last); None: all.
        default: what to return where there is no value or no server.
        host: default `$PANOPTES_CONFIG_HOST`, else localhost.
        port: default `$PANOPTES_CONFIG_PORT`, else 6563.
        endpoint: path of the server.
        parse: quantities for texts such as `45 deg` and datetimes for ISO dates; False gives the JSON text.
        verbose: log the request.

    Returns:
        The value, or `default`.
    """
    if verbose:
        logger.info(f"asking the config server for {key!r}")
    text = _ask(endpoint, to_json({"key": key, "verbose": verbose}), host, port)
    if text is None or text.strip() == "null":
        return default
    if not parse:
        return text
    try:
        return from_json(text)
    except Exception as error:
        logger.warning(f"config server: {error}")
        return default


def set_config(
    key: str,
    new_value: Any,
    host: Optional[str] = None,
    port: Optional[Union[int, str]] = None,
    parse: bool = True,
) -> Optional[Dict[str, Any]]:
    """Change a value; when this returns something, the change is on the unit's disk.

    Args:
        key: dotted key.
        new_value: plain data, quantities, times, arrays.
        host: default `$PANOPTES_CONFIG_HOST`, else localhost.
        port: default `$PANOPTES_CONFIG_PORT`, else 6563.
        parse: quantities and datetimes in the returned value.

    Returns:
        `{key: new_value}` as the server understood it, None where the change was not made.

    Raises:
        InvalidSerialization: the value holds something that has no text form.
    """
    text = _ask("set-config", to_json({key: new_value}), host, port)
    if text is None:
        return None
    try:
        answer = json.loads(text)
        return deserialize_all_objects(answer) if parse else answer
    except (ValueError, RecursionError) as error:
        logger.warning(f"config server: {error}")
        return None


def server_is_running(*args: Any, **kwargs: Any) -> bool:
    """Whether a config server answers; arguments are those of `get_config`."""
    return bool(get_config(*args, **{"default": False, **kwargs, "endpoint": "heartbeat"}))


def _ask(endpoint: str, body: str, host: Optional[str], port: Optional[Union[int, str]]) -> Optional[str]:
    """The text of the server's answer, None (and a line in the log) where it has no good one."""
    name = host or os.environ.get("PANOPTES_CONFIG_HOST") or "localhost"
    number = str(port or os.environ.get("PANOPTES_CONFIG_PORT") or 6563)
    path = f"/{endpoint.lstrip('/')}"
    # Programs look for this beginning in their logs.
    problem = (
        f"Problem with {'set_config' if endpoint == 'set-config' else 'get_config'}: config server at {name}:{number}"
    )
    try:
        text = body.encode("utf-8")
        answer, status, near = _send(name, number, path, text, _read_token(_token_path()))
        if status == 401 and near and not os.environ.get("PANOPTES_CONFIG_TOKEN_FILE"):
            # A server of this machine, whose configuration is elsewhere, tells where its token is.
            hinted = _read_token(_hinted_path(answer))
            if hinted:
                answer, status, near = _send(name, number, path, text, hinted)
        decoded = answer.decode("utf-8")
    except Exception as error:
        logger.warning(f"{problem}: {error}")
        return None
    if status != 200:
        try:
            decoded = json.loads(decoded)["msg"]
        except (ValueError, KeyError, TypeError):
            decoded = decoded[:200]
        if status == 401 and not near:
            decoded += f" (never sent to {name} in clear unless $PANOPTES_CONFIG_TOKEN_NETWORKS holds its address)"
        logger.warning(f"{problem} answered {status}: {decoded}")
        return None
    return decoded


def _send(host: str, port: str, path: str, body: bytes, token: Optional[str]) -> Tuple[bytes, int, bool]:
    """One request over this thread's own connection, which stays open for the next one.

    Returns:
        The answer, its status, and whether the token may go to that server.
    """
    held = _held_connections()
    connection = held.get((host, port))
    if connection is not None:
        try:
            return _round_trip(connection, path, body, token)
        except (http.client.HTTPException, ConnectionError):
            # The server closed the idle connection, or was restarted. Repeating is safe: reading changes
            # nothing, and setting the same value twice is setting it once.
            connection.close()
    connection = held[(host, port)] = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
    # Never opened by http.client itself: who is at the other end is looked at first.
    connection.auto_open = 0
    try:
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _round_trip(connection, path, body, token)
    except BaseException:
        connection.close()
        held.pop((host, port), None)
        raise


def _held_connections() -> Dict[Any, http.client.HTTPConnection]:
    # A forked child must not write into its parent's connections.
    if getattr(_connections, "pid", None) != os.getpid():
        _connections.pid, _connections.held = os.getpid(), {}
    return _connections.held


def _round_trip(
    connection: http.client.HTTPConnection, path: str, body: bytes, token: Optional[str]
) -> Tuple[bytes, int, bool]:
    if connection.sock is None:
        raise http.client.NotConnected
    try:
        near = _may_have_token(connection.sock)
    except OSError as error:
        # The server is gone: there is no other end any more.
        raise ConnectionResetError(error.errno, error.strerror) from error
    headers = {"Content-Type": "application/json", "User-Agent": _name()}
    if token and near:
        headers["Authorization"] = f"Bearer {token}"
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    return response.read(), response.status, near


def _may_have_token(connection: socket.socket) -> bool:
    """Whether the token may cross this connection in clear: only inside this machine, or in a network so configured.

    By the address at the other end and not by the name that was asked for, which may lead anywhere.
    """
    peer, own = connection.getpeername()[0], connection.getsockname()[0]
    if peer == own or peer == "::1" or peer.startswith("127."):
        return True
    networks = os.environ.get("PANOPTES_CONFIG_TOKEN_NETWORKS", "").replace(",", " ").split()
    if not networks:
        return False
    import ipaddress

    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
        return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
    except ValueError as error:
        logger.warning(f"$PANOPTES_CONFIG_TOKEN_NETWORKS: {error}; write networks such as 10.8.0.0/24")
        return False


def _name() -> str:
    """What this program calls itself to the server, which writes it into its log beside what was changed."""
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c") else "python"
    return f"{program.encode('ascii', 'replace').decode() if program.isprintable() else '?'}[{os.getpid()}]"


def _token_path() -> Path:
    named = os.environ.get("PANOPTES_CONFIG_TOKEN_FILE")
    return Path(named) if named else Path(os.environ.get("PANDIR", "/var/panoptes"), "conf_files", _TOKEN_FILE)


def _hinted_path(answer: bytes) -> Optional[Path]:
    try:
        named = json.loads(answer)["token_file"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    # No other file of this user's, however a server calls it.
    path = Path(named) if isinstance(named, str) else None
    return path if path is not None and path.is_absolute() and path.name == _TOKEN_FILE else None


def _read_token(path: Optional[Path]) -> Optional[str]:
    """The token in a file that is this user's to read and nobody else's, None where there is none."""
    if path is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with os.fdopen(descriptor, "rb") as stream:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077:
            return None
        text = stream.read(4096).decode("ascii", "replace").strip()
    return text if len(text) >= 16 and text.isprintable() and " " not in text else None
