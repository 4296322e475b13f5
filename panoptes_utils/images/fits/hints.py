"""What is known of a frame before it is solved: from an earlier solution, the mount or the camera."""

import math
from dataclasses import dataclass
from typing import Any, List, Optional

from astropy import units as u
from astropy.coordinates import Angle
from astropy.io import fits
from astropy.wcs.utils import proj_plane_pixel_scales

from panoptes_utils.images.fits.solution import celestial_of, is_solved

# Degrees around the position in the header that are searched: a PANOPTES mount is that good before it is
# aligned.
DEFAULT_RADIUS = 15.0
# A pixel scale from a header or an earlier solution is trusted to this fraction.
SCALE_TOLERANCE = 0.1

_POSITION_KEYS = (("RA-MNT", "DEC-MNT"), ("OBJCTRA", "OBJCTDEC"), ("TELRA", "TELDEC"), ("RA", "DEC"))
_SCALE_KEYS = ("PIXSCALE", "SECPIX", "PIXSCAL1", "SCALE")


@dataclass(frozen=True)
class Hints:
    """What is known of a frame before it is solved.

    Attributes:
        ra, dec: centre, degrees, J2000, or None.
        radius: degrees around it to search.
        scale: arcsec per pixel, or None.
    """

    ra: Optional[float] = None
    dec: Optional[float] = None
    radius: float = DEFAULT_RADIUS
    scale: Optional[float] = None

    def __bool__(self) -> bool:
        return self.ra is not None or self.scale is not None

    def options(self) -> List[str]:
        """Return the options of solve-field that say so."""
        options = []
        if self.ra is not None:
            options += [f"--ra={self.ra:.6f}", f"--dec={self.dec:.6f}", f"--radius={self.radius:g}"]
        if self.scale is not None:
            low, high = self.scale * (1 - SCALE_TOLERANCE), self.scale * (1 + SCALE_TOLERANCE)
            options += ["--scale-units=arcsecperpix", f"--scale-low={low:.4f}", f"--scale-high={high:.4f}"]
        return options


def _number(value: Any, hours: bool = False) -> Optional[float]:
    """A finite number of degrees from a header value (degrees, or sexagesimal), or None."""
    try:
        return _finite(float(value))
    except (TypeError, ValueError):
        pass
    try:
        return _finite(float(Angle(str(value), unit=u.hourangle if hours else u.deg).deg))
    except Exception:
        return None


def _finite(value: float) -> Optional[float]:
    return value if math.isfinite(value) else None


def solve_hints(header: fits.Header) -> Hints:
    """Return what a header tells about where and at what scale to search.

    An earlier solution is best; then the position of the mount, then what coordinates are there that are no solution. A
    pixel scale may stand as such, follow from pixel size and focal length, or from those coordinates. What makes no
    sense is ignored.

    Args:
        header: astropy.io.fits.Header.

    Returns:
        Hints

    Example:
        >>> from astropy.io import fits
        >>> solve_hints(fits.Header({"RA-MNT": 301.6, "DEC-MNT": 44.5, "XPIXSZ": 4.3, "FOCALLEN": 85}))
        Hints(ra=301.6, dec=44.5, radius=15.0, scale=10.43...)
    """
    guess = _of_coordinates(header)
    if guess is not None and is_solved(header):
        return guess
    ra: Optional[float] = None
    dec: Optional[float] = None
    for ra_key, dec_key in _POSITION_KEYS:
        ra, dec = _number(header.get(ra_key), hours=True), _number(header.get(dec_key))
        if ra is not None and dec is not None and 0 <= ra <= 360 and -90 <= dec <= 90:
            break
        ra = dec = None
    if ra is None and guess is not None:
        ra, dec = guess.ra, guess.dec
    scales = [_number(header.get(key)) for key in _SCALE_KEYS]
    pixel, focal = _number(header.get("XPIXSZ")), _number(header.get("FOCALLEN"))
    if pixel and focal:
        scales.append(206.264806 * pixel / focal)  # micrometres over millimetres to arcsec
    if guess is not None:
        scales.append(guess.scale)
    return Hints(ra, dec, scale=next((value for value in scales if _may_be(value)), None))


def _may_be(scale: Optional[float]) -> bool:
    """Whether a camera with a lens can have that scale; headers hold zeros, defaults and other people's units."""
    return scale is not None and 0.1 < scale < 600


def _of_coordinates(header: fits.Header) -> Optional[Hints]:
    """Centre and scale as the coordinates in a header have them, solution or not, or None."""
    wcs = celestial_of(header)
    if wcs is None or not (header.get("NAXIS1") and header.get("NAXIS2")):
        return None
    try:
        centre = wcs.pixel_to_world(header["NAXIS1"] / 2 - 0.5, header["NAXIS2"] / 2 - 0.5).icrs
        ra, dec = float(centre.ra.deg), float(centre.dec.deg)
        scale = float(proj_plane_pixel_scales(wcs).mean()) * 3600
    except Exception:  # what coordinates that were made up raise is not known
        return None
    if not (math.isfinite(ra) and math.isfinite(dec)):
        return None
    if not (math.isfinite(scale) and _may_be(scale)):
        return Hints(ra, dec)
    width = scale * max(header["NAXIS1"], header["NAXIS2"]) / 3600
    return Hints(ra, dec, max(1.0, width) if is_solved(header) else DEFAULT_RADIUS, scale)
