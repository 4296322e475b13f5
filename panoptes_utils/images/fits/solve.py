"""Plate solving with astrometry.net's solve-field.

What is known of a frame (position of the mount, pixel scale, an earlier solution) is tried first, because it
makes the search several times shorter; the whole sky is searched only when that fails.
"""

from __future__ import annotations

import math
import re
import subprocess
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any, Dict, List, Optional, Union

from astropy.io import fits

from panoptes_utils.error import IllegalValue, SolveError, Timeout
from panoptes_utils.files import replacing
from panoptes_utils.images.fits.hints import DEFAULT_RADIUS, Hints, celestial_of, solve_hints
from panoptes_utils.images.fits.io import extension_of, getheader, is_packed, readable_image
from panoptes_utils.logging import logger
from panoptes_utils.process import find_program, run, start

# Share of the time limit that a search with what is known may use before the whole sky is searched.
HINTED_SHARE = 1 / 3

# What the header of a solved image takes over from the solution, and what it loses of an earlier one.
_WCS_KEY = re.compile(
    r"(WCSAXES|WCSNAME|CTYPE\d|CUNIT\d|CRVAL\d|CRPIX\d|CDELT\d|CROTA\d|CD\d_\d|PC\d_\d|PV\d_\d+|LONPOLE|LATPOLE"
    r"|RADESYS|EQUINOX|IMAGEW|IMAGEH|[AB]P?_ORDER|[AB]P?_DMAX|[AB]P?_\d_\d)$"
)


