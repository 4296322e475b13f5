"""Sources in simulated frames, whose stars are known."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits as astropy_fits
from scipy.spatial import cKDTree
from sky_simulator import simulate

from panoptes_utils import error
from panoptes_utils.images import fits
from panoptes_utils.sources import catalog, get_catalog_match, get_stars_from_wcs, lookup_point_sources, match

pytestmark = pytest.mark.tools
METHODS = ("sextractor", "sep", "photutils")


@pytest.fixture(scope="module")
def wide():
    """Ten degrees with noise, hot pixels and a satellite trail."""
    return simulate(ra=83.0, dec=-5.0, pixscale=45.0, size=800, rotation=20, trails=1, seed=3)


@pytest.fixture
def wide_file(wide, tmp_path):
    return wide.write(tmp_path / "wide.fits", solved=True)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_stars_are_found_and_nothing_else(wide, wide_file, method):
    found = lookup_point_sources(wide_file, method=method)
    positions = np.c_[found[f"{method}_x"] - 1, found[f"{method}_y"] - 1]
    stars = np.c_[wide.stars["x"], wide.stars["y"]]
    tree = cKDTree(stars)
    alone = np.array([len(near) == 1 for near in tree.query_ball_point(stars, 5)])
    inside = ((stars > 13) & (stars < 786)).all(axis=1)
    wanted = inside & alone & (np.asarray(wide.stars["snr"]) >= 10)
    assert wanted.sum() > 500
    recall = (cKDTree(positions).query(stars[wanted])[0] < 1.5).mean()
    assert recall >= (0.85 if method == "photutils" else 0.95)
    # What is found is a star, except pieces of the trail.
    assert (tree.query(positions)[0] > 2).mean() <= (0.02 if method == "sextractor" else 0.06)
    assert found[f"{method}_flux_best"].is_monotonic_decreasing
    near = tree.query(positions)
    isolated = (near[0] < 1) & alone[near[1]]
    ratio = found[f"{method}_flux_best"][isolated] / np.asarray(wide.stars["flux"])[near[1][isolated]]
    assert ratio.median() == pytest.approx(1, abs=0.15)


def test_sources_are_matched_with_the_stars_that_they_are(wide, wide_file):
    matched = lookup_point_sources(wide_file, catalog_match=True)
    assert matched["catalog_sep_arcsec"].median() < 0.2 * 45
    assert matched["catalog_sep_arcsec"].max() <= 3 * 45
    assert not matched[["catalog_ra", "catalog_dec"]].duplicated().any()
    bright = matched[matched["catalog_vmag"].between(9.7, 11)]  # brighter ones are saturated
    slope = np.polyfit(bright["catalog_vmag"], bright["sextractor_mag_best"], 1)[0]
    assert slope == pytest.approx(1, abs=0.1)
    everything = lookup_point_sources(wide_file, catalog_match=True, return_unmatched=True, max_separation_arcsec=20)
    assert everything["catalog_sep_arcsec"].isna().any() and len(everything) >= len(matched)


def test_unsolved_image_is_matched_only_with_given_coordinates(wide, tmp_path):
    path = wide.write(tmp_path / "unsolved.fits")
    assert lookup_point_sources(path)["sextractor_ra"].isna().all()
    with pytest.raises(error.SolveError, match="unsolved.fits: has no astrometric solution"):
        lookup_point_sources(path, catalog_match=True)
    assert len(lookup_point_sources(path, catalog_match=True, wcs=wide.wcs)) > 500


@pytest.mark.slow
def test_packed_image_gives_the_same_sources(wide_file):
    plain = lookup_point_sources(wide_file)
    packed = lookup_point_sources(fits.fpack(wide_file), force_new=True)
    pd.testing.assert_frame_equal(plain, packed)


@pytest.mark.slow
def test_options_change_what_is_found_and_an_unknown_method_is_refused(wide_file):
    usual = lookup_point_sources(wide_file)
    assert len(lookup_point_sources(wide_file, edge=200)) < len(usual)
    assert len(lookup_point_sources(wide_file, min_fwhm=0)) >= len(usual) + 5  # hot pixels
    with pytest.raises(error.IllegalValue, match="method='eyes'"):
        lookup_point_sources(wide_file, method="eyes")


@pytest.mark.parametrize("method", METHODS)
def test_empty_sky_gives_an_empty_table(tmp_path, method):
    path = tmp_path / "empty.fits"
    fits.write_fits(np.random.default_rng(0).normal(100, 5, (128, 128)).astype(np.float32), None, path)
    found = lookup_point_sources(path, method=method)
    assert len(found) <= 2 and f"{method}_ra" in found


def test_what_is_no_image(tmp_path, wide_file, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nothing.fits"):
        lookup_point_sources(tmp_path / "nothing.fits")
    line = tmp_path / "line.fits"
    astropy_fits.PrimaryHDU(np.zeros(30)).writeto(line)
    with pytest.raises(error.IllegalValue, match="not an image"):
        lookup_point_sources(line)
    monkeypatch.setenv("SEXTRACTOR", "/no/such/program")
    with pytest.raises(error.InvalidSystemCommand, match="SEXTRACTOR=/no/such/program"):
        lookup_point_sources(wide_file)
    monkeypatch.setenv("SEXTRACTOR", shutil.which("true"))
    with pytest.raises(error.InvalidSystemCommand, match="wrote no catalogue"):
        lookup_point_sources(wide_file)


def test_nothing_is_left_behind(wide_file, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    lookup_point_sources(wide_file)
    assert list(folder.iterdir()) == [] and list(Path(wide_file).parent.iterdir()) == [Path(wide_file)]


def test_match_of_given_tables():
    stars = pd.DataFrame({"catalog_ra": [10.0, 20.0], "catalog_dec": [0.0, 0.0], "catalog_vmag": [5.0, 6.0]})
    sources = pd.DataFrame({"ra": [10.001, 10.0001, 50.0], "dec": [0.0, 0.0, 0.0]})
    matched = get_catalog_match(sources, catalog_stars=stars, max_separation_arcsec=10)
    assert matched["catalog_vmag"].tolist() == [5.0]
    assert matched["catalog_sep_arcsec"][0] == pytest.approx(0.36, abs=0.01)
    whole = get_catalog_match(sources, catalog_stars=stars, return_unmatched=True, ra_column="ra", dec_column="dec")
    assert whole["catalog_vmag"].notna().tolist() == [False, True, True]
    assert len(get_catalog_match(sources.iloc[:0], catalog_stars=stars)) == 0
    with pytest.raises(ValueError, match="WCS"):
        get_catalog_match(sources)
    with pytest.raises(ValueError, match="no column ra"):
        get_catalog_match(sources.rename(columns={"ra": "x"}), catalog_stars=stars)


class TestCatalogue:
    def test_agrees_with_astrometry_net(self, tmp_path):
        """Against query-starkd, the reader of the program that the files belong to."""
        path = catalog.index_files()[0]
        out = tmp_path / "stars.fits"
        import subprocess

        command = ["query-starkd", "-o", str(out), "-r", "83.8", "-d", "-5.4", "-R", "1.5", "-T", str(path)]
        if shutil.which("query-starkd") is None:
            pytest.skip("no query-starkd on PATH")
        subprocess.run(command, check=True, capture_output=True)
        theirs = astropy_fits.getdata(out, 1)
        ours = catalog.stars_around(83.8, -5.4, 1.5)
        assert len(ours) == len(theirs) > 50
        order = np.lexsort((theirs["DEC"], theirs["RA"])), np.lexsort((ours["dec"], ours["ra"]))
        for name, tolerance in (("RA", 2e-5), ("DEC", 2e-5), ("MAG_VT", 1e-5)):
            mine = ours[{"RA": "ra", "DEC": "dec", "MAG_VT": "vmag"}[name]]
            assert np.allclose(np.sort(theirs[name]), np.sort(mine), atol=tolerance), name
        assert order[0].size == order[1].size

    def test_known_stars_are_where_they_are(self):
        """HD 189733 and 51 Pegasi are where SIMBAD has them."""
        for ra, dec, magnitude in ((300.1821, 22.7099, 7.78), (344.3667, 20.7689, 5.5)):
            star = catalog.stars_around(ra, dec, 0.01)[0]
            assert star["vmag"] == pytest.approx(magnitude, abs=0.3)

    def test_stars_are_limited_by_brightness_and_sorted(self):
        stars = catalog.stars_around(10, 89.9, 2, magnitude_limit=9)
        assert len(stars) > 5 and max(stars["vmag"]) <= 9
        assert list(stars["vmag"]) == sorted(stars["vmag"])
        assert len(catalog.stars_around(0, 0, 180, magnitude_limit=2)) > 20

    def test_stars_of_an_image(self, wide):
        stars = get_stars_from_wcs(wide.wcs, magnitude_limit=8)
        assert stars["catalog_x"].between(-0.5, 799.5).all() and stars["catalog_y"].between(-0.5, 799.5).all()
        known = wide.stars[wide.stars["vmag"] <= 8]
        assert len(stars) == len(known)
        shapeless = wide.wcs.deepcopy()
        shapeless.array_shape = None
        with pytest.raises(error.SolveError):
            match.get_stars_from_wcs(shapeless)

    def test_missing_catalogue_is_refused_with_the_package_to_install(self, tmp_path, monkeypatch):
        with pytest.raises(error.NotFound, match="install astrometry-data-tycho2"):
            catalog.index_files(tmp_path)
        folder = tmp_path / "astrometry" / "data"
        folder.mkdir(parents=True)
        bad = folder / "index-4110.fits"
        fits.write_fits(np.zeros((3, 3)), None, bad)
        monkeypatch.setenv("PANDIR", str(tmp_path))
        assert catalog.index_files() == [bad]
        with pytest.raises(error.NotFound, match="index-4110.fits: not an astrometry.net index"):
            catalog.stars_around(0, 0, 1)
