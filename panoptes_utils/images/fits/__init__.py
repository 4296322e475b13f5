"""FITS images: reading, solving, compressing, describing."""

from panoptes_utils.lazy import load_when_used

_HOMES = {
    "FITS_SUFFIXES": "opening",
    "extension_of": "opening",
    "getdata": "io",
    "getheader": "io",
    "getval": "io",
    "getwcs": "io",
    "is_packed": "io",
    "readable_image": "opening",
    "write_fits": "io",
    "fpack": "pack",
    "funpack": "pack",
    "Hints": "hints",
    "get_solve_field": "solve",
    "get_wcsinfo": "wcsinfo",
    "is_solved": "solution",
    "solve_field": "solve",
    "solve_hints": "hints",
    "ImagePathInfo": "metadata",
    "ObservationPathInfo": "metadata",
    "PATH_MATCHER": "metadata",
    "extract_metadata": "metadata",
    "update_observation_headers": "metadata",
    "detect_sources": "detect",
    "fits_to_jpg": "preview",
}

__getattr__, __dir__, __all__ = load_when_used(__name__, _HOMES)
