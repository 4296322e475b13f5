"""Figures of the image functions: solving and finding sources, on simulated frames and a real one.

    python benchmarks/images_lib.py [--frames 20] > benchmarks/images_lib.md

Times are ratios against bare solve-field in the same run; the rest is compared with the truth of the simulation.
Needs the astronomy programs of panoptes-base: `make bench-images-lib` runs it inside panoptes-utils.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits as astropy_fits
from astropy.wcs import WCS
from rich.console import Console
from rich.progress import track
from scipy.spatial import cKDTree

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))

from sky_simulator import simulate  # noqa: E402 - beside the tests

from panoptes_utils import error  # noqa: E402
from panoptes_utils.images import fits  # noqa: E402
from panoptes_utils.images.fits.solve import default_options  # noqa: E402
from panoptes_utils.logging import logger  # noqa: E402
from panoptes_utils.sources import lookup_point_sources  # noqa: E402

REPEATS = 7
console = Console(stderr=True)


def real_frame():
    """The real frame of the tests' data, or None."""
    places = [os.getenv("PANOPTES_SHARED_DATA"), HERE.parents[1] / "shared" / "data"]
    found = [Path(place) / "unsolved.fits" for place in places if place]
    return next((path for path in found if path.is_file()), None)


def solving_times(frame, folder):
    """Ratios of get_solve_field to bare solve-field, runs of each kind taking turns."""
    content = Path(frame).read_bytes()
    path = folder / "frame.fits"
    options = default_options(60)

    def bare():
        subprocess.run(["solve-field", *options, "--overwrite", path], check=True, capture_output=True)

    kinds = {
        "bare": bare,
        "same": lambda: fits.get_solve_field(path, solve_opts=options, timeout=60),
        "default": lambda: fits.get_solve_field(path, timeout=60),
        "known": lambda: fits.get_solve_field(path, timeout=60, ra=303.2, dec=46.0, radius=3, pixel_scale=10.3),
    }
    times = {kind: [] for kind in kinds}
    for _ in track(range(REPEATS), "Real frame", console=console):
        for kind, call in kinds.items():
            for old in folder.iterdir():
                old.unlink()
            path.write_bytes(content)
            began = perf_counter()
            call()
            times[kind].append(perf_counter() - began)
    ratios = {kind: statistics.median(mine / base for mine, base in zip(times[kind], times["bare"])) for kind in kinds}
    return {kind: statistics.median(values) for kind, values in times.items()}, ratios


def simulated_frames(number, folder):
    """Solve and look for sources in frames of 5 to 20 degrees; a row of figures for each."""
    random = np.random.default_rng(20190511)
    rows = []
    for index in track(range(number), "Simulated frames", console=console):
        width, size = random.uniform(5, 20), 1000
        frame = simulate(
            ra=random.uniform(0, 360),
            dec=np.degrees(np.arcsin(random.uniform(-1, 1))),
            pixscale=width * 3600 / size,
            size=size,
            rotation=random.uniform(0, 360),
            flipped=bool(index % 2),
            trails=index % 3,
            blind=True,
            seed=index,
        )
        path = frame.write(folder / f"{index}.fits")
        row = {"width": width, "trails": index % 3, "stars": len(frame.stars), "pixels": None}
        began = perf_counter()
        try:
            fits.get_solve_field(path, timeout=60)
        except (error.SolveError, error.Timeout):
            pass
        else:
            # The error where it matters: all over the image, not only in the middle.
            x, y = np.meshgrid(np.linspace(50, size - 50, 7), np.linspace(50, size - 50, 7))
            found = fits.getwcs(path).pixel_to_world(x, y).icrs
            true = frame.wcs.pixel_to_world(x, y).icrs
            row["pixels"] = float(np.median(found.separation(true).arcsec)) / frame.truth["pixscale_arcsec"]
            row["centre"] = (
                SkyCoord(*fits.getwcs(path).wcs.crval, unit="deg")
                .separation(SkyCoord(frame.truth["ra_deg"], frame.truth["dec_deg"], unit="deg"))
                .arcsec
                / frame.truth["pixscale_arcsec"]
            )
        row["seconds"] = perf_counter() - began
        for method in ("sextractor", "sep"):
            row[method] = found_sources(frame, frame.write(folder / "sources.fits"), method)
        rows.append(row)
    return rows


