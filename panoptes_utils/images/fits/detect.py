"""Sources in an image, found in this process by SEP."""

from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np
import sep
from astropy.table import Table

from panoptes_utils.error import IllegalValue
from panoptes_utils.images.fits.opening import readable_image

# Times the rms of the background.
THRESHOLD = 1.5


def detect_sources(
    fits_fname: Any = None,
    data: Optional[np.ndarray] = None,
    subtract_background: bool = True,
    background_params: Optional[Dict[str, Any]] = None,
    extract_params: Optional[Dict[str, Any]] = None,
) -> Table:
    """Return the sources in an image.

    Args:
        fits_fname: path, or open file, of a FITS image; or else
        data: numpy.ndarray, shape (height, width); pixels that are NaN are left out.
        subtract_background: estimate and subtract a smooth background first.
        background_params: dict for `sep.Background`.
        extract_params: dict for `sep.extract`; `thresh` is 1.5 times the background's rms by default.

    Returns:
        astropy.table.Table: one row a source, brightest first, columns of `sep.extract`: `x`, `y` (pixels, origin 0),
        `flux`, `peak`, `a`, `b`, `theta`, `flag` and more.

    Raises:
        ValueError: neither file nor data.
        IllegalValue: the file or the data are no image, or too many sources touch each other.

    Source: SEP (Barbary 2016, JOSS 1, 58), after SExtractor (Bertin & Arnouts 1996, A&AS 117, 393).
    """
    if data is None:
        if fits_fname is None:
            raise ValueError("detect_sources: give a file or data")
        _, data = readable_image(fits_fname)
    data = np.ascontiguousarray(data, dtype=np.float64)
    if data.ndim != 2 or data.size == 0:
        raise IllegalValue(f"{fits_fname or 'data'}: not an image of two dimensions: {data.shape}")
    mask = ~np.isfinite(data)
    if mask.all():
        raise IllegalValue(f"{fits_fname or 'data'}: no pixel has a value")
    data = np.where(mask, np.median(data[~mask]), data)
    settings = {"thresh": THRESHOLD, **(extract_params or {})}
    for name in ("bw", "bh", "fw", "fh"):  # sep crashes on these
        size = (background_params or {}).get(name, 1)
        if size < 1:
            raise IllegalValue(f"background_params: {name}={size} is not 1 or more")
    try:
        if subtract_background:
            background = sep.Background(data, mask=mask, **(background_params or {}))
            data = data - background.back()
            settings.setdefault("err", background.globalrms)
        else:
            settings.setdefault("err", float(np.std(data[~mask])))
        if isinstance(settings["err"], float) and settings["err"] == 0:  # a flat image
            return Table(sep.extract(np.zeros((8, 8)), 1.0))
        found = sep.extract(data, mask=mask, **settings)
    except Exception as error:  # sep raises bare Exception
        raise IllegalValue(f"{fits_fname or 'data'}: {error}") from error
    table = Table(found)
    table.sort("flux", reverse=True)
    return table
