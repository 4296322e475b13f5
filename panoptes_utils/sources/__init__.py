"""Point sources in images, and the catalogue stars that they are."""

from panoptes_utils.lazy import load_when_used

_HOMES = {
    "get_catalog_match": "match",
    "get_stars_from_wcs": "match",
    "index_files": "catalog",
    "lookup_point_sources": "detect",
    "stars_around": "catalog",
}

__getattr__, __dir__, __all__ = load_when_used(__name__, _HOMES)
