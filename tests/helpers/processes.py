"""Finding, awaiting and ending what a test started."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def end(process):
    """Let a service end by itself, so that what it ran is counted as covered; kill one that does not."""
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def finished(program, *arguments, env=None, **options):
    """Run a program, given as Python text, with arguments and further environment variables until it has ended."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
        **options,
    )


def running(folder):
    """Command lines of processes that name a folder, but for those that are killed and only wait for a processor."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            pending = re.findall(r"(?:Sig|Shd)Pnd:\s*([0-9a-f]+)", (place / "status").read_text())
        except OSError:
            continue
        killed = any(int(mask, 16) >> (signal.SIGKILL - 1) & 1 for mask in pending)
        if str(folder) in line and not killed and int(place.name) != os.getpid():
            found.append((int(place.name), line))
    return found


def until(true, seconds=15):
    """Wait until a function gives something true, and give that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail("never true")
