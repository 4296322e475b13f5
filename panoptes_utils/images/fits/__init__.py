"""FITS images: reading, solving, compressing, describing."""

from panoptes_utils.images.fits.io import (
    extension_of,
    getdata,
    getheader,
    getval,
    getwcs,
    is_packed,
    readable_image,
    write_fits,
)
from panoptes_utils.images.fits.pack import fpack, funpack
from panoptes_utils.images.fits.solve import Hints, get_solve_field, get_wcsinfo, solve_field, solve_hints

__all__ = [
    "Hints",
    "extension_of",
    "fpack",
    "funpack",
    "get_solve_field",
    "get_wcsinfo",
    "getdata",
    "getheader",
    "getval",
    "getwcs",
    "is_packed",
    "readable_image",
    "solve_field",
    "solve_hints",
    "write_fits",
]
