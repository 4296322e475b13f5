"""Day and night, beside what astropy 7 says of the sun (its transform to AltAz without an atmosphere)."""

from __future__ import annotations

import pytest

from panoptes_fleet import sky

# Seconds since 1970, latitude, longitude, altitude of the sun, all in degrees.
ASTROPY = [
    (946728000, 0, 0, 66.953),
    (946728000, -34.05, 150.99, -26.26),
    (946728000, 19.54, -155.58, -67.761),
    (946728000, 70, 20, -4.038),
    (1500000000, 0, 0, -46.632),
    (1500000000, -34.05, 150.99, 33.554),
    (1500000000, 19.54, -155.58, 31.44),
    (1500000000, 70, 20, 10.422),
    (1616200000, 0, 0, -85.22),
    (1616200000, -34.05, 150.99, 49.201),
    (1616200000, 19.54, -155.58, 55.262),
    (1616200000, 70, 20, -18.243),
    (1700000000, 0, 0, -61.069),
    (1700000000, -34.05, 150.99, 41.501),
    (1700000000, 19.54, -155.58, 52.087),
    (1700000000, 70, 20, -38.311),
]


@pytest.mark.parametrize(("at", "latitude", "longitude", "altitude"), ASTROPY)
def test_the_sun_stands_where_astropy_has_it(at, latitude, longitude, altitude):
    assert sky.sun_altitude(latitude, longitude, at) == pytest.approx(altitude, abs=0.05)


def test_light_has_three_names():
    latitude, longitude = sky.subsolar(1_782_000_000.0)
    far = [(longitude + turn + 180) % 360 - 180 for turn in (0, 100, 180)]
    assert [sky.light(0.0, one, 1_782_000_000.0) for one in far] == ["day", "twilight", "night"]
    assert abs(latitude - 23.44) < 0.1, "at midsummer"
