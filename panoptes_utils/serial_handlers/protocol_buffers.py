"""`buffers://`: a port that sends what a test put into one buffer and keeps what it is sent in another."""

from __future__ import annotations

from io import BytesIO
from threading import Lock
from typing import Optional

from panoptes_utils.serial_handlers import NoOpSerial

_lock = Lock()
_to_read = BytesIO()
_written = BytesIO()


def ResetBuffers(read_data: Optional[bytes] = None) -> None:  # noqa: N802 - the name is public
    """Empty both buffers and set what will be read.

    Args:
        read_data: bytes.
    """
    global _written
    SetRBufferValue(read_data or b"")
    with _lock:
        _written = BytesIO()


def SetRBufferValue(data: bytes) -> None:  # noqa: N802 - the name is public
    """Set what will be read.

    Args:
        data: bytes.
    """
    global _to_read
    if not isinstance(data, (bytes, bytearray)):
        raise TypeError(f"{data!r} is not bytes")
    with _lock:
        _to_read = BytesIO(data)


def GetWBufferValue() -> Optional[bytes]:  # noqa: N802 - the name is public
    """Return what was written, bytes."""
    with _lock:
        return _written.getvalue()


class Serial(NoOpSerial):
    """A port over the two buffers of this module."""

    @property
    def in_waiting(self) -> int:
        """Number of bytes that can be read."""
        self._opened()
        with _lock:
            return len(_to_read.getbuffer()) - _to_read.tell()

    def read(self, size: int = 1) -> bytes:
        """Return up to `size` bytes of what a test set."""
        self._opened()
        with _lock:
            return _to_read.read(size)

    def write(self, data: bytes) -> int:
        """Keep bytes for `GetWBufferValue`; return how many."""
        self._opened()
        with _lock:
            return _written.write(data)
