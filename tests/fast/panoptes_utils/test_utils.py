import os
import signal
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation

from panoptes_utils import utils


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, []),
        (5, [5]),
        ("ab", ["ab"]),
        ([1], [1]),
        ((1, 2), (1, 2)),
        ({"a": 1, "b": 2}, [1, 2]),
        ({"a": 1}.values(), [1]),
        ({"a": 1}.keys(), ["a"]),
    ],
)
def test_listify_makes_a_list_of_anything(given, wanted):
    assert utils.listify(given) == wanted


def test_free_space_is_that_of_the_disk(monkeypatch, tmp_path):
    stat = os.statvfs(tmp_path)
    assert utils.get_free_space(tmp_path).to_value(u.byte) == pytest.approx(stat.f_bavail * stat.f_frsize, rel=0.05)
    monkeypatch.setenv("PANDIR", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError, match="missing"):
        utils.get_free_space()


def test_altaz_to_radec_is_undone_by_astropy(monkeypatch):
    site = EarthLocation.from_geodetic(lon=-155.58 * u.deg, lat=19.54 * u.deg, height=3400 * u.m)
    monkeypatch.setattr("socket.socket.connect", None)  # a unit without a network does not wait for one
    when = "2016-08-13 21:03:01"
    place = utils.altaz_to_radec(alt=35, az=90, location=site, obstime=when)
    back = place.transform_to(AltAz(obstime=when, location=site))
    assert (back.alt.deg, back.az.deg) == (pytest.approx(35, abs=1e-6), pytest.approx(90, abs=1e-6))
    assert utils.altaz_to_radec(60 * u.deg, 10 * u.deg, site).dec.deg > 0
    with pytest.raises(AssertionError, match="location"):
        utils.altaz_to_radec(35, 90)


def test_quantity_value_is_converted_and_a_wrong_unit_refused():
    assert utils.get_quantity_value(60 * u.arcmin, "deg") == 1
    assert utils.get_quantity_value(60 * u.arcmin) == 60
    assert utils.get_quantity_value(60) == 60
    assert utils.get_quantity_value([1, 2] * u.km, u.m).tolist() == [1000, 2000]
    with pytest.raises(u.UnitConversionError):
        utils.get_quantity_value(1 * u.km, "deg")


def test_file_or_path_gives_its_path_and_others_are_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.touch()
    with path.open() as file:
        assert utils.normalize_file_input(file) == str(path)
    assert utils.normalize_file_input(str(path)) == utils.normalize_file_input(path) == str(path)
    for wrong in (None, 5):
        with pytest.raises(ValueError, match="not a path"):
            utils.normalize_file_input(wrong)


def test_text_becomes_positional_and_named_parameters():
    args, kwargs = utils.string_to_params("parg1 2 key1=a_str key2=2 key2='2.5' key3=03 key4=[1,2] key2=x")
    assert args == ["parg1", 2]
    assert kwargs == {"key1": "a_str", "key2": [2, 2.5, "x"], "key3": 3, "key4": [1, 2]}
    assert utils.string_to_params("") == ([], {})


def test_sigterm_waits_for_the_end_of_the_block():
    seen = []
    previous = signal.signal(signal.SIGTERM, lambda *_: seen.append("handled"))
    try:
        with utils.DelaySigTerm():
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append("block")
        assert seen == ["block", "handled"]
        assert signal.getsignal(signal.SIGTERM)
        with utils.DelaySigTerm():
            pass
        assert seen == ["block", "handled"]
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_sigterm_ends_the_process_after_the_block(tmp_path):
    import subprocess
    import sys

    code = (
        "import os, signal; from panoptes_utils.utils import DelaySigTerm\n"
        "with DelaySigTerm():\n os.kill(os.getpid(), signal.SIGTERM); print('block', flush=True)\n"
        "print('after', flush=True)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "block\n" and ended.returncode == -signal.SIGTERM


def test_moving_average_is_over_the_periods():
    assert utils.moving_average(np.arange(6), periods=3).tolist() == pytest.approx([1, 2, 3, 4])


def test_ids_are_read_from_a_path_and_nonsense_is_refused():
    path = Path("/x/PAN012/ee04d1/HD 189733/20190820T111638/20190820T122447.fits")
    assert utils.image_id_from_path(path) == "PAN012_ee04d1_20190820T122447"
    assert utils.sequence_id_from_path(path) == "PAN012_ee04d1_20190820T111638"
    with pytest.raises(ValueError, match="nonsense"):
        utils.image_id_from_path("nonsense")
