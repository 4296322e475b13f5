"""A FITS image as a JPEG."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from panoptes_utils.files import replacing
from panoptes_utils.images.fits.opening import Extension, path_of, readable_image, stem_of
from panoptes_utils.images.fits.solution import solution_wcs
from panoptes_utils.images.plot import add_colorbar, get_palette, star_norm
from panoptes_utils.time import current_time


def fits_to_jpg(
    fname: Any = None,
    title: Optional[str] = None,
    figsize: Tuple[float, float] = (10, 10 / 1.325),
    dpi: int = 150,
    alpha: float = 0.2,
    number_ticks: int = 7,
    clip_percent: float = 99.9,
    extension: Optional[Extension] = None,
    plane: Optional[int] = None,
    **kwargs: Any,
) -> str:
    """Make a JPEG of a FITS image, beside it.

    Args:
        fname: path, or open file, of a FITS image.
        title: text above the image; field, exposure and time from the header by default.
        figsize: inches.
        dpi: dots per inch.
        alpha: opacity of the coordinate grid, drawn where the image is solved (`is_solved`).
        number_ticks: on each axis.
        clip_percent: percent of the pixels that are not brighter than the brightest colour. The sky is dark, but not
            black: ZScale finds its level, and an asinh stretch shows faint stars beside bright ones.
        extension: number or name of the header-data unit; by default the first with an image.
        plane: of a cube; their mean by default.

    Returns:
        str: path of the JPEG.

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: it is not a FITS image.
    """
    path = path_of(fname)
    header, data = readable_image(path, extension, plane)
    name = stem_of(path)
    target = path.with_name(name + ".jpg")

    if title is None:
        when = header.get("DATE-OBS") or current_time(pretty=True)
        exposure = header.get("EXPTIME")
        seconds = f" ({exposure}s)" if exposure else ""
        title = f"{header.get('FIELD', name)}{seconds} {str(when).replace('T', ' ')}"
    figure = Figure(figsize=figsize, dpi=dpi)
    FigureCanvasAgg(figure)  # no pyplot: nothing to close, no display looked for
    wcs = solution_wcs(header)
    axes: Any = figure.add_subplot(1, 1, 1, projection=wcs)
    if wcs is not None:
        axes.coords.grid(True, color="white", ls="-", alpha=alpha)
        for number, label in enumerate(("Right ascension", "Declination")):
            axes.coords[number].set_axislabel(label)
            axes.coords[number].set_ticks(number=number_ticks)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(_max_ticks(number_ticks))
        axes.set_xlabel("X / pixels")
        axes.set_ylabel("Y / pixels")
    image = axes.imshow(data, norm=star_norm(data, clip_percent), cmap=get_palette("inferno"), origin="lower")
    if wcs is None:
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
