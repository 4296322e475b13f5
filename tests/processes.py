"""Ending what a test started."""

import subprocess


def end(process):
    """Let a service end by itself, so that what it ran is counted as covered; kill one that does not."""
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
