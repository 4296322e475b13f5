"""TheSkyX, a program that drives mounts, over its TCP server of scripts."""

import re
import socket

from panoptes_utils import error
from panoptes_utils.logging import logger


class TheSkyX:
    """A connection to TheSkyX.

    Where nobody listens a warning is logged and `is_connected` is False.

    Args:
        host, port: of the TCP server.
        connect: connect at once.
        timeout: seconds that connecting may take.
    """

    def __init__(self, host="localhost", port=3040, connect=True, timeout=5.0, **kwargs):
        self.host, self.port, self.timeout = host, port, timeout
        self._socket = None
        if connect:
            self.connect()

    @property
    def is_connected(self):
        """Whether there is a connection."""
        return self._socket is not None

    def connect(self):
        """Connect; return whether it worked."""
        self.close()
        try:
            self._socket = socket.create_connection((self.host, self.port), timeout=self.timeout)
        except OSError as why:
            logger.warning(f"TheSkyX at {self.host}:{self.port}: cannot connect: {why}")
        return self.is_connected

    def close(self):
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self):
        if self._socket is None:
            raise error.BadConnection(f"TheSkyX at {self.host}:{self.port}: not connected")
        return self._socket

    def write(self, value):
        """Send a script.

        Args:
            value: JavaScript, str.

        Raises:
            error.BadConnection: not connected, or the connection broke.
        """
        try:
            self._connected().sendall(value.encode())
        except OSError as why:
            self.close()
            raise error.BadConnection(f"TheSkyX at {self.host}:{self.port}: {why}") from why

    def read(self, timeout=5):
        """Return what the script answered.

        Args:
            timeout: seconds.

        Returns:
            str: the text before the report of success.

        Raises:
            error.TheSkyXTimeout: no answer in time.
            error.TheSkyXKeyError: the script uses a name that TheSkyX does not know.
            error.TheSkyXError: the script failed.
            error.BadConnection: not connected, or the connection broke.
        """
        connection = self._connected()
        connection.settimeout(timeout)
        try:
            answer = connection.recv(4096).decode(errors="replace")
        except socket.timeout:
            raise error.TheSkyXTimeout(f"no answer within {timeout:g} s") from None
        except OSError as why:
            self.close()
            raise error.BadConnection(f"TheSkyX at {self.host}:{self.port}: {why}") from why
        if not answer:
            self.close()
            raise error.BadConnection(f"TheSkyX at {self.host}:{self.port}: closed the connection")
        text, _, report = answer.partition("|")
        if re.search(r"(TypeError|ReferenceError|SyntaxError):", answer):
            raise error.TheSkyXKeyError(answer.strip())
        code = re.search(r"Error = (-?\d+)", report)
        if "Error:" in text or (code and int(code[1]) != 0):
            raise error.TheSkyXError((report if code else text).strip())
        return text
