"""Does the config server answer for a key of this unit?

One request over a plain socket: loading an HTTP library would take longer than asking.
"""

import json
import socket
import time
from typing import Optional


def check(host: str, port: int, key: str = "name", timeout: float = 5.0) -> Optional[str]:
    """What is wrong with the server, None where it answers with a value.

    Args:
        host: its address; an address that means "every one" is asked through loopback.
        port: its port.
        key: dotted key that has to have a value.
        timeout: seconds to wait, for a server that is still starting too: on a small board one patient check costs less
            than several that each start a Python beside it.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    body = json.dumps({"key": key})
    request = (
        f"POST /get-config HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    deadline = time.monotonic() + timeout
    try:
        with _connect(host, port, deadline) as connection:
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            connection.sendall(request.encode("ascii"))
            answer = b""
            while True:
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
    except OSError as error:
        return f"no answer from {host}:{port}: {error}"
    head, _, value = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        return f"{host}:{port} answered {b''.join(status).decode(errors='replace') or 'nonsense'}"
    if value.strip() in (b"null", b""):
        return f"{host}:{port} has no value for {key!r}"
    return None


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection((host, port), timeout=max(0.1, deadline - time.monotonic()))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
