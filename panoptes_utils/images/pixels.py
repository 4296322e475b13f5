"""Parts of an image, and pixels that are full."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from astropy.nddata import Cutout2D

from panoptes_utils.error import IllegalValue
from panoptes_utils.logging import logger
from panoptes_utils.utils import get_quantity_value


def crop_data(
    data: np.ndarray,
    box_width: int = 200,
    center: Any = None,
    verbose: bool = False,
    data_only: bool = True,
    wcs: Any = None,
    **kwargs: Any,
) -> Any:
    """Return a square part of an image.

    Args:
        data: numpy.ndarray, shape (height, width).
        box_width: pixels.
        center: (x, y) in pixels; the middle by default.
        verbose: log what is cut.
        data_only: return the pixels, else the cutout, which knows where it was.
        wcs: astropy WCS of the image, for the cutout's.
        kwargs: for `astropy.nddata.Cutout2D`.

    Returns:
        numpy.ndarray, shape (box_width, box_width), less at the edges; or astropy.nddata.Cutout2D.

    Raises:
        AssertionError: the image is smaller than the box.

    Example:
        >>> crop_data(np.zeros((300, 400)), box_width=10).shape
        (10, 10)
    """
    assert min(data.shape) >= box_width, f"an image of {data.shape} pixels has no part of {box_width} by {box_width}"
    if center is None:
        center = (data.shape[1] // 2, data.shape[0] // 2)
    if verbose:
        logger.debug("Cutting {} by {} pixels around {}", box_width, box_width, center)
    cutout = Cutout2D(data, (int(center[0]), int(center[1])), box_width, wcs=wcs, **kwargs)
    return cutout.data if data_only else cutout


def mask_saturated(
    data: np.ndarray, saturation_level: Any = None, threshold: float = 0.9, bit_depth: Any = None, dtype: Any = None
) -> np.ma.MaskedArray:
    """Return the image with saturated pixels masked.

    Args:
        data: numpy.ndarray.
        saturation_level: value from which on a pixel is saturated; by default `threshold` times the largest value
            that the bit depth can hold.
        threshold: fraction of that largest value.
        bit_depth: of the camera, int or Quantity in bit; that of the data type if not given.
        dtype: of the result; that of the data by default.

    Returns:
        numpy.ma.MaskedArray: same shape.

    Raises:
        IllegalValue: floating-point data without bit depth or level, or a bit depth in another unit.

    Example:
        >>> mask_saturated(np.array([1, 60000], dtype="uint16")).mask.tolist()
        [False, True]
    """
    if saturation_level is None:
        if bit_depth is None:
            kind = np.asarray(data).dtype
            if kind.kind not in "iu":
                raise IllegalValue(f"bit_depth is needed for data of type {kind}, or a saturation_level")
            largest = np.iinfo(kind).max
        else:
            try:
                largest = 2 ** int(get_quantity_value(bit_depth, u.bit)) - 1
            except u.UnitConversionError:
                raise IllegalValue(f"bit_depth={bit_depth} is not a number of bits") from None
        saturation_level = threshold * largest
    return np.ma.array(data, mask=np.asarray(data) >= saturation_level, dtype=dtype)
