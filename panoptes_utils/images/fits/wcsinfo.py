"""What astrometry.net's wcsinfo says of a solved image."""

from pathlib import Path
from typing import Any, Dict, Union

from astropy import units as u

from panoptes_utils.error import InvalidCommand, InvalidSystemCommand, SolveError
from panoptes_utils.images.fits.io import is_packed
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


def get_wcsinfo(fits_fname: Union[str, Path]) -> Dict[str, Any]:
    """Return what astrometry.net's wcsinfo says of a solved image.

    Args:
        fits_fname: path, `.fits`, `.fits.fz` or a `.wcs` file.

    Returns:
        dict: Quantities by wcsinfo's names, among them `ra_center`, `dec_center`, `orientation`, `pixscale`,
        `fieldw`, `fieldh`, `crpix0`; plain numbers and words where there is no unit; `wcs_file`, the path.

    Raises:
        FileNotFoundError: no such file.
        InvalidCommand: wcsinfo is not on PATH.
        SolveError: the file has no solution.
    """
    path = Path(fits_fname)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        program = find_program("wcsinfo")
    except InvalidSystemCommand as error:
        raise InvalidCommand(error.msg) from error
    command = [program] + (["-e", "1"] if is_packed(path) else []) + [path]
    result = run(command, timeout=30)
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
