"""Stand-ins for serial devices, for tests and simulators: `no_op://`, `buffers://`, `hooked://`, `arduinosimulator://`.

They are known to pyserial after

    serial.protocol_handler_packages.append("panoptes_utils.serial_handlers")
"""

from __future__ import annotations

from typing import Any

from serial import SerialBase, SerialException

__all__ = ["NoOpSerial"]


class NoOpSerial(SerialBase):
    """A port that accepts everything and never sends anything."""

    is_open: bool

    def open(self) -> None:
        """Open the port."""
        if self._port is None:
            raise SerialException("Port must be configured before it can be used.")
        if self.is_open:
            raise SerialException("Port is already open.")
        self._reconfigure_port()
        self.is_open = True

    def close(self) -> None:
        """Close the port."""
        self.is_open = False

    def _opened(self) -> None:
        if not self.is_open:
            raise SerialException("Attempting to use a port that is not open")

    def _reconfigure_port(self) -> None:
        """Nothing to set."""

    _update_rts_state = _update_dtr_state = _update_break_state = _reconfigure_port

    @property
    def in_waiting(self) -> int:
        """Number of bytes that can be read."""
        self._opened()
        return 0

    @property
    def out_waiting(self) -> int:
        """Number of bytes not sent yet."""
        self._opened()
        return 0

    def read(self, size: int = 1) -> bytes:
        """Return up to `size` bytes."""
        self._opened()
        return b""

    def write(self, data: bytes) -> int:
        """Take bytes; return how many."""
        self._opened()
        return len(data)

    def flush(self) -> None:
        """Wait until all is sent."""
        self._opened()

    def reset_input_buffer(self) -> None:
        """Throw away what came."""
        self._opened()

    def reset_output_buffer(self) -> None:
        """Throw away what is not sent."""
        self._opened()

    def _line(self) -> Any:
        self._opened()
        return True

    cts = dsr = cd = property(_line, doc="A line of the modem: always set.")
    ri = property(lambda self: not self._line(), doc="Ring indicator: never set.")
