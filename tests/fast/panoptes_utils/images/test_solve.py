"""Plate solving, by the real solve-field on simulated frames whose truth is known and on a real one."""

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits as astropy_fits
from astropy.wcs import WCS, FITSFixedWarning
from processes import running
from sky_simulator import simulate

from panoptes_utils import error
from panoptes_utils.images import fits
from panoptes_utils.sources import lookup_point_sources

tools = pytest.mark.tools
pytestmark = [
    pytest.mark.usefixtures("temporary"),
    pytest.mark.filterwarnings(f"ignore::{FITSFixedWarning.__module__}.FITSFixedWarning"),
]


def off_by(header, truth):
    """Arcsec between the centre of a solved header and the true one."""
    centre = SkyCoord(header["CRVAL1"], header["CRVAL2"], unit="deg")
    return centre.separation(SkyCoord(truth["ra_deg"], truth["dec_deg"], unit="deg")).arcsec


@tools
class TestSolved:
    def test_solution_is_written_into_the_file_and_nothing_else_changes(self, sky, sky_file, tmp_path):
        sky_file.chmod(0o640)
        before = fits.getdata(sky_file).copy()
        solved = fits.get_solve_field(sky_file)
        assert solved["solved_fits_file"] == str(sky_file)
        assert off_by(solved, sky.truth) < 13
        assert "COMMENT" not in solved and solved["RA-MNT"] == 303.2
        assert np.array_equal(fits.getdata(sky_file), before) and fits.getdata(sky_file).dtype == np.uint16
        assert fits.getwcs(sky_file).is_celestial
        assert sky_file.stat().st_mode & 0o777 == 0o640
        assert list(tmp_path.iterdir()) == [sky_file]

        info = fits.get_wcsinfo(sky_file)
        assert info["pixscale"].to_value(u.arcsec / u.pixel) == pytest.approx(12.9, rel=0.002)
        assert info["orientation_center"].to_value(u.deg) == pytest.approx(30, abs=0.2)
        assert info["fieldw"].to_value(u.deg) == pytest.approx(560 * 12.9 / 3600, rel=0.01)
        assert info["parity"] == -1 and info["wcs_file"] == str(sky_file)
        assert info["ra_center_h"].unit == u.hourangle and info["cd11"].unit == u.deg / u.pixel

    def test_a_solution_is_not_solved_again(self, solved_file, monkeypatch):
        monkeypatch.setenv("SOLVE_FIELD", "/no/such/solver")
        assert fits.get_solve_field(solved_file)["solved_fits_file"] == str(solved_file)
        with pytest.raises(error.InvalidSystemCommand, match="/no/such/solver"):
            fits.get_solve_field(solved_file, skip_solved=False)
        monkeypatch.delenv("SOLVE_FIELD")
        again = fits.get_solve_field(solved_file, skip_solved=False)
        assert again["CTYPE1"].startswith("RA---TAN")

    def test_solution_beside_the_file_leaves_it_as_it_was(self, sky_file, tmp_path):
        before = sky_file.read_bytes()
        solved = Path(fits.get_solve_field(sky_file, replace=False)["solved_fits_file"])
        assert solved == sky_file.with_suffix(".new")
        assert fits.getwcs(solved).is_celestial
        assert sky_file.read_bytes() == before
        with pytest.raises(FileExistsError, match=".new"):
            fits.get_solve_field(sky_file, replace=False, overwrite=False)

    def test_packed_file_is_solved_and_stays_packed(self, sky, sky_file):
        before = fits.getdata(sky_file).copy()
        packed = Path(fits.fpack(sky_file))
        beside = Path(fits.get_solve_field(packed, replace=False)["solved_fits_file"])
        assert beside.name == "20160909T081152_solved.fits.fz" and fits.getwcs(beside).is_celestial
        solved = fits.get_solve_field(packed)
        assert off_by(solved, sky.truth) < 13
        assert np.array_equal(fits.getdata(packed), before)
        assert fits.get_wcsinfo(packed)["pixscale"].value == pytest.approx(12.9, rel=0.002)
        assert fits.getwcs(fits.funpack(packed)).is_celestial

    def test_checksums_are_right_after_solving(self, sky_file):
        with astropy_fits.open(sky_file, mode="update", checksum=True) as hdus:
            hdus[0].add_checksum()
        fits.get_solve_field(sky_file)
        with astropy_fits.open(sky_file) as hdus:
            assert hdus[0].verify_checksum() == hdus[0].verify_datasum() == 1

    def test_given_position_and_scale(self, sky, tmp_path):
        path = sky.write(tmp_path / "a.fits")
        more = {"--depth": 40, "--verbose": True}
        solved = fits.get_solve_field(path, ra=303, dec=46, radius=3, pixel_scale=12.9, **more)
        assert off_by(solved, sky.truth) < 13

    @pytest.mark.slow
    def test_own_options_of_solve_field_are_passed_on(self, sky, sky_file):
        options = ["--scale-units=arcsecperpix", "--scale-low=12", "--scale-high=14", "--downsample=4"]
        options += ["--crpix-center", "--no-plots"]
        solved = fits.get_solve_field(sky_file, solve_opts=options, ra=303.2, dec=46, radius=5)
        assert off_by(solved, sky.truth) < 13

    @pytest.mark.slow
    def test_mirror_image_of_a_wide_field_with_wrong_hints(self, tmp_path):
        frame = simulate(
            ra=100, dec=-30, pixscale=60, size=(600, 400), rotation=130, flipped=True, trails=2, blind=True
        )
        frame.header.update({"RA-MNT": 20.0, "DEC-MNT": 40.0, "PIXSCALE": 10.0})
        path = frame.write(tmp_path / "wide field's.fits")
        assert off_by(fits.get_solve_field(path, timeout=60), frame.truth) < 60
        assert fits.get_wcsinfo(path)["parity"] == 1

    def test_real_frame_is_solved_where_it_is(self, shared_data, tmp_path):
        path = tmp_path / "real.fits"
        path.write_bytes((shared_data / "unsolved.fits").read_bytes())
        solved = fits.get_solve_field(path)
        assert off_by(solved, {"ra_deg": 303.209, "dec_deg": 46.019}) < 10
        assert fits.get_wcsinfo(path)["pixscale"].value == pytest.approx(10.3, abs=0.05)

    @pytest.mark.slow
    def test_process_of_solve_field_can_be_waited_for(self, sky, sky_file, tmp_path):
        quick = {"--no-remove-lines": True, "--uniformize": 0, "--scale-units": "app", "--scale-low": 12}
        known = {"ra": 303.2, "dec": 46.0, "radius": 5, "overwrite": True, "skip_solved": True}
        process = fits.solve_field(sky_file, timeout=20, **known, **quick)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and "Field center" in out
        assert fits.getwcs(sky_file.with_suffix(".new")).is_celestial
        packed = fits.fpack(sky_file)
        process = fits.solve_field(packed, solve_opts=["--just-augment", "--no-plots"])
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err


