"""Everybody who looks at the clock draws the line at the same moment."""

import time

import pytest

from panoptes_unit.errors import UnitError
from panoptes_unit.health import wholeness
from panoptes_unit.machine.clock import CLOCK_FLOOR, require_plausible_clock
from panoptes_unit.settings import Settings

LOOKERS = [require_plausible_clock, lambda: wholeness._clock(wholeness.Seen(Settings()))]


@pytest.fixture
def clock(monkeypatch):
    """Sets what this process takes for the time."""
    return lambda now: monkeypatch.setattr(time, "time", lambda: now)


@pytest.mark.parametrize("look", LOOKERS)
def test_the_floor_itself_can_be(clock, look):
    clock(CLOCK_FLOOR)
    look()


@pytest.mark.parametrize("look", LOOKERS)
def test_a_second_before_the_floor_cannot_be(clock, look):
    clock(CLOCK_FLOOR - 1)
    with pytest.raises(UnitError, match="clock says .*timedatectl status"):
        look()
