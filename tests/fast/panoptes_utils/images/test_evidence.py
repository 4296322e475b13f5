"""What stars say of a solution, on fields made without a catalogue."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits as astropy_fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from star_field import make_wcs, solution_header, star_field, write_matches

from panoptes_utils.images.fits.evidence import MIN_MATCHED, measure, refit, weigh


def off(header, wcs, x, y):
    """Pixels between where a header has stars and where they are, the worst."""
    found = WCS(header).all_pix2world(x, y, 0)
    there = SkyCoord(*wcs.all_pix2world(x, y, 0), unit="deg")
    separation = SkyCoord(*found, unit="deg").separation(there).deg
    return float(separation.max() / np.sqrt(abs(np.linalg.det(wcs.wcs.cd))))


def test_stars_are_measured_to_a_small_part_of_a_pixel_and_those_that_are_not_there_are_told():
    image, x, y = star_field(make_wcs(10, 20))
    random = np.random.default_rng(1)
    found_x, found_y, seen = measure(image, x + random.uniform(-2, 2, len(x)), y + random.uniform(-2, 2, len(y)))
    assert seen.all()
    assert np.hypot(found_x - x, found_y - y).max() < 0.05
    empty = random.normal(1000, 10, image.shape)
    assert measure(empty, x, y)[2].sum() <= 0.1 * len(x)


@settings(max_examples=25)
@given(
    ra=st.floats(0, 360, exclude_max=True),
    dec=st.floats(-90, 90),
    rotation=st.floats(-180, 180),
    scale=st.floats(2, 60),
    stars=st.integers(MIN_MATCHED, 40),
    shift=st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)),
)
def test_fit_finds_the_truth_everywhere_on_the_sky(ra, dec, rotation, scale, stars, shift):
    wcs = make_wcs(ra, dec, scale, rotation=rotation)
    random = np.random.default_rng(stars)
    x, y = random.uniform(0, 300, stars), random.uniform(0, 240, stars)
    sky = wcs.all_pix2world(x, y, 0)
    start = make_wcs(ra, dec, scale, rotation=rotation)
    start.wcs.crpix = start.wcs.crpix + shift
    fitted = refit(solution_header(start), x + 1, y + 1, *sky)
    assert (fitted["CRPIX1"], fitted["CRPIX2"]) == tuple(start.wcs.crpix)
    assert off(fitted, wcs, x, y) < 0.01


def test_distortion_is_fitted_when_stars_show_it_and_only_then():
    wcs = make_wcs(100, -60, 30, size=(900, 700))
    random = np.random.default_rng(0)
    x, y = random.uniform(0, 900, 60), random.uniform(0, 700, 60)
    sky = wcs.all_pix2world(x, y, 0)
    plain = refit(solution_header(wcs), x + 1, y + 1, *sky)
    assert "A_ORDER" not in plain and plain["CTYPE1"] == "RA---TAN"
    u, v = x - 450, y - 350
    away = 1 + 2e-8 * (u**2 + v**2)  # a barrel of five pixels in the corners
    bent = refit(solution_header(wcs), u * away + 451, v * away + 351, *sky)
    assert bent["A_ORDER"] == 3 and bent["CTYPE1"] == "RA---TAN-SIP"
    found = WCS(bent).all_pix2world(u * away + 450, v * away + 350, 0)
    assert SkyCoord(*found, unit="deg").separation(SkyCoord(*sky, unit="deg")).arcsec.max() < 0.1 * 30


def test_solution_from_a_shrunk_image_becomes_exact(tmp_path):
    wcs = make_wcs(303.2, 46)
    image, x, y = star_field(wcs)
    write_matches(tmp_path / "a.corr", wcs, x, y, noise=1.0)
    rough = make_wcs(303.2, 46)
    rough.wcs.crpix = np.add(rough.wcs.crpix, [1.2, -0.8])
    rough.wcs.cd = rough.wcs.cd * 1.002
    header, evidence = weigh(image, solution_header(rough), tmp_path / "a.corr", "blind")
    assert off(header, wcs, x, y) < 0.1
    assert evidence.attempt == "blind" and evidence.matched >= 0.8 * len(x)
    assert evidence.rms < 0.1 and evidence.scale == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize("shape", ["out of focus", "trailed", "wide"])
def test_stars_that_are_no_points_support_a_solution_too(tmp_path, shape):
    wcs = make_wcs(303.2, 46, size=(600, 500))
    _, x, y = star_field(wcs)
    random = np.random.default_rng(1)
    image = random.normal(1000, 10, (500, 600))
    rows, columns = np.mgrid[:500, :600]
    for at_x, at_y in zip(x, y):
        if shape == "trailed":
            along, across = (columns - at_x + rows - at_y) / np.sqrt(2), (columns - at_x - rows + at_y) / np.sqrt(2)
            image += 400 * (np.abs(along) < 9) * np.exp(-(across**2) / 3)
        else:
            away = np.hypot(columns - at_x, rows - at_y)
            image += 300 * (np.exp(-((away - 5.5) ** 2) / 2) if shape == "out of focus" else np.exp(-(away**2) / 40))
    write_matches(tmp_path / "a.corr", wcs, x, y, noise=1.0)
    header, evidence = weigh(image, solution_header(wcs), tmp_path / "a.corr", "blind")
    assert off(header, wcs, x, y) < 0.25 and evidence.matched >= 0.7 * len(x)


@pytest.mark.parametrize("why", ["no stars there", "stars elsewhere", "too few", "no table", "another table"])
def test_solution_that_stars_do_not_support_is_refused(tmp_path, why):
    wcs = make_wcs(303.2, 46)
    image, x, y = star_field(wcs)
    matches = tmp_path / "a.corr"
    if why == "no stars there":
        image = np.random.default_rng(1).normal(1000, 10, image.shape)
    if why == "stars elsewhere":
        x, y = np.random.default_rng(2).permutation(x), np.random.default_rng(3).permutation(y)
    if why == "too few":
        x, y = x[: MIN_MATCHED - 1], y[: MIN_MATCHED - 1]
    if why == "another table":
        astropy_fits.PrimaryHDU(np.zeros((2, 2))).writeto(matches)
    elif why != "no table":
        write_matches(matches, wcs, x, y)
    assert weigh(image, solution_header(wcs), matches, "blind") is None
