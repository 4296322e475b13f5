"""Plate solving with astrometry.net's solve-field.

What is known of a frame (position of the mount, pixel scale, coordinates that somebody wrote) is tried first, because
it makes the search several times shorter; it may be wrong, and is given up step by step (`attempts`). What solve-field
finds counts when stars support it (`evidence`).
"""

from __future__ import annotations

import math
import os
import subprocess
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np
from astropy.io import fits

from panoptes_utils.error import IllegalValue, SolveError, Timeout
from panoptes_utils.files import replacing
from panoptes_utils.images.fits.attempts import DOWNSAMPLE, Attempt, Turns, plan
from panoptes_utils.images.fits.evidence import weigh
from panoptes_utils.images.fits.hints import DEFAULT_RADIUS, Hints, solve_hints
from panoptes_utils.images.fits.io import getheader
from panoptes_utils.images.fits.opening import (
    PACKED_SUFFIXES,
    extension_of,
    filled,
    path_of,
    readable_image,
    stem_of,
    write_plain,
)
from panoptes_utils.images.fits.solution import Evidence, is_solved, put_solution, solution_cards
from panoptes_utils.logging import logger
from panoptes_utils.process import file_argument, find_program, run, start


def default_options(timeout: float) -> List[str]:
    """Options of solve-field as `solve_field` uses them: the scale of the header, quick detection, no by-products."""
    return ["--guess-scale", *_usual_options(timeout), f"--downsample={DOWNSAMPLE}"]


def _usual_options(timeout: float) -> List[str]:
    return [
        f"--cpulimit={max(1, math.ceil(timeout))}",
        "--no-verify",
        "--crpix-center",
        "--temp-axy",
        "--index-xyls=none",
        "--solved=none",
        "--match=none",
        "--rdls=none",
        "--corr=none",
        "--no-plots",
    ]


def _extra_options(kwargs: Dict[str, Any]) -> List[str]:
    """Options of solve-field from keyword arguments: ra, dec, radius, and whatever begins with two dashes."""
    options = []
    for key, value in kwargs.items():
        if key in ("ra", "dec", "radius"):
            if value is not None:
                options.append(f"--{key}={value:g}" if key == "radius" else f"--{key}={float(value):.6f}")
        elif key.startswith("--"):
            if value is True:
                options.append(key)
            elif value is not False and value is not None:
                options.append(f"{key}={value}")
        else:
            raise IllegalValue(f"{key}={value!r}: no such argument; options of solve-field begin with --")
    return options


def solve_field(
    fname: Any, timeout: float = 15, solve_opts: Optional[List[str]] = None, **kwargs: Any
) -> subprocess.Popen[str]:
    """Start solve-field on an image and return without waiting.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        timeout: CPU seconds that the search may take.
        solve_opts: list of options that replace the usual ones.
        kwargs: `ra`, `dec`, `radius` in degrees; `overwrite`, `skip_solved`; and any option of solve-field by
            its name with the dashes, as `**{"--depth": 20}` (True for a bare one).

    Returns:
        subprocess.Popen: leader of its own process group, text pipes on stdout and stderr.

    Raises:
        InvalidSystemCommand: solve-field is not on PATH (nor where `SOLVE_FIELD` says).
    """
    program = find_program("solve-field", variable="SOLVE_FIELD")
    flags = {"overwrite": "--overwrite", "skip_solved": "--skip-solved"}
    chosen = [option for key, option in flags.items() if kwargs.pop(key, False)]
    options = list(solve_opts) if solve_opts is not None else default_options(timeout)
    path = path_of(fname)
    if path.is_file() and extension_of(path):
        chosen.append(f"--extension={extension_of(path)}")
    return start([program, *options, *chosen, *_extra_options(kwargs), file_argument(path)])


def get_solve_field(
    fname: Any, replace: bool = True, overwrite: bool = True, timeout: float = 30, **kwargs: Any
) -> Dict[str, Any]:
    """Solve an image and write the solution into it.

    The image itself is not touched before its solved copy is complete on the disk; a rename puts that in its
    place. By-products live in a private folder that is gone afterwards, whatever happens. The solver sees the pixels
    alone, so that nothing in the header misleads it.

    Args:
        fname: path, or open file, of a FITS image: plain, in an extension, compressed in tiles (`.fz`) or with gzip.
        replace: put the solution into the file; else beside it, as `NAME.new` (`NAME_solved.fits.fz`, `.gz`).
        overwrite: replace such a file if it exists.
        timeout: seconds in all.
        kwargs: `skip_solved` (True): an image that has a solution (`is_solved`) is not solved again; `pixel_scale` in
            arcsec per pixel; `ra`, `dec`, `radius` in degrees; `extension`, number or name of the header-data unit;
            `plane` of a cube (their mean by default); `solve_opts`: options of solve-field instead of any that are
            chosen here, with the header for it to read; and any option of solve-field with its dashes.

    Returns:
        dict: keys of the solved header, without comments, and `solved_fits_file`. Among them what speaks for the
        solution: `SOLVHOW`, the attempt that found it; `SOLVNUM`, the number of stars that match the catalogue;
        `SOLVRMS`, the root mean square of their distances, arcsec.

    Raises:
        FileNotFoundError: no such file.
        SolveError: not a readable image, no solution, or none that stars support.
        Timeout: the time is up; nothing is left running.
        InvalidSystemCommand: solve-field is not on PATH.
        FileExistsError: `replace` and `overwrite` are off and the solved file is there.
        OSError: the folder cannot be written to, or the disk is full; the image is as it was.

    Source: Lang et al. 2010, AJ 139, 1782.
    """
    path = path_of(fname)
    deadline = monotonic() + timeout
    extension, plane = kwargs.pop("extension", None), kwargs.pop("plane", None)
    try:
        header, data = readable_image(path, extension, plane)
    except IllegalValue as error:
        raise SolveError(str(error.msg)) from error
    if kwargs.pop("skip_solved", True) and is_solved(header):
        logger.debug("{} has a solution already", path)
        return _as_dict(header, path)
    if data.shape != (header["NAXIS2"], header["NAXIS1"]):
        raise SolveError(f"{path}: its colours are the first axis, where FITS has the sky; write one plane for each")
    target = path if replace else _solved_name(path)
    if not replace and target.exists() and not overwrite:
        raise FileExistsError(f"{target}: exists already; pass overwrite=True to replace it")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"{target}: its folder cannot be written to")

    data = filled(data)
    with tempfile.TemporaryDirectory(prefix="panoptes-solve-") as folder:
        work = Path(folder) / "image.fits"
        write_plain(data, work, header if "solve_opts" in kwargs else None)
        solution, evidence = _solve(work, path, header, data, deadline, timeout, kwargs)
    solved = _with_solution(path, target, extension_of(path, extension), solution, evidence)
    return _as_dict(solved, target)


