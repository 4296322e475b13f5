"""Star fields whose truth is known, made without a catalogue, and a solver that says what a test tells it to."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

# Where `SOLVE_FIELD` leads to the stand-in, and `FAKE_SOLVER` to its folder.
FAKE_SOLVER = Path(__file__).with_name("fake-solve-field")


def make_wcs(ra, dec, scale=10.0, size=(320, 280), rotation=20.0):
    """A gnomonic projection as solve-field writes it, the reference pixel in the middle; scale in arcsec per pixel."""
    angle = np.radians(rotation)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(size[0] + 1) / 2, (size[1] + 1) / 2]
    wcs.wcs.cd = scale / 3600 * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.array_shape = size[::-1]
    return wcs


def solution_header(wcs):
    """The header of a `.wcs` file, as solve-field writes it."""
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "EQUINOX": 2000.0})
    for axis in (0, 1):
        header[f"CRVAL{axis + 1}"], header[f"CRPIX{axis + 1}"] = wcs.wcs.crval[axis], wcs.wcs.crpix[axis]
        header.update({f"CD{axis + 1}_{other + 1}": wcs.wcs.cd[axis, other] for other in (0, 1)})
    header["IMAGEW"], header["IMAGEH"] = wcs.array_shape[::-1]
    header["HISTORY"] = "Created by the Astrometry.net suite."
    return header


def star_field(wcs, stars=40, seed=0):
    """Return an image with that many stars, float, shape (height, width), and their x and y, pixels of origin 0."""
    random = np.random.default_rng(seed)
    height, width = wcs.array_shape
    places = []
    while len(places) < stars:  # none in the light of another
        place = random.uniform(15, [width - 15, height - 15])
        if all(np.hypot(*(place - other)) > 22 for other in places) or len(places) > 80:
            places.append(place)
    x, y = np.array(places).T
    rows, columns = np.mgrid[:height, :width]
    image = random.normal(1000, 10, (height, width))
    for at_x, at_y in zip(x, y):
        image += 3000 * np.exp(-((columns - at_x) ** 2 + (rows - at_y) ** 2) / 2.4)
    return image, x, y


def write_matches(path, wcs, x, y, noise=0.0, seed=0):
    """Write a table of correspondences as solve-field does: stars measured with that noise, pixels."""
    random = np.random.default_rng(seed)
    sky = wcs.all_pix2world(x, y, 0)
    measured = np.array([x, y]) + 1 + random.normal(0, noise, (2, len(x)))
    names = ("field_x", "field_y", "index_ra", "index_dec")
    columns = [fits.Column(name, "D", array=values) for name, values in zip(names, (*measured, *sky))]
    fits.BinTableHDU.from_columns(columns).writeto(path, overwrite=True)


def write_fake_solver(folder, wcs, x, y, wanted, noise=0.0, sleep=""):
    """Fill the folder of the stand-in, which solves when `wanted` is among its options, and does `sleep` before."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    fits.PrimaryHDU(header=solution_header(wcs)).writeto(folder / "solution.wcs", overwrite=True)
    write_matches(folder / "solution.corr", wcs, x, y, noise)
    (folder / "wanted").write_text(wanted)
    (folder / "first").write_text(sleep)
    return folder


def calls_of(folder):
    """The options of each call of a stand-in."""
    return [line.split() for line in (Path(folder) / "calls").read_text().splitlines()]
