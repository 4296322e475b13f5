"""A real hub for each test that asks for one."""

import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from free_ports import free_ports
from processes import end, finished

pytest.importorskip("zmq")

COMMAND = "import sys; from panoptes_utils.messaging.cli import main; sys.exit(main())"


class Hub:
    """A running `panoptes-messaging-hub`."""

    def __init__(self, process, pairs, log):
        self.process, self.pairs, self.log = process, pairs, log

    @property
    def in_port(self):
        """The first pair's: publishers connect there."""
        return self.pairs[0][0]

    @property
    def out_port(self):
        """The first pair's: subscribers connect there."""
        return self.pairs[0][1]

    def stop(self, number=signal.SIGTERM):
        """Send a signal and wait; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=10)


@pytest.fixture(name="free_ports")
def _free_ports():
    return free_ports


@pytest.fixture
def command():
    """Run `panoptes-messaging-hub` with arguments; gives the finished process."""
    return partial(finished, COMMAND)


@pytest.fixture
def start(tmp_path):
    """Start a hub with a number of pairs. What it logged is shown where the test fails."""
    hubs = []

    def start_one(*arguments, number=1, before="", pairs=None):
        ports = free_ports(2 * number)
        pairs = pairs or list(zip(ports[::2], ports[1::2]))
        log = tmp_path / f"hub-{len(hubs)}.log"
        words = [word for pair in pairs for word in ("--pair", *map(str, pair))]
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", before + COMMAND, *words, *map(str, arguments)], stderr=stream, stdout=stream
            )
        hub = Hub(process, pairs, log)
        hubs.append(hub)
        deadline = time.monotonic() + 20
        while log.read_text().count("forwarding") < number:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the hub did not start:\n{log.read_text()}")
            time.sleep(0.02)
        return hub

    yield start_one
    for hub in hubs:
        end(hub.process)
        print(f"--- {hub.log.name}\n{hub.log.read_text()}")


@pytest.fixture
def hub(start):
    """A hub with one pair."""
    return start()
