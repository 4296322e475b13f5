"""Parts of figures."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import matplotlib as mpl
import numpy as np
from astropy.visualization import AsinhStretch, ImageNormalize, ZScaleInterval
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from mpl_toolkits.axes_grid1 import make_axes_locatable


def get_palette(cmap: str = "inferno") -> mpl.colors.Colormap:
    """Return a colour map in which saturated pixels are white, empty ones black and masked ones green.

    Args:
        cmap: name of a matplotlib colour map.

    Returns:
        matplotlib.colors.Colormap

    Raises:
        KeyError: no such map.
    """
    return mpl.colormaps[cmap].with_extremes(over="w", under="k", bad="g")


def star_norm(data: np.ndarray, clip_percent: float = 99.9) -> ImageNormalize:
    """Return how the values of an image become colours, so that the sky and faint stars are seen beside bright ones.

    Args:
        data: numpy.ndarray, any shape; NaN, infinity and masked pixels are left out.
        clip_percent: percent of the pixels that are not brighter than the brightest colour.

    Returns:
        astropy.visualization.ImageNormalize: from the lower limit that ZScale finds, with an asinh stretch that is
        linear a third of the way to ZScale's upper limit, or to what is brighter than the noise of the sky.

    Raises:
        ValueError: no pixel has a value.
    """
    values = np.ma.masked_invalid(np.ma.asarray(data)).compressed()
    if not len(values):
        raise ValueError("no pixel has a value")
    low, knee = (float(limit) for limit in ZScaleInterval().get_limits(values))
    middle = float(np.median(values))
    sky = middle + 5 * float(np.median(np.abs(values - middle)))
    if low < sky < knee:  # where a star fills a good part of a stamp, ZScale takes it for sky
        knee = sky
    high = max(float(np.percentile(values, clip_percent)), knee)
    if high <= low:
        high = low + max(1e-9, abs(low) * 1e-9)  # a flat image
    soft = float(np.clip((knee - low) / (high - low) / 3, 1e-6, 1.0))
    return ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(soft), clip=False)


def add_colorbar(axes_image: Any, size: str = "5%", pad: float = 0.05, orientation: str = "vertical") -> Any:
    """Add a colour bar beside an image that keeps the image's height.

    Args:
        axes_image: what `Axes.imshow` returned.
        size: width, percent of the image's.
        pad: inches between them.
        orientation: "vertical" or "horizontal".

    Returns:
        matplotlib.colorbar.Colorbar
    """
    side = "right" if orientation == "vertical" else "bottom"
    box = make_axes_locatable(axes_image.axes).append_axes(side, size=size, pad=pad)
    return axes_image.axes.figure.colorbar(axes_image, cax=box, orientation=orientation)


def add_pixel_grid(
    ax1: Any,
    grid_height: int,
    grid_width: int,
    show_axis_labels: bool = True,
    show_superpixel: bool = False,
    major_alpha: float = 0.5,
    minor_alpha: float = 0.25,
) -> None:
    """Draw lines between the pixels of an image, stronger ones between Bayer superpixels.

    Args:
        ax1: matplotlib Axes with the image.
        grid_height, grid_width: pixels.
        show_axis_labels: leave the numbers on the axes.
        show_superpixel: draw the stronger lines.
        major_alpha, minor_alpha: opacity of the two kinds of line.
    """
    ax1.set_xlim(-0.5, grid_width - 0.5)
    ax1.set_ylim(-0.5, grid_height - 0.5)
    # Pixel n spans n-0.5 to n+0.5: the lines are half a pixel off the numbers.
    for axis in (ax1.xaxis, ax1.yaxis):
        if show_superpixel:
            axis.set_major_locator(_HalfPixel(2))
        axis.set_minor_locator(_HalfPixel(1))
    if show_superpixel:
        ax1.grid(True, which="major", color="r", linestyle="-", lw=2, alpha=major_alpha)
    ax1.grid(True, which="minor", color="r", linestyle="-", lw=1, alpha=minor_alpha)
    if not show_axis_labels:
        ax1.set_xticklabels([])
        ax1.set_yticklabels([])


class _HalfPixel(MultipleLocator):
    """Every `base` pixels, at their lower edge."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        return np.asarray(super().tick_values(vmin + 0.5, vmax + 0.5)) - 0.5


def show_stamps(
    stamps: Sequence[Any], titles: Optional[Sequence[str]] = None, cmap: str = "inferno", columns: int = 4
) -> Figure:
    """Return a figure of small images side by side, each on its own scale: a faint star is seen beside a bright one.

    Args:
        stamps: list of numpy.ndarray, shape (height, width), with a pixel that has a value.
        titles: list of str.
        cmap: name of a colour map.
        columns: images in a row.

    Returns:
        matplotlib.figure.Figure

    Raises:
        ValueError: no stamps, or one without a value.
    """
    if not len(stamps):
        raise ValueError("stamps is empty")
    columns = min(columns, len(stamps))
    rows = -(-len(stamps) // columns)
    figure = Figure(figsize=(3 * columns, 3 * rows))
    for number, stamp in enumerate(stamps):
        axes = figure.add_subplot(rows, columns, number + 1)
        shown = axes.imshow(stamp, origin="lower", cmap=get_palette(cmap), norm=star_norm(stamp, 100))
        if titles:
            axes.set_title(titles[number])
        add_colorbar(shown)
    return figure
