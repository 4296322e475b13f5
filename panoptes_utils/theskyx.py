"""TheSkyX, a program that drives mounts, over its TCP server of scripts."""

from __future__ import annotations

import re
import socket
from typing import Any, Optional

from panoptes_utils.error import BadConnection, TheSkyXError, TheSkyXKeyError, TheSkyXTimeout
from panoptes_utils.logging import logger


class TheSkyX:
    """A connection to TheSkyX.

    Where nobody listens a warning is logged and `is_connected` is False.

    Args:
        host, port: of the TCP server.
        connect: connect at once.
        timeout: seconds that connecting may take.
    """

    def __init__(
        self, host: str = "localhost", port: int = 3040, connect: bool = True, timeout: float = 5.0, **kwargs: Any
    ) -> None:
        self.host, self.port, self.timeout = host, port, timeout
        self._socket: Optional[socket.socket] = None
        if connect:
            self.connect()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def connect(self) -> bool:
        """Connect; return whether it worked."""
        self.close()
        try:
            self._socket = socket.create_connection((self.host, self.port), timeout=self.timeout)
        except OSError as error:
            logger.warning(f"TheSkyX at {self.host}:{self.port}: cannot connect: {error}")
        return self.is_connected

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise BadConnection(f"TheSkyX at {self.host}:{self.port}: not connected")
        return self._socket

    def write(self, value: str) -> None:
        """Send a script.

        Args:
            value: JavaScript, str.

        Raises:
            BadConnection: not connected, or the connection broke.
        """
        try:
            self._connected().sendall(value.encode())
        except OSError as error:
            self.close()
            raise BadConnection(f"TheSkyX at {self.host}:{self.port}: {error}") from error

    def read(self, timeout: float = 5) -> str:
        """Return what the script answered.

        Args:
            timeout: seconds.

        Returns:
            str: the text before the report of success.

        Raises:
            TheSkyXTimeout: no answer in time.
            TheSkyXKeyError: the script uses a name that TheSkyX does not know.
            TheSkyXError: the script failed.
            BadConnection: not connected, or the connection broke.
        """
        connection = self._connected()
        connection.settimeout(timeout)
        try:
            answer = connection.recv(4096).decode(errors="replace")
        except socket.timeout:
            raise TheSkyXTimeout(f"no answer within {timeout:g} s") from None
        except OSError as error:
            self.close()
            raise BadConnection(f"TheSkyX at {self.host}:{self.port}: {error}") from error
        if not answer:
            self.close()
            raise BadConnection(f"TheSkyX at {self.host}:{self.port}: closed the connection")
        text, _, report = answer.partition("|")
        if re.search(r"(TypeError|ReferenceError|SyntaxError):", answer):
            raise TheSkyXKeyError(answer.strip())
        code = re.search(r"Error = (-?\d+)", report)
        if "Error:" in text or (code and int(code[1]) != 0):
            raise TheSkyXError((report if code else text).strip())
        return text
