"""What Compose leaves of a replacement that it gave up is in the way of the next one, and is known by its name."""

from __future__ import annotations

import pytest

from panoptes_unit.deploy.engine import half_made

OLD, NEW = "18cfa4d31c7c" + "0" * 52, "000784058d94" + "1" * 52


def container(number, name, state):
    return {"Id": number, "Names": [f"/{name}"], "State": state}


def test_new_container_that_waits_under_the_old_ones_id_is_half_made():
    old = container(OLD, "messaging-hub", "running")
    assert half_made([old, container(NEW, f"{OLD[:12]}_messaging-hub", "created")]) == [NEW]


@pytest.mark.parametrize(
    "others",
    [
        [container(OLD, "messaging-hub", "running")],
        [container(OLD, "messaging-hub", "created")],
        [container(NEW, f"{OLD[:12]}_messaging-hub", "created")],  # the old one is gone: this one is all there is
        [container(OLD, "messaging-hub", "exited"), container(NEW, f"{OLD[:12]}_messaging-hub", "running")],
        [container(OLD, "messaging-hub", "running"), container(NEW, "aaaaaaaaaaaa_messaging-hub", "created")],
        [{"Id": OLD, "State": "created"}],
        [],
    ],
)
def test_every_other_container_stays(others):
    assert half_made(others) == []
