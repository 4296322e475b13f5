"""What astrometry.net's wcsinfo says of a solved image."""

import tempfile
from pathlib import Path
from typing import Any, Dict, Optional

from astropy import units as u
from astropy.io import fits

from panoptes_utils.error import InvalidCommand, InvalidSystemCommand, SolveError
from panoptes_utils.images.fits.io import getheader
from panoptes_utils.images.fits.opening import Extension, extension_of, path_of
from panoptes_utils.images.fits.solution import WCS_KEY, is_solved
from panoptes_utils.process import find_program, run

# Units of what wcsinfo prints.
_WCSINFO_UNITS = {
    **dict.fromkeys(("crpix0", "crpix1", "imagew", "imageh"), u.pixel),
    **dict.fromkeys(("cd11", "cd12", "cd21", "cd22"), u.deg / u.pixel),
    **dict.fromkeys(
        (
            "crval0",
            "crval1",
            "ra_tangent",
            "dec_tangent",
            "orientation",
            "orientation_center",
            "ra_center",
            "dec_center",
        ),
        u.deg,
    ),
    **dict.fromkeys(("decmin", "decmax", "ramin", "ramax"), u.deg),
    "ra_center_h": u.hourangle,
    "ra_center_m": u.minute,
    "ra_center_s": u.second,
    "dec_center_d": u.deg,
    "dec_center_m": u.arcmin,
    "dec_center_s": u.arcsec,
    "pixscale": u.arcsec / u.pixel,
    "fieldarea": u.deg**2,
}


def get_wcsinfo(fits_fname: Any, extension: Optional[Extension] = None) -> Dict[str, Any]:
    """Return what astrometry.net's wcsinfo says of a solved image.

    Args:
        fits_fname: path, or open file, of a FITS image or of a `.wcs` file.
        extension: number or name of the header-data unit; by default the first with an image.

    Returns:
        dict: Quantities by wcsinfo's names, among them `ra_center`, `dec_center`, `orientation`, `pixscale`,
        `fieldw`, `fieldh`, `crpix0` (pixels, origin 1); plain numbers and words where there is no unit; `wcs_file`, the
        path.

    Raises:
        FileNotFoundError: no such file.
        InvalidCommand: wcsinfo is not on PATH.
        SolveError: the file has no solution: coordinates that a mount or a driver wrote are none (`is_solved`).
    """
    path = path_of(fits_fname)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        program = find_program("wcsinfo")
    except InvalidSystemCommand as error:
        raise InvalidCommand(error.msg) from error
    header = getheader(path, ext=extension_of(path, extension))
    if not is_solved(header):
        raise SolveError(f"{path}: has no astrometric solution; solve it first")
    with tempfile.TemporaryDirectory(prefix="panoptes-wcsinfo-") as folder:
        # The program does not open every kind of file; the header alone is enough for it.
        coordinates = fits.Header([card for card in header.cards if WCS_KEY.match(card.keyword)])
        for key, size in (("IMAGEW", "NAXIS1"), ("IMAGEH", "NAXIS2")):
            coordinates[key] = header.get(size) or header.get(key, 0)
        plain = Path(folder) / "image.wcs"
        fits.PrimaryHDU(header=coordinates).writeto(plain, output_verify="silentfix+ignore")
        result = run([program, plain], timeout=30)
    info: Dict[str, Any] = {}
    for line in result.stdout.splitlines():
        key, _, text = line.strip().partition(" ")
        try:
            value = float(text)
        except ValueError:
            if text:
                info[key] = text
            continue
        info[key] = value * _WCSINFO_UNITS[key] if key in _WCSINFO_UNITS else value
    if result.returncode or "pixscale" not in info:
        raise SolveError(f"{path}: has no astrometric solution; solve it first")
    # wcsinfo chooses the unit of the field's size by how large it is and says which.
    unit = {"degrees": u.deg, "arcminutes": u.arcmin, "arcseconds": u.arcsec}.get(info.get("fieldunits", ""), u.deg)
    for key in ("fieldw", "fieldh"):
        if isinstance(info.get(key), float):
            info[key] = info[key] * unit
    info["wcs_file"] = str(path)
    return info
