"""A good release arrives; each bad one is refused or undone, without the network, and not tried again."""

from __future__ import annotations

import pytest

from lab.releases import BAD
from lab.unit_under_test import UnitUnderTest

# Where a fault shows only in time: as much of it as it needs.
PATIENCE = {
    "crashes-at-20-s": {"soak_s": 25},
    "unhealthy": {"healthy_s": 15},
    "second-pair-dead": {"round_trip_s": 3},
}


@pytest.fixture(scope="module")
def unit(host, releases):
    return UnitUnderTest(host, releases.source)


@pytest.fixture(scope="module")
def good(unit, releases):
    """The unit runs `good-1`, with `good-0` before it."""
    for name in ("good-0", "good-1"):
        digest = releases.offer(name)
        unit.tool("deploy", expect=0)
    return digest


def test_good_release_is_taken(unit, releases, good):
    before = unit.configuration()
    digest = releases.offer("good-2")
    answer = unit.tool("update", expect=0)
    assert (answer["verdict"], answer["changed"]) == ("updated", True)
    assert answer["bytes"] < 1_000_000, "a small layer must not cost the whole image"
    assert set(answer["gap_s"]) == {"config-server", "messaging-hub"}
    unit.must_run(digest)
    assert unit.configuration() == before
    assert unit.last()["verdict"] == "updated"
    assert unit.tool("update", expect=0)["verdict"] == "unchanged"
    assert unit.last()["verdict"] == "updated", "a look without a change is no attempt"
    unit.tool("rollback", expect=0)
    unit.must_run(good)
    assert unit.tool("update", expect=0)["verdict"] == "held", "what was left must not come back by itself"


@pytest.mark.fault("image: {bad}")
@pytest.mark.parametrize("bad", sorted(BAD))
def test_bad_release_is_undone(unit, releases, good, bad, record_property):
    unit.settings({"limits": PATIENCE.get(bad, {})})
    unit.check("echo 'kept: by the user' > /var/panoptes/conf_files/pocs_local.yaml")
    before = unit.configuration()
    digest = releases.offer(bad)
    answer = unit.tool("update", expect=4)
    unit.settings({})
    assert answer["verdict"] == "rolled-back"
    record_property("outcome", answer["reason"][:90])
    unit.must_run(good)
    assert unit.configuration() == before
    assert unit.last()["reason"] == answer["reason"]
    held = unit.tool("update", expect=0)
    assert held["verdict"] == "held", f"{digest} was tried again"


@pytest.mark.fault("image: manifest without this platform")
def test_release_without_this_platform_is_refused_and_the_old_one_stays(unit, releases, good, record_property):
    releases.offer_without_this_platform()
    answer = unit.tool("update", expect=1)
    assert "s390x" in answer["reason"]
    assert "riscv64" in answer["reason"]
    record_property("outcome", answer["reason"][:90])
    unit.must_run(good)


@pytest.mark.fault("image: wrong architecture")
def test_image_of_another_architecture_is_refused_and_the_old_release_stays(unit, releases, good, record_property):
    releases.offer_wrong_architecture()
    answer = unit.tool("update", expect=1)
    assert "s390x" in answer["reason"]
    record_property("outcome", answer["reason"][:90])
    unit.must_run(good)
    assert unit.tool("update")["verdict"] in ("failed", "held")
