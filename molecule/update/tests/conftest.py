"""A unit under test and the releases offered to it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
sys.path.insert(0, str(Path(__file__).parent))

FAULTS: list[tuple[str, str, str]] = []


@pytest.fixture(scope="session")
def releases():

    from releases import Releases

    made = Releases()
    yield made
    made.remove_images()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Every injected fault is a line of the table at the end."""
    result = (yield).get_result()
    marker = item.get_closest_marker("fault")
    if marker and (result.when == "call" or result.failed):
        told = dict(item.user_properties)
        name = marker.args[0].format(**getattr(item, "callspec", None).params if hasattr(item, "callspec") else {})
        FAULTS.append((name, "survived" if result.passed else "NOT SURVIVED", told.get("outcome", "")))


def pytest_configure(config):
    config.addinivalue_line("markers", "fault(name): injects a fault; listed in the fault table")


def pytest_terminal_summary(terminalreporter):
    if not FAULTS:
        return
    survived = sum(1 for _, verdict, _ in FAULTS if verdict == "survived")
    terminalreporter.section("faults")
    for name, verdict, outcome in FAULTS:
        terminalreporter.write_line(f"{verdict:<13} {name:<44} {outcome}")
    terminalreporter.write_line(f"{survived} of {len(FAULTS)} faults survived")
