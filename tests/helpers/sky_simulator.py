"""Sky images whose truth is known, from the Tycho-2 stars of the installed astrometry.net index files.

As a function: `frame = simulate(ra=303.2, dec=46.0)`, then `frame.write("f.fits")`. As a program:

    python sky_simulator.py --ra 303.2 --dec 46.0 --pixscale 10.3 --size 700 --out f.fits

which prints the truth as JSON. Needs numpy, astropy, scipy and panoptes_utils.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.special import erf

from panoptes_utils.sources.catalog import stars_around

# Electrons of a star of magnitude 0 in one exposure: V_T 10 gives 40000, as with a PANOPTES lens in two
# minutes.
ZERO_POINT = 4e8
READ_NOISE = 8.0
BIAS = 2048
SATURATION = 16383  # 14 bits, as of a Canon sensor


@dataclass
class Frame:
    """A simulated image.

    Attributes:
        data: uint16, shape (height, width).
        truth: pointing and scale, as `panoptes-utils image solve --json` prints them.
        wcs: astropy WCS of the image.
        stars: Table of the stars inside: ra, dec (degrees), vmag, x, y (pixels, origin 0), flux (electrons),
            snr.
        header: what the camera knows: no solution.
    """

    data: np.ndarray
    truth: dict
    wcs: WCS
    stars: Table
    header: dict

    def write(self, path, solved=False):
        """Write the image, with its true WCS as a solution if `solved`; return the path as str."""
        header = fits.Header(list(self.header.items()))
        if solved:
            header.update(self.wcs.to_header())
            header["SOLVER"] = "astrometry.net"
        fits.PrimaryHDU(self.data, header).writeto(path, overwrite=True)
        return str(path)


def make_wcs(ra, dec, pixscale, width, height, rotation=0.0, flipped=False):
    """A tangential projection: `rotation` is the position angle of image-up, degrees east of north."""
    scale, angle = pixscale / 3600, np.radians(rotation)
    hand = 1 if flipped else -1  # on the sky as seen from below, east is left of north
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(width + 1) / 2, (height + 1) / 2]
    wcs.wcs.cd = scale * np.array([[hand * np.cos(angle), np.sin(angle)], [-hand * np.sin(angle), np.cos(angle)]])
    wcs.array_shape = (height, width)
    return wcs


def simulate(
    ra=303.2,
    dec=46.0,
    pixscale=10.3,
    size=700,
    rotation=0.0,
    flipped=False,
    seed=0,
    fwhm=2.2,
    sky=1500.0,
    hot_pixels=60,
    trails=0,
    magnitude_limit=12.5,
    blind=False,
    folder=None,
):
    """Render a frame.

    Args:
        ra, dec: centre, degrees, J2000.
        pixscale: arcsec per pixel.
        size: pixels, or (width, height).
        rotation: position angle of image-up, degrees.
        flipped: mirror image.
        seed: of the noise.
        fwhm: of the stars, pixels.
        sky: electrons per pixel.
        hot_pixels, trails: how many.
        magnitude_limit: faintest star rendered, V_T.
        blind: leave the position of the mount out of the header; else it is there, a degree wrong.
        folder: of the index files.

    Returns:
        Frame
    """
    width, height = (size, size) if np.isscalar(size) else size
    random = np.random.default_rng(seed)
    wcs = make_wcs(ra, dec, pixscale, width, height, rotation, flipped)
    corner = np.degrees(np.arctan(np.radians(np.hypot(width, height) / 2 * pixscale / 3600)))
    stars = stars_around(ra, dec, corner * 1.01 + 0.05, magnitude_limit, folder)
    x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0)
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    stars, x, y = stars[inside], x[inside], y[inside]
    flux = ZERO_POINT * 10 ** (-0.4 * np.asarray(stars["vmag"], float))

    image = np.full((height, width), float(sky))
    image += sky * 0.1 * np.linspace(-1, 1, width)[None, :]  # moonlight
    sigma = fwhm / 2.3548
    _add_stars(image, x, y, flux, sigma)
    for _ in range(trails):
        _add_trail(image, random, 4 * np.sqrt(sky))
    image = random.poisson(image) + random.normal(BIAS, READ_NOISE, image.shape)
    hot = random.integers(0, height, hot_pixels), random.integers(0, width, hot_pixels)
    image[hot] += random.exponential(2500, hot_pixels)
    data = np.clip(np.round(image), 0, SATURATION).astype(np.uint16)

    stars["x"], stars["y"], stars["flux"] = x, y, flux
    # Signal to noise within the radius that holds 95 % of a Gaussian star.
    area = np.pi * (2.45 * sigma) ** 2
    stars["snr"] = 0.95 * flux / np.sqrt(0.95 * flux + area * (sky + READ_NOISE**2))
    truth = {
        "ra_deg": float(ra),
        "dec_deg": float(dec),
        "pixscale_arcsec": float(pixscale),
        "orientation_deg": float((rotation + 180) % 360 - 180),
        "parity": 1.0 if flipped else -1.0,
        "width": width,
        "height": height,
        "stars": len(stars),
        "seed": seed,
    }
    header = {"EXPTIME": 120.0, "DATE-OBS": "2016-09-09T08:12:26", "CREATOR": "sky_simulator", "SEED": seed}
    if not blind:
        header |= {"RA-MNT": float(ra), "DEC-MNT": float(dec - np.copysign(1.0, dec))}
    return Frame(data, truth, wcs, stars, header)


def _add_stars(image, x, y, flux, sigma):
    """Add Gaussian stars, integrated over pixels."""
    height, width = image.shape
    reach = int(np.ceil(5 * sigma)) + 1
    offsets = np.arange(-reach, reach + 1)
    edge = np.sqrt(2) * sigma
    x0, y0 = np.round(x).astype(int), np.round(y).astype(int)

    def profile(position, nearest):
        distance = nearest[:, None] + offsets - position[:, None]
        return (erf((distance + 0.5) / edge) - erf((distance - 0.5) / edge)) / 2

    stamps = flux[:, None, None] * profile(y, y0)[:, :, None] * profile(x, x0)[:, None, :]
    rows = np.broadcast_to(y0[:, None, None] + offsets[:, None], stamps.shape)
    columns = np.broadcast_to(x0[:, None, None] + offsets, stamps.shape)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    np.add.at(image, (rows[inside], columns[inside]), stamps[inside])


def _add_trail(image, random, brightness):
    """Add a straight line of light across the whole frame, two pixels wide: a satellite."""
    height, width = image.shape
    angle, offset = random.uniform(0, np.pi), random.uniform(-0.3, 0.3) * min(width, height)
    rows, columns = np.mgrid[:height, :width]
    distance = (columns - width / 2) * np.sin(angle) - (rows - height / 2) * np.cos(angle) - offset
    image += brightness * np.exp(-0.5 * distance**2)


def main(arguments=None):
    """Write a frame and print its truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ra", type=float, default=303.2, help="degrees")
    parser.add_argument("--dec", type=float, default=46.0, help="degrees")
    parser.add_argument("--pixscale", type=float, default=10.3, help="arcsec per pixel")
    parser.add_argument("--size", default="700", help="pixels, or WIDTHxHEIGHT")
    parser.add_argument("--rotation", type=float, default=0.0, help="position angle of image-up, degrees")
    parser.add_argument("--flipped", action="store_true", help="mirror image")
    parser.add_argument("--hot-pixels", type=int, default=60)
    parser.add_argument("--trails", type=int, default=0, help="satellite trails")
    parser.add_argument("--blind", action="store_true", help="leave the mount's position out of the header")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--index-folder", type=Path, help="of the index files; the installed ones by default")
    parser.add_argument("--out", type=Path, required=True, help="FITS file to write")
    chosen = parser.parse_args(arguments)
    size = tuple(int(part) for part in chosen.size.split("x")) if "x" in chosen.size else int(chosen.size)
    frame = simulate(
        ra=chosen.ra,
        dec=chosen.dec,
        pixscale=chosen.pixscale,
        size=size,
        rotation=chosen.rotation,
        flipped=chosen.flipped,
        hot_pixels=chosen.hot_pixels,
        trails=chosen.trails,
        seed=chosen.seed,
        blind=chosen.blind,
        folder=chosen.index_folder,
    )
    print(json.dumps({**frame.truth, "file": frame.write(chosen.out)}))


if __name__ == "__main__":
    sys.exit(main())
