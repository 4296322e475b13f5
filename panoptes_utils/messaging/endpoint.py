"""Addresses as ZeroMQ wants them."""

import zmq


def endpoint(socket: zmq.Socket, host: str, port: int) -> str:
    """What the socket, which is made ready for it, has to bind or to connect to.

    Args:
        socket: not bound and not connected so far.
        host: name or address; one of IPv6, such as `::1`, with or without brackets.
        port: TCP port.
    """
    if ":" not in host:
        return f"tcp://{host}:{port}"
    # Only for such: where it may, libzmq takes a name's address of IPv6, at which a hub of IPv4 does not listen.
    socket.setsockopt(zmq.IPV6, 1)
    return f"tcp://[{host.strip('[]')}]:{port}"
