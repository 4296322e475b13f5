"""Colours of a raw image: which pixel of the Bayer matrix sees which colour.

Pixels are numbered from 0; x is the column, y the row. Seen as `numpy` shows an image the matrix is::

            x even  x odd
    y even  G2      B
    y odd   R       G1
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Any, Optional, Tuple, Union

import numpy as np
from astropy.io import fits
from astropy.stats import SigmaClip

from panoptes_utils.error import IllegalValue
from panoptes_utils.files import replacing
from panoptes_utils.logging import logger


class RGB(IntEnum):
    """Index of a colour in the first axis of masks and cubes; G2 only where the greens are separate."""

    RED = 0
    R = 0
    GREEN = 1
    G = 1
    G1 = 1
    BLUE = 2
    B = 2
    GREEN2 = 3
    G2 = 3


# (parity of y, parity of x) of the pixels of each colour.
_PARITY = {"R": (1, 0), "G1": (1, 1), "G2": (0, 0), "B": (0, 1)}


def get_rgb_masks(data: np.ndarray, separate_green: bool = False) -> np.ndarray:
    """Return a mask for each colour that hides all other pixels.

    Args:
        data: numpy.ndarray, shape (height, width), or an image cube (3 or 4, height, width) of such.
        separate_green: make the second green a colour of its own.

    Returns:
        numpy.ndarray: bool, shape (3, height, width) in the order R, G, B; or (4, …) with G2 last. False where a
        pixel has the colour.

    Raises:
        TypeError: the data are no image.

    Example:
        >>> (~get_rgb_masks(np.ones((4, 4)))).sum(axis=(1, 2)).tolist()
        [4, 8, 4]
    """
    shape = np.shape(data)
    if len(shape) == 3 and shape[0] in (3, 4):
        shape = shape[1:]
    if len(shape) != 2:
        raise TypeError(f"an image has two dimensions, a colour cube three: this has the shape {np.shape(data)}")
    masks = np.ones((4 if separate_green else 3, *shape), dtype=bool)
    for name, (y, x) in _PARITY.items():
        colour = RGB.G if name == "G2" and not separate_green else RGB[name]
        masks[colour, y::2, x::2] = False
    return masks


def get_rgb_data(data: np.ndarray, separate_green: bool = False) -> np.ma.MaskedArray:
    """Return the image once for each colour, with the pixels of the others masked.

    Args:
        data: numpy.ndarray, shape (height, width).
        separate_green: as for `get_rgb_masks`.

    Returns:
        numpy.ma.MaskedArray: shape (3 or 4, height, width).

    Raises:
        TypeError: the data are no image.

    Example:
        >>> get_rgb_data(np.arange(16).reshape(4, 4))[RGB.R].compressed().tolist()
        [4, 6, 12, 14]
    """
    masks = get_rgb_masks(data, separate_green=separate_green)
    if np.ndim(data) == 2:
        data = np.broadcast_to(data, masks.shape)
    return np.ma.array(data, mask=masks)


def get_pixel_color(x: float, y: float) -> str:
    """Return the colour of a pixel.

    Args:
        x, y: pixels, origin 0; fractions are rounded to the nearest pixel.

    Returns:
        str: "R", "G1", "G2" or "B".

    Example:
        >>> get_pixel_color(4, 5), get_pixel_color(5, 5), get_pixel_color(4, 4), get_pixel_color(5, 4)
        ('R', 'G1', 'G2', 'B')
    """
    parity = (_nearest(y) % 2, _nearest(x) % 2)
    return next(name for name, where in _PARITY.items() if where == parity)


def _nearest(value: float) -> int:
    return int(np.floor(float(value) + 0.5))


def get_stamp_slice(
    x: float, y: float, stamp_size: Tuple[int, int] = (14, 14), ignore_superpixel: bool = False, as_slices: bool = True
) -> Tuple[Any, ...]:
    """Return the part of an image around a star, its colours always in the same places.

    The superpixel (2 × 2 pixels) that holds the star is in the middle, whole superpixels around it.

    Args:
        x, y: of the star, pixels, origin 0.
        stamp_size: (width, height) in pixels: 2, 6, 10, 14 …, unless superpixels are ignored.
        ignore_superpixel: centre on the pixel itself.
        as_slices: return slices, else the four limits.

    Returns:
        tuple: slices for rows and columns; or x_min, x_max, y_min, y_max. May reach outside the image.

    Raises:
        RuntimeError: a size that leaves half a superpixel on a side.

    Example:
        >>> get_stamp_slice(101, 57, stamp_size=(6, 6), as_slices=False)
        (98, 104, 54, 60)
    """
    limits = []
    for position, size in zip((x, y), stamp_size):
        pixel = _nearest(position)
        if ignore_superpixel:
            low = pixel - size // 2
        else:
            if size < 2 or (size - 2) % 4:
                raise RuntimeError(f"stamp_size={tuple(stamp_size)}: a side is 2, 6, 10, 14 … pixels, not {size}")
            low = pixel - pixel % 2 - (size - 2) // 2
        limits += [low, low + size]
    if not as_slices:
        return tuple(limits)
    x_min, x_max, y_min, y_max = limits
    return slice(y_min, y_max), slice(x_min, x_max)


def get_rgb_background(
    data: np.ndarray,
    box_size: Tuple[int, int] = (79, 84),
    filter_size: Tuple[int, int] = (11, 11),
    estimator: str = "mmm",
    interpolator: str = "zoom",
    sigma: float = 5,
    iters: int = 10,
    exclude_percentile: float = 100,
    return_separate: bool = False,
    **kwargs: Any,
) -> Any:
    """Return the sky background of a raw image, each colour for itself.

    Args:
        data: numpy.ndarray, shape (height, width).
        box_size, filter_size: rows and columns of the boxes that are averaged, and boxes that are smoothed over.
        estimator: "mmm", "sexb" (as SExtractor), "median", "mean", "mode" or "biweight".
        interpolator: "zoom" (splines) or "idw" (inverse distance).
        sigma, iters: of the clipping that removes stars.
        exclude_percentile: percent of a box that may be masked; masking by colour alone makes it 75.
        return_separate: return what was found for each colour.
        kwargs: for `photutils.background.Background2D`.

    Returns:
        numpy.ndarray: shape (height, width), each pixel with the background of its colour; or a list of three
        Background2D, for R, G and B.

    Raises:
        IllegalValue: no such estimator or interpolator, or an image without usable pixels.

    Source: photutils; the default estimator is DAOPHOT's (Stetson 1987, PASP 99, 191).
    """
    from photutils import background as bkg

    estimators = {
        "mmm": bkg.MMMBackground,
        "sexb": bkg.SExtractorBackground,
        "median": bkg.MedianBackground,
        "mean": bkg.MeanBackground,
        "mode": bkg.ModeEstimatorBackground,
        "biweight": bkg.BiweightLocationBackground,
    }
    interpolators = {"zoom": bkg.BkgZoomInterpolator, "idw": bkg.BkgIDWInterpolator}
    for name, chosen, known in (("estimator", estimator, estimators), ("interpolator", interpolator, interpolators)):
        if chosen not in known:
            raise IllegalValue(f"{name}={chosen!r} is not one of {', '.join(known)}")
    data = np.ma.masked_invalid(np.asarray(data, dtype=float))
    box_size = tuple(min(size, length) for size, length in zip(box_size, data.shape))
    found, combined = [], np.zeros(data.shape)
    for colour, mask in zip("RGB", get_rgb_masks(data)):
        try:
            background = bkg.Background2D(
                data.filled(0.0),
                box_size,
                filter_size=filter_size,
                sigma_clip=SigmaClip(sigma=sigma, maxiters=iters),
                bkg_estimator=estimators[estimator](),
                exclude_percentile=exclude_percentile,
                mask=mask | np.ma.getmaskarray(data),
                interpolator=interpolators[interpolator](),
                **kwargs,
            )
        except ValueError as error:
            raise IllegalValue(f"background of {colour}: {error}") from error
        median, rms = background.background_median, background.background_rms_median
        logger.debug("Background of {}: {:.2f}, rms {:.2f}", colour, median, rms)
        found.append(background)
        combined[~mask] = np.asarray(background.background)[~mask]
    return found if return_separate else combined


def save_rgb_bg_fits(
    rgb_bg_data: Any,
    output_filename: Union[str, Path],
    header: Optional[fits.Header] = None,
    fpack: bool = True,
    overwrite: bool = True,
) -> str:
    """Write the backgrounds of the three colours to a FITS file.

    Seven units: the background of the raw image, then background and its rms for R, G and B.

    Args:
        rgb_bg_data: list of three Background2D, from `get_rgb_background(return_separate=True)`.
        output_filename: path, `.fits`.
        header: of the first unit.
        fpack: compress it.
        overwrite: replace it if it exists.

    Returns:
        str: path of the file.

    Raises:
        FileExistsError: it exists and `overwrite` is off.
    """
    from pathlib import Path

    path = Path(output_filename)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already; pass overwrite=True to replace it")
    shape = np.shape(rgb_bg_data[0].background)
    combined = np.zeros(shape, dtype=np.float32)
    for background, mask in zip(rgb_bg_data, get_rgb_masks(combined)):
        combined[~mask] = np.asarray(background.background)[~mask]
    hdus = [fits.PrimaryHDU(combined, header=fits.Header(header) if header else None)]
    for colour, background in zip(("RED", "GREEN", "BLUE"), rgb_bg_data):
        for kind, values in (("", background.background), ("_RMS", background.background_rms)):
            hdus.append(fits.ImageHDU(np.asarray(values, dtype=np.float32), name=f"{colour}{kind}"))
    with replacing(path) as draft:
        fits.HDUList(hdus).writeto(draft, overwrite=True)
    if fpack:
        from panoptes_utils.images.fits import fpack as pack

        return pack(path, overwrite=overwrite)
    return str(path)
