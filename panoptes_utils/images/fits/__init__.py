"""FITS images: reading, solving, compressing, describing."""

from importlib import import_module

_HOME = {
    "FITS_SUFFIXES": "io",
    "extension_of": "io",
    "getdata": "io",
    "getheader": "io",
    "getval": "io",
    "getwcs": "io",
    "is_packed": "io",
    "readable_image": "io",
    "write_fits": "io",
    "fpack": "pack",
    "funpack": "pack",
    "Hints": "solve",
    "get_solve_field": "solve",
    "get_wcsinfo": "solve",
    "solve_field": "solve",
    "solve_hints": "solve",
    "ImagePathInfo": "metadata",
    "ObservationPathInfo": "metadata",
    "PATH_MATCHER": "metadata",
    "extract_metadata": "metadata",
    "update_observation_headers": "metadata",
    "detect_sources": "detect",
    "fits_to_jpg": "preview",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    """Load a function from the module that defines it, when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
