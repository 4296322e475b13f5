"""Tycho-2 stars from the astrometry.net index files that are installed for solving: a catalogue without a network.

An index file stores its stars as a kd-tree of unit vectors, quantised to 32-bit integers, with the V_T
magnitudes beside it. Source of the layout: astrometry.net, `libkd/kdtree_fits_io.c` and `util/starkd.c`.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, List, Optional, Tuple, Union

import numpy as np
from astropy.io import fits
from astropy.table import Table

from panoptes_utils.error import NotFound

# Debian's astrometry-data packages, then astrometry.net's own default.
INDEX_FOLDERS = ("/usr/share/astrometry", "/usr/local/astrometry/data")
MAGNITUDE = "MAG_VT"


def index_files(folder: Optional[Union[str, Path]] = None) -> List[Path]:
    """Return the installed index files that carry Tycho-2 magnitudes by name, deepest first.

    Args:
        folder: where to look; by default `$PANDIR/astrometry/data` and the system's folders.

    Raises:
        NotFound: there are none.
    """
    folders = [Path(folder)] if folder else [Path(name) for name in INDEX_FOLDERS]
    if folder is None and os.getenv("PANDIR"):
        folders.insert(0, Path(os.environ["PANDIR"]) / "astrometry" / "data")
    for place in folders:
        found = [*place.glob("index-tycho2-*.fits"), *place.glob("index-41[0-9][0-9].fits")]
        if found:
            return sorted(found, key=lambda path: path.stat().st_size, reverse=True)
    raise NotFound(
        f"no Tycho-2 index files in {', '.join(map(str, folders))}; install astrometry-data-tycho2 "
        "or run: panoptes-utils data download"
    )


def _table(hdus: Any, name: str) -> Any:
    """Raw rows of the binary table whose one column is `name`: uint8, shape (rows, bytes a row)."""
    for hdu in hdus[1:]:
        if hdu.header.get("TTYPE1", "").strip() == name:
            rows, width = hdu.header["NAXIS2"], hdu.header["NAXIS1"]
            return np.frombuffer(hdu.data.tobytes(), np.uint8).reshape(rows, width)
    raise KeyError(name)


@lru_cache(maxsize=2)
def read_index(path: Union[str, Path]) -> Tuple[np.ndarray, np.ndarray]:
    """Return all stars of one index file.

    Args:
        path: an astrometry.net index file with the tag-along column `MAG_VT`.

    Returns:
        tuple: unit vectors, float32, shape (N, 3), equatorial J2000; magnitudes, float32, shape (N,).

    Raises:
        NotFound: the file is not such an index.
    """
    try:
        # The deepest file has 140 MB, of which a fifth is stars: map it, touch only those.
        with fits.open(path, memmap=True) as hdus:
            order = "<" if hdus[0].header["ENDIAN"].strip() == "04:03:02:01" else ">"
            points = _table(hdus, "kdtree_data_stars").view(f"{order}u4")
            limits = _table(hdus, "kdtree_range_stars").view(f"{order}f8").ravel()
            magnitudes = next(
                np.asarray(hdu.data[MAGNITUDE], np.float32)
                for hdu in hdus[1:]
                if hdu.header.get("TTYPE1", "").strip() == MAGNITUDE
            )
    except (OSError, KeyError, StopIteration, ValueError, TypeError) as error:
        raise NotFound(f"{path}: not an astrometry.net index file with {MAGNITUDE}: {error!r}") from error
    low, scale = limits[:3], limits[6]  # limits: lower corner, upper corner, integers per unit
    vectors = (points / scale + low).astype(np.float32)
    return vectors, magnitudes


def stars_around(
    ra: float,
    dec: float,
    radius: float,
    magnitude_limit: Optional[float] = None,
    folder: Optional[Union[str, Path]] = None,
) -> Table:
    """Return the Tycho-2 stars within `radius` of a position.

    Args:
        ra: right ascension of the centre, degrees, J2000.
        dec: declination of the centre, degrees.
        radius: degrees.
        magnitude_limit: leave out stars fainter than this V_T.
        folder: where the index files are; by default the installed ones.

    Returns:
        astropy.table.Table: columns `ra`, `dec` (degrees, float64), `vmag` (Tycho-2 V_T), brightest first.

    Raises:
        NotFound: no index files.
    """
    vectors, magnitudes = read_index(index_files(folder)[0])
    # Chords, because in 32 bits the cosine of a small angle is 1.
    offsets = vectors - unit_vector(ra, dec).astype(np.float32)
    near = np.einsum("ij,ij->i", offsets, offsets) <= (2 * np.sin(np.radians(min(radius, 180)) / 2)) ** 2
    if magnitude_limit is not None:
        near &= magnitudes <= magnitude_limit
    chosen = np.flatnonzero(near)
    chosen = chosen[np.argsort(magnitudes[chosen], kind="stable")]
    x, y, z = vectors[chosen].astype(np.float64).T
    return Table(
        {
            "ra": np.degrees(np.arctan2(y, x)) % 360,
            "dec": np.degrees(np.arctan2(z, np.hypot(x, y))),
            "vmag": magnitudes[chosen],
        }
    )


def unit_vector(ra: Any, dec: Any) -> np.ndarray:
    """Return the unit vector of equatorial coordinates in degrees, shape (3,) or (3, N)."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
