"""What the header of a frame tells the solver."""

import pytest
from astropy.io import fits as astropy_fits
from astropy.wcs import FITSFixedWarning

from panoptes_utils.images import fits

pytestmark = pytest.mark.filterwarnings(f"ignore::{FITSFixedWarning.__module__}.FITSFixedWarning")


@pytest.mark.parametrize(
    ("header", "hints"),
    [
        ({}, (None, None, None)),
        ({"RA-MNT": 301.5, "DEC-MNT": 44.4}, (301.5, 44.4, None)),
        ({"OBJCTRA": "20 12 50", "OBJCTDEC": "-46 01 08"}, (303.2083, -46.0189, None)),
        ({"RA": 400.0, "DEC": 10.0}, (None, None, None)),
        ({"RA-MNT": "unknown", "DEC-MNT": 1.0, "RA": 5.0, "DEC": 6.0}, (5.0, 6.0, None)),
        ({"PIXSCALE": 10.3}, (None, None, 10.3)),
        ({"PIXSCALE": 0.0, "XPIXSZ": 4.3, "FOCALLEN": 85.0}, (None, None, 10.4345)),
        ({"SECPIX": 1e6}, (None, None, None)),
    ],
)
def test_hints_are_read_from_the_header(header, hints):
    found = fits.solve_hints(astropy_fits.Header(header))
    for value, wanted in zip((found.ra, found.dec, found.scale), hints):
        assert value == (wanted if wanted is None else pytest.approx(wanted, abs=1e-3))
    assert bool(found) == any(value is not None for value in hints)


@pytest.mark.tools
def test_hints_of_an_earlier_solution(solved_file):
    found = fits.solve_hints(fits.getheader(solved_file))
    assert (found.ra, found.dec) == (pytest.approx(303.2, abs=1e-3), pytest.approx(46, abs=1e-3))
    assert found.scale == pytest.approx(12.9, rel=1e-3) and 1 <= found.radius < 5