def default_options(timeout: float) -> List[str]:
    """Options of solve-field as every PANOPTES frame is solved: any scale, quick detection, no by-products."""
    return [
        "--guess-scale",
        f"--cpulimit={max(1, math.ceil(timeout))}",
        "--no-verify",
        "--crpix-center",
        "--temp-axy",
        "--index-xyls=none",
        "--solved=none",
        "--match=none",
        "--rdls=none",
        "--corr=none",
        "--downsample=4",
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
    fname: Union[str, Path], timeout: float = 15, solve_opts: Optional[List[str]] = None, **kwargs: Any
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
    if is_packed(fname):
        chosen.append(f"--extension={extension_of(fname)}")
    return start([program, *options, *chosen, *_extra_options(kwargs), fname])


def get_solve_field(
    fname: Union[str, Path], replace: bool = True, overwrite: bool = True, timeout: float = 30, **kwargs: Any
) -> Dict[str, Any]:
    """Solve an image and write the solution into it.

    The image itself is not touched before its solved copy is complete on the disk; a rename puts that in its
    place. By-products live in a private folder that is gone afterwards, whatever happens.

    Args:
        fname: path, `.fits` or `.fits.fz`.
        replace: put the solution into the file; else beside it, as `NAME.new` (`NAME_solved.fits.fz`).
        overwrite: replace such a file if it exists.
        timeout: seconds in all.
        kwargs: `skip_solved` (True): an image that has a solution is not solved again; `pixel_scale` in
            arcsec per pixel; `ra`, `dec`, `radius` in degrees; `solve_opts`: options of solve-field instead
            of any that are chosen here; and any option of solve-field with its dashes.

    Returns:
        dict: keys of the solved header, without comments, and `solved_fits_file`.

    Raises:
        FileNotFoundError: no such file.
        SolveError: not a readable image, or no solution.
        Timeout: the time is up; nothing is left running.
        InvalidSystemCommand: solve-field is not on PATH.
        FileExistsError: `replace` and `overwrite` are off and the solved file is there.
        OSError: the folder cannot be written to, or the disk is full; the image is as it was.

    Source: Lang et al. 2010, AJ 139, 1782.
    """
    path = Path(fname)
    deadline = monotonic() + timeout
    try:
        header, data = readable_image(path)
    except IllegalValue as error:
        raise SolveError(str(error.msg)) from error
    if kwargs.pop("skip_solved", True) and celestial_of(header) is not None:
        logger.debug("{} has a solution already", path)
        return _as_dict(header, path)
    target = path if replace else _solved_name(path)
    if not replace and target.exists() and not overwrite:
        raise FileExistsError(f"{target}: exists already; pass overwrite=True to replace it")
    if not _writable(target.parent):
        raise PermissionError(f"{target}: its folder cannot be written to")

    with tempfile.TemporaryDirectory(prefix="panoptes-solve-") as folder:
        work = Path(folder) / "image.fits"
        if is_packed(path):
            fits.PrimaryHDU(data, header=_plain(header)).writeto(work, output_verify="silentfix+ignore")
        else:
            work.symlink_to(path.resolve())
        solution = _solve(work, path, header, deadline, timeout, kwargs)
        solved = _with_solution(work, path, target, solution)
    return _as_dict(solved, target)


def _solve(
    work: Path, path: Path, header: fits.Header, deadline: float, timeout: float, kwargs: Dict[str, Any]
) -> Path:
    """Try what is known, then the whole sky; return the header of the solution."""
    program = find_program("solve-field", variable="SOLVE_FIELD")
    scale = kwargs.pop("pixel_scale", None)
    solve_opts = kwargs.pop("solve_opts", None)
    given = {key: kwargs.pop(key, None) for key in ("ra", "dec", "radius")}
    extra = _extra_options(kwargs)
    if solve_opts is not None:
        attempts = [(list(solve_opts) + _extra_options(given), timeout)]
    else:
        known = solve_hints(header)
        at_position = given["ra"] is not None and given["dec"] is not None
        hints = Hints(
            float(given["ra"]) if at_position else known.ra,
            float(given["dec"]) if at_position else known.dec,
            float(given["radius"] or (DEFAULT_RADIUS if at_position else known.radius)),
            float(scale) if scale else known.scale,
        )
        # solve-field itself takes the scale from the header where it is told to guess: no guess if that one failed.
        attempts = [([o for o in default_options(timeout) if o != "--guess-scale" or not known.scale], timeout)]
        if hints:
            options = [o for o in default_options(timeout * HINTED_SHARE) if o != "--guess-scale" or not hints.scale]
            # These two steps start a Python each, half of the time of a search that knows where to look.
            quick = ["--no-remove-lines", "--uniformize=0"]
            attempts.insert(0, (options + quick + hints.options(), timeout * HINTED_SHARE))
    last = ""
    for number, (options, limit) in enumerate(attempts):
        left = min(limit, deadline - monotonic())
        try:
            last = _attempt([program, *options, *extra], work, left)
        except Timeout:
            if number + 1 == len(attempts):
                raise Timeout(f"{path}: not solved in {timeout:g} s") from None
            continue
        wcs = work.with_suffix(".wcs")
        if wcs.exists():
            return getheader(wcs)
    raise SolveError(f"{path}: no solution found{': ' + last if last else ''}")


def _attempt(command: List[str], work: Path, limit: float) -> str:
    """Run solve-field once in the folder of `work`; return its complaint, if any."""
    folder = work.parent
    if limit <= 0:
        raise Timeout("no time left")
    places = ["--overwrite", "--new-fits=none", f"--dir={folder}", f"--temp-dir={folder}", f"--wcs={folder}/image.wcs"]
    result = run([*command, *places, work], limit)
    if result.returncode:
        lines = [line.strip() for line in (result.stderr + "\n" + result.stdout).splitlines() if line.strip()]
        return f"solve-field ended with {result.returncode}: {lines[-1] if lines else 'no message'}"
    return ""


def _with_solution(work: Path, path: Path, target: Path, solution: fits.Header) -> fits.Header:
    """Write the image with its solution to `target`; return the header."""
    cards = [card for card in solution.cards if _WCS_KEY.match(card.keyword)]
    with fits.open(work, do_not_scale_image_data=True, memmap=True) as hdus:
        header = hdus[0].header
        checked = "CHECKSUM" in header
        for key in {card.keyword for card in header.cards if _WCS_KEY.match(card.keyword)}:
            header.remove(key, remove_all=True)
        header.extend(cards, update=True)
        with replacing(target) as draft:
            if is_packed(target):
                from panoptes_utils.images.fits.pack import pack_to

                plain = work.with_name("solved.fits")
                hdus.writeto(plain, overwrite=True, checksum=checked, output_verify="silentfix+ignore")
                pack_to(plain, draft)
            else:
                hdus.writeto(draft, overwrite=True, checksum=checked, output_verify="silentfix+ignore")
        return header.copy()


def _plain(header: Any) -> Any:
    """The header of a compressed image as that of a plain one."""
    plain = header.copy(strip=True)
    for key in ("XTENSION", "PCOUNT", "GCOUNT", "EXTNAME"):
        plain.remove(key, ignore_missing=True)
    return plain


def _solved_name(path: Path) -> Path:
    if is_packed(path):
        return path.with_name(path.name[: -len("".join(path.suffixes[-2:]))] + "_solved.fits.fz")
    return path.with_suffix(".new")


def _writable(folder: Path) -> bool:
    import os

    return os.access(folder, os.W_OK)


def _as_dict(header: fits.Header, path: Union[str, Path]) -> Dict[str, Any]:
    values = {key: value for key, value in header.items() if key and key not in ("COMMENT", "HISTORY")}
    values["solved_fits_file"] = str(path)
    return values