def odd_frames():
    """(kind, frame, pixels, header) of frames that are not as a camera's usual ones, two or three of each kind."""
    number = iter(range(100, 200))

    def frame(**field):
        seed = next(number)
        return simulate(blind=True, seed=seed, **{"rotation": 37.0 * seed % 360, "flipped": bool(seed % 2), **field})

    for ra, dec, pixscale in ((303.2, 46.0, 60.0), (83.8, -5.4, 50.0), (201.0, -47.0, 70.0)):
        yield "small, 200 × 200", frame(ra=ra, dec=dec, pixscale=pixscale, size=200), None, {}
    for ra, dec, width in ((266.0, -29.0, 28.0), (120.0, 20.0, 33.0)):
        yield "wide, 28 and 33 degrees", frame(ra=ra, dec=dec, pixscale=width * 3600 / 1000, size=1000), None, {}
    for ra, dec in ((30.0, -89.6), (80.0, -70.0), (187.0, -57.0)):
        yield "southern, one at the pole", frame(ra=ra, dec=dec, pixscale=36.0, size=700), None, {}
    for ra, dec in ((303.2, 46.0), (83.8, -5.4)):
        one = frame(ra=ra, dec=dec, pixscale=36.0, size=700)
        rows = one.data.astype(np.float32)
        rows[100:130] = np.nan
        yield "NaN in rows", one, rows, {}
        scattered = one.data.astype(np.float32)
        scattered[np.random.default_rng(7).random(scattered.shape) < 0.02] = np.nan
        yield "NaN, 2 % scattered", one, scattered, {}
    for ra, dec, away in ((303.2, 46.0, 4.0), (83.8, -5.4, 60.0)):
        one = frame(ra=ra, dec=dec, pixscale=36.0, size=700)
        yield "hinted wrongly by the mount's WCS, 4 and 60 degrees", one, None, mount_wcs(ra + away, dec, 36.0, 700)
        no_scale = WCS(naxis=2).to_header()
        yield "scale wrong, 1 degree a pixel", one, None, dict(no_scale.items())


