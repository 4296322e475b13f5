"""Polar alignment: where the axis of the mount points, from two exposures.

One exposure points at the pole; during the other the mount turns in right ascension, so that stars draw arcs around the
axis. The distance between the pole and the centre of the arcs, in pixels, is the error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Tuple, Union

import numpy as np
from astropy.visualization import ImageNormalize, LogStretch, PercentileInterval
from matplotlib.figure import Figure

from panoptes_utils.error import NotFound
from panoptes_utils.images.fits import get_solve_field, getdata, getwcs
from panoptes_utils.images.pixels import crop_data
from panoptes_utils.images.plot import get_palette

# Pixels: the central part in which arcs are looked for, and their radii.
CUTOUT = 1500
RADII = np.arange(100, 500, 50)


def analyze_polar_rotation(pole_fn: Union[str, Path], **kwargs: Any) -> Tuple[float, float]:
    """Return where the celestial pole is in an image.

    Args:
        pole_fn: path of a FITS image that points near the pole; solved if it is not.
        kwargs: for `fits.get_solve_field`.

    Returns:
        tuple: x, y in pixels, origin 1; may lie outside the image.

    Raises:
        SolveError: no solution.
    """
    get_solve_field(pole_fn, **kwargs)
    x, y = getwcs(pole_fn).all_world2pix(360, 90, 1)
    return float(x), float(y)


def analyze_ra_rotation(rotate_fn: Union[str, Path]) -> Tuple[float, float]:
    """Return the centre of the arcs that stars drew while the mount turned.

    Args:
        rotate_fn: path of a FITS image.

    Returns:
        tuple: x, y in pixels, origin 0.

    Raises:
        NotFound: there are no arcs.

    Source: edges by Canny 1986, IEEE PAMI 8, 679; circles by Hough transform.
    """
    from skimage.feature import canny
    from skimage.transform import hough_circle, hough_circle_peaks

    data = np.nan_to_num(getdata(rotate_fn).astype(float))
    width = min(CUTOUT, *data.shape)
    cutout = crop_data(data, box_width=width, data_only=False)
    low, high = PercentileInterval(99.5).get_limits(cutout.data)
    if high <= low:
        raise NotFound(f"{rotate_fn}: no arcs: the image is flat")
    edges = canny(np.clip((cutout.data - low) / (high - low), 0, 1), sigma=1.0)
    radii = RADII[width > RADII]
    if not len(radii) or not edges.any():
        raise NotFound(f"{rotate_fn}: no arcs in its {width} central pixels")
    _, x, y, _ = hough_circle_peaks(hough_circle(edges, radii), radii, total_num_peaks=1)
    if not len(x):
        raise NotFound(f"{rotate_fn}: no arcs in its {width} central pixels")
    x, y = cutout.to_original_position((x[0], y[0]))
    return float(x), float(y)


def plot_center(
    pole_fn: Union[str, Path],
    rotate_fn: Union[str, Path],
    pole_center: Tuple[float, float],
    rotate_center: Tuple[float, float],
) -> Figure:
    """Return a figure of both images with the pole, the axis and the way from one to the other.

    Args:
        pole_fn, rotate_fn: paths of the two FITS images.
        pole_center, rotate_center: (x, y) in pixels, from the two functions above.

    Returns:
        matplotlib.figure.Figure: its title says the error in pixels.
    """
    data = getdata(pole_fn).astype(float) + getdata(rotate_fn).astype(float)
    (pole_x, pole_y), (axis_x, axis_y) = pole_center, rotate_center
    dx, dy = pole_x - axis_x, pole_y - axis_y
    figure = Figure(figsize=(20, 14), tight_layout=True)
    axes = figure.add_subplot()
    norm = ImageNormalize(data, interval=PercentileInterval(99.9), stretch=LogStretch())
    axes.imshow(data, cmap=get_palette("Greys_r"), norm=norm, origin="lower")
    axes.scatter(pole_x, pole_y, color="r", marker="x", label="celestial pole")
    axes.scatter(axis_x, axis_y, color="y", marker="+", label="axis of the mount")
    if np.hypot(dx, dy) > 0:
        axes.arrow(axis_x, axis_y, dx, dy, color="r", length_includes_head=True)
    axes.set_title(f"dx: {dx:.2f} pix   dy: {dy:.2f} pix")
    axes.legend()
    return figure
