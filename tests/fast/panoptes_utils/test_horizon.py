import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from panoptes_utils.horizon import Horizon, Obstruction


def test_no_obstructions_is_the_default_all_around():
    horizon = Horizon(default_horizon=25)
    assert horizon.horizon_line.tolist() == [25.0] * 360
    assert Horizon().get_horizon(200) == 30 * u.deg


def test_three_points_are_joined_by_two_lines():
    horizon = Horizon([[(20, 10), (40, 20), (20, 40)]], default_horizon=5)
    assert horizon.get_horizon(15) == 30 * u.deg
    assert horizon.get_horizon(30) == 30 * u.deg
    assert horizon.horizon_line[20] == 40
    assert horizon.horizon_line[9] == horizon.horizon_line[41] == 5


def test_an_obstruction_counts_even_below_the_default():
    assert Horizon([[(10, 100), (10, 120)]], default_horizon=30).get_horizon(110) == 10 * u.deg


@pytest.mark.parametrize("points", [[(40, 350), (50, 10)], [(40, -10), (50, 10)]])
def test_north_is_no_border(points):
    horizon = Horizon([points])
    assert horizon.get_horizon(0) == horizon.get_horizon(360) == 45 * u.deg
    assert horizon.horizon_line[355] == 42.5
    assert horizon.get_horizon(11) == 30 * u.deg


def test_where_two_overlap_the_higher_counts():
    horizon = Horizon([[(40, 100), (40, 140)], [(50, 90), (20, 120)]])
    assert horizon.get_horizon(100) == 40 * u.deg
    assert horizon.get_horizon(92) == 48 * u.deg
    assert [each.points[0][1] for each in horizon.obstructions] == [90, 100]


def test_angles_may_be_quantities():
    horizon = Horizon([[(40 * u.deg, 10 * u.deg), (0.5 * u.rad, 20 * u.deg)]], default_horizon=0.2 * u.rad)
    assert horizon.get_horizon(10 * u.deg) == 40 * u.deg
    assert horizon.get_horizon(20).to_value("rad") == pytest.approx(0.5)
    assert horizon.default_horizon == pytest.approx(np.degrees(0.2))


def test_a_wall_all_around():
    assert Horizon([[(15, 0), (15, 360)]]).horizon_line.tolist() == [15.0] * 360


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ([(40, 10)], "two or more"),
        ([(40, 10), (40,)], "two or more"),
        ([(95, 10), (40, 20)], "altitude 95"),
        ([(40, 10), (40, 400)], "azimuth 400"),
        ([(40, 20), (40, 10), (40, 15)], "back and forth"),
    ],
)
def test_bad_points_are_named(points, why):
    with pytest.raises(ValueError, match=why):
        Obstruction(points)


@pytest.mark.parametrize("points", [[("high", 20), (40, 10)], [(None, 20), (40, 10)], 5])
def test_points_that_are_no_numbers_are_named(points):
    with pytest.raises(TypeError, match="altitude, azimuth"):
        Obstruction(points)


points = st.tuples(st.integers(0, 90), st.integers(0, 179))


@given(st.lists(points, min_size=2, max_size=6, unique_by=lambda point: point[1]), st.integers(-180, 180))
def test_an_obstruction_is_the_same_in_both_directions(points, first):
    clockwise = [(alt, first + az) for alt, az in sorted(points, key=lambda point: point[1])]
    assert Obstruction(clockwise[::-1]).points == Obstruction(clockwise).points


def test_the_horizon_is_an_angle():
    horizon = Horizon([[(40, 10), (40, 20)]])
    for az in (15, 100):
        assert horizon.get_horizon(az).to_value("deg") == horizon.horizon_line[az]
    assert horizon.obstructions[0].get_horizon(15) == 40 * u.deg
    assert horizon.obstructions[0].get_horizon(100) is None


def test_bad_default_is_named():
    with pytest.raises(ValueError, match="default_horizon=100"):
        Horizon(default_horizon=100)


def test_obstruction_shows_its_points():
    assert repr(Obstruction([(40, 10), (50, 20)])) == "Obstruction([(40.0, 10.0), (50.0, 20.0)])"
