"""One way to open an image: every function reads the same image out of every kind of file."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as astropy_fits

from panoptes_utils.error import IllegalValue, SolveError
from panoptes_utils.images import fits, make_pretty_image
from panoptes_utils.images.fits.opening import filled, is_fits_name, stem_of, write_plain

PIXELS = (np.arange(3000, dtype=np.uint16) % 997).reshape(50, 60)
HEADER = {"FIELD": "M42", "EXPTIME": 2.5}


def _lists():
    """The same image in every kind of file: name, what is in it."""
    header = astropy_fits.Header(HEADER)
    empty = astropy_fits.PrimaryHDU()
    table = astropy_fits.BinTableHDU.from_columns([astropy_fits.Column("a", "J", array=[1, 2])])
    plain = astropy_fits.PrimaryHDU(PIXELS, header)
    inside = astropy_fits.ImageHDU(PIXELS, header, name="SCI")
    tiles = astropy_fits.CompImageHDU(PIXELS, header, name="SCI")
    return {
        "plain.fits": [plain],
        "plain.fit": [plain],
        "zipped.fits.gz": [plain],
        "extension.fits": [empty, inside],
        "behind a table.fits": [empty, table, inside],
        "zipped extension.fits.gz": [empty, inside],
        "tiles.fits": [empty, tiles],
        "tiles.fits.fz": [empty, tiles],
        "-dash.fits": [plain],
        "brackets[1].fits": [plain],
        "o'clock (1).fits": [plain],
    }


@pytest.fixture(params=_lists())
def name(request, tmp_path, monkeypatch):
    """Name of a file in the current folder, as somebody types it."""
    monkeypatch.chdir(tmp_path)
    astropy_fits.HDUList(_lists()[request.param]).writeto(f"./{request.param}")
    return request.param


def test_every_function_reads_the_same_image(name):
    header, data = fits.readable_image(name)
    assert np.array_equal(data, PIXELS) and data.dtype == np.uint16 and header["FIELD"] == "M42"
    assert np.array_equal(fits.getdata(name), PIXELS)
    assert fits.getheader(name)["EXPTIME"] == fits.getval(name, "EXPTIME") == 2.5
    assert not fits.getwcs(name).is_celestial
    assert np.array_equal(fits.getdata(name, ext=fits.extension_of(name)), PIXELS)
    with Path(name).open("rb") as file:
        assert np.array_equal(fits.getdata(file), PIXELS)
        assert fits.getheader(file)["FIELD"] == fits.readable_image(file)[0]["FIELD"] == "M42"
        assert len(fits.detect_sources(file)) == len(fits.detect_sources(data=PIXELS))


def test_headers_are_written_and_all_else_stays(name):
    before = astropy_fits.info(name, output=False)
    fits.update_observation_headers(name, {"field_name": "M31"})
    assert fits.getval(name, "FIELD") == "M31" and np.array_equal(fits.getdata(name), PIXELS)
    assert [row[1:4:2] for row in astropy_fits.info(name, output=False)] == [row[1:4:2] for row in before]


def test_previews_are_made_and_named_after_the_image(name):
    made = make_pretty_image(name)
    assert made.name == f"{stem_of(name)}.jpg" and made.stat().st_size > 1000


def test_what_is_asked_for_is_opened_or_named(tmp_path):
    path = tmp_path / "two.fits"
    hdus = [astropy_fits.PrimaryHDU(PIXELS), astropy_fits.ImageHDU(PIXELS + 1, name="SECOND")]
    astropy_fits.HDUList(hdus).writeto(path)
    assert fits.readable_image(path)[1][0, 0] == 0
    for second in (1, "SECOND", "second", -1):
        assert fits.readable_image(path, extension=second)[1][0, 0] == 1
    for missing in (2, "THIRD"):
        with pytest.raises(IllegalValue, match=f"two.fits: has no extension {missing}; it has 0 PRIMARY, 1 SECOND"):
            fits.readable_image(path, extension=missing)


@pytest.mark.parametrize("shape", ["planes", "side by side", "four axes"])
def test_planes_of_a_cube_are_chosen_or_averaged(tmp_path, shape):
    planes = np.stack([PIXELS, PIXELS + 30, PIXELS + 60]).astype(np.int16)
    cube = {"planes": planes, "side by side": np.moveaxis(planes, 0, 2), "four axes": planes[None]}[shape]
    path = tmp_path / "cube.fits"
    astropy_fits.PrimaryHDU(cube).writeto(path)
    assert np.array_equal(fits.readable_image(path)[1], PIXELS + 30)
    assert np.array_equal(fits.readable_image(path, plane=2)[1], planes[2])
    with pytest.raises(IllegalValue, match="has planes 0 to 2, and none of number 3"):
        fits.readable_image(path, plane=3)
    assert fits.getdata(path).shape == cube.shape


def test_mean_of_planes_leaves_out_what_has_no_value(tmp_path):
    planes = np.stack([np.full((4, 5), 1.0), np.full((4, 5), 3.0)])
    planes[0, 0, 0] = planes[0, 1, 1] = planes[1, 1, 1] = np.nan
    path = tmp_path / "cube.fits"
    astropy_fits.PrimaryHDU(planes).writeto(path)
    mean = fits.readable_image(path)[1]
    assert mean[0, 0] == 3 and np.isnan(mean[1, 1]) and mean[2, 2] == 2


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4"])
def test_holes_are_filled_for_programs_and_only_for_them(tmp_path, dtype):
    data = PIXELS.astype(dtype)
    data[3] = np.nan
    data[5, 5], data[6, 6] = np.inf, -np.inf
    before = data.copy()
    full = filled(data)
    known = np.isfinite(data)
    assert np.isfinite(full).all() and np.array_equal(full[known], data[known])
    assert full[3, 0] == np.median(data[known]) and np.array_equal(data, before, equal_nan=True)
    assert filled(PIXELS) is PIXELS
    write_plain(data, tmp_path / "a.fits", astropy_fits.Header({"FIELD": "M42"}))
    assert (
        np.array_equal(fits.getdata(tmp_path / "a.fits"), full) and fits.getval(tmp_path / "a.fits", "FIELD") == "M42"
    )


@pytest.mark.parametrize("dtype", ["i8", "u8", "u4", "i2", "u1", "f2"])
def test_every_kind_of_number_is_written_for_programs(tmp_path, dtype):
    write_plain(PIXELS.astype(dtype), tmp_path / "a.fits")
    assert np.array_equal(fits.getdata(tmp_path / "a.fits"), PIXELS.astype(dtype))


@pytest.mark.parametrize(
    ("name", "is_one", "stem"),
    [
        ("a.fits", True, "a"),
        ("a.b.FITS.FZ", True, "a.b"),
        ("a.fits.gz", True, "a"),
        ("a.tar.gz", False, "a.tar"),
        ("a.fz", True, "a"),
        ("a.cr2", False, "a.cr2"),
        (".new", True, ""),
    ],
)
def test_names_of_images(name, is_one, stem):
    assert is_fits_name(name) is is_one and stem_of(name) == stem


def test_file_without_an_image_is_named(tmp_path):
    path = tmp_path / "table.fits"
    table = astropy_fits.BinTableHDU.from_columns([astropy_fits.Column("a", "J", array=[1, 2])])
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), table]).writeto(path)
    for function in (fits.readable_image, fits.detect_sources, fits.fits_to_jpg):
        with pytest.raises(IllegalValue, match="table.fits"):
            function(path)
    with pytest.raises(IllegalValue, match=r"table.fits: .*No data"):
        fits.readable_image(path, extension=1)
    with pytest.raises(SolveError, match="table.fits"):
        fits.get_solve_field(path)
    assert list(tmp_path.iterdir()) == [path]
