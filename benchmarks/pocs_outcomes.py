"""A plugin of pytest: what became of each test, a line of JSON at once, so that a run that hangs leaves what it had."""

import json
import os
from pathlib import Path

FILE = Path(os.environ["POCS_OUTCOMES"])


def _write(name, outcome, message):
    with FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps([name, outcome, message]) + "\n")


def _last_line(report):
    """What is said last of a failure: the error itself."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return next(iter(text.strip().splitlines()), "")[:200]


def pytest_collectreport(report):
    if report.failed:
        lines = str(report.longrepr).strip().splitlines()
        _write(report.nodeid, "error", lines[-1][:200] if lines else "")


def pytest_runtest_logreport(report):
    if report.failed:
        _write(report.nodeid, "failed" if report.when == "call" else "error", _last_line(report))
    elif report.skipped:
        _write(report.nodeid, "skipped", "")
    elif report.when == "call":
        _write(report.nodeid, "passed", "")
