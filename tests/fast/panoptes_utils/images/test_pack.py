"""Compressing FITS images, by the real fpack and funpack."""

from pathlib import Path

import numpy as np
import pytest

from panoptes_utils import error
from panoptes_utils.images import fits

pytestmark = pytest.mark.usefixtures("temporary")


@pytest.mark.tools
class TestPack:
    def test_packed_and_unpacked_pixels_are_the_same(self, sky_file, tmp_path):
        before = fits.getdata(sky_file).copy()
        packed = fits.fpack(sky_file)
        assert packed == f"{sky_file}.fz" and list(tmp_path.iterdir()) == [Path(packed)]
        assert fits.fpack(packed) == packed
        assert np.array_equal(fits.getdata(packed), before)
        plain = fits.funpack(packed)
        assert plain == str(sky_file) and fits.funpack(plain) == plain
        assert np.array_equal(fits.getdata(plain), before)
        assert list(tmp_path.iterdir()) == [sky_file]

    @pytest.mark.parametrize("name", ["-a.fits", "a[1].fits", "!a+1.fits", "a (b).fits"])
    def test_names_that_mean_something_to_programs(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        data = np.arange(600, dtype=np.int16).reshape(20, 30)
        fits.write_fits(data, None, name)
        packed = fits.fpack(name)
        assert packed == f"{name}.fz" and np.array_equal(fits.getdata(packed), data)
        assert fits.funpack(packed) == name and np.array_equal(fits.getdata(name), data)
        assert list(tmp_path.iterdir()) == [tmp_path / name]

    def test_nothing_is_lost_on_failure(self, sky_file, tmp_path):
        target = Path(f"{sky_file}.fz")
        target.write_text("mine")
        with pytest.raises(FileExistsError, match="fits.fz"):
            fits.fpack(sky_file, overwrite=False)
        assert target.read_text() == "mine"
        sky_file.unlink()
        target.write_bytes(b"SIMPLE  = nonsense")
        with pytest.raises(error.InvalidSystemCommand, match="funpack"):
            fits.funpack(target)
        assert list(tmp_path.iterdir()) == [target]

    def test_missing_fpack_leaves_the_file_as_it_is(self, sky_file, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        assert fits.fpack(sky_file) == str(sky_file)
        with pytest.raises(FileNotFoundError, match="missing"):
            fits.fpack(tmp_path / "missing.fits")
