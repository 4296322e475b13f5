"""Reading and writing FITS, and what happens to readers of damaged files."""

import threading
from datetime import timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from astropy.wcs import WCS, DistortionLookupTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoptes_utils.error import IllegalValue
from panoptes_utils.images import fits

READERS = (fits.getdata, fits.getheader, fits.getwcs, fits.readable_image, fits.detect_sources)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.fits"
    header = {"FIELD": "M42", "EXPTIME": 2.5}
    fits.write_fits(np.arange(600, dtype=np.uint16).reshape(20, 30), header, path)
    return path


@pytest.fixture
def packed(tmp_path, image):
    """The same, compressed by astropy."""
    path = tmp_path / "b.fits.fz"
    header = astropy_fits.getheader(image)
    astropy_fits.CompImageHDU(astropy_fits.getdata(image), header).writeto(path)
    return path


@pytest.mark.parametrize("which", ["image", "packed"])
def test_plain_and_packed_read_alike(request, which):
    path = request.getfixturevalue(which)
    assert fits.getdata(path).tolist() == np.arange(600).reshape(20, 30).tolist()
    assert fits.getheader(path)["FIELD"] == "M42"
    assert fits.getval(path, "EXPTIME") == 2.5
    assert fits.getval(path, keyword="EXPTIME", ext=fits.extension_of(path)) == 2.5
    assert fits.getdata(path, ext=fits.extension_of(path)).shape == (20, 30)
    assert fits.getheader(path, fits.extension_of(path))["FIELD"] == "M42"
    assert not fits.getwcs(path).is_celestial
    with pytest.raises(KeyError):
        fits.getval(path, "NOTHING")


def test_write_sets_the_event_and_keeps_what_exists(tmp_path):
    event = threading.Event()
    path = tmp_path / "new" / "folder" / "a.fits"
    assert fits.write_fits(np.zeros((2, 2)), astropy_fits.Header({"A": 1}), path, exposure_event=event) == str(path)
    assert event.is_set() and fits.getval(path, "A") == 1
    event.clear()
    with pytest.raises(FileExistsError, match=str(path)):
        fits.write_fits(np.ones((2, 2)), None, path, exposure_event=event)
    assert event.is_set() and fits.getdata(path).sum() == 0
    fits.write_fits(np.ones((2, 2)), None, path, overwrite=True)
    assert fits.getdata(path).sum() == 4
    assert [each.name for each in path.parent.iterdir()] == ["a.fits"]


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_named(reader, tmp_path, image):
    path = tmp_path / "damaged.fits"
    with pytest.raises(FileNotFoundError, match="damaged.fits"):
        reader(path)
    for content in (b"", b"\xff\xd8\xff\xe0 a JPEG", b"SIMPLE  =                    T" + b" " * 100):
        path.write_bytes(content)
        with pytest.raises(IllegalValue, match="damaged.fits"):
            reader(path)


@pytest.mark.parametrize("reader", [fits.getdata, fits.readable_image, fits.detect_sources])
def test_truncated_pixels_are_named(reader, tmp_path, image):
    path = tmp_path / "truncated.fits"
    path.write_bytes(image.read_bytes()[:2880])
    with pytest.raises(IllegalValue, match="truncated.fits"):
        reader(path)


@pytest.mark.parametrize("kind", ["no pixels", "fewer pixels", "not standard"])
def test_headers_of_damaged_files_are_not_written_and_the_file_stays(kind, tmp_path, image):
    content = image.read_bytes()
    damaged = {
        "no pixels": content[:2880],
        "fewer pixels": content[:3000],
        "not standard": content.replace(b"SIMPLE  =                    T", b"SIMPLE  =                    F"),
    }[kind]
    path = tmp_path / "damaged.fits"
    path.write_bytes(damaged)
    with pytest.raises(IllegalValue, match="damaged.fits: not "):
        fits.update_observation_headers(path, {"field_name": "M31"})
    assert path.read_bytes() == damaged and list(tmp_path.glob("*damaged*")) == [path]


@pytest.mark.parametrize("reader", READERS)
def test_compression_that_needs_another_package_is_named(reader, tmp_path):
    path = tmp_path / "old.fits.Z"
    path.write_bytes(b"\x1f\x9d\x90" + bytes(50))
    with pytest.raises(IllegalValue, match="old.fits.Z: (its compression is not known|not a readable)"):
        reader(path)