def _attempts(header: fits.Header, data: np.ndarray, timeout: float, kwargs: Dict[str, Any]) -> List[Attempt]:
    """What is tried, from what the caller and the header say; takes its arguments out of `kwargs`."""
    scale = kwargs.pop("pixel_scale", None)
    solve_opts = kwargs.pop("solve_opts", None)
    given = {key: kwargs.pop(key, None) for key in ("ra", "dec", "radius")}
    if solve_opts is not None:
        return [Attempt("own options", list(solve_opts) + _extra_options(given))]
    known = solve_hints(header)
    at_position = given["ra"] is not None and given["dec"] is not None
    hints = Hints(
        float(given["ra"]) if at_position else known.ra,
        float(given["dec"]) if at_position else known.dec,
        float(given["radius"] or (DEFAULT_RADIUS if at_position else known.radius)),
        float(scale) if scale else known.scale,
    )
    return plan(hints, _usual_options(timeout), min(data.shape))


def _solve(
    work: Path,
    path: Path,
    header: fits.Header,
    data: np.ndarray,
    deadline: float,
    timeout: float,
    kwargs: Dict[str, Any],
) -> Tuple[fits.Header, Evidence]:
    """Try what is known, then the whole sky; return the header of the solution and what speaks for it."""
    program = find_program("solve-field", variable="SOLVE_FIELD")
    turns = Turns(_attempts(header, data, timeout, kwargs), deadline)
    extra = _extra_options(kwargs)
    last = ""
    for attempt, limit in turns:
        try:
            complaint = _run(work, [program, *attempt.options, *extra], limit)
        except Timeout:
            turns.cut.append(attempt)
            continue
        last = complaint or last
        if work.with_suffix(".wcs").exists():
            found = weigh(data, _header_of(work.with_suffix(".wcs")), work.with_suffix(".corr"), attempt.name)
            if found is not None:
                logger.debug("{}: solved, {}", path, found[1])
                return found
            last = "what solve-field found has too few stars that support it"
    if turns.cut:
        raise Timeout(f"{path}: not solved in {timeout:g} s")
    raise SolveError(f"{path}: no solution found{': ' + last if last else ''}")


def _header_of(file: Path) -> fits.Header:
    with fits.open(file) as hdus:
        return hdus[0].header.copy()


def _run(work: Path, command: List[str], limit: float) -> str:
    """Run solve-field once in the folder of `work`; return its complaint, if any."""
    folder = work.parent
    for left in ("image.wcs", "image.corr", "image.axy"):
        (folder / left).unlink(missing_ok=True)
    places = ["--overwrite", "--new-fits=none", f"--dir={folder}", f"--temp-dir={folder}"]
    places += [f"--wcs={folder}/image.wcs", f"--corr={folder}/image.corr"]
    result = run([*command, *places, work], limit)
    if result.returncode:
        lines = [line.strip() for line in (result.stderr + "\n" + result.stdout).splitlines() if line.strip()]
        return f"solve-field ended with {result.returncode}: {lines[-1] if lines else 'no message'}"
    return ""


def _with_solution(path: Path, target: Path, number: int, solution: fits.Header, evidence: Evidence) -> fits.Header:
    """Write the image with its solution to `target`, all else as it is in the file; return the header."""
    with fits.open(path, do_not_scale_image_data=True, memmap=False, disable_image_compression=True) as hdus:
        header = hdus[number].header
        put_solution(header, solution_cards(solution, evidence))
        header.remove("ZHECKSUM", ignore_missing=True)  # of the header that the image had before it was compressed
        with replacing(target) as draft:
            hdus.writeto(draft, overwrite=True, checksum="CHECKSUM" in header, output_verify="silentfix+ignore")
    return getheader(target, ext=number)


def _solved_name(path: Path) -> Path:
    packed = path.suffix if path.suffix.lower() in PACKED_SUFFIXES else ""
    return path.with_name(f"{stem_of(path)}_solved.fits{packed}") if packed else path.with_suffix(".new")


def _as_dict(header: fits.Header, path: Union[str, Path]) -> Dict[str, Any]:
    values = {key: value for key, value in header.items() if key and key not in ("COMMENT", "HISTORY")}
    values["solved_fits_file"] = str(path)
    return values
