"""Small things that PANOPTES programs share."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
from ast import literal_eval
from contextlib import AbstractContextManager, suppress
from functools import lru_cache
from os import getenv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple, Union

from panoptes_utils.logging import logger

if TYPE_CHECKING:
    import numpy as np
    from astropy.coordinates import SkyCoord
    from astropy.units import Quantity


def listify(obj: Any) -> Union[List[Any], Tuple[Any, ...]]:
    """Return the object as a list, unless it is a list or a tuple already.

    Args:
        obj: anything; None becomes an empty list, a dictionary the list of its values.

    Example:
        >>> listify(None), listify("a"), listify({"x": 1}), listify((1, 2))
        ([], ['a'], [1], (1, 2))
    """
    if obj is None:
        return []
    if isinstance(obj, (list, tuple)):
        return obj
    if isinstance(obj, dict):
        return list(obj.values())
    if isinstance(obj, (type({}.values()), type({}.keys()), type({}.items()))):
        return list(obj)
    return [obj]


def get_free_space(directory: Optional[Union[str, Path]] = None) -> Quantity:
    """Return the free disk space.

    Args:
        directory: any path on the disk; by default `PANDIR`, else the root.

    Returns:
        astropy.units.Quantity: in Gbyte.

    Raises:
        FileNotFoundError: no such path.

    Example:
        >>> get_free_space().unit
        Unit("Gbyte")
    """
    from astropy import units as u

    place = directory or getenv("PANDIR") or "/"
    return (shutil.disk_usage(place).free * u.byte).to(u.Gbyte)


def altaz_to_radec(alt: Any = 35, az: Any = 90, location: Any = None, obstime: Any = None, **kwargs: Any) -> SkyCoord:
    """Return the equatorial coordinates of a direction.

    Args:
        alt: altitude, degrees or Quantity.
        az: azimuth, degrees east of north or Quantity.
        location: astropy EarthLocation.
        obstime: Time, datetime or ISO 8601 string; now by default.
        kwargs: for `astropy.coordinates.AltAz`, such as pressure.

    Returns:
        astropy.coordinates.SkyCoord: ICRS.

    Raises:
        AssertionError: no location.

    Example:
        >>> from astropy.coordinates import EarthLocation
        >>> site = EarthLocation.from_geodetic(lon=-155.58, lat=19.54, height=3400)
        >>> zenith = altaz_to_radec(90, 0, site, "2016-08-13T10:00:00")
        >>> f"{zenith.dec.deg:.1f}"
        '19.5'
    """
    assert location is not None, "altaz_to_radec: location is missing; pass an astropy EarthLocation"
    from astropy import units as u
    from astropy.coordinates import AltAz, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    from panoptes_utils.time import current_time

    moment = Time(obstime) if obstime is not None else current_time()
    frame = AltAz(obstime=moment, location=location, **kwargs)
    direction = SkyCoord(alt=u.Quantity(alt, u.deg), az=u.Quantity(az, u.deg), frame=frame)
    # A unit without a network must not wait for one: an old table costs an arcsecond a month.
    with iers.earth_orientation_table.set(_earth_orientation()), iers.conf.set_temp("iers_degraded_accuracy", "warn"):
        return direction.transform_to("icrs")


@lru_cache(maxsize=1)
def _earth_orientation() -> Any:
    """The table of the Earth's orientation that was downloaded last, else one that astropy came with."""
    from astropy.utils import iers

    from panoptes_utils.data import EARTH_ORIENTATION, default_folder

    for path in (default_folder() / EARTH_ORIENTATION, iers.IERS_A_FILE):
        with suppress(OSError, ValueError):
            return iers.IERS_A.open(str(path))
    return iers.IERS_B.open()


def get_quantity_value(quantity: Any, unit: Any = None) -> Any:
    """Return the number of a Quantity, in a unit; what has no unit comes back as it is.

    Args:
        quantity: Quantity or number.
        unit: astropy unit or its name; None keeps that of the quantity.

    Example:
        >>> from astropy import units as u
        >>> get_quantity_value(90 * u.arcmin, "deg"), get_quantity_value(5, "deg")
        (1.5, 5)
    """
    try:
        value = quantity.to_value(unit) if unit is not None else quantity.value
    except AttributeError:
        return quantity
    return value.item() if getattr(value, "ndim", None) == 0 else value