@tools
class TestMisled:
    """What a header says, or a file is like, does not keep a frame from being solved where it is."""

    @pytest.fixture(scope="class")
    def frame(self):
        return simulate(ra=303.2, dec=46.0, size=560, pixscale=12.9, rotation=30, seed=1, blind=True)

    def well_solved(self, path, truth, **how):
        """Solve, and compare the centre, whichever pixel the header refers to, with the truth: half a pixel."""
        solved = fits.get_solve_field(path, timeout=120, **how)
        wcs = fits.getwcs(solved["solved_fits_file"])
        centre = wcs.celestial.pixel_to_world((truth["width"] - 1) / 2, (truth["height"] - 1) / 2)
        assert off_by({"CRVAL1": centre.ra.deg, "CRVAL2": centre.dec.deg}, truth) < truth["pixscale_arcsec"] / 2
        assert solved["SOLVNUM"] >= 8 and 0 < solved["SOLVRMS"] < truth["pixscale_arcsec"]
        return solved["SOLVHOW"]

    def test_position_and_scale_of_the_mount_that_are_wrong(self, frame, tmp_path):
        path = tmp_path / "a.fits"
        header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 302.0, "CRVAL2": 45.0}
        header |= {"CRPIX1": 280.0, "CRPIX2": 280.0, "CDELT1": 0.02, "CDELT2": 0.02}
        fits.write_fits(frame.data, header, path)
        assert self.well_solved(path, frame.truth) == "position"

    @pytest.mark.slow
    def test_scale_of_a_degree_per_pixel(self, frame, tmp_path):
        path = tmp_path / "a.fits"
        fits.write_fits(frame.data, dict(WCS(naxis=2).to_header()), path)
        assert self.well_solved(path, frame.truth) == "blind"

    def test_small_frame(self, tmp_path):
        frame = simulate(ra=303.2, dec=46.0, size=200, pixscale=10.3, rotation=30)
        self.well_solved(frame.write(tmp_path / "a.fits"), frame.truth)

    @pytest.mark.parametrize("holes", ["rows", "scattered"])
    def test_pixels_without_a_value(self, frame, tmp_path, holes):
        data = frame.data.astype(np.float32)
        if holes == "rows":
            data[200:230] = np.nan
        else:
            data[np.random.default_rng(0).random(data.shape) < 0.02] = np.nan
        path = tmp_path / "a.fits"
        fits.write_fits(data, {"RA-MNT": 303.0, "DEC-MNT": 45.0}, path)
        self.well_solved(path, frame.truth)
        assert np.array_equal(fits.getdata(path), data, equal_nan=True)

    @pytest.mark.parametrize("kind", ["extension", "tiles", "gzip", "cube", "dash"])
    def test_every_kind_of_file(self, frame, tmp_path, monkeypatch, kind):
        monkeypatch.chdir(tmp_path)
        hdus = {
            "extension": [astropy_fits.PrimaryHDU(), astropy_fits.ImageHDU(frame.data)],
            "tiles": [astropy_fits.PrimaryHDU(), astropy_fits.CompImageHDU(frame.data)],
            "cube": [astropy_fits.PrimaryHDU(np.stack([frame.data] * 3))],
        }.get(kind, [astropy_fits.PrimaryHDU(frame.data)])
        name = {"gzip": "a.fits.gz", "dash": "-a.fits"}.get(kind, "a.fits")
        astropy_fits.HDUList(hdus).writeto(f"./{name}")
        self.well_solved(name, frame.truth, ra=303, dec=46, radius=5)
        assert fits.get_wcsinfo(name)["pixscale"].value == pytest.approx(12.9, rel=0.002)
        assert len(lookup_point_sources(name, catalog_match=True)) > 20


