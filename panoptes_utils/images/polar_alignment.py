"""Polar alignment: where the axis of the mount points, from two exposures.

One exposure points at the pole; during the other the mount turns in right ascension, so that stars draw arcs around the
axis. The distance between the pole and the centre of the arcs, in pixels, is the error.
"""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np
from astropy.visualization import ImageNormalize, LogStretch, PercentileInterval
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter, label, map_coordinates

from panoptes_utils.error import NotFound, SolveError
from panoptes_utils.images.fits import get_solve_field, readable_image
from panoptes_utils.images.fits.opening import filled
from panoptes_utils.images.fits.solution import solution_wcs
from panoptes_utils.images.pixels import crop_data
from panoptes_utils.images.plot import get_palette

# Pixels: the central part in which arcs are looked for.
CUTOUT = 1500
# Degrees; farther from a pole no distortion is known as far as there.
LEAST_DECLINATION = 45.0
# Pixels: an axis that is known worse is not told. So many points in a row along an arc are off alike.
MAX_UNCERTAINTY, _ALIKE = 0.4, 10
# Pixels: what is farther from the circle of its arc counts less, in the end than at the beginning.
_FIRST_WIDTH, _LAST_WIDTH = 1.0, 0.1
# Share of the points of arcs whose normals meet in the centre, to _NORMAL_ERROR (radians): of a frame without arcs it
# is that error over a quarter of a turn, a fifteenth.
_LEAST_SHARE, _NORMAL_ERROR = 0.35, 0.1


def analyze_polar_rotation(pole_fn: Any, origin: int = 1, **kwargs: Any) -> Tuple[float, float]:
    """Return where the celestial pole is in an image: of the two the nearer one.

    Args:
        pole_fn: path, or open file, of a FITS image that points near a pole, north or south; solved if it is not.
        origin: number of the first pixel, 1 as in FITS or 0 as in numpy.
        kwargs: for `fits.get_solve_field`.

    Returns:
        tuple: x, y in pixels, of that origin; may lie outside the image.

    Raises:
        SolveError: no solution, or one that is nowhere near a pole.
    """
    get_solve_field(pole_fn, **kwargs)
    header, _ = readable_image(pole_fn, kwargs.get("extension"))
    wcs = solution_wcs(header)
    if wcs is None:
        raise SolveError(f"{pole_fn}: has no astrometric solution; solve it first")
    # The reference point, not the centre: a part that was cut out of an image has the coordinates of the whole.
    pole = float(np.copysign(90.0, wcs.wcs.crval[1]))
    if abs(wcs.wcs.crval[1]) < LEAST_DECLINATION:
        raise SolveError(f"{pole_fn}: points at declination {wcs.wcs.crval[1]:.1f}, nowhere near a pole")
    x, y = wcs.all_world2pix(0.0, pole, origin, quiet=True)
    return float(x), float(y)


def analyze_ra_rotation(rotate_fn: Any, origin: int = 1) -> Tuple[float, float]:
    """Return the centre of the arcs that stars drew while the mount turned.

    Args:
        rotate_fn: path, or open file, of a FITS image.
        origin: number of the first pixel, 1 as in FITS or 0 as in numpy.

    Returns:
        tuple: x, y in pixels, of that origin; may lie outside the image.

    Raises:
        NotFound: there are no arcs, or they are too short to tell the axis to half a pixel.

    Source: directions of arcs by the structure tensor (Foerstner & Guelch 1987, ISPRS Intercommission Workshop, 281);
    their normals meet about in the centre; from there on circles are fitted to all arcs at once.
    """
    data = filled(readable_image(rotate_fn)[1].astype(np.float32))
    width = min(CUTOUT, *data.shape)
    cutout = crop_data(data, box_width=width, data_only=False)
    nothing = NotFound(f"{rotate_fn}: no arcs in its {width} central pixels")
    pixels, normals, light, labels = _arcs(cutout.data)
    if len(pixels) < width / 2:
        raise nothing
    centre = _where_normals_meet(pixels, normals)
    if centre is None or _share(pixels, normals, centre) < _LEAST_SHARE:
        raise nothing
    centre, uncertainty = _circles(pixels, light, labels, centre)
    if not uncertainty < MAX_UNCERTAINTY:
        raise NotFound(
            f"{rotate_fn}: arcs too few or too short: the axis is known to {uncertainty:.1f} pixels only; turn farther"
        )
    x, y = cutout.to_original_position(tuple(centre))
    return float(x) + origin, float(y) + origin


