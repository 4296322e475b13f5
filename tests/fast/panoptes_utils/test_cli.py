"""The command line, as a person or a script calls it."""

import io
import json
import time
from contextlib import redirect_stdout

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from star_field import FAKE_SOLVER, make_wcs, star_field, write_fake_solver

import panoptes_utils
from panoptes_utils import cli
from panoptes_utils.images import fits
from panoptes_utils.sources import lookup_point_sources


@pytest.fixture(autouse=True)
def _handlers_stay():
    """The command sets a handler of SIGTERM and the log's sink, which are not for the tests' process."""
    import signal

    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run():
    def call(*arguments):
        return CliRunner().invoke(cli.main, [str(argument) for argument in arguments], catch_exceptions=False)

    return call


def test_version_is_printed_in_every_form(run):
    assert run("version").output.strip() == panoptes_utils.__version__
    assert json.loads(run("version", "--json").output) == {"version": panoptes_utils.__version__}
    assert panoptes_utils.__version__ in run("--version").output


@pytest.mark.parametrize("command", [[], ["image"], ["image", "solve"], ["sources"], ["data", "download"]])
def test_every_command_has_a_help(run, command):
    result = run(*command, "--help")
    assert result.exit_code == 0 and "Usage:" in result.output


def test_services_are_handed_their_arguments(run, monkeypatch):
    seen = []
    import panoptes_utils.config.cli as config_cli

    monkeypatch.setattr(config_cli, "main", lambda arguments: seen.append(arguments) or 3)
    assert run("config", "--port", "7000", "get", "--help").exit_code == 3
    assert seen == [["--port", "7000", "get", "--help"]]


def test_a_service_that_cannot_be_loaded_harms_nothing_else(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "panoptes_utils.messaging.cli", None)
    result = run("hub", "health")
    assert result.exit_code == 1 and "hub: panoptes_utils.messaging.cli cannot be loaded" in result.output
    assert run("version").exit_code == 0


def test_errors_are_one_line(run, tmp_path):
    path = tmp_path / "a.fits"
    path.write_text("text")
    for command in (["image", "solve"], ["image", "info"], ["sources"]):
        result = run(*command, path)
        assert result.exit_code == 1
        assert result.output.splitlines()[-1].startswith("Error: ") and "a.fits" in result.output
    assert run("image", "solve", tmp_path / "missing.fits").exit_code == 2
    assert "go together" in run("image", "solve", path, "--ra", "5").output
    assert "cannot be made into pgm" in run("image", "convert", path, "--to", "pgm").output


class TestTables:
    """A number that is cut is another number."""

    @pytest.mark.parametrize("width", [20, 40, 80, 200])
    @given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=12))
    def test_no_number_is_cut_in_a_narrow_terminal_or_a_pipe(self, width, values):
        table = Table(*(f"column {number}" for number in range(len(values))), title="t")
        table.add_row(*(f"{value:.5f}" for value in values))
        for show in (lambda: cli._show(table), lambda: cli._print(dict(enumerate(values)), False, title="a" * 90)):
            output = io.StringIO()
            with pytest.MonkeyPatch.context() as patch, redirect_stdout(output):
                patch.setenv("COLUMNS", str(width))
                show()
            assert "…" not in output.getvalue()
            words = output.getvalue().split()
            assert all(f"{value:.5f}" in words for value in values)

    def test_names_are_shown_as_they_are(self, capsys):
        cli._print({"file": "/a/[bold]b[1].fits"}, False, title="[red]c.fits")
        shown = capsys.readouterr().out
        assert "/a/[bold]b[1].fits" in shown and "[red]c.fits" in shown

    def test_sources_are_shown_whole_in_a_pipe(self, run, tmp_path, monkeypatch):
        monkeypatch.setenv("COLUMNS", "40")
        data, _, _ = star_field(make_wcs(10, 20))
        fits.write_fits(1e5 * data, None, tmp_path / "a.fits")
        shown = run("sources", tmp_path / "a.fits", "--method", "sep").output
        table = lookup_point_sources(tmp_path / "a.fits", method="sep")
        assert all(f"{flux:.3f}" in shown for flux in table["sep_flux_best"].head(10))