@tools
class TestNotSolved:
    @pytest.mark.slow
    def test_noise_has_no_solution_and_the_file_stays(self, tmp_path):
        path = tmp_path / "noise.fits"
        fits.write_fits(np.random.default_rng(0).poisson(500, (120, 120)).astype(np.uint16), None, path)
        before = path.read_bytes()
        with pytest.raises(error.SolveError, match="noise.fits: no solution"):
            fits.get_solve_field(path, timeout=60)
        assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]

    def test_time_limit_leaves_nothing(self, sky, tmp_path):
        random = np.random.default_rng(1)
        data = random.poisson(500, (900, 900)).astype(np.uint16)
        for x, y in random.integers(10, 890, (400, 2)):  # stars where there are none: the search takes minutes
            data[y - 1 : y + 2, x - 1 : x + 2] += 3000
        path = tmp_path / "late.fits"
        fits.write_fits(data, None, path)
        began = time.monotonic()
        with pytest.raises(error.Timeout, match="late.fits: not solved in 2 s"):
            fits.get_solve_field(path, timeout=2)
        assert time.monotonic() - began < 20
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.slow
    def test_solver_that_is_killed(self, tmp_path, temporary):
        data = np.random.default_rng(1).poisson(500, (900, 900)).astype(np.uint16)
        data[::30, ::30] += 5000
        path = tmp_path / "killed.fits"
        fits.write_fits(data, None, path)

        over, killed = threading.Event(), []

        def kill():
            while not over.wait(0.005):
                for pid, line in running(temporary):
                    if "astrometry-engine" in line and not line.startswith(("sh", "/bin/sh")):
                        with suppress(ProcessLookupError):
                            os.kill(pid, 9)
                            killed.append(pid)

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            with pytest.raises(error.SolveError, match="killed.fits: no solution found"):
                fits.get_solve_field(path, timeout=60)
        finally:
            over.set()
            thread.join()
        assert killed

    @pytest.mark.parametrize("length", [0, 1000, 2880, 100_000])
    def test_truncated_file_is_refused_and_stays(self, sky_file, length):
        sky_file.write_bytes(sky_file.read_bytes()[:length])
        with pytest.raises(error.SolveError, match=sky_file.name):
            fits.get_solve_field(sky_file)
        assert sky_file.stat().st_size == length

    def test_full_disk_leaves_the_file_as_it_was(self, sky_file, tmp_path):
        """A limit on the size of files stands in for a full disk, from the moment that the result is written."""
        before = sky_file.read_bytes()
        code = """
import resource, sys
from panoptes_utils.images.fits import solve
original = solve._with_solution
def full(*arguments):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    return original(*arguments)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
solve._with_solution = full
try:
    solve.get_solve_field(sys.argv[1])
except OSError as error:
    print("OSError", error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)  # the coverage of this process is written when it ends
"""
        ended = subprocess.run([sys.executable, "-c", code, str(sky_file)], capture_output=True, text=True)
        assert ended.stdout.startswith("OSError"), ended.stderr
        assert sky_file.read_bytes() == before and list(tmp_path.iterdir()) == [sky_file]

    def test_no_solution_to_tell_of(self, sky_file, tmp_path, monkeypatch):
        with pytest.raises(error.SolveError, match="no astrometric solution"):
            fits.get_wcsinfo(sky_file)
        with pytest.raises(FileNotFoundError, match="missing.fits"):
            fits.get_wcsinfo(tmp_path / "missing.fits")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(error.InvalidCommand, match="wcsinfo"):
            fits.get_wcsinfo(sky_file)


