import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptes_utils import error
from panoptes_utils.images import fits, make_images_dir, make_pretty_image, make_timelapse


def ffmpeg():
    """Path of a real ffmpeg: this machine's, or the one that a package of the tests carries."""
    if shutil.which("ffmpeg"):
        return shutil.which("ffmpeg")
    package = pytest.importorskip("imageio_ffmpeg", reason="no ffmpeg on PATH (panoptes-base does not carry it)")
    return package.get_ffmpeg_exe()


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "20160909T081152.fits"
    data = np.random.default_rng(0).normal(1000, 10, (80, 120))
    data[40:44, 60:64] = 9000
    fits.write_fits(data, {"FIELD": "M42", "EXPTIME": 60.0, "DATE-OBS": "2016-09-09T08:11:52"}, path)
    return path


def brightness(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"), dtype=float)


def test_jpg_of_a_fits_file_shows_its_stars(image):
    made = fits.fits_to_jpg(image)
    assert made == str(image.with_suffix(".jpg"))
    shown = brightness(made)
    assert min(shown.shape) > 500 and shown.std() > 10
    untitled = fits.fits_to_jpg(image, title="", dpi=60, figsize=(5, 4))
    assert brightness(untitled).shape < shown.shape


def test_guess_of_a_mount_draws_no_grid(image):
    plain = brightness(fits.fits_to_jpg(image, alpha=1.0))
    guess = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CDELT1": 0.01, "CDELT2": 0.01}
    header = fits.getheader(image)
    header.update(guess)
    fits.write_fits(fits.getdata(image), header, image, overwrite=True)
    assert np.array_equal(brightness(fits.fits_to_jpg(image, alpha=1.0)), plain)
    header["SOLVER"] = "astrometry.net"
    fits.write_fits(fits.getdata(image), header, image, overwrite=True)
    assert not np.array_equal(brightness(fits.fits_to_jpg(image, alpha=1.0)), plain)


def test_fits_to_jpg_of_odd_images(tmp_path):
    path = tmp_path / "odd.fits"
    fits.write_fits(np.array([[np.nan, 1.0], [1.0, 1.0]]), None, path)
    assert brightness(fits.fits_to_jpg(path)).size > 0
    fits.write_fits(np.zeros((2, 3, 4)), None, path, overwrite=True)
    assert brightness(fits.fits_to_jpg(path)).size > 0
    fits.write_fits(np.zeros(4), None, path, overwrite=True)
    with pytest.raises(error.IllegalValue, match="odd.fits"):
        fits.fits_to_jpg(path)


@pytest.mark.tools
def test_fits_to_jpg_with_coordinates(solved_file):
    plain = brightness(fits.fits_to_jpg(solved_file, alpha=0.0))
    grid = brightness(fits.fits_to_jpg(solved_file, alpha=1.0))
    assert grid.mean() > plain.mean()


def test_pretty_image_and_its_link(image, tmp_path, monkeypatch):
    assert make_pretty_image(image) == image.with_suffix(".jpg")
    monkeypatch.setenv("PANDIR", str(tmp_path / "pandir"))
    link = make_pretty_image(image, link_latest=True)
    assert link == Path(make_images_dir()) / "latest.jpg"
    assert link.resolve() == image.with_suffix(".jpg")
    renamed = image.rename(tmp_path / "image.dat")
    with renamed.open() as file:
        assert make_pretty_image(file, img_type=".fits").name == "image.dat.jpg"


def test_pretty_image_of_what_is_none(tmp_path):
    with pytest.warns(UserWarning, match="missing.fits: no such file"):
        assert make_pretty_image(tmp_path / "missing.fits") is None
    path = tmp_path / "a.txt"
    path.touch()
    with pytest.warns(UserWarning, match="a.txt: no preview of .txt"):
        assert make_pretty_image(path) is None


class TestTimelapse:
    def test_missing_ffmpeg_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setenv("FFMPEG", "/no/such/ffmpeg")
        with pytest.raises(error.InvalidSystemCommand, match="ffmpeg"):
            make_timelapse(tmp_path)

    def test_what_exists_is_kept(self, tmp_path, monkeypatch):
        monkeypatch.setenv("FFMPEG", shutil.which("true"))
        (tmp_path / "film.mp4").write_text("mine")
        with pytest.raises(FileExistsError, match="film.mp4"):
            make_timelapse(tmp_path, fn_out=tmp_path / "film.mp4")

    def test_film_is_made_of_all_frames_of_a_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("FFMPEG", ffmpeg())
        folder = tmp_path / "M42" / "20160909T080000"
        folder.mkdir(parents=True)
        with pytest.raises(error.InvalidSystemCommand, match="ffmpeg"):
            make_timelapse(folder)
        assert list(folder.iterdir()) == []
        for number in range(4):
            Image.new("RGB", (320, 240), (60 * number, 0, 0)).save(folder / f"20160909T08000{number}.jpg")
        film = make_timelapse(folder)
        assert Path(film).name.startswith("M42_") and Path(film).stat().st_size > 500
        assert len(list(folder.iterdir())) == 5
        assert make_timelapse(folder, fn_out=film, overwrite=True) == film