def _arcs(data: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points in the middle of arcs: x and y, shape (N, 2); unit vectors across the arc, shape (N, 2); how much each
    counts, shape (N,); and the number of its arc, from 0, shape (N,)."""
    blurred = gaussian_filter(data, 1.5)
    light = blurred - gaussian_filter(data, 8.0)
    noise = 1.4826 * float(np.median(np.abs(light - np.median(light))))
    # So that one bright star does not outweigh all others.
    even = np.clip(light, 0, max(20 * noise, 1e-9))
    along_y, along_x = np.gradient(even)
    xx, yy, xy = (gaussian_filter(part, 2.0) for part in (along_x**2, along_y**2, along_x * along_y))
    straight = np.hypot(xx - yy, 2 * xy) / np.maximum(xx + yy, 1e-12)  # 1 on lines, 0 on points
    clear = (light > 5 * noise) & (straight > 0.7)
    edge = 8  # where filters saw only half of a line
    clear[:edge] = clear[-edge:] = False
    clear[:, :edge] = clear[:, -edge:] = False
    rows, columns = np.nonzero(clear)
    angle = np.arctan2(2 * xy[rows, columns], (xx - yy)[rows, columns]) / 2
    normals = np.column_stack([np.cos(angle), np.sin(angle)])
    # The middle of an arc is where its light is greatest across it; a parabola through three values says where exactly.
    before, after = (
        map_coordinates(blurred, [rows + side * normals[:, 1], columns + side * normals[:, 0]], order=3)
        for side in (-1, 1)
    )
    here = blurred[rows, columns]
    middle = (here >= before) & (here > after)
    rows, columns, normals = rows[middle], columns[middle], normals[middle]
    before, here, after = before[middle], here[middle], after[middle]
    beside = np.clip((before - after) / (2 * (before - 2 * here + after)), -0.7, 0.7)
    points = np.column_stack([columns, rows]) + beside[:, None] * normals
    lines = np.zeros(data.shape, dtype=bool)
    lines[rows, columns] = True
    numbers, _ = label(lines, np.ones((3, 3)))
    labels = np.unique(numbers[rows, columns], return_inverse=True)[1].ravel()
    return points, normals, even[rows, columns].astype(float), labels


def _off_normal(pixels: np.ndarray, normals: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Sine of the angle between the way to the centre and the normal, for each pixel."""
    way = centre - pixels
    return (way[:, 0] * normals[:, 1] - way[:, 1] * normals[:, 0]) / np.maximum(np.hypot(way[:, 0], way[:, 1]), 1.0)


def _where_normals_meet(pixels: np.ndarray, normals: np.ndarray) -> Any:
    """The point to which most normals lead, shape (2,); None if they are parallel."""
    across = np.column_stack([normals[:, 1], -normals[:, 0]])
    wanted = np.einsum("ij,ij->i", across, pixels)
    weights = np.ones(len(pixels))
    centre = pixels.mean(axis=0)
    for _ in range(60):
        matrix = (across * weights[:, None]).T @ across
        if np.linalg.cond(matrix) > 1e8:
            return None
        before, centre = centre, np.linalg.solve(matrix, (across * weights[:, None]).T @ wanted)
        distance = np.maximum(np.hypot(*(centre - pixels).T), 1.0)
        off = _off_normal(pixels, normals, centre)
        weights = 1 / distance**2 / (1 + (off / 0.05) ** 2)
        if np.hypot(*(centre - before)) < 1e-3:
            break
    return centre


def _share(pixels: np.ndarray, normals: np.ndarray, centre: np.ndarray) -> float:
    return float((np.abs(_off_normal(pixels, normals, centre)) < _NORMAL_ERROR).mean())


def _circles(pixels: np.ndarray, light: np.ndarray, labels: np.ndarray, centre: np.ndarray) -> Tuple[np.ndarray, float]:
    """Fit circles around one centre to arcs, each with a radius of its own.

    Args:
        pixels: x and y, shape (N, 2).
        light: of each, shape (N,).
        labels: number of the arc that each belongs to, from 0, shape (N,).
        centre: where the centre is about.

    Returns:
        tuple: the centre, shape (2,); and how uncertain it is in its worst direction, pixels.
    """
    weights = light.copy()
    for turn in range(60):
        width = max(_LAST_WIDTH, _FIRST_WIDTH * 0.8**turn)
        way = centre - pixels
        distance = np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-6)
        whole = np.maximum(np.bincount(labels, weights), 1e-12)
        # Distances from the centre, and how they change with it, less their means over each arc: its radius is free.
        terms = np.column_stack([distance, way[:, 0] / distance, way[:, 1] / distance])
        means = np.column_stack([np.bincount(labels, weights * term) for term in terms.T]) / whole[:, None]
        off, slopes = np.split(terms - means[labels], [1], axis=1)
        weighted = slopes * weights[:, None]
        step = -np.linalg.lstsq(weighted.T @ slopes, weighted.T @ off[:, 0], rcond=1e-10)[0]
        centre = centre + step
        # Arcs that touch are taken for one, and have points far off its circle.
        weights = light / (1 + (off[:, 0] / width) ** 2)
        if width == _LAST_WIDTH and np.hypot(*step) < 1e-4:
            break
    # Points of an arc share what is wrong with it, so that it counts as few.
    noise = 1.4826 * float(np.median(np.abs(off)))
    worst = float(np.linalg.eigvalsh(slopes.T @ slopes)[0]) / _ALIKE
    return centre, noise / float(np.sqrt(max(worst, 1e-12)))


