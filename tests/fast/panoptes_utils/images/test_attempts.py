"""In what order a frame is tried, what counts as a solution, and what is refused; with a stand-in for the solver."""

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from star_field import FAKE_SOLVER, calls_of, make_wcs, star_field, write_fake_solver

from panoptes_utils import error
from panoptes_utils.images import fits
from panoptes_utils.images.fits import attempts, wcsinfo
from panoptes_utils.images.fits.hints import Hints
from panoptes_utils.sources import lookup_point_sources

pytestmark = pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")

# What mounts and drivers write of their own accord: more or less of a coordinate system, and wrong.
GUESS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 100.0,
    "CRVAL2": -10.0,
    "CRPIX1": 150.0,
    "CRPIX2": 120.0,
    "CDELT1": 0.003,
    "CDELT2": 0.003,
}
MATRIX = {"CD1_1": -0.003, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.003}
MARK = {"SOLVER": "astrometry.net"}
BY_SOLVE_FIELD = {"HISTORY": "Created by the Astrometry.net suite."}
BY_EARLIER_VERSIONS = {"IMAGEW": 320, "IMAGEH": 280, **MATRIX}


@pytest.fixture(scope="module")
def field():
    wcs = make_wcs(303.2, 46.0)
    return wcs, *star_field(wcs)


@pytest.fixture
def image(field, tmp_path):
    """A function that writes the field with a header; returns the path."""

    def write(header):
        path = tmp_path / "image.fits"
        astropy_fits.PrimaryHDU(field[1].astype(np.float32), astropy_fits.Header(header)).writeto(path, overwrite=True)
        return path

    return write


@pytest.fixture
def solver(field, tmp_path, monkeypatch):
    """A function that sets up the stand-in; returns its folder."""

    def install(wanted, **how):
        wcs, _, x, y = field
        folder = write_fake_solver(tmp_path / "solver", wcs, x, y, wanted, **how)
        monkeypatch.setenv("SOLVE_FIELD", str(FAKE_SOLVER))
        monkeypatch.setenv("FAKE_SOLVER", str(folder))
        return folder

    return install


