"""Crops, saturation, focus, plots."""

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from panoptes_utils import error
from panoptes_utils.images import crop_data, fits, mask_saturated, plot
from panoptes_utils.images.focus import focus_metric, vollath_F4


def test_crop_is_centred_and_refuses_more_than_there_is():
    data = np.arange(300 * 400).reshape(300, 400)
    assert np.array_equal(crop_data(data, box_width=100), data[100:200, 150:250])
    assert np.array_equal(crop_data(data, box_width=50, center=(200, 100), verbose=True), data[75:125, 175:225])
    cutout = crop_data(data, box_width=50, center=(200, 100), data_only=False)
    assert cutout.to_original_position((0, 0)) == (175, 75)
    with pytest.raises(AssertionError, match="300, 400"):
        crop_data(data, box_width=301)


def test_saturated_pixels_are_masked():
    data = np.array([[1, 60000], [59000, 58900]], dtype=np.uint16)
    assert mask_saturated(data).mask.tolist() == [[False, True], [True, False]]
    assert mask_saturated(data, threshold=0.5).mask.sum() == 3
    assert mask_saturated(data, saturation_level=59500).mask.sum() == 1
    floats = data.astype(float)
    with pytest.raises(error.IllegalValue, match="bit_depth"):
        mask_saturated(floats)
    assert mask_saturated(floats, bit_depth=16).mask.sum() == 2
    assert mask_saturated(floats, bit_depth=16 * u.bit, dtype="float32").dtype == np.float32
    with pytest.raises(error.IllegalValue, match="number of bits"):
        mask_saturated(floats, bit_depth=16 * u.m)


class TestFocus:
    @pytest.fixture
    def stars(self):
        def of_width(sigma):
            rows, columns = np.mgrid[:60, :60]
            image = np.full((60, 60), 100.0)
            for x, y in ((15, 20), (40, 42), (30, 10)):
                image += 10000 / sigma**2 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2 / sigma**2)
            return image

        return of_width

    def test_is_best_for_the_sharpest(self, stars):
        values = [focus_metric(stars(width)) for width in (1.2, 1.6, 2.2, 3.0, 5.0)]
        assert values == sorted(values, reverse=True)

    def test_focus_measure_of_both_axes_is_their_mean(self, stars):
        image = stars(1.5)
        x, y = vollath_F4(image, axis="X"), vollath_F4(image, axis="y")
        assert vollath_F4(image) == pytest.approx((x + y) / 2)
        assert vollath_F4(image.T, axis="Y") == pytest.approx(x)
        assert x == pytest.approx((image[:, 1:] * image[:, :-1]).mean() - (image[:, 2:] * image[:, :-2]).mean())
        assert isinstance(vollath_F4(image.astype(np.uint16)), float)
        with pytest.raises(ValueError, match="axis='Z'"):
            vollath_F4(image, axis="Z")
        with pytest.raises(KeyError, match="brenner"):
            focus_metric(image, merit_function="brenner")

    def test_masked_and_missing_pixels_are_left_out(self, stars):
        image = stars(1.5)
        whole = vollath_F4(image)
        image[50, 50] = np.nan
        assert vollath_F4(image) == pytest.approx(whole, rel=0.01)
        assert vollath_F4(mask_saturated(stars(1.5), bit_depth=12)) < whole

    def test_sharp_real_frame_has_the_higher_focus_measure(self, shared_data):
        raw = fits.getdata(shared_data / "unsolved.fits").astype(float)
        data = raw[::2, ::2] + raw[1::2, 1::2]  # the greens: neighbours of a raw image have different colours
        blurred = (data[1:, 1:] + data[:-1, 1:] + data[1:, :-1] + data[:-1, :-1]) / 4
        assert focus_metric(crop_data(data)) > focus_metric(crop_data(blurred))


class TestPlot:
    def test_palette_shows_over_white_under_black_and_masked_green(self):
        palette = plot.get_palette()
        assert palette(2.0) == (1, 1, 1, 1) and palette(-1.0) == (0, 0, 0, 1)
        assert palette(np.ma.masked_array([0.5], mask=[True]))[0].tolist() == pytest.approx([0, 0.5, 0, 1], abs=0.01)
        with pytest.raises(KeyError):
            plot.get_palette("no such map")

    @pytest.mark.parametrize("orientation", ["vertical", "horizontal"])
    def test_colorbar_stands_beside_the_image(self, orientation):
        axes = Figure().add_subplot()
        bar = plot.add_colorbar(axes.imshow(np.eye(5)), orientation=orientation)
        assert len(axes.figure.axes) == 2 and bar.orientation == orientation

    @pytest.mark.parametrize("superpixel", [True, False])
    def test_pixel_grid_is_between_pixels(self, superpixel):
        axes = Figure().add_subplot()
        axes.imshow(np.eye(6))
        plot.add_pixel_grid(axes, 6, 6, show_axis_labels=not superpixel, show_superpixel=superpixel)
        axes.figure.draw_without_rendering()
        lines = [value for value in axes.xaxis.get_ticklocs(minor=True) if 0 < value < 5]
        major = axes.xaxis.get_ticklocs()
        assert lines and all(value % 1 == 0.5 for value in lines)
        assert all(value % 2 == 1.5 for value in major) == superpixel

    def test_stamps_get_a_panel_each_and_none_is_refused(self):
        stamps = [np.eye(6) * n for n in range(1, 6)]
        figure = plot.show_stamps(stamps, titles=list("abcde"), columns=2)
        assert [axes.get_title() for axes in figure.axes if axes.get_title()] == list("abcde")
        assert len(plot.show_stamps(stamps).axes) >= 5
        with pytest.raises(ValueError, match="empty"):
            plot.show_stamps([])

    def test_each_stamp_has_its_own_scale(self):
        rows, columns = np.mgrid[:14, :14]
        star = np.exp(-((rows - 7) ** 2 + (columns - 7) ** 2) / 4)
        noise = np.random.default_rng(0).normal(1000, 2, star.shape)
        figure = plot.show_stamps([noise + 60 * star, noise + 60000 * star])
        for image in (axes.images[0] for axes in figure.axes if axes.images):
            shown = image.norm(image.get_array())
            assert shown[7, 7] > 0.9 and 0.02 < np.ma.median(shown) < 0.5

    @given(level=st.floats(10, 60000), noise=st.floats(1, 200), bright=st.floats(1e2, 1e4), seed=st.integers(0, 99))
    def test_sky_is_not_black_and_a_faint_star_is_seen_beside_bright_ones(self, level, noise, bright, seed):
        data = np.random.default_rng(seed).normal(level, noise, (80, 90))
        data[10:13, 10:13] += bright * noise
        sky, faint, full = plot.star_norm(data)([level, level + 6 * noise, data.max()])
        assert 0.05 < sky < 0.5 and faint > sky + 0.08 and full > 0.95

    @pytest.mark.parametrize("kind", ["flat", "zeros", "holes", "masked", "counts"])
    def test_every_image_with_a_value_has_colours(self, kind):
        data = np.random.default_rng(0).normal(1000, 10, (40, 40))
        if kind in ("flat", "zeros"):
            data[:] = 7 if kind == "flat" else 0
        if kind == "holes":
            data[::3] = np.nan
        if kind == "masked":
            data = np.ma.masked_greater(data, 1000)
        if kind == "counts":
            data = data.astype(np.uint16)
        norm = plot.star_norm(data)
        assert norm.vmax > norm.vmin and np.isfinite(np.ma.masked_invalid(norm(data)).compressed()).all()
        with pytest.raises(ValueError, match="no pixel has a value"):
            plot.star_norm(np.full((3, 3), np.nan))
