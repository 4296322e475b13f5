"""Day and night at a place, to a quarter of a degree: enough to say whether a unit may be observing."""

from __future__ import annotations

import math

# Seconds since 1970 at the epoch of the almanac's formula, 2000-01-01 12:00 UTC.
J2000 = 946_728_000
# The sun's altitude at sunset, with refraction and its own radius, and at the end of astronomical twilight.
SUNSET_DEG, NIGHT_DEG = -0.833, -18.0


def subsolar(at: float) -> tuple[float, float]:
    """Latitude and longitude, in degrees, where the sun is overhead.

    The Astronomical Almanac's low-precision formula.

    Args:
        at: seconds since 1970.
    """
    days = (at - J2000) / 86400
    mean = math.radians((280.460 + 0.9856474 * days) % 360)
    anomaly = math.radians((357.528 + 0.9856003 * days) % 360)
    ecliptic = mean + math.radians(1.915 * math.sin(anomaly) + 0.020 * math.sin(2 * anomaly))
    tilt = math.radians(23.439 - 0.0000004 * days)
    declination = math.asin(math.sin(tilt) * math.sin(ecliptic))
    ascension = math.atan2(math.cos(tilt) * math.sin(ecliptic), math.cos(ecliptic))
    sidereal = math.radians((280.46062 + 360.98564737 * days) % 360)
    longitude = math.degrees(ascension - sidereal)
    return math.degrees(declination), (longitude + 180) % 360 - 180


def sun_altitude(latitude: float, longitude: float, at: float) -> float:
    """How high the sun stands, in degrees, without refraction."""
    sun_latitude, sun_longitude = map(math.radians, subsolar(at))
    here = math.radians(latitude)
    angle = math.radians(longitude) - sun_longitude
    height = math.sin(here) * math.sin(sun_latitude) + math.cos(here) * math.cos(sun_latitude) * math.cos(angle)
    return math.degrees(math.asin(max(-1.0, min(1.0, height))))


def light(latitude: float, longitude: float, at: float) -> str:
    """`day`, `twilight` or `night`."""
    altitude = sun_altitude(latitude, longitude, at)
    return "day" if altitude > SUNSET_DEG else "twilight" if altitude > NIGHT_DEG else "night"