class TestWhatCounts:
    @given(keys=st.sets(st.sampled_from(sorted({**GUESS, **MATRIX}))))
    def test_no_part_of_a_guess_is_a_solution(self, keys):
        whole = {**GUESS, **MATRIX}
        assert not fits.is_solved(astropy_fits.Header({key: whole[key] for key in keys}))

    @pytest.mark.parametrize("mark", [MARK, BY_SOLVE_FIELD, BY_EARLIER_VERSIONS])
    def test_marks_of_the_solver_make_it_one(self, mark):
        assert fits.is_solved(astropy_fits.Header({**GUESS, **mark}))

    @pytest.mark.parametrize("lost", ["CTYPE1", "CTYPE2"])
    def test_marked_half_is_none(self, lost):
        header = {**GUESS, **MARK}
        del header[lost]
        assert not fits.is_solved(astropy_fits.Header(header))
        without_scale = {key: value for key, value in {**GUESS, **MARK}.items() if "CDELT" not in key}
        assert not fits.is_solved(astropy_fits.Header(without_scale))

    @pytest.mark.parametrize("header", [GUESS, {key: GUESS[key] for key in ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2")}])
    def test_no_function_tells_a_guess_as_the_truth(self, header, image, monkeypatch, tmp_path):
        path = image(header)
        monkeypatch.setenv("SOLVE_FIELD", "/bin/true")  # a solver that finds nothing
        with pytest.raises(error.SolveError, match=r"image\.fits: no solution found"):
            fits.get_solve_field(path)
        monkeypatch.setattr(wcsinfo, "find_program", lambda name: "/bin/false")
        with pytest.raises(error.SolveError, match=r"image\.fits: has no astrometric solution"):
            fits.get_wcsinfo(path)
        assert lookup_point_sources(path, method="sep")[["sep_ra", "sep_dec"]].isna().all(axis=None)
        with pytest.raises(error.SolveError, match=r"image\.fits: has no astrometric solution"):
            lookup_point_sources(path, method="sep", catalog_match=True)

    def test_coordinates_of_a_solution_are_told(self, image):
        table = lookup_point_sources(image({**GUESS, **MARK}), method="sep")
        assert len(table) > 10 and table["sep_ra"].between(99, 101).all()


class TestHints:
    def test_guess_is_a_hint_and_the_mount_a_better_one(self):
        size = {"NAXIS": 2, "NAXIS1": 320, "NAXIS2": 280}
        hints = fits.solve_hints(astropy_fits.Header({**size, **GUESS}))
        assert (hints.ra, hints.dec) == (pytest.approx(100, abs=0.5), pytest.approx(-10, abs=0.5))
        assert hints.scale == pytest.approx(10.8, rel=1e-3) and hints.radius == 15
        hints = fits.solve_hints(astropy_fits.Header({**size, **GUESS, "RA-MNT": 5.0, "DEC-MNT": 6.0, "PIXSCALE": 9.0}))
        assert (hints.ra, hints.dec, hints.scale) == (5, 6, 9)

    def test_scale_that_no_camera_has_is_no_hint(self):
        bare = WCS(naxis=2).to_header()
        assert not fits.solve_hints(astropy_fits.Header({"NAXIS": 2, "NAXIS1": 320, "NAXIS2": 280, **bare}))
        one_degree = {**GUESS, "CDELT1": 1.0, "CDELT2": 1.0, "NAXIS": 2, "NAXIS1": 320, "NAXIS2": 280}
        assert fits.solve_hints(astropy_fits.Header(one_degree)).scale is None


class TestOrder:
    def test_what_is_known_is_given_up_step_by_step(self):
        known = Hints(10.0, 20.0, 5.0, 9.0)
        names = [attempt.name for attempt in attempts.plan(known, [], 700)]
        assert names == ["hints", "position", "blind", "half resolution", "full resolution"]
        shrunk_less = ["blind", "half resolution", "full resolution"]
        assert [attempt.name for attempt in attempts.plan(Hints(), [], 700)] == shrunk_less
        assert [attempt.name for attempt in attempts.plan(Hints(), [], 300)] == ["blind", "full resolution"]
        assert [attempt.name for attempt in attempts.plan(Hints(scale=9.0), [], 200)] == ["hints", "blind"]

    @pytest.mark.parametrize(("side", "times"), [(4000, 4), (700, 4), (520, 4), (300, 2), (200, 1), (50, 1), (1, 1)])
    def test_small_frames_are_shrunk_less_or_not(self, side, times):
        planned = attempts.plan(Hints(ra=1.0, dec=2.0), [], side)
        by_default = [attempt for attempt in planned if "resolution" not in attempt.name]
        assert all(f"--downsample={times}" in attempt.options for attempt in by_default)
        assert any("--downsample=1" in attempt.options for attempt in planned)
        assert any("--downsample=2" in attempt.options for attempt in planned) == (times >= 2)

    @pytest.mark.parametrize(
        ("wanted", "attempt", "calls"),
        [
            ("--scale-units=arcsecperpix", "hints", 1),
            ("--radius=15", "hints", 1),
            ("--uniformize=0", "hints", 1),
            ("--downsample=1", "full resolution", 4),
        ],
    )
    def test_answer_says_which_attempt_solved_and_what_speaks_for_it(
        self, image, solver, field, wanted, attempt, calls
    ):
        stand_in = solver(wanted, noise=0.5)
        path = image(GUESS)
        solved = fits.get_solve_field(path)
        assert solved["SOLVHOW"] == attempt and len(calls_of(stand_in)) == calls
        assert solved["SOLVNUM"] >= 30 and 0 < solved["SOLVRMS"] < 1.0
        assert fits.is_solved(fits.getheader(path)) and fits.getval(path, "SOLVNUM") == solved["SOLVNUM"]
        assert solved["CRVAL1"] == pytest.approx(303.2, abs=2e-5) and solved["CRVAL2"] == pytest.approx(46, abs=2e-5)
        assert np.array_equal(fits.getdata(path), field[1].astype(np.float32))
        assert "CDELT1" not in fits.getheader(path)
        calls_before = calls_of(stand_in)
        fits.get_solve_field(path)  # now it is solved
        assert calls_of(stand_in) == calls_before

    def test_wrong_hints_are_not_in_later_attempts_and_the_solver_sees_no_header(self, image, solver):
        stand_in = solver("--none-of-them")
        with pytest.raises(error.SolveError, match="no solution found"):
            fits.get_solve_field(image({**GUESS, "PIXSCALE": 9.0}), ra=5, dec=6)
        first, second, third, fourth = calls_of(stand_in)
        assert "--ra=5.000000" in first and any(word.startswith("--scale-low") for word in first)
        assert "--ra=5.000000" in second and not any(word.startswith("--scale") for word in second)
        for call in (third, fourth):
            assert not any(word.startswith(("--ra", "--scale", "--guess-scale")) for word in call)

    @pytest.mark.parametrize("shown", [True, False])
    def test_header_is_shown_to_a_solver_with_own_options_only(self, image, solver, shown):
        stand_in = solver("--none", sleep='for file; do :; done; head -c 2880 "$file" > "$here/header"')
        with pytest.raises(error.SolveError):
            fits.get_solve_field(image(GUESS), **({"solve_opts": ["--guess-scale"]} if shown else {}))
        header = (stand_in / "header").read_bytes()
        assert header.startswith(b"SIMPLE") and (b"CRVAL1" in header) is shown

    def test_solution_without_stars_is_refused_and_the_image_stays(self, image, solver, field, tmp_path):
        wcs, _, x, y = field
        solver("--downsample=1")
        write_fake_solver(tmp_path / "solver", wcs, x[::-1], y, "--downsample=1")
        path = image({})
        before = path.read_bytes()
        with pytest.raises(error.SolveError, match="too few stars that support it"):
            fits.get_solve_field(path)
        assert path.read_bytes() == before

    def test_holes_are_filled_for_the_solver_and_stay_in_the_file(self, field, solver, tmp_path):
        data = field[1].astype(np.float32)
        data[100:120] = np.nan
        path = tmp_path / "holes.fits"
        fits.write_fits(data, None, path)
        solver("--downsample=1")
        assert fits.get_solve_field(path)["SOLVNUM"] > 20
        assert np.array_equal(fits.getdata(path), data, equal_nan=True)

    @pytest.mark.parametrize(
        "kind", ["extension", "tiles.fits", "tiles.fits.fz", "zipped.fits.gz", "cube", "-dash", "a[1]"]
    )
    @pytest.mark.parametrize("replace", [True, False])
    def test_solution_is_written_into_every_kind_of_file(self, kind, replace, field, solver, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        wcs, data, x, y = field
        data = data.astype(np.uint16)
        hdu = {"cube": lambda: astropy_fits.PrimaryHDU(np.stack([data] * 3))}.get(kind)
        if kind.startswith("tiles"):
            hdus = [astropy_fits.PrimaryHDU(), astropy_fits.CompImageHDU(data, name="SCI")]
        elif kind == "extension":
            hdus = [astropy_fits.PrimaryHDU(), astropy_fits.ImageHDU(data, name="SCI")]
        else:
            hdus = [hdu() if hdu else astropy_fits.PrimaryHDU(data)]
        name = kind if ".fits" in kind else f"{kind}.fits"
        astropy_fits.HDUList(hdus).writeto(f"./{name}", checksum=True)
        before = fits.getdata(name)
        solver("--downsample=1")
        made = fits.get_solve_field(name, replace=replace)["solved_fits_file"]
        assert (made == name) is replace and fits.is_solved(fits.getheader(made))
        if not replace:
            assert not fits.is_solved(fits.getheader(name))
        assert np.array_equal(fits.getdata(made), before) and fits.getdata(made).dtype == before.dtype
        found = fits.getwcs(made)
        assert np.allclose(found.all_world2pix(*wcs.all_pix2world(x, y, 0), 0), [x, y], atol=0.1)
        with astropy_fits.open(f"./{made}", disable_image_compression=True) as opened:
            opened.verify("exception")
            assert all(each.verify_checksum() == each.verify_datasum() == 1 for each in opened)
        if kind == "cube":
            assert fits.getwcs(made).array_shape == data.shape
            assert lookup_point_sources(made, method="sep")["sep_ra"].between(302, 304).all()

    def test_colours_side_by_side_have_no_place_for_coordinates(self, field, solver, tmp_path):
        stand_in = solver("--downsample=1")
        path = tmp_path / "picture.fits"
        astropy_fits.PrimaryHDU(np.stack([field[1]] * 3, axis=2)).writeto(path)
        with pytest.raises(error.SolveError, match=r"picture\.fits: its colours are the first axis"):
            fits.get_solve_field(path)
        assert not (stand_in / "calls").exists()


class TestTime:
    @pytest.fixture
    def clock(self, monkeypatch):
        """A clock that stands still unless it is moved."""
        now = [0.0]
        monkeypatch.setattr(attempts, "monotonic", lambda: now[0])
        return now

    def test_all_the_time_is_used_and_each_attempt_has_its_turn(self, clock):
        planned = attempts.plan(Hints(1.0, 2.0, 3.0, 4.0), [], 700)
        turns, seen = attempts.Turns(planned, 60), []
        for attempt, limit in turns:  # all are cut short
            seen.append((attempt.name, limit))
            clock[0] += limit
            turns.cut.append(attempt)
        assert [name for name, _ in seen] == ["hints", "position", "blind", "half resolution", "full resolution"]
        assert sum(limit for _, limit in seen) == pytest.approx(60) and min(limit for _, limit in seen) > 5

    def test_time_that_is_left_goes_to_what_was_cut_short(self, clock):
        planned = attempts.plan(Hints(), [], 700)
        turns, seen = attempts.Turns(planned, 60), []
        for attempt, limit in turns:
            seen.append(attempt.name)
            if attempt.name == "blind":
                clock[0] += limit
                turns.cut.append(attempt)
                if len(seen) == 4:
                    break
            else:
                clock[0] += 1
        assert seen == ["blind", "half resolution", "full resolution", "blind"] and turns.left() == 0

        clock[0] = 0.0
        turns, seen = attempts.Turns(attempts.plan(Hints(1.0, 2.0), [], 700), 60), []
        for attempt, limit in turns:
            seen.append((attempt.name, limit))
            cut = attempt.name == "hints"
            clock[0] += limit if cut else 1
            if cut:
                turns.cut.append(attempt)
        assert seen[-1] == ("hints", pytest.approx(42)) and turns.cut

    def test_solver_that_never_ends_is_ended_in_time(self, image, solver):
        stand_in = solver("--none", sleep="sleep 60")
        with pytest.raises(error.Timeout, match=r"image\.fits: not solved in 1 s"):
            fits.get_solve_field(image(GUESS), timeout=1)
        assert len(calls_of(stand_in)) >= 3