@pytest.fixture
def plain_file(tmp_path):
    path = tmp_path / "plain.fits"
    fits.write_fits(np.arange(10_000.0).reshape(100, 100), None, path)
    return path


def test_no_solver_on_path(plain_file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for function in (fits.get_solve_field, fits.solve_field):
        with pytest.raises(error.InvalidSystemCommand, match="solve-field"):
            function(plain_file)


def test_missing_file_and_unknown_argument(plain_file, tmp_path, monkeypatch):
    monkeypatch.setenv("SOLVE_FIELD", "/bin/true")
    with pytest.raises(FileNotFoundError, match="nothing.fits"):
        fits.get_solve_field(tmp_path / "nothing.fits")
    with pytest.raises(error.IllegalValue, match="colour='red'"):
        fits.get_solve_field(plain_file, colour="red")


@pytest.mark.parametrize(("stand_in", "why"), [("ls", "ended with 2: .*--help"), ("false", "ended with 1: no message")])
def test_solver_that_fails_is_quoted(plain_file, monkeypatch, stand_in, why):
    monkeypatch.setenv("SOLVE_FIELD", stand_in)
    with pytest.raises(error.SolveError, match=why):
        fits.get_solve_field(plain_file, ra=1, dec=2)


def test_read_only_folder_is_refused_with_the_name_of_the_file(plain_file):
    if os.geteuid() == 0:
        pytest.skip("root can write everywhere")
    plain_file.parent.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match="plain.fits"):
            fits.get_solve_field(plain_file)
    finally:
        plain_file.parent.chmod(0o755)


@tools
def test_interrupted_command_leaves_no_solver(tmp_path, temporary):
    """SIGTERM to the command line, as systemd or a time limit sends it."""
    data = np.random.default_rng(1).poisson(500, (900, 900)).astype(np.uint16)
    data[::30, ::30] += 5000
    path = tmp_path / "a.fits"
    fits.write_fits(data, None, path)
    command = [sys.executable, "-m", "panoptes_utils.cli", "image", "solve", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    limit = time.monotonic() + 30
    while not any("solve-field" in line for _, line in running(temporary)):
        assert time.monotonic() < limit and process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.terminate()
    assert process.wait(20) != 0
    process.communicate()
    assert running(temporary) == []
