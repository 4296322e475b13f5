"""A FITS image as a JPEG."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Tuple

import numpy as np
from astropy.visualization import ImageNormalize, LinearStretch, PercentileInterval
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from panoptes_utils.error import IllegalValue
from panoptes_utils.files import replacing
from panoptes_utils.images.fits.io import getwcs, readable_image
from panoptes_utils.images.plot import add_colorbar, get_palette
from panoptes_utils.time import current_time


def fits_to_jpg(
    fname: Any = None,
    title: Optional[str] = None,
    figsize: Tuple[float, float] = (10, 10 / 1.325),
    dpi: int = 150,
    alpha: float = 0.2,
    number_ticks: int = 7,
    clip_percent: float = 99.9,
    **kwargs: Any,
) -> str:
    """Make a JPEG of a FITS image, beside it.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        title: text above the image; field, exposure and time from the header by default.
        figsize: inches.
        dpi: dots per inch.
        alpha: opacity of the coordinate grid, drawn where the image is solved.
        number_ticks: on each axis.
        clip_percent: percent of the pixels within the range of the colours.

    Returns:
        str: path of the JPEG.

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: it is not a FITS image.
    """
    header, data = readable_image(fname)
    if data.ndim != 2:
        raise IllegalValue(f"{fname}: a preview needs an image of two dimensions, not {data.shape}")
    name = Path(fname).name
    for suffix in (".fz", ".fits"):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    target = Path(fname).with_name(name + ".jpg")

    if title is None:
        when = header.get("DATE-OBS") or current_time(pretty=True)
        exposure = header.get("EXPTIME")
        seconds = f" ({exposure}s)" if exposure else ""
        title = f"{header.get('FIELD', name)}{seconds} {str(when).replace('T', ' ')}"
    figure = Figure(figsize=figsize, dpi=dpi)
    FigureCanvasAgg(figure)  # no pyplot: nothing to close, no display looked for
    try:
        wcs = getwcs(fname)
        celestial = wcs.is_celestial
    except IllegalValue:
        celestial = False
    axes: Any = figure.add_subplot(1, 1, 1, projection=wcs if celestial else None)
    if celestial:
        axes.coords.grid(True, color="white", ls="-", alpha=alpha)
        for number, label in enumerate(("Right ascension", "Declination")):
            axes.coords[number].set_axislabel(label)
            axes.coords[number].set_ticks(number=number_ticks)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(_max_ticks(number_ticks))
        axes.set_xlabel("X / pixels")
        axes.set_ylabel("Y / pixels")
    shown = data[np.isfinite(data)] if data.dtype.kind == "f" else data
    low, high = PercentileInterval(clip_percent).get_limits(shown)
    norm = ImageNormalize(vmin=low, vmax=max(high, low + 1e-9), stretch=LinearStretch(), clip=False)
    image = axes.imshow(data, norm=norm, cmap=get_palette("inferno"), origin="lower")
    if not celestial:
        add_colorbar(image)
    else:
        figure.colorbar(image)
    figure.suptitle(title)
    with replacing(target) as draft:
        figure.savefig(draft, bbox_inches="tight", format="jpg")
    return str(target)


def _max_ticks(number: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(number)
