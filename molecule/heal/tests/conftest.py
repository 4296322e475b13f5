"""A unit that is damaged in all ways, and the table of what became of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.patient import Patient
from lab.releases import Releases
from lab.unit_under_test import UnitUnderTest

# For `make bench-heal`.
FIGURES = Path(__file__).parents[3] / "artifacts" / "heal.json"
CASES: list[tuple[str, str, float, str]] = []


@pytest.fixture(scope="module")
def patient_made(host):
    releases = Releases(folder="heal-tests")
    unit = UnitUnderTest(host, releases.source)
    unit.check("systemctl stop panoptes-health.timer")  # the tests play its part
    release = releases.offer("good-heal")
    if unit.tool("status")["rc"] != 0:  # what the tests before have left
        unit.tool("repair", "--new-store", "--force", expect=0)
    unit.tool("deploy", "--force", expect=0)
    yield Patient(unit, release)
    releases.remove_images()


@pytest.fixture
def patient(patient_made):
    """A unit that works; where the case before left none, it gets a new store first."""
    if patient_made.unit.tool("status")["rc"] != 0:
        patient_made.repair("--new-store", "--force")
        patient_made.unit.must_run(patient_made.release)
    patient_made.forget_old_stores()
    patient_made.guests()
    return patient_made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Every damage is a line of the table at the end."""
    result = (yield).get_result()
    if result.when == "call" or result.failed:
        told = dict(item.user_properties)
        name = item.callspec.id.partition("://")[2].partition("-heal-")[2] if hasattr(item, "callspec") else ""
        name = name or item.originalname
        verdict = "healed" if result.passed else "NOT HEALED"
        CASES.append((name, verdict, told.get("seconds", 0.0), told.get("outcome", "")))


def pytest_terminal_summary(terminalreporter):
    if not CASES:
        return
    terminalreporter.section("damages")
    for name, verdict, seconds, outcome in CASES:
        terminalreporter.write_line(f"{verdict:<11} {seconds:5.0f} s  {name:<52} {outcome}")
    healed = sum(1 for _, verdict, *_ in CASES if verdict == "healed")
    terminalreporter.write_line(f"{healed} of {len(CASES)} damages healed")
    FIGURES.parent.mkdir(exist_ok=True)
    rows = [dict(zip(("name", "verdict", "seconds", "outcome"), case)) for case in CASES]
    FIGURES.write_text(json.dumps(rows, indent=1), encoding="utf-8")
