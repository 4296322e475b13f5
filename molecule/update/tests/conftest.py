"""A unit under test and the releases offered to it."""

from __future__ import annotations

import pytest

FAULTS: list[tuple[str, str, str]] = []


@pytest.fixture(scope="session")
def releases():

    from lab.releases import Releases

    made = Releases()
    yield made
    made.remove_images()


@pytest.fixture
def offered(unit, releases):
    """(the release that runs, the one offered); settings are put back afterwards."""
    for name in ("good-0", "good-1"):
        releases.prepare(name)
    running = unit.release()
    other = next(name for name in ("good-0", "good-1") if releases.digests[name] != running)
    yield running, releases.offer(other)
    unit.settings({})
    unit.host.run("panoptes-unit unlock; panoptes-unit unpin; panoptes-unit clear all")


@pytest.fixture
def unplugged(unit, releases):
    """Cuts the unit off the registry: call it."""
    address = releases.registry.partition(":")[0]
    rule = f"OUTPUT --destination {address} --jump REJECT"
    yield lambda: unit.check(f"iptables --append {rule}")
    unit.host.run(f"iptables --delete {rule}")


@pytest.fixture
def refused(unit, offered, record_property):
    """Call it with an exit code and words: an update ends so, says so and changes nothing; gives its answer."""

    def update(code, words):
        answer = unit.tool("update", expect=code)
        assert words in answer["reason"], answer
        assert answer["changed"] is False
        unit.must_run(offered[0])
        record_property("outcome", answer["reason"][:90])
        return answer

    return update


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
