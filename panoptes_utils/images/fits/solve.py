"""Plate solving with astrometry.net's solve-field.

What is known of a frame (position of the mount, pixel scale, an earlier solution) is tried first, because it
makes the search several times shorter; the whole sky is searched only when that fails.
"""

import math
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Optional

from astropy import units as u
from astropy.coordinates import Angle
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import proj_plane_pixel_scales

from panoptes_utils import error
from panoptes_utils.files import replacing
from panoptes_utils.images.fits.io import extension_of, getheader, is_packed, readable_image
from panoptes_utils.logging import logger
from panoptes_utils.process import find_program, run, start

# Degrees around the position in the header that are searched: a PANOPTES mount is that good before it is
# aligned.
DEFAULT_RADIUS = 15.0
# A pixel scale from a header or an earlier solution is trusted to this fraction.
SCALE_TOLERANCE = 0.1
# Share of the time limit that a search with what is known may use before the whole sky is searched.
HINTED_SHARE = 1 / 3

_POSITION_KEYS = (("RA-MNT", "DEC-MNT"), ("OBJCTRA", "OBJCTDEC"), ("TELRA", "TELDEC"), ("RA", "DEC"))
_SCALE_KEYS = ("PIXSCALE", "SECPIX", "PIXSCAL1", "SCALE")
# What the header of a solved image takes over from the solution, and what it loses of an earlier one.
_WCS_KEY = re.compile(
    r"(WCSAXES|WCSNAME|CTYPE\d|CUNIT\d|CRVAL\d|CRPIX\d|CDELT\d|CROTA\d|CD\d_\d|PC\d_\d|PV\d_\d+|LONPOLE|LATPOLE"
    r"|RADESYS|EQUINOX|IMAGEW|IMAGEH|[AB]P?_ORDER|[AB]P?_DMAX|[AB]P?_\d_\d)$"
)


@dataclass(frozen=True)
class Hints:
    """What is known of a frame before it is solved.

    Attributes:
        ra, dec: centre, degrees, J2000, or None.
        radius: degrees around it to search.
        scale: arcsec per pixel, or None.
    """

    ra: Optional[float] = None
    dec: Optional[float] = None
    radius: float = DEFAULT_RADIUS
    scale: Optional[float] = None

    def __bool__(self):
        return self.ra is not None or self.scale is not None

    def options(self):
        """Return the options of solve-field that say so."""
        options = []
        if self.ra is not None:
            options += [f"--ra={self.ra:.6f}", f"--dec={self.dec:.6f}", f"--radius={self.radius:g}"]
        if self.scale is not None:
            low, high = self.scale * (1 - SCALE_TOLERANCE), self.scale * (1 + SCALE_TOLERANCE)
            options += ["--scale-units=arcsecperpix", f"--scale-low={low:.4f}", f"--scale-high={high:.4f}"]
        return options


def _number(value, hours=False):
    """A finite number of degrees from a header value (degrees, or sexagesimal), or None."""
    try:
        return _finite(float(value))
    except (TypeError, ValueError):
        pass
    try:
        return _finite(float(Angle(str(value), unit=u.hourangle if hours else u.deg).deg))
    except Exception:
        return None


def _finite(value):
    return value if math.isfinite(value) else None


def solve_hints(header):
    """Return what a header tells about where and at what scale to search.

    An earlier solution is best; then the position of the mount; a pixel scale may stand as such, or follow
    from pixel size and focal length. What makes no sense is ignored.

    Args:
        header: astropy.io.fits.Header.

    Returns:
        Hints

    Example:
        >>> from astropy.io import fits
        >>> solve_hints(fits.Header({"RA-MNT": 301.6, "DEC-MNT": 44.5, "XPIXSZ": 4.3, "FOCALLEN": 85}))
        Hints(ra=301.6, dec=44.5, radius=15.0, scale=10.43...)
    """
    wcs = _celestial(header)
    if wcs is not None and header.get("NAXIS1") and header.get("NAXIS2"):
        centre = wcs.pixel_to_world(header["NAXIS1"] / 2 - 0.5, header["NAXIS2"] / 2 - 0.5).icrs
        scale = float(proj_plane_pixel_scales(wcs).mean()) * 3600
        if math.isfinite(scale) and math.isfinite(centre.ra.deg):
            width = scale * max(header["NAXIS1"], header["NAXIS2"]) / 3600
            return Hints(float(centre.ra.deg), float(centre.dec.deg), max(1.0, width), scale)
    ra = dec = scale = None
    for ra_key, dec_key in _POSITION_KEYS:
        ra, dec = _number(header.get(ra_key), hours=True), _number(header.get(dec_key))
        if ra is not None and dec is not None and 0 <= ra <= 360 and -90 <= dec <= 90:
            break
        ra = dec = None
    scales = [_number(header.get(key)) for key in _SCALE_KEYS]
    pixel, focal = _number(header.get("XPIXSZ")), _number(header.get("FOCALLEN"))
    if pixel and focal:
        scales.append(206.264806 * pixel / focal)  # micrometres over millimetres to arcsec
    # Beyond these no frame of a camera with a lens lies; headers hold zeros and other people's units.
    scale = next((value for value in scales if value and 0.1 < value < 600), None)
    return Hints(ra, dec, scale=scale)