@pytest.mark.parametrize("axes", [(1, 2), (1,)])
def test_coordinates_whose_distortion_is_in_another_extension_are_read_or_refused(axes, tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [303.2, 46.0], [20.5, 20.5]
    wcs.wcs.cdelt = [-0.01, 0.01]
    # Two pixels to the right, all over the image.
    for axis in axes:
        pixels = np.full((40, 40), 2 if axis == 1 else 0, np.float32)
        table = DistortionLookupTable(pixels, (1, 1), (1, 1), (1, 1))
        setattr(wcs, f"cpdis{axis}", table)
    hdus = wcs.to_fits()
    hdus[0].data = np.zeros((40, 40), np.float32)
    path = tmp_path / "distorted.fits"
    hdus.writeto(path)
    if len(axes) == 1:
        with pytest.raises(IllegalValue, match="distorted.fits: the coordinates in its header are not whole"):
            fits.getwcs(path)
        return
    ra, dec = fits.getwcs(path).all_pix2world(17.5, 19.5, 0)
    assert (ra, dec) == (pytest.approx(303.2, abs=1e-9), pytest.approx(46.0, abs=1e-9))


def test_images_without_anything_to_see(tmp_path):
    path = tmp_path / "empty.fits"
    astropy_fits.PrimaryHDU().writeto(path)
    with pytest.raises(IllegalValue, match="No data"):
        fits.readable_image(path)
    fits.write_fits(np.full((5, 5), np.nan), None, path, overwrite=True)
    with pytest.raises(IllegalValue, match="NaN"):
        fits.readable_image(path)
    fits.write_fits(np.zeros(5), None, path, overwrite=True)
    with pytest.raises(IllegalValue, match="not an image"):
        fits.readable_image(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzzed_files_give_documented_errors_and_stay_as_they_are(data, tmp_path, image):
    content = bytearray(image.read_bytes())
    content = content[: data.draw(st.integers(0, len(content)), label="length")]
    for _ in range(data.draw(st.integers(0, 6), label="changes")):
        if content:
            place = data.draw(st.integers(0, min(len(content) - 1, 2879)), label="place")
            content[place] = data.draw(st.integers(0, 255), label="byte")
    path = tmp_path / "fuzzed.fits"
    path.write_bytes(content)
    for reader in READERS:
        try:
            reader(path)
        except IllegalValue as error:
            assert "fuzzed.fits" in error.msg
    assert path.read_bytes() == content


class TestMetadata:
    ADDRESS = "gs://raw/PAN012/ee04d1/HD 189733/20190820T111638/20190820T122447.fits"

    def test_path_and_parts_agree(self):
        one = fits.ObservationPathInfo(path=self.ADDRESS)
        two = fits.ImagePathInfo("PAN012", "ee04d1", "HD 189733", "20190820T111638", one.image_time)
        assert one.get_full_id(sep="|") == two.get_full_id(sep="|") == "PAN012|ee04d1|20190820T111638|20190820T122447"
        assert one.image_id == "PAN012_ee04d1_20190820T122447"
        assert one.as_path() == two.as_path() == Path("PAN012/ee04d1/HD 189733/20190820T111638/20190820T122447")
        assert fits.ObservationPathInfo(path=one.as_path(base="/x", ext="fits.fz")).id == one.id
        assert one.image_time.utcoffset().total_seconds() == 0

    def test_a_path_is_in_utc_whatever_the_zone_of_its_times(self):
        one = fits.ObservationPathInfo(path=self.ADDRESS)
        hawaii = timezone(timedelta(hours=-10))
        times = [moment.astimezone(hawaii) for moment in (one.sequence_time, one.image_time)]
        two = fits.ObservationPathInfo("PAN012", "ee04d1", "HD 189733", *times)
        assert (two.as_path(), two.id, two.sequence_id) == (one.as_path(), one.id, one.sequence_id)
        assert two.image_time == one.image_time
        naive = fits.ObservationPathInfo("PAN012", "ee04d1", None, *(moment.replace(tzinfo=None) for moment in times))
        assert naive.image_id == "PAN012_ee04d1_20190820T022447"

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            ({"path": "foobar"}, "foobar"),
            ({"unit_id": "PAN001"}, "camera_id is missing"),
            ({"unit_id": "PAN001", "camera_id": "a", "sequence_time": "now", "image_time": "now"}, "now: not a time"),
        ],
    )
    def test_what_is_no_image_is_named(self, arguments, why):
        with pytest.raises(ValueError, match=why):
            fits.ObservationPathInfo(**arguments)

    def test_headers_are_written_and_read(self, image):
        from astropy import units as u

        before = fits.getdata(image).copy()
        info = {
            "image_id": "PAN001_14d3bd_20160909T081152",
            "sequence_id": "PAN001_14d3bd_20160909T080000",
            "field_name": "KIC 8462852",
            "ra_mnt": 301.5 * u.deg,
            "dec_mnt": 44.4,
            "elevation": 3.4 * u.km,
            "airmass": None,
            "unknown": 5,
        }
        assert fits.update_observation_headers(image, info) is True
        header = fits.getheader(image)
        assert (header["RA-MNT"], header["ELEV-OBS"], header["EQUINOX"]) == (301.5, 3400, 2000)
        assert "AIRMASS" not in header and header.comments["DEC-MNT"] == "Degrees"
        assert np.array_equal(fits.getdata(image), before) and fits.getdata(image).dtype == np.uint16
        assert fits.ObservationPathInfo.from_fits(image).sequence_id == "PAN001_14d3bd_20160909T080000"
        header["CAMTEMP"] = "11 C"
        metadata = fits.extract_metadata(header)
        assert metadata["image"]["mount_ra"] == 301.5
        assert metadata["image"]["camera_temp"] == 11
        assert metadata["image"]["measured_ev"] is None
        assert metadata["sequence"]["field_name"] == "KIC 8462852"
        assert metadata["unit"]["unit_id"] == "PAN001"

    def test_header_with_a_path(self):
        header = astropy_fits.Header({"FILENAME": "PAN001/14d3bd/20160909T080000/20160909T081152.cr2"})
        assert fits.ObservationPathInfo.from_fits_header(header).image_id == "PAN001_14d3bd_20160909T081152"
        with pytest.raises(ValueError, match="SEQID"):
            fits.ObservationPathInfo.from_fits_header(astropy_fits.Header())

    def test_packed_headers_are_written(self, packed):
        before = fits.getdata(packed).copy()
        fits.update_observation_headers(packed, {"field_name": "M31"})
        assert fits.getval(packed, "FIELD") == "M31"
        assert np.array_equal(fits.getdata(packed), before)

    def test_real_header_gives_field_and_exposure(self, shared_data):
        metadata = fits.extract_metadata(fits.getheader(shared_data / "unsolved.fits"))
        assert metadata["sequence"]["field_name"] == "KIC 8462852"
        assert metadata["image"]["exptime"] == 120.4


