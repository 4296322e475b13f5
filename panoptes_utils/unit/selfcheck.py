"""Do the two services work, asked from outside their containers as any client of the unit would ask?

Standard library and Debian's python3-zmq, because an Ansible module carries this file to units.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
import uuid

from .errors import HealthError
from .observing import ask_config_and_clock

LOOPBACK = "127.0.0.1"
# A container has no clock of its own, so that seconds apart mean that its C library cannot read this machine's.
CLOCK_TOLERANCE_S = 60.0


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
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise HealthError(
            f"config server: no usable answer at {url} ({reason}); see: docker logs config-server"
        ) from None
    if answer is None:
        raise HealthError(f"config server: it has no value for {key}; see: docker logs config-server")
    if expected and answer != expected:
        raise HealthError(
            f"config server: {key} is {answer!r} and not {expected!r}; a value set by hand is in pocs_local.yaml "
            "and wins over the inventory: remove it there, or set the inventory to it"
        )
    if clock is not None and abs(clock - time.time()) > CLOCK_TOLERANCE_S:
        inside, here = (time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment)) for moment in (clock, time.time()))
        raise HealthError(
            f"config server: it is {inside} UTC in the container and {here} UTC outside: this machine's libseccomp2 is "
            "too old for the image; apt-get install --only-upgrade libseccomp2, then restart Docker Engine"
        )
    return time.monotonic() - started


def check_pair(sub_port: int, pub_port: int, timeout: float = 10.0) -> float:
    """Send a message into the hub at `sub_port` and receive it at `pub_port`.

    Returns:
        Seconds of the round trip that came back.

    Raises:
        HealthError: nothing came back within `timeout`; says where to look.
    """
    import zmq  # Debian's python3-zmq, on the unit only

    name = f"messaging hub: pair {sub_port}→{pub_port}"
    for port in (sub_port, pub_port):
        try:
            socket.create_connection((LOOPBACK, port), timeout=timeout).close()
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
        listener.setsockopt_string(zmq.SUBSCRIBE, topic)
        listener.connect(f"tcp://{LOOPBACK}:{pub_port}")
        speaker.connect(f"tcp://{LOOPBACK}:{sub_port}")
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            # A subscription needs a moment to reach the publisher through the hub: send until one comes back.
            sent = time.monotonic()
            speaker.send_string(f'{topic} {{"sent": {sent}}}')
            if listener.poll(50):
                _, _, payload = listener.recv_string().partition(" ")
                return time.monotonic() - json.loads(payload)["sent"]
    finally:
        context.destroy(linger=0)
    raise HealthError(
        f"{name}: connected, but no message came back within {timeout:g} s: one side of the pair is dead; "
        "see: docker logs messaging-hub; then: docker restart messaging-hub"
    )
