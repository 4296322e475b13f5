"""A serial device whose lines are read in the background as they come."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Callable, Deque, Dict, List, Optional, Union

import serial
from serial.threaded import LineReader, ReaderThread

from panoptes_utils.error import BadSerialConnection, NotFound
from panoptes_utils.logging import logger
from panoptes_utils.rs232 import get_serial_port_info


@dataclass
class SerialDeviceDefaults:
    """Settings of a serial port, by pyserial's names."""

    baudrate: int = 9600
    bytesize: int = serial.EIGHTBITS
    parity: str = serial.PARITY_NONE
    stopbits: float = serial.STOPBITS_ONE
    timeout: Optional[float] = 1.0
    write_timeout: Optional[float] = 1.0
    xonxoff: bool = False
    rtscts: bool = False
    dsrdtr: bool = False

    def to_dict(self) -> Dict[str, Any]:
        """Return the settings as a dict."""
        return asdict(self)


def find_serial_port(vendor_id: int, product_id: int, return_all: bool = False) -> Union[str, List[str]]:
    """Return the port of a USB device.

    Args:
        vendor_id, product_id: numbers of the maker and of the product.
        return_all: return all of them.

    Returns:
        str: device of the first; or a list of all devices.

    Raises:
        NotFound: there is none.
    """
    found = [port.device for port in get_serial_port_info() if port.vid == vendor_id and port.pid == product_id]
    if not found:
        raise NotFound(f"no serial port of a USB device {vendor_id:#06x}:{product_id:#06x}")
    return found if return_all else found[0]


class SerialDevice:
    """A device that sends lines, kept in `readings`.

    Args:
        port: device or an address that pyserial understands.
        name: for log lines; the port by default.
        reader_callback: called with each line; what it returns, unless None, is kept instead of the line.
        serial_settings: `SerialDeviceDefaults` or dict.
        reader_queue_size: how many readings are kept, the newest ones.

    Attributes:
        readings: collections.deque.
        serial: pyserial's port.

    Raises:
        BadSerialConnection: the port cannot be opened.

    Example:
        >>> import time
        >>> device = SerialDevice("loop://", serial_settings={"timeout": 0.1}, reader_callback=int)
        >>> device.write("42")
        >>> while not device.readings: time.sleep(0.01)
        >>> device.readings[0]
        42
        >>> device.disconnect()
    """

    def __init__(
        self,
        port: str,
        name: Optional[str] = None,
        reader_callback: Optional[Callable] = None,
        serial_settings: Union[SerialDeviceDefaults, dict, None] = None,
        reader_queue_size: int = 50,
    ) -> None:
        self.name = name or port
        self.port = port
        self.readings: Deque[Any] = deque(maxlen=reader_queue_size)
        self._callback = reader_callback
        settings = serial_settings if serial_settings is not None else SerialDeviceDefaults()
        self._settings = settings.to_dict() if isinstance(settings, SerialDeviceDefaults) else dict(settings)
        self.reader_thread: Any = None
        self.connect()

    def __str__(self) -> str:
        return f"SerialDevice({self.name}, {'connected' if self.is_connected else 'not connected'})"

    def __del__(self) -> None:
        self.disconnect()

    @property
    def is_connected(self) -> bool:
        """Whether the port is open and being read."""
        thread = getattr(self, "reader_thread", None)
        return thread is not None and thread.is_alive() and self.serial.is_open

    def connect(self) -> None:
        """Open the port and begin to read, unless that is so."""
        if self.is_connected:
            return
        try:
            self.serial = serial.serial_for_url(self.port, **self._settings)
        except (serial.SerialException, OSError, ValueError) as error:
            raise BadSerialConnection(f"{self.name}: cannot be opened: {error}") from error
        device = self

        class Reader(LineReader):
            TERMINATOR = b"\n"

            def handle_line(self, line: str) -> None:
                device._keep(line.rstrip("\r"))

            def connection_lost(self, exc: Optional[Exception]) -> None:
                if exc is not None:
                    logger.warning(f"{device.name}: connection lost: {exc}")

        self.reader_thread = ReaderThread(self.serial, Reader)
        self.reader_thread.start()
        self.reader_thread.connect()

    def _keep(self, line: str) -> None:
        reading = line
        if self._callback is not None:
            try:
                returned = self._callback(line)
            except Exception as error:  # a bad line must not end the reading
                logger.warning(f"{self.name}: {line!r} not understood: {error}")
                return
            reading = line if returned is None else returned
        self.readings.append(reading)

    def add_reader_callback(self, callback: Callable[[str], Any]) -> None:
        """Set the function that is called with each line."""
        self._callback = callback

    def write(self, line: str) -> None:
        """Send a line; its end is added.

        Raises:
            BadSerialConnection: not connected, or the device is gone.
        """
        if not self.is_connected:
            raise BadSerialConnection(f"{self.name}: not connected")
        try:
            self.reader_thread.write(line.rstrip("\n").encode() + b"\n")
        except (serial.SerialException, OSError) as error:
            raise BadSerialConnection(f"{self.name}: {error}") from error

    def disconnect(self) -> None:
        """Stop reading and close the port."""
        thread, self.reader_thread = getattr(self, "reader_thread", None), None
        if thread is not None:
            with suppress(Exception):
                thread.close()
