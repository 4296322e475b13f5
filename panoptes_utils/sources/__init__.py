"""Point sources in images, and the catalogue stars that they are."""

from importlib import import_module

_HOME = {
    "get_catalog_match": "match",
    "get_stars_from_wcs": "match",
    "index_files": "catalog",
    "lookup_point_sources": "detect",
    "stars_around": "catalog",
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
