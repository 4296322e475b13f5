"""TCP ports for the servers that tests start."""

import random
import socket


def free_ports(number):
    """A number of ports that are free, and the one after each is too.

    Below the range from which the kernel takes ports for outgoing connections: nobody gets one of them in between.
    """
    found = []
    while len(found) < number:
        port = random.randrange(20000, 32000, 2)
        if port not in found and _is_free(port) and _is_free(port + 1):
            found.append(port)
    return found


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
