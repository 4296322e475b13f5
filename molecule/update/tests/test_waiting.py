"""When an update waits: while the unit may observe, outside its window, where an operator says so."""

from __future__ import annotations

import pytest

from lab.unit_under_test import UnitUnderTest

STATE_FILE = "/var/panoptes/json_store/panoptes/current_state.json"


@pytest.fixture(scope="module")
def unit(host, releases):
    return UnitUnderTest(host, releases.source)


@pytest.mark.fault("config server down")
def test_update_waits_for_an_unreadable_state_and_heals_a_dead_config_server(unit, offered, record_property):
    """The state cannot be read, so it waits; a state from elsewhere lets the update heal the unit."""
    unit.check("docker stop --time 2 config-server")
    unit.settings({"observing": {"source": "config"}})
    answer = unit.tool("update", expect=3)
    assert "unreadable" in answer["reason"]
    unit.settings({})
    unit.tool("update", expect=0)
    unit.must_run(offered[1])
    record_property("outcome", answer["reason"][:90])


@pytest.fixture
def pocs_state(unit):
    """Writes the state as POCS does: a document, and how long ago."""

    def write(document: str, age_s: int = 0) -> None:
        folder = STATE_FILE.rpartition("/")[0]
        unit.check(f"mkdir -p {folder}; printf %s '{document}' > {STATE_FILE}")
        unit.check(f"touch --date @$(($(date +%s) - {age_s})) {STATE_FILE}")

    yield write
    unit.host.run(f"rm -f {STATE_FILE}")


@pytest.mark.fault("state: {state}")
@pytest.mark.parametrize("state", ["observing", "unknown", "stale", "unreadable"])
def test_update_waits_while_the_unit_may_observe_but_not_for_ever(unit, offered, pocs_state, state, refused):
    if state == "observing":
        pocs_state('{"data": {"source": "slewing", "dest": "observing"}}')
    elif state == "stale":
        pocs_state('{"data": {"source": "ready", "dest": "sleeping"}}', 200_000)
    elif state == "unreadable":
        pocs_state('{"data": {"sour')
    unit.settings({"observing": {"source": "file", "max_deferrals": 2}})
    first = refused(3, state)
    assert first["verdict"] == "deferred"
    unit.tool("update", expect=3)
    if state == "observing":
        unit.tool("update", expect=3)
        forced = unit.tool("update", "--force", expect=0)
        assert forced["forced"], "a forced update is recorded as one"
        assert unit.last()["forced"]
    else:
        assert unit.tool("update", expect=0)["verdict"] == "updated", "deferrals are bounded"
    unit.must_run(offered[1])


def test_idle_state_lets_an_update_pass(unit, offered, pocs_state):
    pocs_state('{"data": {"source": "ready", "dest": "parked"}}')
    unit.settings({"observing": {"source": "file"}})
    assert unit.tool("update", expect=0)["verdict"] == "updated"


@pytest.mark.fault("night at the unit")
def test_update_outside_the_window_is_deferred(unit, offered, refused):
    hour = int(unit.check("date -u +%H"))
    unit.settings({"window": {"longitude": 0.0, "start_h": (hour + 2) % 24, "end_h": (hour + 3) % 24}})
    refused(3, "outside the window")


def test_operators_lock_and_pin_hold_an_update_back(unit, offered):
    unit.check("panoptes-unit lock --reason calibration")
    assert "calibration" in unit.tool("update", expect=3)["reason"]
    unit.check("panoptes-unit unlock && panoptes-unit pin --reason campaign")
    assert unit.tool("update", expect=0)["verdict"] == "held"
    unit.must_run(offered[0])