def normalize_file_input(file_input: Any) -> str:
    """Return the path of a file given as str, path or open file.

    Args:
        file_input: str, os.PathLike, or an open file with a name.

    Raises:
        ValueError: none of these.

    Example:
        >>> normalize_file_input(Path("image.fits"))
        'image.fits'
    """
    name: Any = getattr(file_input, "name", None) if hasattr(file_input, "read") else file_input
    try:
        return str(Path(name))
    except TypeError:
        raise ValueError(f"{file_input!r} is not a path or an open file that has one") from None


def string_to_params(opts: str) -> Tuple[List[Any], Dict[str, Any]]:
    """Split a line into positional and named parameters.

    Args:
        opts: words and `key=value`, separated by blanks, quoted as in a shell. Numbers become numbers; a key given
            more than once becomes a list; a value quoted twice stays a string.

    Returns:
        tuple: list, dict.

    Example:
        >>> string_to_params("park now retries=3 speed=1.5 retries=4 name='a b'")
        (['park', 'now'], {'retries': [3, 4], 'speed': 1.5, 'name': 'a b'})
    """
    args: List[Any] = []
    kwargs: Dict[str, Any] = {}
    for word in shlex.split(opts):
        key, equals, text = word.partition("=")
        if not equals:
            args.append(_literal(word))
        elif key in kwargs:
            kwargs[key] = [*(kwargs[key] if isinstance(kwargs[key], list) else [kwargs[key]]), _literal(text)]
        else:
            kwargs[key] = _literal(text)
    return args, kwargs


def _literal(text: str) -> Any:
    for kind in (int, float, literal_eval):
        try:
            return kind(text)
        except (ValueError, SyntaxError):
            continue
    return text


class DelaySigTerm(AbstractContextManager):
    """Hold back SIGTERM while the block runs; it is delivered at the end.

    For what must not be cut in half, such as moving a mount to its park position. Main thread only.

    Example:
        >>> with DelaySigTerm():
        ...     pass
    """

    def __enter__(self) -> DelaySigTerm:
        self._caught: Optional[Tuple[int, Any]] = None
        self._previous = signal.signal(signal.SIGTERM, self._catch)
        return self

    def _catch(self, number: int, frame: Any) -> None:
        self._caught = (number, frame)
        logger.info("SIGTERM held back until the end of the block")

    def __exit__(self, *exception: Any) -> None:
        signal.signal(signal.SIGTERM, self._previous)
        if self._caught:
            if callable(self._previous):
                self._previous(*self._caught)
            elif self._previous == signal.SIG_DFL:
                signal.raise_signal(signal.SIGTERM)


def moving_average(data_set: Any, periods: int = 3) -> np.ndarray:
    """Return the moving average over `periods` values.

    Args:
        data_set: numbers, shape (N,).
        periods: int, 1 to N.

    Returns:
        numpy.ndarray: shape (N - periods + 1,).

    Example:
        >>> moving_average([1, 2, 3, 4]).tolist()
        [2.0, 3.0]
    """
    import numpy as np

    return np.convolve(data_set, np.ones(periods) / periods, mode="valid")


_PATH = re.compile(r"(?P<unit>PAN\d{3})/(?P<camera>[^/]+)/(?:.*/)?(?P<sequence>\d{8}T\d{6})/(?P<image>\d{8}T\d{6})")


def image_id_from_path(path: Union[str, Path]) -> Optional[str]:
    """Return the identifier of an image: unit, camera, time of the image.

    Args:
        path: of an image in the folders of a unit, or an address that ends like one.

    Raises:
        ValueError: the path is not such a one.

    Example:
        >>> image_id_from_path("gs://raw/PAN012/ee04d1/20190820T111638/20190820T122447.fits")
        'PAN012_ee04d1_20190820T122447'
    """
    return _id_from_path(path, "image")


def sequence_id_from_path(path: Union[str, Path]) -> Optional[str]:
    """Return the identifier of the sequence of an image: unit, camera, start of the sequence.

    Args:
        path: as for `image_id_from_path`.

    Raises:
        ValueError: the path is not such a one.

    Example:
        >>> sequence_id_from_path("gs://raw/PAN012/ee04d1/20190820T111638/20190820T122447.fits")
        'PAN012_ee04d1_20190820T111638'
    """
    return _id_from_path(path, "sequence")


def _id_from_path(path: Union[str, Path], part: Any) -> Optional[str]:
    found = _PATH.search(str(path))
    if not found:
        raise ValueError(f"{path}: not UNIT/CAMERA/SEQUENCE_TIME/IMAGE_TIME")
    return "_".join((found["unit"], found["camera"], found[part]))
