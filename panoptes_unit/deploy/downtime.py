"""How long each service was away: its port is tried every 20 ms while the release is switched."""

from __future__ import annotations

import signal
import socket
import threading
import time
from typing import Dict

from .signals import NUMBERS


class DowntimeWatch:
    """Use as a context; afterwards `away_s` is {service: seconds it was away}."""

    def __init__(self, ports: Dict[str, int]) -> None:
        self.away_s = dict.fromkeys(ports, 0.0)
        self._ports = ports
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> DowntimeWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        # The kernel gives a signal to any thread that takes it; taken here, it would reach the run some steps later.
        signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
        lost: Dict[str, float] = {}
        present = {service for service, port in self._ports.items() if _answers(port)}
        while not self._stop.is_set():
            for service in present:
                now = time.monotonic()
                if _answers(self._ports[service]):
                    if service in lost:
                        self.away_s[service] = round(self.away_s[service] + now - lost.pop(service), 2)
                else:
                    lost.setdefault(service, now)
            self._stop.wait(0.02)
        for service, since in lost.items():
            self.away_s[service] = round(self.away_s[service] + time.monotonic() - since, 2)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=0.5):
            return True
    except OSError:
        return False