class TestWhichImage:
    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "two.fits"
        planes = np.stack([np.full((20, 30), value, dtype=np.int16) for value in (1, 2)])
        hdus = [astropy_fits.PrimaryHDU(np.ones((10, 10))), astropy_fits.ImageHDU(planes, name="SCI")]
        astropy_fits.HDUList(hdus).writeto(path)
        return path

    @pytest.mark.parametrize("extension", ["1", "SCI"])
    def test_extension_and_plane_are_chosen(self, run, file, extension):
        assert json.loads(run("image", "info", file, "--json").stdout)["width"] == 10
        chosen = run("image", "info", file, "--extension", extension, "--plane", 1, "--json").stdout
        assert json.loads(chosen)["width"] == 30
        made = run("image", "convert", file, "--to", "jpg", "--extension", extension)
        assert made.output.strip() == str(file.with_suffix(".jpg"))
        assert run("sources", file, "--method", "sep", "--extension", extension).exit_code == 0

    def test_what_is_not_there_is_named(self, run, file):
        for command in (["image", "info"], ["image", "solve"], ["sources"]):
            result = run(*command, file, "--extension", "DARK")
            assert result.exit_code == 1 and "has no extension DARK; it has 0 PRIMARY, 1 SCI" in result.output
        assert "none of number 7" in run("image", "info", file, "--extension", 1, "--plane", 7).output

    def test_guess_of_a_mount_is_not_shown_as_a_solution(self, run, tmp_path):
        guess = {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRVAL1": 10.0,
            "CRVAL2": 20.0,
            "CDELT1": 0.01,
            "CDELT2": 0.01,
        }
        fits.write_fits(np.ones((20, 30)), guess, tmp_path / "a.fits")
        shown = json.loads(run("image", "info", tmp_path / "a.fits", "--json").stdout)
        assert shown["solved"] is False and not any("ra" in key for key in shown)

    def test_solution_is_told_with_what_speaks_for_it(self, run, tmp_path, monkeypatch):
        wcs = make_wcs(303.2, 46.0)
        data, x, y = star_field(wcs)
        fits.write_fits(data, None, tmp_path / "a.fits")
        monkeypatch.setenv("SOLVE_FIELD", str(FAKE_SOLVER))
        monkeypatch.setenv("FAKE_SOLVER", str(write_fake_solver(tmp_path / "solver", wcs, x, y, "--downsample=1")))
        monkeypatch.setattr("panoptes_utils.images.fits.get_wcsinfo", lambda *_, **__: None)
        monkeypatch.setattr(cli, "_solution", lambda _: {})
        answer = json.loads(run("image", "solve", tmp_path / "a.fits", "--json").stdout)
        assert answer["attempt"] == "full resolution" and answer["stars"] >= 30 and 0 < answer["residual_arcsec"] < 1


