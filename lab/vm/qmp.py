"""QEMU's control socket."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from ..console import LabError

_WAIT = 30  # seconds for QEMU to open its socket


class Monitor:
    """A connection to a running QEMU; one command at a time. Source: QEMU Machine Protocol specification."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        deadline = time.monotonic() + _WAIT
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise LabError(f"QEMU does not answer on {path} ({error}); is the machine on?") from None
                time.sleep(0.1)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lines.readline()  # the greeting
        self.execute("qmp_capabilities")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_exception: Any) -> None:
        self._lines.close()
        self._socket.close()

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command and return its answer.

        Raises:
            LabError: If QEMU refuses it or goes away.
        """
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        for line in self._lines:
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise LabError(f"QEMU refuses {command}: {answer['error']['desc']}")
        raise LabError(f"QEMU ended while it was asked to {command}")

    def wait_for(self, command: str, statuses: set, limit: float) -> str:
        """Ask until the answer's status is one of `statuses`; returns it."""
        deadline = time.monotonic() + limit
        while (status := self.execute(command).get("status")) not in statuses:
            if time.monotonic() > deadline:
                raise LabError(f"QEMU's {command} still says {status} after {limit:.0f} s")
            time.sleep(0.2)
        return status
