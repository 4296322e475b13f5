"""Raw files made of known pixels, through the real dcraw and exiftool."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import raw_files
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from panoptes_utils import error
from panoptes_utils.images import cr2, fits, make_pretty_image

WRITERS = {"cr2": raw_files.write_cr2, "dng": raw_files.write_dng}


@pytest.fixture(params=WRITERS)
def raw(request, tmp_path, bayer_image):
    """Path of a raw file and its pixels, first row highest."""
    path = tmp_path / f"20160909T081152.{request.param}"
    WRITERS[request.param](path, bayer_image)
    return path, bayer_image


@pytest.mark.tools
class TestConversion:
    def test_pixels_and_what_the_camera_noted(self, raw):
        path, pixels = raw
        headers = {"field_name": "M42", "ra_mnt": 83.8}
        made = cr2.cr2_to_fits(path, headers={"EXTRA": 5}, fits_headers=headers)
        assert made == str(path.with_suffix(".fits"))
        assert np.array_equal(fits.getdata(made), np.flipud(pixels))
        header = fits.getheader(made)
        wanted = {"FILTER": "RGGB", "ISO": 100, "EXPTIME": 120.4, "DATE-OBS": "2016-09-09T08:12:26"}
        wanted.update({"CAMSN": "012070048413", "FILENAME": path.name, "EXTRA": 5, "FIELD": "M42", "RA-MNT": 83.8})
        assert {key: header[key] for key in wanted} == wanted
        assert set(path.parent.iterdir()) == {path, Path(made)}

    @pytest.mark.parametrize(("zone", "utc"), [("+10:00", "2016-09-08T22:12:26"), ("-09:30", "2016-09-09T17:42:26")])
    @pytest.mark.parametrize("tag", [0x9011, 0x9010])  # zone of the exposure, and of the file
    @pytest.mark.parametrize("kind", WRITERS)
    def test_time_with_a_zone_is_written_in_utc(self, tmp_path, bayer_image, kind, tag, zone, utc):
        path = tmp_path / f"a.{kind}"
        WRITERS[kind](path, bayer_image, exif_tags={tag: (2, zone)})
        assert fits.getval(cr2.cr2_to_fits(path), "DATE-OBS") == utc

    @pytest.mark.parametrize("kind", WRITERS)
    def test_names_that_begin_with_a_dash(self, tmp_path, monkeypatch, bayer_image, kind):
        monkeypatch.chdir(tmp_path)
        name = f"-a.{kind}"
        WRITERS[kind](f"./{name}", bayer_image)
        assert np.array_equal(fits.getdata(cr2.cr2_to_fits(name)), np.flipud(bayer_image))
        assert Path(cr2.cr2_to_pgm(name)).exists() and cr2.cr2_to_jpg(name).exists()
        with Path(name).open("rb") as file:
            assert cr2.read_exif(file)["FileName"] == name

    def test_what_exists_is_kept_unless_asked(self, raw):
        path, pixels = raw
        target = path.with_suffix(".fits")
        target.write_text("mine")
        assert cr2.cr2_to_fits(path) == str(target) and target.read_text() == "mine"
        cr2.cr2_to_fits(path, overwrite=True, remove_cr2=True)
        assert fits.getdata(target).shape == pixels.shape
        assert not path.exists()

    def test_pgm_holds_the_raw_pixels(self, raw, tmp_path):
        path, pixels = raw
        made = cr2.cr2_to_pgm(path)
        assert made == str(path.with_suffix(".pgm"))
        assert np.array_equal(cr2.read_pgm(made), np.flipud(pixels))
        Path(made).write_text("mine")
        assert cr2.cr2_to_pgm(path, overwrite=False) == made and Path(made).read_text() == "mine"
        other = cr2.cr2_to_pgm(path, pgm_fname=tmp_path / "other.pgm")
        assert np.array_equal(cr2.read_pgm(other, remove_after=True), np.flipud(pixels))
        assert not Path(other).exists()

    def test_jpg_shows_the_preview_or_the_developed_frame(self, raw):
        path, _ = raw
        made = cr2.cr2_to_jpg(path, title="Orion")
        with Image.open(made) as image:
            # a Canon file carries a preview, blue above; the other one is developed
            assert image.size == ((96, 64) if path.suffix == ".cr2" else (160, 120))
            if path.suffix == ".cr2":
                red, _, blue = image.getpixel((5, 5))
                assert blue > 200 > 50 > red
        with pytest.raises(error.AlreadyExists, match="jpg"):
            cr2.cr2_to_jpg(path)
        cr2.cr2_to_jpg(path, overwrite=True, remove_cr2=True)
        assert not path.exists()

    def test_link_points_to_the_latest_preview(self, raw, tmp_path):
        path, _ = raw
        link = tmp_path / "latest.jpg"
        for _ in range(2):
            assert make_pretty_image(path, link_path=link, timeout=5) == link
        assert link.resolve() == path.with_suffix(".jpg")

    def test_uncompressed_dng_gives_the_raw_pixels(self, tmp_path, bayer_image):
        path = raw_files.write_dng(tmp_path / "a.dng", bayer_image, compressed=False)
        assert np.array_equal(cr2.read_pgm(cr2.cr2_to_pgm(path)), np.flipud(bayer_image))

    @pytest.mark.parametrize("function", [cr2.cr2_to_fits, cr2.cr2_to_pgm, cr2.cr2_to_jpg])
    def test_damaged_files_are_named_and_left(self, function, tmp_path, bayer_image):
        path = tmp_path / "damaged.cr2"
        with pytest.raises(FileNotFoundError, match="damaged.cr2"):
            function(path)
        raw_files.write_cr2(path, bayer_image, preview=False)
        whole = path.read_bytes()
        for content in (b"", b"not a raw file", whole[:700]):
            path.write_bytes(content)
            with pytest.raises(error.InvalidSystemCommand, match="damaged.cr2"):
                function(path)
            assert path.read_bytes() == content
        path.write_bytes(whole[: len(whole) // 2])
        if function is not cr2.cr2_to_jpg:
            with pytest.raises(error.InvalidSystemCommand, match="damaged.cr2"):
                function(path)
            assert list(tmp_path.iterdir()) == [path]

    def test_exif_of_something_else(self, tmp_path):
        path = tmp_path / "a.cr2"
        path.write_text("text")
        assert cr2.read_exif(path)["FileName"] == "a.cr2"

    def test_programs_that_are_missing_are_named(self, raw, tmp_path, monkeypatch):
        path, _ = raw
        with pytest.raises(error.InvalidCommand, match="my-exiftool"):
            cr2.read_exif(path, exiftool="my-exiftool")
        with pytest.raises(error.InvalidSystemCommand, match="cannot read"):
            cr2.read_exif(path, exiftool="true")
        monkeypatch.setenv("PATH", str(tmp_path))
        for function, name in ((cr2.cr2_to_fits, "dcraw"), (cr2.cr2_to_pgm, "dcraw"), (cr2.cr2_to_jpg, "exiftool")):
            with pytest.raises(error.InvalidCommand, match=name):
                function(path)


@pytest.mark.parametrize(
    "content", [b"", b"P5\n", b"P6 2 2 65535\n" + bytes(8), b"P5 2 2 255\n" + bytes(4), b"P5 2 two 65535\n"]
)
def test_what_is_no_pgm(tmp_path, content):
    path = tmp_path / "a.pgm"
    path.write_bytes(content)
    with pytest.raises(error.IllegalValue, match="a.pgm: not a 16-bit"):
        cr2.read_pgm(path)


def test_pgm_with_comment_and_truncated(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5\n# a comment\n2 2\n65535\n" + bytes([0, 1, 0, 2, 0, 3, 0, 4]))
    assert cr2.read_pgm(path).tolist() == [[3, 4], [1, 2]]
    assert cr2.read_pgm(path, byteorder="<").tolist() == [[768, 1024], [256, 512]]
    path.write_bytes(b"P5 2 2 65535\n\0\1")
    with pytest.raises(error.IllegalValue, match="2 of 8 bytes"):
        cr2.read_pgm(path)


@given(
    local=st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)),
    minutes=st.integers(-14 * 60, 14 * 60),
    key=st.sampled_from(["OffsetTimeOriginal", "OffsetTime", "OffsetTimeDigitized", "in the time"]),
    colon=st.sampled_from([":", ""]),
)
def test_every_zone_is_taken_into_account(local, minutes, key, colon):
    local = local.replace(microsecond=0)
    zone = timezone(timedelta(minutes=minutes))
    text = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{colon}{abs(minutes) % 60:02}"
    exif = {"DateTimeOriginal": f"{local:%Y:%m:%d %H:%M:%S}"}
    if key == "in the time":
        exif["DateTimeOriginal"] += f".25{text}"
    else:
        exif[key] = text
    utc = local.replace(tzinfo=zone).astimezone(timezone.utc).replace(tzinfo=None)
    assert cr2.taken_at(exif) == utc


@pytest.mark.parametrize(
    ("exif", "hour"),
    [
        ({}, 8),
        ({"OffsetTimeOriginal": "Z"}, 8),
        ({"OffsetTimeOriginal": "   :  "}, 8),  # as cameras without a zone write it
        ({"OffsetTimeOriginal": "+99:00"}, 8),
        ({"TimeZone": "+10:00"}, 8),  # Canon's, of the menu
        ({"TimeZoneOffset": -3}, 11),
        ({"TimeZoneOffset": "2 0"}, 6),
        ({"OffsetTimeOriginal": "+01:00", "OffsetTimeDigitized": "+05:00"}, 7),
        ({"DateTimeOriginal": None, "CreateDate": "2016:09:09 08:00:00", "OffsetTimeDigitized": "+05:00"}, 3),
        ({"DateTimeOriginal": "0000:00:00 00:00:00", "CreateDate": "2016:09:09 08:00:00"}, 8),
    ],
)
def test_zone_that_says_nothing_is_passed_over(exif, hour):
    assert cr2.taken_at({"DateTimeOriginal": "2016:09:09 08:00:00", **exif}) == datetime(2016, 9, 9, hour)


def test_camera_without_a_clock_has_no_time():
    assert cr2.taken_at({}) is None and cr2.taken_at({"DateTimeOriginal": "yesterday"}) is None


@pytest.mark.parametrize(("text", "seconds"), [("1/60", 1 / 60), (2.5, 2.5), (None, 0), ("bulb", 0), ("1/0", 0)])
def test_exposure_times_are_read_as_seconds(text, seconds):
    assert cr2._seconds(text) == pytest.approx(seconds)
