"""The servers that are measured, as processes of their own, and what measuring them needs."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).parents[1]
CONFIG = "import sys; from panoptes_utils.config.cli import main; sys.exit(main())"
HUB = "import sys; from panoptes_utils.messaging.cli import main; sys.exit(main())"


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server, in a session of its own so that its children end with it."""

    def __init__(self, *words, port, python=sys.executable):
        self.port = port
        # Ours from this checkout; the peer has nothing of it, for both are called panoptes.utils.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if python == sys.executable:
            env["PYTHONPATH"] = str(TOP)
        self._process = subprocess.Popen(
            [python, "-c", *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=tempfile.gettempdir(),
            env=env,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the server on port {port} did not start") from None
                time.sleep(0.05)

    def resident_mb(self):
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def cpu_seconds(self):
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def at(times, share):
    return times[min(len(times) - 1, int(len(times) * share))]
