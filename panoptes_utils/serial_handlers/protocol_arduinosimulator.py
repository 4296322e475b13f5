"""`arduinosimulator://?board=BOARD`: an Arduino that reports a line of JSON every two seconds.

BOARD is `telemetry`, `camera` or `json_object`. `period=SECONDS` sets the time between lines.
"""

from __future__ import annotations

import json
from time import monotonic, sleep
from typing import Any, Dict
from urllib.parse import parse_qs, urlparse

from serial import SerialException

from panoptes_utils.serial_handlers import NoOpSerial

PERIOD = 2.0


def _telemetry(number: int, millis: int) -> Dict[str, Any]:
    return {
        "name": "telemetry_board",
        "ver": "2017-09-23",
        "millis": millis,
        "report_num": number,
        "power": {"computer": 1, "fan": 1, "mount": 1, "cameras": 1, "weather": 1, "main": 1},
        "current": {"main": 387, "fan": 28, "mount": 34, "cameras": 27},
        "amps": {"main": 1083.6, "fan": 50.4, "mount": 61.2, "cameras": 27.0},
        "humidity": 42.6,
        "temperature": [13.01, 12.81, 19.75],
        "temp_00": 15.5,
    }


def _camera(number: int, millis: int) -> Dict[str, Any]:
    return {
        "name": "camera_board",
        "inputs": 6,
        "camera_00": 1,
        "camera_01": 1,
        "accelerometer": {"x": -7.02, "y": 6.95, "z": 1.7, "o": 6},
        "humidity": 59.6,
        "temp_00": 12.5,
        "millis": millis,
        "report_num": number,
    }


def _json_object(number: int, millis: int) -> Dict[str, Any]:
    return {"millis": millis, "report_num": number}


_BOARDS = {"telemetry": _telemetry, "camera": _camera, "json_object": _json_object}


class Serial(NoOpSerial):
    """A simulated board; what it is sent is kept in `received`."""

    def open(self) -> None:
        """Switch the board on.

        Raises:
            serial.SerialException: the address names no such board.
        """
        if not self.is_open and self._port is not None:
            parts = urlparse(self._port)
            chosen = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            board = chosen.get("board", "")
            if parts.scheme != "arduinosimulator" or board not in _BOARDS:
                raise SerialException(f"{self._port}: board={board!r} is not one of {', '.join(_BOARDS)}")
            self._board = _BOARDS[board]
            self._period = float(chosen.get("period", PERIOD))
            self._started, self._reported = monotonic(), 0
            self._ready = bytearray()
            self.received = bytearray()
        super().open()

    def _fill(self) -> None:
        """Write the reports that are due by now."""
        self._opened()
        elapsed = monotonic() - self._started
        while self._reported * self._period <= elapsed:
            self._reported += 1
            report = self._board(self._reported, int(elapsed * 1000))
            self._ready += json.dumps(report, separators=(",", ":")).encode() + b"\r\n"
            del self._ready[:-65536]  # a reader that never comes must not fill the memory

    @property
    def in_waiting(self) -> int:
        """Number of bytes that can be read."""
        self._fill()
        return len(self._ready)

    def read(self, size: int = 1) -> bytes:
        """Return up to `size` bytes, waiting for the next report until the time is up."""
        limit = None if self._timeout is None else monotonic() + self._timeout
        self._fill()
        while len(self._ready) < size and (limit is None or monotonic() < limit):
            sleep(0.01)
            self._fill()
        taken = bytes(self._ready[:size])
        del self._ready[:size]
        return taken

    def reset_input_buffer(self) -> None:
        """Throw away what was reported."""
        self._fill()
        self._ready.clear()

    def write(self, data: bytes) -> int:
        """Keep what the board is sent; return the number of bytes."""
        self._opened()
        self.received += data
        return len(data)
