"""The local horizon: what trees and buildings hide."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

import numpy as np

from panoptes_utils.utils import get_quantity_value


class Obstruction:
    """A skyline between two or more points.

    Args:
        points_list: list of (altitude, azimuth), degrees or Quantities, clockwise or counter-clockwise; altitudes -90
            to 90, azimuths -360 to 360, in one turn at most. A smaller azimuth after a larger one is counter-clockwise
            where it is less than half a turn back, and else goes on clockwise over north.

    Attributes:
        points: list of (altitude, azimuth) in degrees, azimuths increasing, the first in 0 to 360.

    Raises:
        ValueError: a point is outside these ranges, or there are fewer than two, or they go back and forth.
        TypeError: a point is no pair of numbers.

    Example:
        >>> tree = Obstruction([(40, 350), (50, 10)])
        >>> tree.get_horizon(0), tree.get_horizon(180)
        (<Quantity 45. deg>, None)
    """

    def __init__(self, points_list: Any) -> None:
        try:
            pairs = [tuple(float(get_quantity_value(value, "deg")) for value in point) for point in points_list]
        except (TypeError, ValueError):
            raise TypeError(
                f"obstruction {points_list!r}: write it as a list of [altitude, azimuth] in degrees"
            ) from None
        if len(pairs) < 2 or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"obstruction {points_list!r}: it needs two or more points [altitude, azimuth]")
        for alt, az in pairs:
            if not -90 <= alt <= 90:
                raise ValueError(f"obstruction {points_list!r}: altitude {alt:g} is not in -90 to 90 degrees")
            if not -360 <= az <= 360:
                raise ValueError(f"obstruction {points_list!r}: azimuth {az:g} is not in -360 to 360 degrees")
        clockwise = _clockwise(pairs) or _clockwise(pairs[::-1])
        if clockwise is None:
            raise ValueError(f"obstruction {points_list!r}: the points go back and forth; write them in one direction")
        self.points = clockwise

    def __repr__(self) -> str:
        return f"Obstruction({self.points})"

    def get_horizon(self, az: Any) -> Any:
        """Return the altitude of the skyline at an azimuth, or None outside.

        Args:
            az: degrees or Quantity.

        Returns:
            Quantity: degrees, linear between the points; or None.
        """
        return _degrees(self._altitude(az))

    def _altitude(self, az: Any) -> Optional[float]:
        altitudes, azimuths = zip(*self.points)
        az = azimuths[0] + (float(get_quantity_value(az, "deg")) - azimuths[0]) % 360
        if az > azimuths[-1]:
            return None
        return float(np.interp(az, azimuths, altitudes))


class Horizon:
    """The horizon all around.

    Args:
        obstructions: list of lists of (altitude, azimuth), see `Obstruction`; where two overlap, the higher counts.
        default_horizon: altitude everywhere else, degrees or Quantity.

    Attributes:
        obstructions: list of `Obstruction`, by azimuth.
        default_horizon: degrees.
        horizon_line: numpy.ndarray, shape (360,): altitude in degrees at azimuth 0, 1, … 359.

    Raises:
        ValueError: an altitude or azimuth is out of range.
        TypeError: a point is no pair of numbers.

    Example:
        >>> horizon = Horizon([[(40, 10), (40, 20)]], default_horizon=30)
        >>> horizon.get_horizon(15), horizon.get_horizon(100)
        (<Quantity 40. deg>, <Quantity 30. deg>)
    """

    def __init__(self, obstructions: Any = None, default_horizon: float = 30) -> None:
        self.default_horizon = float(get_quantity_value(default_horizon, "deg"))
        if not -90 <= self.default_horizon <= 90:
            raise ValueError(f"default_horizon={self.default_horizon:g} is not in -90 to 90 degrees")
        self.obstructions = sorted(
            (Obstruction(points) for points in obstructions or []), key=lambda each: each.points[0][1]
        )
        self.horizon_line = np.array([self._altitude(az) for az in range(360)])

    def get_horizon(self, az: Any) -> Any:
        """Return the altitude below which nothing is seen.

        Args:
            az: degrees or Quantity.

        Returns:
            Quantity: degrees.
        """
        return _degrees(self._altitude(az))

    def _altitude(self, az: Any) -> float:
        found = [alt for alt in (each._altitude(az) for each in self.obstructions) if alt is not None]
        return max(found) if found else self.default_horizon


def _clockwise(pairs: List[Tuple[float, ...]]) -> Optional[List[Tuple[float, float]]]:
    """The same (altitude, azimuth) with azimuths that only increase; None where they are not clockwise."""
    azimuths = [pairs[0][1] % 360]
    step: float
    for (_, before), (_, after) in zip(pairs, pairs[1:]):
        if after == before:
            step = 0
        elif after == before + 360:
            step = 360
        else:
            step = (after - before) % 360
            if after < before and step > 180:  # less than half a turn back, not more than half a turn on
                return None
        azimuths.append(azimuths[-1] + step)
    return list(zip((alt for alt, _ in pairs), azimuths)) if azimuths[-1] - azimuths[0] <= 360 else None


def _degrees(altitude: Optional[float]) -> Any:
    if altitude is None:
        return None
    from astropy.units import Quantity

    return Quantity(altitude, "deg")
