"""A program that holds the name under which a hub tells its statistics, and tells something of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from panoptes_utils.messaging import stats_address


@contextmanager
def statistics_told(in_port: int, answer: bytes | None = None, listens: bool = True) -> Iterator[None]:
    """Somebody tells `answer`, once, as the statistics of the hub whose first in port this is.

    Args:
        in_port: free until now.
        answer: None: whoever asks is left waiting.
        listens: on the in port too, as a hub does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as squatter, socket.socket() as port:
        squatter.bind(stats_address(in_port))
        squatter.listen(1)
        if listens:
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port.bind(("127.0.0.1", in_port))
            port.listen()
        if answer is None:
            yield
            return

        def tell() -> None:
            with suppress(OSError):
                connection, _ = squatter.accept()
                with connection:
                    connection.sendall(answer)

        telling = threading.Thread(target=tell)
        telling.start()
        try:
            yield
        finally:
            squatter.shutdown(socket.SHUT_RDWR)  # or else it would wait for ever where nobody asked
            telling.join()
