"""Which catalogue star a source is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs.utils import proj_plane_pixel_scales

from panoptes_utils.error import SolveError
from panoptes_utils.sources.catalog import stars_around

if TYPE_CHECKING:
    import pandas as pd

# Pixels between a source and the star it can be, where no separation is given.
MAX_PIXELS = 3.0


def get_stars_from_wcs(
    wcs: Any, magnitude_limit: Optional[float] = None, folder: Optional[Union[str, Path]] = None
) -> pd.DataFrame:
    """Return the Tycho-2 stars within an image.

    Args:
        wcs: astropy WCS, celestial, of known shape (`array_shape`).
        magnitude_limit: faintest V_T.
        folder: of the index files; the installed ones by default.

    Returns:
        pandas.DataFrame: `catalog_ra`, `catalog_dec` (degrees), `catalog_vmag`, `catalog_x`, `catalog_y` (pixels,
        origin 0), brightest first.

    Raises:
        SolveError: the WCS is not celestial or its image has no known shape.
        NotFound: no index files.
    """
    if not wcs.is_celestial or wcs.array_shape is None:
        raise SolveError("the image has no astrometric solution; solve it first")
    height, width = wcs.array_shape
    centre = wcs.pixel_to_world((width - 1) / 2, (height - 1) / 2).icrs
    corners = wcs.pixel_to_world([-0.5, width - 0.5, -0.5, width - 0.5], [-0.5, -0.5, height - 0.5, height - 0.5])
    radius = centre.separation(corners.icrs).max().deg
    stars = stars_around(centre.ra.deg, centre.dec.deg, radius * 1.02, magnitude_limit, folder).to_pandas()
    x, y = wcs.world_to_pixel(SkyCoord(stars["ra"].values, stars["dec"].values, unit="deg"))
    stars = stars.assign(x=x, y=y)
    stars = stars[(x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)].reset_index(drop=True)
    return stars.add_prefix("catalog_")


def get_catalog_match(
    point_sources: pd.DataFrame,
    wcs: Any = None,
    catalog_stars: Optional[pd.DataFrame] = None,
    max_separation_arcsec: Optional[float] = None,
    return_unmatched: bool = False,
    ra_column: Optional[str] = None,
    dec_column: Optional[str] = None,
    **kwargs: Any,
) -> pd.DataFrame:
    """Add to each source the catalogue star that it is.

    A star is given to the nearest source only.

    Args:
        point_sources: pandas.DataFrame with columns of right ascension and declination, degrees.
        wcs: astropy WCS of the image, to look up the catalogue with; or else
        catalog_stars: pandas.DataFrame as of `get_stars_from_wcs`.
        max_separation_arcsec: sources farther than this from a star are no match; three pixels by default if a WCS
            is given, else there is no limit.
        return_unmatched: keep the sources without a match, with empty values.
        ra_column, dec_column: names; by default the columns that end so.
        kwargs: for `get_stars_from_wcs`.

    Returns:
        pandas.DataFrame: the sources with `catalog_ra`, `catalog_dec`, `catalog_vmag`, `catalog_sep_arcsec` and more.

    Raises:
        ValueError: neither WCS nor stars, or no such columns.
    """
    if catalog_stars is None:
        if wcs is None:
            raise ValueError("get_catalog_match: give the WCS of the image or the catalogue stars")
        catalog_stars = get_stars_from_wcs(wcs, **kwargs)
    if max_separation_arcsec is None and wcs is not None:
        max_separation_arcsec = MAX_PIXELS * float(np.mean(proj_plane_pixel_scales(wcs))) * 3600
    ra, dec = (_column(point_sources, name, end) for name, end in ((ra_column, "ra"), (dec_column, "dec")))
    matched = point_sources.reset_index(drop=True)
    for name in [*catalog_stars.columns, "catalog_sep_arcsec"]:
        matched[name] = np.nan
    if len(matched) and len(catalog_stars):
        sources = SkyCoord(ra.values, dec.values, unit="deg")
        stars = SkyCoord(catalog_stars["catalog_ra"].values, catalog_stars["catalog_dec"].values, unit="deg")
        nearest, separation, _ = sources.match_to_catalog_sky(stars)
        separation = separation.to_value(u.arcsec)
        order = np.argsort(separation, kind="stable")
        chosen = order[np.unique(nearest[order], return_index=True)[1]]
        if max_separation_arcsec is not None:
            chosen = chosen[separation[chosen] <= max_separation_arcsec]
        for name in catalog_stars.columns:
            matched.loc[chosen, name] = catalog_stars[name].to_numpy(dtype=float)[nearest[chosen]]
        matched.loc[chosen, "catalog_sep_arcsec"] = separation[chosen]
    if return_unmatched:
        return matched
    return matched[matched["catalog_sep_arcsec"].notna()].reset_index(drop=True)


def _column(table: pd.DataFrame, name: Optional[str], end: str) -> pd.Series:
    names = [name] if name else [each for each in table.columns if each == end or each.endswith(f"_{end}")]
    names = [each for each in names if each in table.columns and not each.startswith("catalog_")]
    if not names:
        raise ValueError(f"the sources have no column {name or end}; they have {', '.join(table.columns)}")
    return table[names[0]]