@pytest.mark.tools
class TestImages:
    def test_solve_prints_the_solution_and_info_shows_it(self, run, sky, sky_file):
        answer = json.loads(run("image", "solve", sky_file, "--json").stdout)
        assert answer["ra_deg"] == pytest.approx(303.2, abs=0.005)
        assert answer["dec_deg"] == pytest.approx(46.0, abs=0.004)
        assert answer["pixscale_arcsec"] == pytest.approx(12.9, rel=0.002)
        assert answer["orientation_deg"] == pytest.approx(30, abs=0.2)
        assert answer["fieldw_deg"] == pytest.approx(2.0, abs=0.02) and answer["seconds"] > 0
        shown = json.loads(run("image", "info", sky_file, "--json").stdout)
        assert shown["width"] == 560 and shown["ra_deg"] == answer["ra_deg"] and shown["EXPTIME"] == 120
        assert "EXPTIME" in run("image", "info", sky_file).output
        known = ["--ra", 303, "--dec", 46, "--radius", 4, "--pixel-scale", 12.9]
        again = run("-v", "image", "solve", sky_file, "--force", *known)
        assert again.exit_code == 0 and "dec_deg" in again.output

    def test_convert_makes_every_kind_of_file(self, run, sky_file, tmp_path, bayer_image):
        import raw_files

        raw = raw_files.write_cr2(tmp_path / "b.cr2", bayer_image)
        for kind in ("fits", "pgm", "jpg"):
            assert run("image", "convert", raw, "--to", kind, "--overwrite").output.strip() == raw.replace("cr2", kind)
        assert run("image", "convert", sky_file, "--to", "jpg").output.strip() == str(sky_file.with_suffix(".jpg"))
        assert run("image", "convert", sky_file, "--to", "fz").output.strip() == f"{sky_file}.fz"
        result = run("image", "convert", f"{sky_file}.fz", "--to", "fits")
        assert result.output.strip() == str(sky_file) and sky_file.exists()

    def test_names_that_begin_with_a_dash(self, run, tmp_path, monkeypatch, bayer_image):
        import raw_files

        monkeypatch.chdir(tmp_path)
        raw_files.write_cr2("./-b.cr2", bayer_image)
        for kind in ("fits", "pgm", "jpg"):
            made = run("image", "convert", "--to", kind, "--", "-b.cr2")
            assert made.output.strip() == f"-b.{kind}" and (tmp_path / f"-b.{kind}").stat().st_size > 500
        assert run("image", "convert", "--to", "fz", "--", "-b.fits").output.strip() == "-b.fits.fz"
        assert json.loads(run("image", "info", "--json", "--", "-b.fits.fz").stdout)["width"] == bayer_image.shape[1]
        assert run("sources", "--", "-b.fits.fz").exit_code == 0

    @pytest.mark.slow
    def test_watch_converts_what_is_new_and_survives_bad_files(self, run, sky, tmp_path, bayer_image, monkeypatch):
        import raw_files

        raw_files.write_cr2(tmp_path / "old.cr2", bayer_image)
        looks = []

        def camera(seconds, really=time.sleep):
            """New images come while the command sleeps between its first two looks."""
            if not looks:
                (tmp_path / "bad.cr2").write_bytes(b"not a raw file")
                raw_files.write_cr2(tmp_path / "new.cr2", bayer_image)
                sky.write(tmp_path / "sky.fits")
            looks.append(seconds)
            really(seconds)

        monkeypatch.setattr("time.sleep", camera)
        result = run("image", "watch", tmp_path, "--interval", 0.05, "--limit", 3, "--solve")
        assert str(tmp_path / "new.jpg") in result.output and str(tmp_path / "sky.jpg") in result.output
        assert f"{tmp_path}/bad.cr2: " in result.output
        assert not (tmp_path / "old.jpg").exists()
        assert fits.getwcs(tmp_path / "sky.fits").is_celestial

    def test_sources_are_listed_saved_and_matched(self, run, solved_file, tmp_path):
        table = run("sources", solved_file, "--csv", tmp_path / "a.csv", "--method", "sep")
        assert "sources, brightest:" in table.output
        lines = (tmp_path / "a.csv").read_text().splitlines()
        assert lines[0].startswith("sep_ra,") and len(lines) > 50
        matched = json.loads(run("sources", solved_file, "--match", "--json").stdout)
        assert np.median([row["catalog_sep_arcsec"] for row in matched]) < 5
        assert "V_T" in run("sources", solved_file, "--match").output

    def test_simulator_as_a_program(self, run, tmp_path, capsys):
        import sky_simulator

        out = str(tmp_path / "f.fits")
        sky_simulator.main(["--ra", "120", "--dec", "20", "--size", "400x300", "--pixscale", "60", "--out", out])
        truth = json.loads(capsys.readouterr().out)
        answer = json.loads(run("image", "solve", out, "--json").stdout)
        assert truth["file"] == out and truth["width"] == 400
        assert answer["ra_deg"] == pytest.approx(truth["ra_deg"], abs=0.03)
        assert answer["dec_deg"] == pytest.approx(truth["dec_deg"], abs=0.03)


def test_download_tells_of_failure(run, tmp_path, monkeypatch):
    monkeypatch.setattr("panoptes_utils.data.TRIES", 1)
    arguments = ["--folder", tmp_path, "--no-earth-orientation", "--index-url", "http://127.0.0.1:9", "--no-keep-going"]
    result = run("data", "download", *arguments)
    assert result.exit_code == 1 and "run again to resume" in result.output
    assert run("data", "download", "--folder", tmp_path, "--no-earth-orientation", "--no-wide-field").exit_code == 0