def mount_wcs(ra, dec, pixscale, size):
    """Where the mount believes that it points, as drivers write it before anything is solved."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra % 360, dec]
    wcs.wcs.crpix = [size / 2, size / 2]
    wcs.wcs.cdelt = [-pixscale / 3600, pixscale / 3600]
    return dict(wcs.to_header().items())


def error_over_image(wcs, frame):
    """Median and worst distance from the truth all over the image, pixels."""
    height, width = frame.data.shape
    x, y = np.meshgrid(np.linspace(20, width - 20, 7), np.linspace(20, height - 20, 7))
    away = wcs.pixel_to_world(x, y).icrs.separation(frame.wcs.pixel_to_world(x, y).icrs).arcsec
    away = away / frame.truth["pixscale_arcsec"]
    return float(np.median(away)), float(away.max())


def odd_figures(folder, limit=60):
    """kind -> for `bare` and `ours`: a list of (seconds, median error, worst error), None where it was not solved."""
    figures = {}
    for number, (kind, frame, data, header) in enumerate(track(list(odd_frames()), "Odd frames", console=console)):
        path = folder / f"odd-{number}.fits"
        hdu = astropy_fits.PrimaryHDU(frame.data if data is None else data)
        hdu.header.update({**frame.header, **header})
        hdu.writeto(path)
        began = perf_counter()
        subprocess.run(["solve-field", *default_options(limit), "--overwrite", path], capture_output=True, check=False)
        seconds, solution = perf_counter() - began, path.with_suffix(".wcs")
        error_px = error_over_image(WCS(astropy_fits.getheader(solution)), frame) if solution.exists() else None
        bare = (seconds, *error_px) if error_px else None
        began = perf_counter()
        try:
            fits.get_solve_field(path, timeout=limit)
            ours = (perf_counter() - began, *error_over_image(fits.getwcs(path), frame))
        except (error.SolveError, error.Timeout):
            ours = None
        for name, found in (("bare", bare), ("ours", ours)):
            figures.setdefault(kind, {}).setdefault(name, []).append(found)
    return figures


def odd_table(figures):
    """The table of `odd_figures`."""
    lines = [
        "| frames | solved | bare | error, px (worst) | bare | seconds, slowest | bare |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, found in figures.items():
        cells = {}
        for name, runs in found.items():
            solved = [run for run in runs if run]
            cells[name] = ["–", "–"]
            if solved:
                middle, worst = np.median([run[1] for run in solved]), max(run[2] for run in solved)
                cells[name] = [f"{middle:.2f} ({worst:.2f})", f"{max(run[0] for run in solved):.1f}"]
            cells[name].insert(0, f"{len(solved)} of {len(runs)}")
        mine, base = cells["ours"], cells["bare"]
        lines.append("| " + " | ".join([kind, *(text for pair in zip(mine, base) for text in pair)]) + " |")
    every = [run for found in figures.values() for run in found["ours"]]
    bare = [run for found in figures.values() for run in found["bare"]]
    solved = [run for run in every if run]
    errors = "–"
    if solved:
        errors = f"{np.median([run[1] for run in solved]):.2f} ({max(run[2] for run in solved):.2f})"
    lines.append(
        f"| **all** (wanted: all; ≤ 0.2, worst ≤ 0.5) | {len(solved)} of {len(every)} | "
        f"{sum(run is not None for run in bare)} of {len(bare)} | {errors} | | | |"
    )
    return lines


def found_sources(frame, path, method):
    """Recall at SNR 10 of stars that no other star touches, of all stars, and the rate of false sources."""
    table = lookup_point_sources(path, method=method)
    found = np.c_[table[f"{method}_x"] - 1, table[f"{method}_y"] - 1]
    stars = np.c_[frame.stars["x"], frame.stars["y"]]
    tree = cKDTree(stars)
    size = frame.data.shape[0]
    wanted = ((stars > 12) & (stars < size - 13)).all(axis=1) & (np.asarray(frame.stars["snr"]) >= 10)
    alone = np.array([len(near) == 1 for near in tree.query_ball_point(stars, 5)])
    hit = cKDTree(found).query(stars)[0] < 2
    return hit[wanted & alone].mean(), hit[wanted].mean(), (tree.query(found)[0] > 2).mean()


def main():
    """Measure and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20, help="simulated frames")
    chosen = parser.parse_args()
    logger.remove()
    lines = ["# Figures of the image functions", ""]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines += [f"Measured by `make bench-images-lib` on {machine}, load {os.getloadavg()[0]:.1f} at the start.", ""]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        frame = real_frame()
        if frame:
            seconds, ratios = solving_times(frame, folder)
            lines += ["## Solving a real frame (700 × 700, 2 degrees)", ""]
            lines += ["| | median s | ratio to bare solve-field | wanted |", "|---|---|---|---|"]
            for kind, name, wanted in (
                ("bare", "`solve-field`, scale guessed", ""),
                ("same", "`get_solve_field` with the same options", "≤ 1.1"),
                ("default", "`get_solve_field` as it comes (position of the mount from the header)", ""),
                ("known", "`get_solve_field`, pixel scale and position known", "≤ 0.6"),
            ):
                lines.append(f"| {name} | {seconds[kind]:.2f} | {ratios[kind]:.2f} | {wanted} |")
            lines.append("")
        rows = simulated_frames(chosen.frames, folder)
        odd = odd_figures(folder)
    solved = [row for row in rows if row["pixels"] is not None]
    lines += [f"## {len(rows)} simulated frames, 5 to 20 degrees, nothing known, with hot pixels and trails", ""]
    lines += ["| | measured | wanted |", "|---|---|---|"]
    lines += [f"| solved | {len(solved)} of {len(rows)} | ≥ 95 % |"]
    lines += [f"| median error over the image, pixels | {np.median([row['pixels'] for row in solved]):.2f} | ≤ 1 |"]
    lines += [f"| median error of the centre, pixels | {np.median([row['centre'] for row in solved]):.2f} | |"]
    lines += [f"| median seconds to solve | {np.median([row['seconds'] for row in solved]):.1f} | |"]
    for method in ("sextractor", "sep"):
        alone, overall, false = np.median([row[method] for row in rows], axis=0)
        worst, most = min(row[method][0] for row in rows), max(row[method][2] for row in rows)
        lines += [
            f"| {method}: recall at SNR 10, stars 5 pixels apart (worst) | {alone:.3f} ({worst:.3f}) | ≥ 0.95 |",
            f"| {method}: recall at SNR 10, blends included | {overall:.3f} | |",
            f"| {method}: false sources (worst) | {false:.4f} ({most:.4f}) | ≤ 0.02 |",
        ]
    lines += ["", "| width, degrees | trails | stars | error, pixels | s |", "|---|---|---|---|---|"]
    for row in rows:
        pixels = "not solved" if row["pixels"] is None else f"{row['pixels']:.2f}"
        lines.append(f"| {row['width']:.1f} | {row['trails']} | {row['stars']} | {pixels} | {row['seconds']:.1f} |")
    lines += [
        "",
        "## Frames that are not as usual, beside bare `solve-field` with the same time limit",
        "",
        *odd_table(odd),
    ]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
