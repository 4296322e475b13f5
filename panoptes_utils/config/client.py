"""Asking the config server.

Nothing here raises for a server that is down, slow or wrong: a unit at night goes on with its defaults.
"""

import http.client
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any, Dict, Optional, Union

from panoptes_utils.logging import logger
from panoptes_utils.serializers import deserialize_all_objects, from_json, to_json

TIMEOUT = 5.0
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
        key: dotted key such as `location.latitude` or `devices[1].model`; None for everything.
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
    text = _ask(endpoint, {"key": key, "verbose": verbose}, host, port)
    if text is None or text.strip() == "null":
        return default
    if not parse:
        return text
    try:
        return from_json(text)
    except Exception as problem:
        logger.warning(f"config server: {problem}")
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
    """
    text = _ask("set-config", {key: new_value}, host, port, token=_token())
    if text is None:
        return None
    try:
        answer = json.loads(text)
    except ValueError as problem:
        logger.warning(f"config server: {problem}")
        return None
    return deserialize_all_objects(answer) if parse else answer


def server_is_running(*args: Any, **kwargs: Any) -> bool:
    """Whether a config server answers; arguments are those of `get_config`."""
    return bool(get_config(*args, endpoint="heartbeat", **{"default": False, **kwargs}))


def _ask(
    endpoint: str,
    body: Dict[str, Any],
    host: Optional[str],
    port: Optional[Union[int, str]],
    token: Optional[str] = None,
) -> Optional[str]:
    """The text of the server's answer, None (and a line in the log) where it has no good one."""
    name = host or os.environ.get("PANOPTES_CONFIG_HOST") or "localhost"
    number = str(port or os.environ.get("PANOPTES_CONFIG_PORT") or 6563)
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        text = to_json(body).encode("utf-8")
        answer, status = _send(name, number, f"/{endpoint.lstrip('/')}", text, headers)
        decoded = answer.decode("utf-8")
    except Exception as problem:
        logger.warning(f"config server at {name}:{number}: {problem}")
        return None
    if status != 200:
        try:
            decoded = json.loads(decoded)["msg"]
        except (ValueError, KeyError, TypeError):
            decoded = decoded[:200]
        logger.warning(f"config server at {name}:{number} answered {status}: {decoded}")
        return None
    return decoded


def _send(host: str, port: str, path: str, body: bytes, headers: Dict[str, str]) -> Any:
    """One request over this thread's own connection, which stays open for the next one."""
    held = _held_connections()
    connection = held.get((host, port))
    if connection is not None:
        try:
            return _round_trip(connection, path, body, headers)
        except (http.client.HTTPException, ConnectionError):
            # The server closed the idle connection, or was restarted. Repeating is safe: reading changes
            # nothing, and setting the same value twice is setting it once.
            connection.close()
    connection = held[(host, port)] = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
    try:
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _round_trip(connection, path, body, headers)
    except BaseException:
        connection.close()
        held.pop((host, port), None)
        raise


def _held_connections() -> Dict[Any, http.client.HTTPConnection]:
    # A forked child must not write into its parent's connections.
    if getattr(_connections, "pid", None) != os.getpid():
        _connections.pid, _connections.held = os.getpid(), {}
    return _connections.held


def _round_trip(connection: http.client.HTTPConnection, path: str, body: bytes, headers: Dict[str, str]) -> Any:
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    return response.read(), response.status


def _token() -> Optional[str]:
    """The token of a public server, where this user may read it."""
    named = os.environ.get("PANOPTES_CONFIG_TOKEN_FILE")
    path = Path(named) if named else Path(os.environ.get("PANDIR", "/var/panoptes"), "conf_files/.config-server.token")
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None
