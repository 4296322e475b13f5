"""Where the pole and the axis of the mount are, on images whose truth is known."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits as astropy_fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from star_field import make_wcs, solution_header, star_field
from star_trails import star_trails

from panoptes_utils.error import NotFound, SolveError
from panoptes_utils.images import fits, polar_alignment


def write_solved(path, wcs, data=None):
    data = np.ones(wcs.array_shape) if data is None else data
    astropy_fits.PrimaryHDU(data, solution_header(wcs)).writeto(path, overwrite=True)
    return path


class TestPole:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        pole=st.sampled_from([90, -90]),
        ra=st.floats(0, 359),
        off=st.floats(0, 8),
        rotation=st.floats(-180, 180),
        origin=st.sampled_from([0, 1]),
    )
    def test_nearer_pole_is_where_astropy_has_it(self, tmp_path, pole, ra, off, rotation, origin):
        wcs = make_wcs(ra, pole - np.copysign(off, pole), rotation=rotation)
        x, y = polar_alignment.analyze_polar_rotation(write_solved(tmp_path / "pole.fits", wcs), origin=origin)
        there = SkyCoord(*wcs.all_pix2world(x, y, origin), unit="deg")
        assert there.separation(SkyCoord(0, pole, unit="deg")).arcsec < 0.01 * 10

    def test_pixels_count_from_one_unless_told(self, tmp_path):
        path = write_solved(tmp_path / "pole.fits", make_wcs(10, -89))
        first, zeroth = (np.array(polar_alignment.analyze_polar_rotation(path, **how)) for how in ({}, {"origin": 0}))
        assert first - zeroth == pytest.approx([1, 1])

    def test_frame_far_from_both_poles_is_refused(self, tmp_path):
        path = write_solved(tmp_path / "equator.fits", make_wcs(10, 0.0))
        with pytest.raises(SolveError, match=r"equator\.fits: points at declination 0\.0, nowhere near a pole"):
            polar_alignment.analyze_polar_rotation(path)

    @pytest.mark.slow
    @pytest.mark.tools
    @pytest.mark.parametrize("dec", [89.0, -89.0])
    def test_pole_of_a_frame_that_is_solved_first(self, tmp_path, dec):
        from sky_simulator import simulate

        frame = simulate(ra=40.0, dec=dec, pixscale=12.0, size=(640, 600), rotation=70, seed=4)
        found = polar_alignment.analyze_polar_rotation(frame.write(tmp_path / "pole.fits"), timeout=60)
        assert np.hypot(*np.subtract(found, frame.wcs.all_world2pix(0, np.copysign(90, dec), 1))) < 0.5


class TestAxis:
    @pytest.mark.parametrize("turn", [15, 25, 60, 120])
    @pytest.mark.parametrize("centre", [(250.3, 200.7), (31.2, 388.4), (-40.6, 150.5), (420.1, -35.9)])
    def test_axis_is_found_to_half_a_pixel_inside_the_image_and_outside(self, tmp_path, centre, turn):
        path = tmp_path / "rotation.fits"
        fits.write_fits(star_trails(centre, turn=turn, seed=turn), None, path)
        found = polar_alignment.analyze_ra_rotation(path, origin=0)
        assert np.hypot(*np.subtract(found, centre)) < 0.5
        assert polar_alignment.analyze_ra_rotation(path) == pytest.approx((found[0] + 1, found[1] + 1))

    def test_axis_of_a_large_frame_and_of_one_with_holes(self, tmp_path):
        centre = (900.4, 700.2)
        data = star_trails(centre, size=(1900, 1600), turn=30, stars=150).astype(np.float32)
        data[700:703] = np.nan
        path = tmp_path / "large.fits"
        fits.write_fits(data, None, path)
        found = polar_alignment.analyze_ra_rotation(path, origin=0)
        assert np.hypot(*np.subtract(found, centre)) < 0.5

    @pytest.mark.parametrize("seed", range(4))
    def test_axis_that_short_arcs_do_not_tell_is_refused(self, tmp_path, seed):
        path = tmp_path / "short.fits"
        fits.write_fits(star_trails((31.2, 388.4), turn=8, seed=seed), None, path)
        try:
            found = polar_alignment.analyze_ra_rotation(path, origin=0)
        except NotFound as error:
            assert "short.fits: " in error.msg
        else:
            assert np.hypot(*np.subtract(found, (31.2, 388.4))) < 1

    @pytest.mark.parametrize("what", ["flat", "small noise", "noise", "stars", "a satellite"])
    def test_frame_without_arcs_is_refused(self, tmp_path, what):
        random = np.random.default_rng(0)
        data = random.normal(1000, 10, (400, 500))
        if what == "flat":
            data[:] = 5
        if what == "small noise":
            data = data[:50, :50]
        if what == "stars":
            data, _, _ = star_field(make_wcs(0, 90, size=(500, 400)), stars=80)
        if what == "a satellite":
            rows, columns = np.mgrid[:400, :500]
            data += 500 * np.exp(-(((rows - 0.7 * columns - 20) / 1.5) ** 2))
        path = tmp_path / "frame.fits"
        fits.write_fits(data, None, path)
        with pytest.raises(NotFound, match="frame.fits: no arcs"):
            polar_alignment.analyze_ra_rotation(path)


@pytest.mark.parametrize("dec", [89.2, -89.2])
@pytest.mark.parametrize("origin", [0, 1])
def test_aligned_mount_has_no_error_at_both_poles(tmp_path, dec, origin):
    """The mount turns exactly around the pole: both functions give the same pixel, whatever it is counted from."""
    wcs = make_wcs(120, dec, scale=25, size=(500, 400))
    pole = wcs.all_world2pix(0, np.copysign(90, dec), 0)
    first, second = write_solved(tmp_path / "pole.fits", wcs), tmp_path / "rotation.fits"
    fits.write_fits(star_trails(pole, turn=50), None, second)
    x, y = polar_alignment.analyze_polar_rotation(first, origin=origin)
    axis = polar_alignment.analyze_ra_rotation(second, origin=origin)
    assert np.hypot(x - axis[0], y - axis[1]) < 0.3
    figure = polar_alignment.plot_center(first, second, (x, y), axis, origin=origin)
    assert figure.axes[0].get_title() == f"dx: {x - axis[0]:.2f} pix   dy: {y - axis[1]:.2f} pix"
    marked = figure.axes[0].collections[0].get_offsets()[0]  # on the image, whose first pixel is 0
    assert np.allclose(marked, np.array(pole, dtype=float), atol=0.01)
    alike = polar_alignment.plot_center(first, second, (1, 1), (1, 1))
    assert alike.axes[0].get_title().startswith("dx: 0.00")
