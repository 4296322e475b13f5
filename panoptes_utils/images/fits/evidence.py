"""What the stars of an image say of a solution: how many support it, how well, and where exactly the image points.

solve-field finds stars on an image that it has shrunk four times. Here the stars that it matched are measured where
they are, on all pixels; what is not there supports nothing, and the coordinates are fitted once more to what is.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from panoptes_utils.images.fits.solution import Evidence

# Fewer stars that match support no solution: a pattern of four finds one, so that four say nothing of it.
MIN_MATCHED = 5
# Share of the stars that solve-field matched which must be there: of a wrong solution a few are by chance.
MIN_SHARE = 0.5
# Pixels between a star and where the catalogue has it; farther, it is not that star.
MAX_DISTANCE = 4.0
# Widths (sigma) of the window in which a star is measured, for stars in focus and for large ones; pixels. The part of
# the image that is looked at is so many times as wide.
_WINDOWS = (2.0, 5.0)
_REACH = 4.5
# Times the noise that the light of a star must be.
_MIN_SIGNAL = 4.0
# So many stars are needed to fit the whole matrix, and distortion of the second and third order; with fewer the matrix
# is turned and scaled only.
_STARS_OF_ORDER = {1: 8, 2: 14, 3: 30}
_DISTORTION = re.compile(r"[AB]P?_(ORDER|DMAX|\d_\d)$")


def weigh(
    data: np.ndarray, solution: fits.Header, matches: Path, attempt: str
) -> Optional[Tuple[fits.Header, Evidence]]:
    """Return the solution, fitted once more, and what speaks for it; None if the stars do not support it.

    Args:
        data: numpy.ndarray, shape (height, width), all pixels finite.
        solution: header that solve-field wrote: gnomonic, with a matrix `CD`.
        matches: its table of correspondences (`--corr`).
        attempt: for the evidence.
    """
    try:
        table = fits.getdata(matches, 1)
        near_x, near_y, ra, dec = (
            np.asarray(table[name], dtype=float) for name in ("field_x", "field_y", "index_ra", "index_dec")
        )
    except (OSError, KeyError, IndexError, ValueError, TypeError):
        return None
    best: Optional[Tuple[fits.Header, Evidence]] = None
    for window in _WINDOWS:
        x, y, seen = measure(data, near_x - 1, near_y - 1, window)
        found = _fitted(solution, x[seen] + 1, y[seen] + 1, ra[seen], dec[seen], len(seen), attempt)
        if found and (best is None or found[1].rms / found[1].matched < best[1].rms / best[1].matched):
            best = found
    return best


def _fitted(
    header: fits.Header, x: np.ndarray, y: np.ndarray, ra: np.ndarray, dec: np.ndarray, given: int, attempt: str
) -> Optional[Tuple[fits.Header, Evidence]]:
    """The solution, fitted to stars of which there were so many given; None if too few match. x and y of origin 1."""
    least = max(MIN_MATCHED, MIN_SHARE * given)
    best: Optional[Tuple[fits.Header, Evidence]] = None
    if len(x) < least:
        return None
    # The second time with the stars that the better fit shows to match.
    for _ in range(3):
        distances, scale = _distances(header, x, y, ra, dec)
        kept = distances < min(MAX_DISTANCE, max(1.0, 3 * 1.4826 * float(np.median(distances))))
        matched, rms = int(kept.sum()), float(np.sqrt(np.mean(distances[kept] ** 2))) if kept.any() else np.inf
        if matched >= least and (best is None or rms < best[1].rms or matched > best[1].matched):
            best = header, Evidence(attempt, matched, rms, scale)
        if matched < least:
            break
        header = refit(header, x[kept], y[kept], ra[kept], dec[kept])
    return best


def measure(
    data: np.ndarray, x: np.ndarray, y: np.ndarray, window: float = _WINDOWS[0]
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure stars where they are thought to be.

    Args:
        data: numpy.ndarray, shape (height, width).
        x, y: pixels, origin 0, right to `MAX_DISTANCE`.
        window: width (sigma) of the Gaussian that light is weighted with, pixels.

    Returns:
        tuple: x and y by a Gaussian window, pixels, origin 0; and which of them are there.
    """
    found_x, found_y = np.array(x, dtype=float), np.array(y, dtype=float)
    seen = np.zeros(len(found_x), dtype=bool)
    height, width = data.shape
    reach = round(_REACH * window)
    for number, (first_x, first_y) in enumerate(zip(found_x.tolist(), found_y.tolist())):
        column, row = round(first_x), round(first_y)
        left, low = max(0, column - reach), max(0, row - reach)
        stamp = np.asarray(data[low : min(height, row + reach + 1), left : min(width, column + reach + 1)], float)
        if min(stamp.shape, default=0) <= reach:
            continue
        light = stamp - np.median(stamp)
        noise = 1.4826 * float(np.median(np.abs(light))) or 1e-9
        columns, rows = np.arange(stamp.shape[1]) + left, np.arange(stamp.shape[0]) + low
        at_x, at_y = first_x, first_y
        # The first window is wider, so that it sees a star that is off.
        for sigma in (2 * window, 2 * window, *([window] * 12)):
            weights = np.outer(
                np.exp(-((rows - at_y) ** 2) / (2 * sigma**2)), np.exp(-((columns - at_x) ** 2) / (2 * sigma**2))
            )
            least = _MIN_SIGNAL * noise * float(np.sqrt((weights**2).sum()))
            weights *= light
            total = float(weights.sum())
            if total <= least:
                break
            step_x = float((weights * (columns - at_x)).sum()) / total
            step_y = float((weights * (rows - at_y)[:, None]).sum()) / total
            at_x, at_y = at_x + step_x, at_y + step_y
            if np.hypot(at_x - first_x, at_y - first_y) > MAX_DISTANCE:
                break
        else:
            found_x[number], found_y[number], seen[number] = at_x, at_y, True
    return found_x, found_y, seen