class TestDetectSources:
    def test_stars_where_they_are(self):
        rows, columns = np.mgrid[:100, :120]
        data = np.random.default_rng(0).normal(100, 2, (100, 120))
        data += 500 * np.exp(-((columns - 70.3) ** 2 + (rows - 40.6) ** 2) / 4)
        data[10, 10] = np.nan
        brightest = fits.detect_sources(data=data, extract_params={"thresh": 5})[0]
        assert brightest["x"] == pytest.approx(70.3, abs=0.1)
        assert brightest["y"] == pytest.approx(40.6, abs=0.1)
        plain = fits.detect_sources(data=data, subtract_background=False, extract_params={"thresh": 130, "err": None})
        assert plain[0]["x"] == pytest.approx(70.3, abs=0.1)
        assert len(fits.detect_sources(data=data - 100, subtract_background=False)) >= 1

    def test_a_flat_image_has_none(self):
        assert len(fits.detect_sources(data=np.zeros((50, 50)))) == 0

    @pytest.mark.parametrize("data", [np.zeros((0, 0)), np.zeros(5), np.full((9, 9), np.nan)])
    def test_what_is_no_image(self, data):
        with pytest.raises(IllegalValue, match="data"):
            fits.detect_sources(data=data)

    def test_detection_without_data_or_with_wrong_settings_is_refused(self):
        with pytest.raises(ValueError, match="file or data"):
            fits.detect_sources()
        with pytest.raises(IllegalValue):
            fits.detect_sources(data=np.ones((9, 9)), background_params={"bw": -3})