def plot_center(
    pole_fn: Any,
    rotate_fn: Any,
    pole_center: Tuple[float, float],
    rotate_center: Tuple[float, float],
    origin: int = 1,
) -> Figure:
    """Return a figure of both images with the pole, the axis and the way from one to the other.

    Args:
        pole_fn, rotate_fn: paths, or open files, of the two FITS images.
        pole_center, rotate_center: (x, y) in pixels, from the two functions above.
        origin: of both, as it was given there.

    Returns:
        matplotlib.figure.Figure: its title says the error in pixels.
    """
    data = filled(readable_image(pole_fn)[1].astype(float)) + filled(readable_image(rotate_fn)[1].astype(float))
    (pole_x, pole_y), (axis_x, axis_y) = pole_center, rotate_center
    dx, dy = pole_x - axis_x, pole_y - axis_y
    figure = Figure(figsize=(20, 14), tight_layout=True)
    axes = figure.add_subplot()
    norm = ImageNormalize(data, interval=PercentileInterval(99.9), stretch=LogStretch())
    axes.imshow(data, cmap=get_palette("Greys_r"), norm=norm, origin="lower")
    axes.scatter(pole_x - origin, pole_y - origin, color="r", marker="x", label="celestial pole")
    axes.scatter(axis_x - origin, axis_y - origin, color="y", marker="+", label="axis of the mount")
    if np.hypot(dx, dy) > 0:
        axes.arrow(axis_x - origin, axis_y - origin, dx, dy, color="r", length_includes_head=True)
    axes.set_title(f"dx: {dx:.2f} pix   dy: {dy:.2f} pix")
    axes.legend()
    return figure
