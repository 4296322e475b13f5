import numpy as np
import pytest

from panoptes_utils import error
from panoptes_utils.images import bayer, fits
from panoptes_utils.images.bayer import RGB


def test_masks_show_each_pixel_once(bayer_image):
    masks = bayer.get_rgb_masks(bayer_image, separate_green=True)
    assert masks.shape == (4, 120, 160) and masks.dtype == bool
    assert ((~masks).sum(axis=0) == 1).all()
    for x, y, colour, name in ((0, 1, RGB.R, "R"), (1, 1, RGB.G1, "G1"), (0, 0, RGB.G2, "G2"), (1, 0, RGB.B, "B")):
        assert not masks[colour, y, x]
        assert bayer.get_pixel_color(x, y) == name
    three = bayer.get_rgb_masks(bayer_image)
    assert np.array_equal(~three[RGB.G], ~masks[RGB.G1] | ~masks[RGB.G2])


def test_data_of_each_colour():
    image = np.tile([[3, 4], [1, 2]], (5, 6))  # G2 B over R G1
    data = bayer.get_rgb_data(image, separate_green=True)
    assert [int(data[colour].mean()) for colour in (RGB.R, RGB.G, RGB.B, RGB.G2)] == [1, 2, 4, 3]
    cube = bayer.get_rgb_data(np.stack([image, image, image]))
    assert cube[RGB.GREEN].mean() == 2.5


@pytest.mark.parametrize("shape", [(5,), (2, 5, 5), (1, 3, 5, 5)])
def test_what_is_no_image(shape):
    with pytest.raises(TypeError, match="two dimensions"):
        bayer.get_rgb_masks(np.zeros(shape))


def test_stamps_show_colours_in_the_same_places():
    image = np.tile([[3, 4], [1, 2]], (50, 60))
    stamps = [image[bayer.get_stamp_slice(x, y, (10, 6))] for x in (40.2, 41, 57.9) for y in (20, 21.4, 30)]
    assert all(stamp.shape == (6, 10) and np.array_equal(stamp, stamps[0]) for stamp in stamps)
    rows, columns = bayer.get_stamp_slice(41, 20, (5, 5), ignore_superpixel=True)
    assert (rows, columns) == (slice(18, 23), slice(39, 44))
    for size in ((8, 10), (10, 5), (0, 2)):
        with pytest.raises(RuntimeError, match="stamp_size"):
            bayer.get_stamp_slice(41, 20, size)


@pytest.mark.parametrize("settings", [{}, {"estimator": "median", "interpolator": "idw"}, {"estimator": "sexb"}])
def test_background_of_each_colour(bayer_image, settings):
    found = bayer.get_rgb_background(bayer_image, box_size=(20, 20), filter_size=(3, 3), **settings)
    rows, columns = np.mgrid[:120, :160]
    truth = 1000.0 + 2 * columns + np.array([[100, 300], [200, 400]])[rows % 2, columns % 2]
    # The two greens, 100 and 400 above, are one colour here.
    truth[rows % 2 == columns % 2] = (1250.0 + 2 * columns)[rows % 2 == columns % 2]
    coloured = rows % 2 != columns % 2
    assert np.abs(found - truth)[coloured].mean() < 20
    assert np.abs(found - truth).mean() < 110


def test_background_is_saved_with_an_extension_for_each_colour(bayer_image, tmp_path):
    settings = {"box_size": (30, 30), "filter_size": (3, 3), "return_separate": True}
    separate = bayer.get_rgb_background(bayer_image.astype(float), **settings)
    assert len(separate) == 3
    path = tmp_path / "bg.fits"
    assert bayer.save_rgb_bg_fits(separate, path, header={"FIELD": "M42"}, fpack=False) == str(path)
    from astropy.io import fits as astropy_fits

    with astropy_fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "RED", "RED_RMS", "GREEN", "GREEN_RMS", "BLUE", "BLUE_RMS"]
        red = hdus["RED"].data
        assert hdus[0].data[1, 0] == red[1, 0] and hdus[0].header["FIELD"] == "M42"
    with pytest.raises(FileExistsError, match="bg.fits"):
        bayer.save_rgb_bg_fits(separate, path, overwrite=False)


@pytest.mark.tools
def test_background_is_saved_packed(bayer_image, tmp_path):
    separate = bayer.get_rgb_background(bayer_image, box_size=(30, 30), filter_size=(3, 3), return_separate=True)
    path = bayer.save_rgb_bg_fits(separate, tmp_path / "bg.fits")
    assert path.endswith("bg.fits.fz") and fits.getdata(path).shape == (120, 160)


def test_bad_settings_of_the_background(bayer_image):
    with pytest.raises(error.IllegalValue, match="estimator='best'"):
        bayer.get_rgb_background(bayer_image, estimator="best")
    with pytest.raises(error.IllegalValue, match="interpolator='none'"):
        bayer.get_rgb_background(bayer_image, interpolator="none")
    with pytest.raises(error.IllegalValue, match="background of R"):
        bayer.get_rgb_background(np.full((40, 40), np.nan), box_size=(10, 10), filter_size=(3, 3))