def _plane(header: fits.Header) -> WCS:
    """The gnomonic projection around the reference point: its pixels are degrees on the tangential plane."""
    plane = WCS(naxis=2)
    plane.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    plane.wcs.crval = [header["CRVAL1"], header["CRVAL2"]]
    plane.wcs.crpix = [0, 0]
    plane.wcs.cd = np.eye(2)
    return plane


def _distances(
    header: fits.Header, x: np.ndarray, y: np.ndarray, ra: np.ndarray, dec: np.ndarray
) -> Tuple[np.ndarray, float]:
    """Pixels between stars and where the catalogue has them, and arcsec per pixel; x and y of origin 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(header)
    matrix = wcs.pixel_scale_matrix
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    here = (np.column_stack(wcs.pix2foc(x, y, 1)) - wcs.wcs.crpix) @ matrix.T
    off = here - np.column_stack(_plane(header).wcs_world2pix(ra, dec, 1))
    distances = np.hypot(off[:, 0], off[:, 1]) / scale
    return np.where(np.isfinite(distances), distances, np.inf), scale * 3600


def _terms(u: np.ndarray, v: np.ndarray, order: int) -> Tuple[np.ndarray, List[Tuple[int, int]]]:
    """Values of all products of powers up to an order, shape (N, terms), and the powers of u and v."""
    powers = [(total - second, second) for total in range(order + 1) for second in range(total + 1)]
    return np.column_stack([u**first * v**second for first, second in powers]), powers


def _order(u: np.ndarray, v: np.ndarray, there: np.ndarray) -> int:
    """The order of distortion that these stars can tell, by Akaike's criterion for small samples."""
    best, chosen = np.inf, 1
    for order, least in _STARS_OF_ORDER.items():
        if len(u) < least:
            break
        terms, powers = _terms(u, v, order)
        rest = there - terms @ np.linalg.lstsq(terms, there, rcond=None)[0]
        values, unknown = rest.size, 2 * len(powers)
        error = values * np.log(max(float((rest**2).mean()), 1e-30)) + 2 * unknown
        error += 2 * unknown * (unknown + 1) / (values - unknown - 1)
        if error < best:
            best, chosen = error, order
    return chosen


def refit(header: fits.Header, x: np.ndarray, y: np.ndarray, ra: np.ndarray, dec: np.ndarray) -> fits.Header:
    """Fit a solution to stars: position, rotation and scale; with enough stars the whole matrix, then the distortion.

    Args:
        header: the solution, gnomonic.
        x, y: of stars, pixels, origin 1.
        ra, dec: where they are, degrees.

    Returns:
        astropy.io.fits.Header: with the reference pixel where it was.

    Source: SIP (Shupe et al. 2005, ASPC 347, 491); Hurvich & Tsai 1989, Biometrika 76, 297, for the order.
    """
    header = header.copy()
    u, v = x - header["CRPIX1"], y - header["CRPIX2"]
    size = float(max(np.abs(u).max(), np.abs(v).max(), 1.0))
    affine = len(x) >= _STARS_OF_ORDER[1]
    if affine:
        _take_distortion_out(header)
    order = 0
    for _ in range(3):  # the plane turns with its centre, near a pole by much
        plane = _plane(header)
        there = np.column_stack(plane.wcs_world2pix(ra, dec, 1))
        if affine:
            order = order or _order(u / size, v / size, there)
            terms, powers = _terms(u / size, v / size, order)
            found = np.linalg.lstsq(terms, there, rcond=None)[0]
            centre = found[0]
            matrix = found[1:3].T / size
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FITSFixedWarning)
                wcs = WCS(header)
            here = (np.column_stack(wcs.pix2foc(x, y, 1)) - wcs.wcs.crpix) @ wcs.pixel_scale_matrix.T
            (turn, shift), *_ = np.linalg.lstsq(
                np.column_stack([here @ [1, 1j], np.ones(len(x))]), there @ [1, 1j], rcond=None
            )
            matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]]) @ wcs.pixel_scale_matrix
            centre = np.array([shift.real, shift.imag])
            _put_matrix(header, matrix)
        at_ra, at_dec = plane.wcs_pix2world([centre[0]], [centre[1]], 1)
        header["CRVAL1"], header["CRVAL2"] = float(at_ra[0]), float(at_dec[0])
    _put_matrix(header, matrix)
    if order > 1:
        distortion = np.linalg.solve(matrix, found[3:].T)  # pixels, of positions in units of `size`
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        for name, values in zip("AB", distortion):
            header[f"{name}_ORDER"] = header[f"{name}P_ORDER"] = order
            for (first, second), value in zip(powers[3:], values):
                header[f"{name}_{first}_{second}"] = float(value / size ** (first + second))
                # The way back, as far as distortion is small.
                header[f"{name}P_{first}_{second}"] = -header[f"{name}_{first}_{second}"]
    return header


def _put_matrix(header: fits.Header, matrix: np.ndarray) -> None:
    for row in (0, 1):
        for column in (0, 1):
            header[f"CD{row + 1}_{column + 1}"] = float(matrix[row, column])


def _take_distortion_out(header: fits.Header) -> None:
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    for key in [key for key in header if _DISTORTION.match(key)]:
        del header[key]
