"""Do the two services work, asked from outside their containers as any client of the unit would ask?

Standard library and Debian's python3-zmq, because an Ansible module carries this file to units.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from typing import Dict, Optional, Tuple

from . import web
from .documents import http_date, printable, read_json
from .errors import HealthError
from .report import stamp

LOOPBACK = "127.0.0.1"
# A container has no clock of its own, so that seconds apart mean that its C library cannot read this machine's.
CLOCK_TOLERANCE_S = 60.0
# Bytes of an answer: a key may hold all of the configuration.
_ANSWER_LIMIT = 1_000_000
# Bytes of a message that comes round a hub; ours has about 80.
_MESSAGE_LIMIT = 4096

# The services are on this machine: a proxy for the outside has no say.
_DIRECT = web.opener(direct=True)


def ask_config(url: str, key: str, timeout: float) -> object:
    """One value from the config server; None where it has no such key.

    Raises:
        OSError, ValueError: it does not answer, or not with JSON.
    """
    return ask_config_and_clock(url, key, timeout)[0]


def ask_config_and_clock(url: str, key: str, timeout: float) -> Tuple[object, Optional[float]]:
    """One value from the config server, and its clock in seconds since 1970; None where it does not tell.

    Raises:
        OSError, ValueError: it does not answer within `timeout` seconds, or not with JSON.
    """
    request = web.Request(
        f"{url}/get-config",
        timeout,
        timeout,
        redirects=False,
        data=json.dumps({"key": key}).encode(),
        headers={"Content-Type": "application/json"},
    )
    response = web.open_plainly(_DIRECT, request)
    return read_answer(web.read(response, _ANSWER_LIMIT), response.headers.get("Date"))


def read_answer(body: bytes, date: Optional[str]) -> Tuple[object, Optional[float]]:
    """The value in an answer of the config server, and its clock, from the header `Date`.

    Raises:
        ValueError: it is not JSON, or that date is none.
    """
    return read_json(body, _ANSWER_LIMIT), http_date(date)


def check_config(url: str, key: str, expected: str, timeout: float = 10.0) -> float:
    """Ask the config server for a key of this unit.

    Args:
        expected: what it has to answer; any value where empty.

    Returns:
        Seconds until the answer.

    Raises:
        HealthError: no answer, or one for another unit; says where to look.
    """
    started = time.monotonic()
    try:
        answer, clock = ask_config_and_clock(url, key, timeout)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise HealthError(
            f"config server: no usable answer at {url} ({reason}); see: docker logs config-server"
        ) from None
    if answer is None:
        raise HealthError(f"config server: it has no value for {key}; see: docker logs config-server")
    if expected and answer != expected:
        raise HealthError(
            f"config server: {key} is {printable(repr(answer), 200)} and not {expected!r}; a value set by hand is "
            "in pocs_local.yaml and wins over the inventory: remove it there, or set the inventory to it"
        )
    if clock is not None and abs(clock - time.time()) > CLOCK_TOLERANCE_S:
        inside, here = (stamp(moment) for moment in (clock, time.time()))
        raise HealthError(
            f"config server: it is {inside} UTC in the container and {here} UTC outside: this machine's libseccomp2 is "
            "too old for the image; apt-get install --only-upgrade libseccomp2, then restart Docker Engine"
        )
    return time.monotonic() - started


def check_pair(in_port: int, out_port: int, timeout: float = 10.0) -> float:
    """Send a message to a hub pair's in port and receive it from its out port.

    Returns:
        Seconds of the round trip that came back.

    Raises:
        HealthError: nothing came back within `timeout`; says where to look.
    """
    import zmq  # Debian's python3-zmq, on the unit only

    name = f"messaging hub: pair {in_port}→{out_port}"
    end = time.monotonic() + timeout
    for port in (in_port, out_port):
        try:
            socket.create_connection((LOOPBACK, port), timeout=max(end - time.monotonic(), 0.001)).close()
        except OSError as error:
            raise HealthError(
                f"{name}: nothing listens on {port} ({error.strerror or error}); see: docker logs messaging-hub"
            ) from None
    topic = f"self-check-{uuid.uuid4().hex}"
    context = zmq.Context()
    try:
        listener, speaker = context.socket(zmq.SUB), context.socket(zmq.PUB)
        for one in (listener, speaker):
            one.setsockopt(zmq.LINGER, 0)
        listener.setsockopt(zmq.MAXMSGSIZE, _MESSAGE_LIMIT)  # a larger one ends the connection before it is held
        listener.setsockopt_string(zmq.SUBSCRIBE, topic)
        listener.connect(f"tcp://{LOOPBACK}:{out_port}")
        speaker.connect(f"tcp://{LOOPBACK}:{in_port}")
        sent: Dict[bytes, float] = {}
        while time.monotonic() < end:
            # A subscription needs a moment to reach the publisher through the hub: send until one comes back.
            message = f'{topic} {{"number": {len(sent)}}}'.encode()
            sent[message] = time.monotonic()
            speaker.send(message)
            if listener.poll(50):
                came = listener.recv()
                if came not in sent:
                    raise HealthError(
                        f"{name}: what comes back is not what was sent, but {printable(repr(came), 80)}; "
                        "see: docker logs messaging-hub"
                    )
                return time.monotonic() - sent[came]
    finally:
        context.destroy(linger=0)
    raise HealthError(
        f"{name}: connected, but no message came back within {timeout:g} s: one side of the pair is dead; "
        "see: docker logs messaging-hub; then: docker restart messaging-hub"
    )
