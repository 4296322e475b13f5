"""Tables of the point sources in an image."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
from astropy.io import ascii as ascii_table

from panoptes_utils.error import IllegalValue, InvalidSystemCommand, SolveError
from panoptes_utils.images.fits.opening import Extension, path_of, readable_image, write_plain
from panoptes_utils.images.fits.solution import solution_wcs
from panoptes_utils.process import find_program, run
from panoptes_utils.sources.match import get_catalog_match

HERE = Path(__file__).parent
# Seconds that SExtractor may take.
TIME_LIMIT = 60
# Pixels along the edges where sources are cut off.
EDGE = 10
# Names of our columns, in the order of panoptes.param.
COLUMNS = [
    *("ra", "dec", "x_int", "y_int", "x", "y", "ellipticity", "theta"),
    *("flux_best", "fluxerr_best", "flux_max", "flux_growth", "mag_best", "magerr_best"),
    *("fwhm_image", "background", "flags"),
]
# Narrower than the optics can make a star: hot pixels and cosmic rays. Pixels, full width at half maximum.
MIN_FWHM = 1.4
# More drawn out than any star that is not trailed: pieces of satellite trails.
MAX_ELLIPTICITY = 0.6


def lookup_point_sources(
    fits_file: Any,
    catalog_match: bool = False,
    method: str = "sextractor",
    force_new: bool = False,
    wcs: Any = None,
    min_fwhm: float = MIN_FWHM,
    edge: int = EDGE,
    extension: Optional[Extension] = None,
    plane: Optional[int] = None,
    **kwargs: Any,
) -> pd.DataFrame:
    """Return the point sources in an image.

    Args:
        fits_file: path, or open file, of a FITS image.
        catalog_match: add the Tycho-2 star that each source is and leave out those that are none; needs a solution.
        method: "sextractor"; or "sep" or "photutils", which need no program.
        force_new: accepted for older callers; the image is always looked at anew.
        wcs: astropy WCS to use instead of the file's solution; coordinates there that are no solution are not used.
        min_fwhm: narrower sources are left out, pixels.
        edge: pixels at the border where sources are left out.
        extension: number or name of the header-data unit; by default the first with an image.
        plane: of a cube; their mean by default.
        kwargs: for `get_catalog_match`.

    Returns:
        pandas.DataFrame: brightest first. Columns begin with the method, as `sextractor_ra`, `sextractor_dec`
        (degrees, NaN without a solution), `_x`, `_y` (pixels, origin 1 as in FITS), `_x_int`, `_y_int`, `_ellipticity`,
        `_theta` (degrees), `_flux_best`, `_fluxerr_best`, `_flux_max`, `_flux_growth`, `_mag_best`, `_magerr_best`,
        `_fwhm_image`, `_background`, `_flags`. With a match also `catalog_ra`, `catalog_dec`, `catalog_vmag`,
        `catalog_sep_arcsec`.

    Raises:
        FileNotFoundError: no such file.
        IllegalValue: it is not a readable image, or there is no such method.
        InvalidSystemCommand: SExtractor is not on PATH or failed.
        SolveError: a match is asked for and the image is not solved.
    """
    if method not in _METHODS:
        raise IllegalValue(f"method={method!r} is not one of {', '.join(_METHODS)}")
    path = path_of(fits_file)
    header, data = readable_image(path, extension, plane)
    wcs = wcs if wcs is not None else solution_wcs(header)
    solved = wcs is not None and wcs.is_celestial
    if catalog_match and not solved:
        raise SolveError(f"{path}: has no astrometric solution to match sources with; solve it first")
    sources = _METHODS[method](path, data)
    height, width = data.shape
    kept = sources["fwhm_image"].between(min_fwhm, np.inf) & (sources["ellipticity"] <= MAX_ELLIPTICITY)
    kept &= sources["x"].between(edge + 1, width - edge) & sources["y"].between(edge + 1, height - edge)
    sources = sources[kept].sort_values("flux_best", ascending=False).reset_index(drop=True)
    sources["ra"], sources["dec"] = np.nan, np.nan
    if solved and len(sources):
        # Not SExtractor's own coordinates: it does not know the distortion that astrometry.net fits.
        sky = wcs.pixel_to_world(sources["x"].to_numpy() - 1, sources["y"].to_numpy() - 1).icrs
        sources["ra"], sources["dec"] = sky.ra.deg, sky.dec.deg
    sources = sources[COLUMNS].add_prefix(f"{method}_")
    return get_catalog_match(sources, wcs=wcs, **kwargs) if catalog_match else sources


def _by_sextractor(path: Path, data: np.ndarray) -> pd.DataFrame:
    """Sources by SExtractor (Bertin & Arnouts 1996, A&AS 117, 393)."""
    program = find_program("source-extractor", "sextractor", "sex", variable="SEXTRACTOR")
    with tempfile.TemporaryDirectory(prefix="panoptes-sources-") as folder:
        image = Path(folder) / "image.fits"
        write_plain(data, image)
        catalogue = Path(folder) / "sources.cat"
        command = [program, image, "-c", HERE / "panoptes.sex", "-CATALOG_NAME", catalogue]
        command += ["-PARAMETERS_NAME", HERE / "panoptes.param", "-FILTER_NAME", HERE / "panoptes.conv"]
        run(command, TIME_LIMIT, check=True, cwd=folder)
        if not catalogue.exists():
            raise InvalidSystemCommand(f"{path}: SExtractor wrote no catalogue")
        table = ascii_table.read(catalogue, format="sextractor").to_pandas()
    table.columns = COLUMNS
    return table


def _by_sep(path: Path, data: np.ndarray) -> pd.DataFrame:
    """Sources by SEP, in this process."""
    from panoptes_utils.images.fits.detect import detect_sources

    found = detect_sources(path, data=data, extract_params={"thresh": 3.0, "deblend_cont": 0.001}).to_pandas()
    flux = found["flux"].clip(lower=1e-9)
    return pd.DataFrame(
        {
            "x_int": found["xpeak"] + 1,
            "y_int": found["ypeak"] + 1,
            "x": found["x"] + 1,
            "y": found["y"] + 1,
            "ellipticity": 1 - found["b"] / found["a"],
            "theta": np.degrees(found["theta"]),
            "flux_best": found["flux"],
            "fluxerr_best": np.sqrt(flux),
            "flux_max": found["peak"],
            "flux_growth": found["cflux"],
            "mag_best": 25 - 2.5 * np.log10(flux),
            "magerr_best": 1.0857 / np.sqrt(flux),
            "fwhm_image": 2.3548 * np.sqrt((found["a"] ** 2 + found["b"] ** 2) / 2),
            "background": np.nan,
            "flags": found["flag"],
        }
    )


def _by_photutils(path: Path, data: np.ndarray) -> pd.DataFrame:
    """Sources by photutils' DAOFIND (Stetson 1987, PASP 99, 191), in this process; fluxes within three pixels."""
    from photutils.aperture import CircularAperture, aperture_photometry
    from photutils.background import Background2D, MedianBackground
    from photutils.detection import DAOStarFinder

    data = data.astype(float)
    # Half of a box may be stars: the Milky Way is dense.
    settings = {"filter_size": 3, "exclude_percentile": 50, "bkg_estimator": MedianBackground()}
    background = Background2D(data, 64, mask=~np.isfinite(data), **settings)
    clean = np.nan_to_num(data - background.background)
    noise = background.background_rms_median
    found = DAOStarFinder(threshold=4.0 * noise, fwhm=2.2)(clean)
    if found is None:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in COLUMNS})
    between = "_" if "x_centroid" in found.colnames else ""  # photutils 3 has renamed them
    x, y = (np.asarray(found[f"{axis}{between}centroid"]) for axis in "xy")
    aperture = CircularAperture(np.c_[x, y], r=3.0)
    flux = np.clip(np.asarray(aperture_photometry(clean, aperture)["aperture_sum"]), 1e-9, None)
    error_of_flux = np.sqrt(flux + aperture.area * noise**2)
    peak = np.clip(np.asarray(found["peak"]), 1e-9, None)
    x_int, y_int = np.round(x).astype(int), np.round(y).astype(int)
    return pd.DataFrame(
        {
            "x_int": x_int + 1,
            "y_int": y_int + 1,
            "x": x + 1,
            "y": y + 1,
            "ellipticity": np.abs(np.asarray(found["roundness1"])) / 2,
            "theta": np.nan,
            "flux_best": flux,
            "fluxerr_best": error_of_flux,
            "flux_max": peak,
            "flux_growth": flux,
            "mag_best": 25 - 2.5 * np.log10(flux),
            "magerr_best": 1.0857 * error_of_flux / flux,
            "fwhm_image": np.sqrt(flux / (1.133 * peak)),  # of a Gaussian with that flux and peak
            "background": background.background[
                np.clip(y_int, 0, data.shape[0] - 1), np.clip(x_int, 0, data.shape[1] - 1)
            ],
            "flags": 0,
        }
    )


_METHODS = {"sextractor": _by_sextractor, "sep": _by_sep, "photutils": _by_photutils}