def _celestial(header):
    """The celestial coordinate system of a header, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header)
    except Exception:
        return None
    return wcs.celestial if wcs.is_celestial else None


def default_options(timeout):
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


def _extra_options(kwargs):
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
            raise error.IllegalValue(f"{key}={value!r}: no such argument; options of solve-field begin with --")
    return options


def solve_field(fname, timeout=15, solve_opts=None, **kwargs):
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
        error.InvalidSystemCommand: solve-field is not on PATH (nor where `SOLVE_FIELD` says).
    """
    program = find_program("solve-field", variable="SOLVE_FIELD")
    flags = {"overwrite": "--overwrite", "skip_solved": "--skip-solved"}
    chosen = [option for key, option in flags.items() if kwargs.pop(key, False)]
    options = list(solve_opts) if solve_opts is not None else default_options(timeout)
    if is_packed(fname):
        chosen.append(f"--extension={extension_of(fname)}")
    return start([program, *options, *chosen, *_extra_options(kwargs), fname])


def get_solve_field(fname, replace=True, overwrite=True, timeout=30, **kwargs):
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
        error.SolveError: not a readable image, or no solution.
        error.Timeout: the time is up; nothing is left running.
        error.InvalidSystemCommand: solve-field is not on PATH.
        FileExistsError: `replace` and `overwrite` are off and the solved file is there.
        OSError: the folder cannot be written to, or the disk is full; the image is as it was.

    Source: Lang et al. 2010, AJ 139, 1782.
    """
    path = Path(fname)
    deadline = monotonic() + timeout
    try:
        header, data = readable_image(path)
    except error.IllegalValue as why:
        raise error.SolveError(str(why.msg)) from why
    if kwargs.pop("skip_solved", True) and _celestial(header) is not None:
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


def _solve(work, path, header, deadline, timeout, kwargs):
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
        except error.Timeout:
            if number + 1 == len(attempts):
                raise error.Timeout(f"{path}: not solved in {timeout:g} s") from None
            continue
        wcs = work.with_suffix(".wcs")
        if wcs.exists():
            return getheader(wcs)
    raise error.SolveError(f"{path}: no solution found{': ' + last if last else ''}")


def _attempt(command, work, limit):
    """Run solve-field once in the folder of `work`; return its complaint, if any."""
    folder = work.parent
    if limit <= 0:
        raise error.Timeout("no time left")
    places = ["--overwrite", "--new-fits=none", f"--dir={folder}", f"--temp-dir={folder}", f"--wcs={folder}/image.wcs"]
    result = run([*command, *places, work], limit)
    if result.returncode:
        lines = [line.strip() for line in (result.stderr + "\n" + result.stdout).splitlines() if line.strip()]
        return f"solve-field ended with {result.returncode}: {lines[-1] if lines else 'no message'}"
    return ""


def _with_solution(work, path, target, solution):
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


def _plain(header):
    """The header of a compressed image as that of a plain one."""
    plain = header.copy(strip=True)
    for key in ("XTENSION", "PCOUNT", "GCOUNT", "EXTNAME"):
        plain.remove(key, ignore_missing=True)
    return plain


def _solved_name(path):
    if is_packed(path):
        return path.with_name(path.name[: -len("".join(path.suffixes[-2:]))] + "_solved.fits.fz")
    return path.with_suffix(".new")


def _writable(folder):
    import os

    return os.access(folder, os.W_OK)


def _as_dict(header, path):
    values = {key: value for key, value in header.items() if key and key not in ("COMMENT", "HISTORY")}
    values["solved_fits_file"] = str(path)
    return values


# Units of what wcsinfo prints.
_WCSINFO_UNITS = {
    **dict.fromkeys(("crpix0", "crpix1", "imagew", "imageh"), u.pixel),
    **dict.fromkeys(("cd11", "cd12", "cd21", "cd22"), u.deg / u.pixel),
    **dict.fromkeys(
        ("crval0", "crval1", "ra_tangent", "dec_tangent", "orientation", "orientation_center", "ra_center",
        "dec_center"), u.deg,
    ),
    **dict.fromkeys(("decmin", "decmax", "ramin", "ramax"), u.deg),
    "ra_center_h": u.hourangle,
    "ra_center_m": u.minute,
    "ra_center_s": u.second,
    "dec_center_d": u.deg,
    "dec_center_m": u.arcmin,
    "dec_center_s": u.arcsec,
    "pixscale": u.arcsec / u.pixel,
    "fieldarea": u.deg**2,
}


def get_wcsinfo(fits_fname):
    """Return what astrometry.net's wcsinfo says of a solved image.

    Args:
        fits_fname: path, `.fits`, `.fits.fz` or a `.wcs` file.

    Returns:
        dict: Quantities by wcsinfo's names, among them `ra_center`, `dec_center`, `orientation`, `pixscale`,
        `fieldw`, `fieldh`, `crpix0`; plain numbers and words where there is no unit; `wcs_file`, the path.

    Raises:
        FileNotFoundError: no such file.
        error.InvalidCommand: wcsinfo is not on PATH.
        error.SolveError: the file has no solution.
    """
    path = Path(fits_fname)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        program = find_program("wcsinfo")
    except error.InvalidSystemCommand as why:
        raise error.InvalidCommand(why.msg) from why
    command = [program] + (["-e", "1"] if is_packed(path) else []) + [path]
    result = run(command, timeout=30)
    info = {}
    for line in result.stdout.splitlines():
        key, _, text = line.strip().partition(" ")
        try:
            value = float(text)
        except ValueError:
            if text:
                info[key] = text
            continue
        info[key] = value * _WCSINFO_UNITS[key] if key in _WCSINFO_UNITS else value
    if result.returncode or "pixscale" not in info:
        raise error.SolveError(f"{path}: has no astrometric solution; solve it first")
    # wcsinfo chooses the unit of the field's size by how large it is and says which.
    unit = {"degrees": u.deg, "arcminutes": u.arcmin, "arcseconds": u.arcsec}.get(info.get("fieldunits"), u.deg)
    for key in ("fieldw", "fieldh"):
        if isinstance(info.get(key), float):
            info[key] = info[key] * unit
    info["wcs_file"] = str(path)
    return info
