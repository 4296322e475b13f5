"""Serial lines to Arduinos, mounts and sensors."""

from __future__ import annotations

import json
import re
from time import sleep
from typing import Any, List, Optional, Tuple

import serial
from serial.tools.list_ports import comports

from panoptes_utils.error import BadSerialConnection
from panoptes_utils.logging import logger
from panoptes_utils.time import current_time


def __getattr__(name: str) -> Any:
    """`find_serial_port` is beside the device, which needs this module."""
    if name == "find_serial_port":
        from panoptes_utils.serial.device import find_serial_port

        return find_serial_port
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_serial_port_info() -> List[Any]:
    """Return what is known of the serial ports of this machine.

    Returns:
        list: `serial.tools.list_ports_common.ListPortInfo`, by device.
    """
    return sorted(comports(), key=lambda port: port.device)


class SerialData:
    """A serial line that speaks in lines of text.

    The port is opened at once. A program that starts before its device is plugged in has to try again.

    Args:
        port: device, such as /dev/ttyACM0, or an address that pyserial understands.
        baudrate: bits a second.
        name: for log lines; the port by default.
        timeout: seconds that a read waits.
        open_delay: seconds to wait after opening, as an Arduino restarts then.
        retry_limit: how often a read that found nothing is repeated.
        retry_delay: seconds between.

    Raises:
        ValueError: no port.
        BadSerialConnection: the port cannot be opened.

    Example:
        >>> line = SerialData(port="loop://", timeout=0.1)
        >>> line.write("ping\\n")
        5
        >>> line.read()
        'ping\\n'
    """

    def __init__(
        self,
        port: Optional[str] = None,
        baudrate: int = 115200,
        name: Optional[str] = None,
        timeout: float = 2.0,
        open_delay: float = 0.0,
        retry_limit: int = 5,
        retry_delay: float = 0.5,
        **kwargs: Any,
    ) -> None:
        if not port:
            raise ValueError("SerialData: port is missing; name a device such as /dev/ttyACM0")
        self.name = name or port
        self.retry_limit = retry_limit
        self.retry_delay = retry_delay
        self.open_delay = open_delay
        self.ser = serial.serial_for_url(port, do_not_open=True)
        self.ser.baudrate = baudrate
        self.ser.timeout = timeout
        self.ser.write_timeout = timeout
        self.connect()

    def __del__(self) -> None:
        ser = getattr(self, "ser", None)
        if ser is not None and ser.is_open:
            ser.close()

    def __str__(self) -> str:
        return f"SerialData({self.name}, {'connected' if self.is_connected else 'not connected'})"

    @property
    def port(self) -> str:
        """Name of the port."""
        return self.ser.port

    @property
    def is_connected(self) -> bool:
        """Whether the port is open."""
        return bool(self.ser.is_open)

    def connect(self) -> None:
        """Open the port, if it is not open.

        Raises:
            BadSerialConnection: it cannot be opened.
        """
        if self.is_connected:
            return
        try:
            self.ser.open()
        except (serial.SerialException, OSError, ValueError) as error:
            raise BadSerialConnection(f"{self.name}: cannot be opened: {error}") from error
        if self.open_delay > 0:
            logger.debug("Waiting {:.1f} s for {}", self.open_delay, self.name)
            sleep(self.open_delay)
        logger.debug("Connected to {}", self.name)

    def disconnect(self) -> None:
        """Close the port.

        Raises:
            BadSerialConnection: it cannot be closed.
        """
        try:
            self.ser.close()
        except (serial.SerialException, OSError) as error:
            raise BadSerialConnection(f"{self.name}: cannot be closed: {error}") from error

    def _open(self) -> Any:
        if not self.is_connected:
            raise BadSerialConnection(f"{self.name}: not connected")
        return self.ser

    def write_bytes(self, data: bytes) -> int:
        """Send bytes; return how many.

        Raises:
            BadSerialConnection: not connected, or the device is gone.
        """
        try:
            return self._open().write(data)
        except (serial.SerialException, OSError) as error:
            raise BadSerialConnection(f"{self.name}: {error}") from error

    def write(self, value: str) -> int:
        """Send a text as it is; return the number of bytes. Errors as of `write_bytes`."""
        return self.write_bytes(value.encode())

    def read_bytes(self, size: int = 1) -> bytes:
        """Return up to `size` bytes, fewer when the time is up. Errors as of `write_bytes`."""
        try:
            return self._open().read(size)
        except (serial.SerialException, OSError) as error:
            raise BadSerialConnection(f"{self.name}: {error}") from error

    def read(self, retry_limit: Optional[int] = None, retry_delay: Optional[float] = None) -> str:
        """Return the next line, with its end.

        Args:
            retry_limit, retry_delay: instead of those of the line.

        Returns:
            str: empty if nothing came. Bytes that are no text are left out.

        Raises:
            BadSerialConnection: not connected, or the device is gone.
        """
        retry_limit = self.retry_limit if retry_limit is None else retry_limit
        retry_delay = self.retry_delay if retry_delay is None else retry_delay
        for attempt in range(max(1, retry_limit)):
            if attempt:
                sleep(retry_delay)
            try:
                line = self._open().readline().decode(errors="ignore")
            except (serial.SerialException, OSError) as error:
                raise BadSerialConnection(f"{self.name}: {error}") from error
            if line:
                return line
        return ""

    def get_reading(self) -> Optional[Tuple[str, str]]:
        """Return the next line and when it came.

        Returns:
            tuple: time as `YYYY-MM-DDTHH:MM:SS UTC`, str; and the line, str. None if nothing came.
        """
        line = self.read()
        if not line:
            return None
        return current_time(datetime=True).strftime("%Y-%m-%dT%H:%M:%S UTC"), line.strip()

    def get_and_parse_reading(self, retry_limit: int = 5) -> Optional[Tuple[str, Any]]:
        """Return the next line that is JSON and when it came.

        `nan`, which Arduinos write for a broken sensor and JSON does not know, becomes None.

        Args:
            retry_limit: lines that are looked at.

        Returns:
            tuple: time, str; and the data. None if no such line came.
        """
        for _ in range(max(1, retry_limit)):
            reading = self.get_reading()
            if reading is None:
                continue
            when, line = reading
            try:
                return when, json.loads(_NAN.sub(lambda found: found[1] or "null", line))
            except ValueError:
                logger.debug("{}: not JSON: {!r}", self.name, line)
        return None

    def reset_input_buffer(self) -> None:
        """Throw away what has come and was not read. Errors as of `write_bytes`."""
        self._open().reset_input_buffer()


# A string, which is kept, or a bare nan.
_NAN = re.compile(r'("(?:\\.|[^"\\])*")|-?\bnan\b', re.IGNORECASE)
