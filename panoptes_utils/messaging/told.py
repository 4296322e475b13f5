"""Statistics that somebody tells under a hub's name: that name is anybody's to take, so what is told is checked.

Without ZeroMQ, since the config server asks too.
"""

import json
import socket
import struct
from typing import Any, Dict

from panoptes_utils.ports import owners_of

LONGEST = 1024 * 1024


def understood(answer: bytes, connection: socket.socket, in_port: int) -> Dict[str, Any]:
    """The statistics in an answer.

    Args:
        answer: what was told.
        connection: the Unix socket that it came through.
        in_port: that of the hub's first pair.

    Raises:
        OSError: they are too long, no statistics, of another hub, or told by a user who does not listen on the in port.
    """
    if len(answer) > LONGEST:
        raise OSError("the statistics do not end")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if str(uid) not in owners_of(in_port):
        raise OSError(f"user {uid} tells the statistics, but does not listen on port {in_port}")
    try:
        stats = json.loads(answer)
        of_this_hub = stats["pairs"][0]["sub"] == in_port
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise OSError("the statistics cannot be read") from error
    if not of_this_hub:
        raise OSError("the statistics are of another hub")
    return stats
